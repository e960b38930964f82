"""The command line: ``xrcam COMMAND ...``; each command is a file of :mod:`xrcam_jax.commands`.

Exit status: 0 all done; 1 some files could not be read or written; 2 nothing was done, an argument is wrong;
130 interrupted.
"""

import argparse
import os
import sys
from collections.abc import Sequence
from importlib import import_module
from typing import NoReturn

from xrcam_jax.commands import demo, explain, methods, models, prepare, report, synth, train
from xrcam_jax.commands.checks import CommandError
from xrcam_jax.compiling import keep_compiled
from xrcam_jax.host_memory import keep_freed_memory

# Commands with a door of their own, which parses what follows the command's name.
FORWARDED = {
    "convert": ("weights_convert.__main__", "timm checkpoints to Orbax directories, and back"),
    "evaluate": ("xrcam_jax.commands.evaluate", "the experiments of the thesis: tables, plots and pictures"),
    "benchmark": ("experiments.benchmark", "measure speed, memory and precision on this machine, beside peers"),
}


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command and returns the exit status; ``--help`` leaves by SystemExit, as argparse does."""
    argv = list(sys.argv[1:] if argv is None else argv) or ["--help"]
    # FFmpeg writes its own lines about each damaged video; ours names the file.
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")
    keep_freed_memory()
    command = argv[0]
    if command != "benchmark":  # which measures compilation
        keep_compiled()
    try:
        if command in FORWARDED:
            return import_module(FORWARDED[command][0]).main(argv[1:])
        options = _parser().parse_args(argv)
        return options.run(options)
    except CommandError as error:
        print(f"xrcam {command}: error: {error}", file=sys.stderr)
        return 2
    except OSError as error:
        print(f"xrcam {command}: error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print(f"xrcam {command}: interrupted; what was written is whole and stays", file=sys.stderr)
        return 130


class _Parser(argparse.ArgumentParser):
    """An argument parser that complains in one line."""

    def error(self, message: str) -> NoReturn:
        raise CommandError(f"{message} (see {self.prog} --help)")


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="xrcam", description="Where does a network look? XRelevance-CAM and its relatives.")
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    for module in (explain, demo, prepare, models, methods, synth, train, report):
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
