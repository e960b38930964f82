"""The command line: ``xrcam COMMAND ...``; each command is a file of :mod:`xrcam_jax.commands`.

Exit status:

- 0: all is done.
- 1: some files could not be read or written, or the work ended early; what was written is whole.
- 2: nothing was done: an argument is wrong, or another run is writing to the same place.
- 129, 130, 143: stopped by SIGHUP, SIGINT (Ctrl-C) or SIGTERM; what was written is whole.
- 141: nobody reads what is printed any more, as under ``| head``.
"""

import logging
import os
import sys
from collections.abc import Callable, Sequence
from importlib import import_module
from signal import Signals
from typing import Any

import click

from xrcam_jax.arguments.completion import VARIABLE
from xrcam_jax.arguments.group import Group
from xrcam_jax.arguments.parser import command_of, run_words
from xrcam_jax.errors import CommandError, DamagedError, reason
from xrcam_jax.runtime.host_memory import keep_freed_memory
from xrcam_jax.runtime.names import printable
from xrcam_jax.runtime.signals import Stopped, stopping

#: What each command does. A command is a file of :mod:`xrcam_jax.commands`, which is loaded when it is asked for.
COMMANDS = {
    "explain": "Show where a network looks: overlays, maps and contact sheets of pictures and videos",
    "view": "Look through pictures in a browser: maps are made as one pages, and a region says what speaks for it",
    "demo": "Draw frames of new patients, classify and explain them with the network that comes along",
    "prepare": "Turn recordings into frames to train on, split by patient",
    "train": "Train a network on prepared frames, from ImageNet weights or from scratch",
    "evaluate": "Run the experiments of the thesis: tables, plots and pictures",
    "concepts": "Find what a network sees, besides where: the frames and places that its channels react to most",
    "report": "Make one HTML page of experiments: their figures, pictures and frames to look through",
    "read": "Make one HTML page on which readers compare maps, blinded, and from which they export their ratings",
    "agreement": "Tell from readers' ratings how far they agree, and which method they prefer",
    "models": "List the networks, with their number of parameters as their checkpoints have them",
    "layers": "List the layers of a network, by the names that --layers of xrcam explain takes",
    "methods": "List the explanation methods, with their sources",
    "synth": "Draw stand-in recordings: patients, videos and annotations, none of them real",
    "convert": "Convert a checkpoint, exactly or not at all, and read back what was written",
    "benchmark": "Measure speed, memory and precision on this machine",
    "completion": "Print the lines by which a shell completes commands, options and files",
}


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command and returns the exit status."""
    words = list(sys.argv[1:] if argv is None else argv) or ["--help"]
    if argv is None and VARIABLE in os.environ:
        from click.shell_completion import shell_complete

        return shell_complete(program(), {}, "xrcam", VARIABLE, os.environ[VARIABLE])
    command = "" if words[0].startswith("-") else words[0]
    status = exit_status(command, lambda: run_words(program(), "xrcam", words))
    if argv is None and status >= 128:
        # Threads may still be computing, under which the interpreter's own end has crashed.
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)
    return status


def program() -> Group:
    """Returns ``xrcam``, the group of all commands."""
    version = click.Option(
        ["--version"],
        is_flag=True,
        is_eager=True,
        expose_value=False,
        callback=_version,
        help="show the version",
    )
    return Group(
        "xrcam",
        COMMANDS,
        load,
        what="command",
        help="Where does a network look? XRelevance-CAM and its relatives.",
        params=[version],
        epilog="Example:\n  xrcam demo\n  xrcam explain scan.png --model resnet50 --weights timm/resnet50.a1_in1k\n\n"
        "xrcam COMMAND --help says more of each.",
    )


def load(name: str) -> click.Command:
    """Returns a command, whose file is loaded."""
    module = import_module(f"xrcam_jax.commands.{name}")
    return module.group() if hasattr(module, "group") else command_of(module, name, COMMANDS[name])


def _version(context: click.Context, _: click.Parameter, asked: bool) -> Any:
    if asked and not context.resilient_parsing:
        import xrcam_jax

        click.echo(f"xrcam {xrcam_jax.__version__}")
        context.exit()


def exit_status(command: str, run: Callable[[], int]) -> int:
    """Returns the exit status of ``run``, and says in one line why it stopped early if it did."""
    _only_own_lines()
    try:
        with stopping():
            keep_freed_memory()
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
        return _ended(command, f"error: {reason(error)}", 1)
    except MemoryError as error:
        return _ended(command, f"error: there is not enough memory ({str(error) or 'the system gives no more'})", 1)
    except KeyboardInterrupt as stopped:
        status = stopped.status if isinstance(stopped, Stopped) else 130
        how = "interrupted" if status == 130 else f"ended by {Signals(status - 128).name}"
        return _ended(command, f"{how}; what was written is whole and stays", status)


def _only_own_lines() -> None:
    """Keeps libraries from lines of their own where ours say it, or nothing needs to be said."""
    # FFmpeg would write some about each damaged video; ours names the file.
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")
    # matplotlib does without its folder at home where there is none to write to, as in a container.
    logging.getLogger("matplotlib").addFilter(_not_of_its_folder)
    for stream in (sys.stdout, sys.stderr):
        # Names of files may have letters that the terminal's encoding lacks.
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")


def _not_of_its_folder(record: logging.LogRecord) -> bool:
    return not str(record.msg).startswith(("mkdir -p failed", "Matplotlib created a temporary cache"))


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
    print(printable(f"{f'xrcam {command}'.strip()}: {line}"), file=sys.stderr)
    if more:
        print(printable(more, lines=True), file=sys.stderr)
    return status


if __name__ == "__main__":
    sys.exit(main())
