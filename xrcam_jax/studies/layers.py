"""The columns of the thesis's tables are the maps of each layer and of aggregates, from the highest layer down."""

from collections.abc import Collection, Mapping, Sequence
from functools import partial

import jax
from jaxtyping import Array, Float

from xrcam_jax import Explanation
from xrcam_jax.cam.saliency import Aggregation, fused, min_max, stride, upsampled


def aggregates(layers: Sequence[str]) -> list[tuple[str, ...]]:
    """Returns which layers are aggregated, two or more each, the highest first.

    Args:
      layers: their names, in any order.

    Returns:
      The layers 4+3, then 4+3+2, then 4+3+2+1.

    Example:
      >>> from xrcam_jax.studies.layers import aggregates
      >>> aggregates(["layer2", "layer3", "layer4"])
      [('layer4', 'layer3'), ('layer4', 'layer3', 'layer2')]
    """
    highest = sorted(layers, reverse=True)
    return [tuple(highest[: i + 1]) for i in range(1, len(highest))]


def title(layers: Sequence[str]) -> str:
    """Returns a column's name, such as ``layer4+3+2`` for layer4, layer3 and layer2."""
    return "+".join([layers[0], *(layer.removeprefix("layer") for layer in layers[1:])])


def columns(layers: Sequence[str]) -> list[str]:
    """Returns the names of all columns, the layers first."""
    return [*layers, *map(title, aggregates(layers))]


def last_column(layers: Sequence[str], method: str, maps: Collection[str]) -> str:
    """Returns the column of most layers at which a method has maps: not all methods work at all layers.

    Args:
      layers: their names, the lowest first.
      method: that has maps at one of them.
      maps: their names, ``METHOD/COLUMN``.
    """
    return next(column for column in reversed(columns(layers)) if f"{method}/{column}" in maps)


def described(how: Aggregation) -> str:
    """Returns a sentence that says how layers are aggregated."""
    ways = {
        "mean": "the mean of their maps",
        "maximum": "the largest of their maps at each pixel, after tanh",
        "weighted": "the mean of their maps, in which deep layers count more",
        "product": "the geometric mean of their maps, which shows what all of them show",
    }
    return f"Several layers together are {ways[how]}."


@partial(jax.jit, static_argnames=("size", "how"))
def layer_maps(
    raws: Mapping[str, Float[Array, "b _p _q"]], size: tuple[int, int], how: Aggregation = "mean"
) -> dict[str, Float[Array, "b h w"]]:
    """Returns the saliency maps of each layer and aggregate, from the weighted sums of each layer.

    They are what :meth:`xrcam_jax.Explanation.aggregate` gives, but each layer is upsampled once.

    Args:
      raws: by layer, signed sums over the channels.
      size: height and width of the maps.
      how: layers are aggregated.

    Returns:
      By column, maps in [0, 1].
    """
    large = {layer: upsampled(raw, size) for layer, raw in raws.items()}

    def together(some: Sequence[str]) -> Array:
        weights = [stride(raws[layer], size) for layer in some] if how == "weighted" else None
        return fused([large[layer] for layer in some], how, weights)

    single = {layer: min_max(each) for layer, each in large.items()}
    return single | {title(some): together(some) for some in aggregates(list(raws))}


def all_maps(e: Explanation, how: Aggregation = "mean") -> dict[str, Float[Array, "b h w"]]:
    """Returns the maps of all methods by ``METHOD/COLUMN``, in the methods' order.

    Args:
      e: what is shown.
      how: layers are aggregated.
    """
    maps: dict[str, Array] = {}
    for method, raws in e.raw.items():
        size = next(iter(e.maps[method].values())).shape[-2:]
        found = layer_maps(raws, size, how)
        order = columns(list(raws))
        maps |= {f"{method}/{column}": found[column] for column in order}
    return maps
