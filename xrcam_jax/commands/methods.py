"""``xrcam methods``."""

import argparse

NAME = "methods"
SUMMARY = "List the explanation methods, with their sources"
EXAMPLE = "example:\n  xrcam methods"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """It has none."""


def run(options: argparse.Namespace) -> int:
    """Prints the list; returns the exit status."""
    import xrcam_jax as xr

    for name, method in xr.METHODS.items():
        print(f"{name:24} {method.summary} [{method.source}]")
    return 0
