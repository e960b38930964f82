"""All commands have this argument parser; several of them take values of these kinds."""

import argparse
import sys
from collections.abc import Iterable, Sequence
from types import ModuleType
from typing import Any, NoReturn

from xrcam_jax.errors import CommandError


class Parser(argparse.ArgumentParser):
    """An argument parser that complains in one line."""

    def error(self, message: str) -> NoReturn:
        """Raises a :class:`CommandError` with ``message`` and where to read more."""
        raise CommandError(f"{message} (see {self.prog} --help)")

    def parse_known_args(self, args: Iterable[str] | None = None, namespace: Any = None) -> Any:
        """Does what argparse does, and refuses what argparse would make no value of: ``--every=--``, and zero bytes."""
        args = sys.argv[1:] if args is None else list(args)
        for argument in args:
            name, equals, value = argument.partition("=")
            if name.startswith("-") and equals and value == "--":
                self.error(f"argument {name}: expected a value, found '--'")
            if "\0" in argument:
                self.error(f"{argument!r}: an argument cannot have zero bytes in it")
        return super().parse_known_args(args, namespace)


def run_inside(command: ModuleType, words: Sequence[str]) -> int:
    """Runs a command as a part of another one.

    Args:
      command: one of :mod:`xrcam_jax.commands`.
      words: its arguments.

    Returns:
      Its exit status.

    Raises:
      CommandError: an argument is wrong.

    Example:
      >>> from types import ModuleType
      >>> from xrcam_jax.arguments.parser import run_inside
      >>> count = ModuleType("count")
      >>> count.add_arguments = lambda parser: parser.add_argument("word")
      >>> count.run = lambda options: len(options.word)
      >>> run_inside(count, ["hello"])
      5
    """
    parser = Parser()
    command.add_arguments(parser)
    return command.run(parser.parse_args(words))


def names(text: str) -> list[str]:
    """Returns the names in ``text``, which has commas between them.

    Args:
      text: what was given; blanks around names do not count.

    Example:
      >>> from xrcam_jax.arguments.parser import names
      >>> names("grad_cam, layer_cam")
      ['grad_cam', 'layer_cam']
    """
    return [name.strip() for name in text.split(",") if name.strip()]


def numbers(text: str, least: int = 1) -> list[int]:
    """Returns the whole numbers in ``text``, which has commas between them.

    Args:
      text: what was given.
      least: the smallest number that may be given.

    Raises:
      ArgumentTypeError: a number is less than that.
      ValueError: the text has something else than numbers.

    Example:
      >>> from xrcam_jax.arguments.parser import numbers
      >>> numbers("1,8,32")
      [1, 8, 32]
    """
    found = [int(part) for part in text.split(",")]
    if min(found) < least:
        raise argparse.ArgumentTypeError(f"{min(found)} is less than {least}")
    return found
