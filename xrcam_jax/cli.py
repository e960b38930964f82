"""The command line: ``xrcam COMMAND ...``; each command is a file of :mod:`xrcam_jax.commands`.

Exit status:

- 0: all is done.
- 1: some files could not be read or written, or the work ended early; what was written is whole.
- 2: nothing was done: an argument is wrong, or another run is writing to the same place.
- 129, 130, 143: stopped by SIGHUP, SIGINT (Ctrl-C) or SIGTERM; what was written is whole.
- 141: nobody reads what is printed any more, as under ``| head``.
"""

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from importlib import import_module
from signal import Signals

from xrcam_jax.arguments.parser import Parser
from xrcam_jax.commands import demo, explain, layers, methods, models, prepare, report, synth, train, view
from xrcam_jax.errors import CommandError, DamagedError
from xrcam_jax.runtime.compiling import keep_compiled
from xrcam_jax.runtime.host_memory import keep_freed_memory
from xrcam_jax.runtime.names import printable
from xrcam_jax.runtime.signals import Stopped, stopping

# Commands that parse their own arguments, which follow the command's name: the module, and a summary.
FORWARDED = {
    "convert": ("xrcam_jax.commands.convert", "timm checkpoints to Orbax directories, and back"),
    "evaluate": ("xrcam_jax.commands.evaluate", "the experiments of the thesis: tables, plots and pictures"),
    "benchmark": ("xrcam_jax.commands.benchmark", "measure speed, memory and precision on this machine"),
}


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command and returns the exit status; ``--help`` raises SystemExit, as argparse does."""
    words = list(sys.argv[1:] if argv is None else argv) or ["--help"]
    status = exit_status(words[0], lambda: _run(words))
    if argv is None and status >= 128:
        # Threads may still be computing, under which the interpreter's own end has crashed.
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)
    return status


def exit_status(command: str, run: Callable[[], int]) -> int:
    """Returns the exit status of ``run``, and says in one line why it stopped early if it did."""
    # FFmpeg would write lines of its own about each damaged video; ours names the file.
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")
    for stream in (sys.stdout, sys.stderr):
        # Names of files may have letters that the terminal's encoding lacks.
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
    try:
        with stopping():
            keep_freed_memory()
            # The benchmark measures compilation, which must not be spared it.
            if command != "benchmark":
                keep_compiled()
            return _stopped_in_an_import(run)
    except CommandError as error:
        return _ended(command, f"error: {error}", 2, error.more)
    except BrokenPipeError as error:
        if error.filename is not None:
            return _ended(command, f"error: {error}", 1)
        # Python would complain once more when it flushes what nobody reads.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except DamagedError as error:
        return _ended(command, f"error: {error}", 1)
    except OSError as error:
        reason = f"{error.filename}: {error.strerror}" if error.filename and error.strerror else str(error)
        return _ended(command, f"error: {reason}", 1)
    except MemoryError as error:
        return _ended(command, f"error: there is not enough memory ({str(error) or 'the system gives no more'})", 1)
    except KeyboardInterrupt as stopped:
        status = stopped.status if isinstance(stopped, Stopped) else 130
        how = "interrupted" if status == 130 else f"ended by {Signals(status - 128).name}"
        return _ended(command, f"{how}; what was written is whole and stays", status)


def _stopped_in_an_import(run: Callable[[], int]) -> int:
    """Runs ``run``; extension modules that are being imported turn a signal's exception into an error of their own."""
    try:
        return run()
    except Exception as error:
        before: BaseException | None = error
        while before is not None:
            if isinstance(before, Stopped):
                raise before from None
            before = before.__cause__ or before.__context__
        raise


def _ended(command: str, line: str, status: int, more: str = "") -> int:
    print(printable(f"xrcam {command}: {line}"), file=sys.stderr)
    if more:
        print(printable(more, lines=True), file=sys.stderr)
    return status


def _run(argv: Sequence[str]) -> int:
    if argv[0] in FORWARDED:
        return import_module(FORWARDED[argv[0]][0]).main(argv[1:])
    options = _parser().parse_args(argv)
    return options.run(options)


def _parser() -> argparse.ArgumentParser:
    parser = Parser(prog="xrcam", description="Where does a network look? XRelevance-CAM and its relatives.")
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    for module in (explain, view, demo, prepare, models, layers, methods, synth, train, report):
        command = commands.add_parser(
            module.NAME,
            help=module.SUMMARY,
            description=f"{module.SUMMARY}.",
            epilog=module.EXAMPLE,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        module.add_arguments(command)
        command.set_defaults(run=module.run)
    for name, (_, summary) in FORWARDED.items():
        commands.add_parser(name, help=summary, add_help=False)
    return parser


if __name__ == "__main__":
    sys.exit(main())
