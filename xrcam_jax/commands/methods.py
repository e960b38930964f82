"""``xrcam methods``: lists the explanation methods."""

import argparse

NAME = "methods"
SUMMARY = "List the explanation methods, with their sources"
EXAMPLE = "example:\n  xrcam methods"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds nothing: the command has no options."""


def run(options: argparse.Namespace) -> int:
    """Prints the list; returns the exit status."""
    import xrcam_jax as xr

    family = None
    for name, method in xr.METHODS.items():
        if method.family != family:
            family = method.family
            print(f"{family}-driven")
        print(f"  {name:22} {method.title}: {method.summary} [{method.source}]")
    return 0
