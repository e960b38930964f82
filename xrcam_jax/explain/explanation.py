"""What an explanation holds, and the maps that are made of what methods find."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import export
from jaxtyping import Array, Float, Int

from xrcam_jax.cam.saliency import aggregate, saliency
from xrcam_jax.errors import unknown
from xrcam_jax.explain.kinds import Channels, Found
from xrcam_jax.runtime.compiling import compiled


@partial(
    jax.tree_util.register_dataclass,
    data_fields=["logits", "targets", "maps", "raw", "attributions", "errors"],
    meta_fields=["relu"],
)
@dataclass(frozen=True)
class Explanation:
    """What an :class:`xrcam_jax.Explainer` finds out about a batch; all arrays stay on the device.

    Attributes:
      logits: (b, n).
      targets: the explained classes, (b,), or (b, t) when several were asked for.
      maps: by method and layer, in [0, 1], (b, h, w) or (b, t, h, w).
      raw: by method and layer, what a map shows, signed, at the layer's own size (p, q): the weighted sum of
        activations, or an attribution's sum (or largest absolute value) over the channels.
      relu: whether evidence against the target was cut off.
      attributions: of the methods that attribute element by element, by method and layer, (b, *t, p, q, k).
      errors: of the methods whose attributions sum to a difference of logits, by how much they miss it, (b, *t).
    """

    logits: Float[Array, "b n"]
    targets: Int[Array, "b *t"]
    maps: dict[str, dict[str, Float[Array, "b *t h w"]]]
    raw: dict[str, dict[str, Float[Array, "b *t p q"]]]
    relu: bool = True
    attributions: dict[str, dict[str, Float[Array, "b *t p q k"]]] = field(default_factory=dict)
    errors: dict[str, dict[str, Float[Array, "b *t"]]] = field(default_factory=dict)

    def aggregate(self, method: str, layers: Sequence[str] | None = None) -> Float[Array, "b *t h w"]:
        """Mean of ``method``'s maps over ``layers`` (all by default), scaled to [0, 1].

        Raises:
          ValueError: a method or layer that was not computed.
        """
        if method not in self.raw:
            raise unknown("method", method, self.raw)
        by_layer = self.raw[method]
        for layer in layers or ():
            if layer not in by_layer:
                raise unknown("layer", layer, by_layer)
        size = next(iter(self.maps[method].values())).shape[-2:]
        return _aggregate([by_layer[layer] for layer in layers or by_layer], size, relu=self.relu)


_aggregate = jax.jit(aggregate, static_argnums=1, static_argnames="relu")


class Shown(NamedTuple):
    """What an explanation has of a method at a layer, for t targets of each image.

    Attributes:
      map: in [0, 1], at the picture's size (b, t, h, w).
      raw: signed, at the layer's own size (b, t, p, q).
      values: see :class:`xrcam_jax.explain.kinds.Found`.
      error: likewise.
    """

    map: Array
    raw: Array
    values: Array | None
    error: Array | None


export.register_namedtuple_serialization(Shown, serialized_name="xrcam_jax.Shown")


@compiled(static=("size", "relu", "channels"))
def with_maps(found: dict[str, Found], *, size: tuple[int, int], relu: bool, channels: Channels) -> dict[str, Shown]:
    """What a method finds, by layer, with the maps of it; see :class:`Explanation` for ``relu``."""

    def show(at: Found) -> Shown:
        raw = at.maps
        if raw is None:
            assert at.values is not None
            raw = at.values.sum(-1) if channels == "sum" else jnp.abs(at.values).max(-1)
        return Shown(saliency(raw, size, relu=relu), raw, at.values, at.error)

    return {layer: show(at) for layer, at in found.items()}


def collect(logits: Array, targets: Array, shown: dict[str, dict[str, Shown]], *, relu: bool) -> Explanation:
    """The explanation that holds what is shown, by method and layer."""

    def parts(name: str) -> dict[str, dict[str, Array]]:
        found = {
            method: {layer: part for layer, at in by_layer.items() if (part := getattr(at, name)) is not None}
            for method, by_layer in shown.items()
        }
        return {method: by_layer for method, by_layer in found.items() if by_layer}

    return Explanation(logits, targets, parts("map"), parts("raw"), relu, parts("values"), parts("error"))
