"""The Explainer: saliency maps of several methods at several layers for a batch, in one compiled call."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Array, Float, Int

from xrcam_jax.cam.methods import METHODS
from xrcam_jax.cam.saliency import aggregate, saliency, weighted_sum
from xrcam_jax.compiling import compiler_options
from xrcam_jax.functional import as_function
from xrcam_jax.lrp import seeds
from xrcam_jax.lrp.composites import Composite, gradient, relevance_cam
from xrcam_jax.lrp.transform import tap_program
from xrcam_jax.names import unknown
from xrcam_jax.reinterpret import trace


@partial(jax.tree_util.register_dataclass, data_fields=["logits", "targets", "maps", "raw"], meta_fields=["relu"])
@dataclass(frozen=True)
class Explanation:
    """What an :class:`Explainer` finds out about a batch; all arrays stay on the device.

    Attributes:
      logits: (b, n).
      targets: the explained classes, (b,), or (b, t) when several were asked for.
      maps: by method and layer, in [0, 1], (b, h, w) or (b, t, h, w).
      raw: by method and layer, the weighted sum of activations that a map shows, signed, at the layer's own
        size (p, q).
      relu: whether evidence against the target was cut off.
    """

    logits: Float[Array, "b n"]
    targets: Int[Array, "b *t"]
    maps: dict[str, dict[str, Float[Array, "b *t h w"]]]
    raw: dict[str, dict[str, Float[Array, "b *t p q"]]]
    relu: bool = True

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

# A map does not change with the seed's scale, and the contrastive one explains the target even where its
# logit is negative.
_SEEDS = {"gradient": seeds.unit, "relevance": seeds.contrastive}


class Explainer:
    """Explains a model's decisions by class activation maps.

    One forward pass, one pullback of the gradient and one of the relevance serve all methods at all layers; they
    are compiled once per shape of the batch::

        explain = Explainer(model, methods=("xrelevance_cam", "grad_cam"))
        e = explain(images)
        e.maps["xrelevance_cam"]["layer3"]

    Args:
      model: an NNX module, a bound Linen module or a function, from images to logits (b, n), whose layers are
        marked with :func:`xrcam_jax.mark`; their activations must have shape (b, h, w, k).
      methods: names in ``xrcam_jax.METHODS``.
      layers: names of marks; all of the model's by default.
      composite: the rules of the relevance methods.
      relu: whether evidence against the target is cut off before a map is scaled.
      check_finite: whether NaN and infinity in the images are refused (a look at every pixel).

    Raises:
      ValueError: a method is unknown; when called, a layer is.
    """

    def __init__(
        self,
        model: Callable,
        methods: Sequence[str] = ("xrelevance_cam",),
        layers: Sequence[str] | None = None,
        *,
        composite: Composite | None = None,
        relu: bool = True,
        check_finite: bool = True,
    ):
        self.methods = (methods,) if isinstance(methods, str) else tuple(methods)
        self.layers = (layers,) if isinstance(layers, str) else layers and tuple(layers)
        for name in self.methods:
            if name not in METHODS:
                raise unknown("method", name, METHODS)
        self.composites = {"gradient": gradient(), "relevance": composite or relevance_cam()}
        self.relu = relu
        self.check_finite = check_finite
        self._function, self.parameters = as_function(model)
        self._classes: dict[Any, int] = {}
        self._compiled = jax.jit(
            self.explain, static_argnames="top_k", compiler_options=dict(compiler_options())
        )  # fmt: skip

    def __call__(
        self,
        images: Float[ArrayLike, "b h w c"],
        targets: Int[ArrayLike, "b *t"] | None = None,
        *,
        top_k: int | None = None,
    ) -> Explanation:
        """Explain a batch.

        Args:
          images: preprocessed.
          targets: which class of each image to explain, or which t classes; the predicted one by default.
          top_k: explain the k likeliest classes of each image instead.

        Raises:
          ValueError: images that are not a finite floating-point batch, targets out of range or of another
            batch's shape, a layer that the model does not have, both ``targets`` and ``top_k``.
        """
        if isinstance(images, jax.core.Tracer) or isinstance(targets, jax.core.Tracer):
            chosen = None if targets is None else jnp.asarray(targets)
            return self.explain(self.parameters, jnp.asarray(images), chosen, top_k=top_k)
        images = self._checked(images)
        classes = self._count_classes(images)
        if targets is not None and top_k is not None:
            raise ValueError("give targets or top_k, not both")
        if top_k is not None and not 1 <= top_k <= classes:
            raise ValueError(f"top_k must be between 1 and the number of classes, {classes}; got {top_k}")
        if targets is not None:
            targets = check_targets(targets, len(images), classes)
        return self._compiled(self.parameters, images, targets, top_k=top_k)

    def explain(
        self,
        parameters: Any,
        images: Float[Array, "b h w c"],
        targets: Int[Array, "b *t"] | None = None,
        *,
        top_k: int | None = None,
    ) -> Explanation:
        """The pure function behind the call, to be used inside jit, vmap or shard_map; checks no values."""
        closed, _ = trace(self._function, images, parameters)
        values = jax.tree.leaves((images, parameters))
        explained = [True] + [False] * (len(values) - 1)
        passes = {
            signal: tap_program(closed, self.composites[signal], explained, values, self.layers)
            for signal in sorted({METHODS[name].signal for name in self.methods})
        }
        (logits,), activations, _ = next(iter(passes.values()))
        _check_activations(activations)
        if targets is None:
            _, targets = jax.lax.top_k(logits, top_k or 1)
            targets = targets if top_k else targets[:, 0]

        def raw_of(target: Int[Array, " b"]) -> dict[str, dict[str, Array]]:
            arriving = {
                signal: pullback([_SEEDS[signal](logits, target)]) for signal, (_, _, pullback) in passes.items()
            }
            return {
                name: {
                    layer: weighted_map(name, activations[layer], signal)
                    for layer, signal in arriving[METHODS[name].signal].items()
                }
                for name in self.methods
            }

        raw = raw_of(targets) if targets.ndim == 1 else jax.vmap(raw_of, in_axes=1, out_axes=1)(targets)
        _, height, width, _ = images.shape
        maps = jax.tree.map(lambda layer: saliency(layer, (height, width), relu=self.relu), raw)
        return Explanation(logits, targets, maps, raw, self.relu)

    def _checked(self, images: ArrayLike) -> Array | np.ndarray:
        images = images if isinstance(images, (jax.Array, np.ndarray)) else np.asarray(images)
        if images.ndim != 4 or not jnp.issubdtype(images.dtype, jnp.floating) or 0 in images.shape:
            raise ValueError(
                f"images must be a floating-point batch (b, h, w, c), got {images.dtype} of shape {images.shape}"
            )
        if self.check_finite and not bool(_all_finite(images)):
            bad = [int(i) for i in np.flatnonzero(~np.isfinite(np.asarray(images)).all((1, 2, 3)))]
            raise ValueError(f"images must be finite; found NaN or infinity in images {bad} of the batch")
        return images

    def _count_classes(self, images: Array | np.ndarray) -> int:
        key = (images.shape, images.dtype)
        if key not in self._classes:
            logits = jax.eval_shape(self._function, images, self.parameters)
            if getattr(logits, "ndim", None) != 2:
                raise ValueError(f"the model must return logits (b, n), got {logits}")
            self._classes[key] = logits.shape[1]
        return self._classes[key]


@jax.jit
def _all_finite(images: Array) -> Array:
    return jnp.isfinite(images).all()


def weighted_map(
    method: str, activation: Float[Array, "b p q k"], signal: Float[Array, "b p q k"]
) -> Float[Array, "b p q"]:
    """sum_k weight · A_k with the weights of ``method``, in float32 at least.

    Half precision would lose the small terms of the sums over space.
    """
    dtype = jnp.promote_types(activation.dtype, jnp.float32)
    activation, signal = activation.astype(dtype), signal.astype(dtype)
    return weighted_sum(activation, METHODS[method].weights(activation, signal))


def _check_activations(activations: dict[str, Array]) -> None:
    if not activations:
        raise ValueError("the model has no marked layers; put xr.mark(x, name) after those to explain")
    for layer, activation in activations.items():
        if activation.ndim != 4:
            raise ValueError(
                f"layer {layer!r} must be (b, h, w, k) for a class activation map, has shape {activation.shape}"
            )


def check_targets(targets: ArrayLike, batch: int, classes: int) -> Int[np.ndarray, "b *t"]:
    """``targets`` as an array, if they are classes of a batch of that size.

    Raises:
      ValueError: they are not.
    """
    array = np.asarray(targets)
    if array.ndim not in (1, 2) or len(array) != batch or not np.issubdtype(array.dtype, np.integer):
        raise ValueError(
            f"targets must be integers of shape ({batch},) or ({batch}, t), got {array.dtype} of shape {array.shape}"
        )
    wrong = array[(array < 0) | (array >= classes)]
    if wrong.size:
        raise ValueError(f"targets must be classes 0 to {classes - 1}, found {int(wrong[0])}")
    return array
