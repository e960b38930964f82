"""One argument parser for all commands, and values that several of them take."""

import argparse
from typing import NoReturn

from xrcam_jax.errors import CommandError


class Parser(argparse.ArgumentParser):
    """An argument parser that complains in one line."""

    def error(self, message: str) -> NoReturn:
        """Raises a :class:`CommandError` with ``message`` and where to read more."""
        raise CommandError(f"{message} (see {self.prog} --help)")


def names(text: str) -> list[str]:
    """Returns the names in ``text``, which has commas between them."""
    return [name.strip() for name in text.split(",") if name.strip()]


def numbers(text: str, least: int = 1) -> list[int]:
    """Returns the value of an option: whole numbers with commas between, none below ``least``."""
    found = [int(part) for part in text.split(",")]
    if min(found) < least:
        raise argparse.ArgumentTypeError(f"{min(found)} is less than {least}")
    return found
