"""The option that says how the maps of several layers become one."""

import click

#: Those of :data:`xrcam_jax.cam.saliency.AGGREGATIONS`, which cannot be asked before JAX is loaded.
WAYS = ("mean", "maximum", "weighted", "product")

AGGREGATE = click.Option(
    ["--aggregate"],
    type=click.Choice(WAYS),
    default="mean",
    help="how the maps of several layers become one: their mean, LayerCAM's maximum, their mean in which deep layers "
    "count more, or their product",
)
