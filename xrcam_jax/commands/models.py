"""``xrcam models``: lists the networks."""

import argparse

NAME = "models"
SUMMARY = "List the networks, with their number of parameters as their checkpoints have them"
EXAMPLE = "example:\n  xrcam models"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds nothing: the command has no options."""


def run(options: argparse.Namespace) -> int:
    """Prints the list; returns the exit status."""
    from xrcam_jax.models.parameter_counts import PARAMETERS
    from xrcam_jax.models.specs import SPECS

    for name in sorted(SPECS):
        print(f"{name:29} {PARAMETERS[name]:>12,}   {SPECS[name].hub or '(in the package)'}")
    return 0
