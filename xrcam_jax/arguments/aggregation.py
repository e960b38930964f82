"""The option that says how the maps of several layers become one."""

import argparse

#: Those of :data:`xrcam_jax.cam.saliency.AGGREGATIONS`, which cannot be asked before JAX is loaded.
WAYS = ("mean", "maximum", "weighted", "product")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds ``--aggregate``."""
    parser.add_argument(
        "--aggregate",
        choices=WAYS,
        default="mean",
        help="how the maps of several layers become one: their mean, LayerCAM's maximum, their mean in which deep "
        "layers count more, or their product (mean)",
    )
