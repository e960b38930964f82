"""``xrcam models``: lists the networks."""

import argparse
import math

NAME = "models"
SUMMARY = "List the networks, with their number of parameters at 1000 classes"
EXAMPLE = "example:\n  xrcam models"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds nothing: the command has no options."""


def run(options: argparse.Namespace) -> int:
    """Prints the list; returns the exit status."""
    import jax
    from flax import nnx

    import xrcam_jax as xr
    from xrcam_jax.models.specs import SPECS

    for name in xr.list_models():
        model = nnx.eval_shape(lambda name=name: xr.create_model(name))
        parameters = sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(nnx.state(model, nnx.Param)))
        print(f"{name:21} {parameters:>12,}   {SPECS[name].hub or '(in the package)'}", flush=True)
    return 0
