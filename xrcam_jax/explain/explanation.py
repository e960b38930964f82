"""What an explanation holds."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial

import jax
from jaxtyping import Array, Float, Int

from xrcam_jax.cam.saliency import aggregate
from xrcam_jax.errors import unknown


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
