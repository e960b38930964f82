"""An Explainer as the function that metrics explain again with: pictures and parameters in, a stack of maps out."""

from collections.abc import Callable, Sequence
from copy import copy
from dataclasses import dataclass, field, fields, is_dataclass
from functools import partial
from typing import Any

import jax.numpy as jnp
from jaxtyping import Array, Float, Int, PyTree

from xrcam_jax.cam.saliency import Size, upsample
from xrcam_jax.errors import unknown
from xrcam_jax.explain.explainer import Explainer
from xrcam_jax.explain.explanation import Explanation


@dataclass(frozen=True)
class Again:
    """Is the function (images, parameters, targets (b, 1)) -> maps (m, b, *space) of an Explainer.

    It is pure, hashable, and equal to those that do the same, so that programs that are compiled for one serve all.

    Attributes:
      key: what says that two do the same.
      explainer: without the model's parameters, which it does not hold on to.
      methods: whose maps are wanted.
      layers: where; None for all of the Explainer's.
      raw: whether maps are signed and unscaled.
    """

    key: Any
    explainer: Explainer = field(compare=False, repr=False)
    methods: tuple[str, ...]
    layers: tuple[str, ...] | None
    raw: bool

    def __call__(
        self, images: Float[Array, "b *space c"], parameters: PyTree, targets: Int[Array, "b 1"]
    ) -> Float[Array, "m b *space"]:
        """Returns the maps, method by method and each layer by layer, as :func:`stacked_maps` has them."""
        e = self.explainer.explain(parameters, images, targets[:, 0], methods=self.methods)
        return stacked_maps(e, self.methods, self.layers, raw=self.raw, size=images.shape[1:-1])


@dataclass(frozen=True)
class _Darker:
    """Is a model that takes a number off its pictures before it looks at them."""

    function: Callable
    shift: float

    def __call__(self, images: Array, parameters: PyTree) -> Any:
        return self.function(images - jnp.asarray(self.shift, images.dtype), parameters)


def explain_again(
    explainer: Explainer,
    methods: Sequence[str] | str | None = None,
    layers: Sequence[str] | str | None = None,
    *,
    raw: bool = False,
    shift: float = 0.0,
) -> Again:
    """Returns an Explainer as the function by which metrics explain changed pictures and networks.

    Args:
      explainer: of a model of one array, that explains classes.
      methods: those of its methods that are wanted; all by default.
      layers: those of its layers that are wanted, of methods that work at layers; all by default.
      raw: whether maps are signed and unscaled, see :func:`stacked_maps`.
      shift: what the model takes off its pictures before it looks at them, for
        :func:`xrcam_jax.metrics.axioms.input_invariance`.

    Returns:
      A function (images, parameters, targets (b, 1)) -> maps (m, b, *space). Inside a compiled program, methods that
      run the model again are one long program; those that need other libraries (``lime``) cannot run there.

    Raises:
      ValueError: a method that the Explainer does not have, or a target function of its own.

    Example:
      >>> import jax.numpy as jnp
      >>> import xrcam_jax as xr
      >>> from xrcam_jax.explain.again import explain_again
      >>> model = lambda images: xr.mark(images, "colours").mean((1, 2))
      >>> explainer = xr.Explainer(model, ["grad_cam", "gradient"])
      >>> explain = explain_again(explainer)
      >>> explain(jnp.ones((2, 4, 4, 3)), explainer.parameters, jnp.zeros((2, 1), int)).shape
      (2, 2, 4, 4)
      >>> explain == explain_again(xr.Explainer(model, ["grad_cam", "gradient"]))
      True
    """
    if explainer.target is not None:
        raise ValueError("explain_again needs an Explainer of classes; got one with a target of its own")
    chosen = explainer.methods if methods is None else (methods,) if isinstance(methods, str) else tuple(methods)
    for name in chosen:
        if name not in explainer.methods:
            raise unknown("method", name, explainer.methods)
    bare = copy(explainer)
    # Arrays would be kept for as long as the compiled program, and each is given its own.
    bare.parameters = ()
    if shift:
        bare._function = _Darker(explainer._function, float(shift))
    wanted = None if layers is None else (layers,) if isinstance(layers, str) else tuple(layers)
    options = bare.layers, bare.relu, bare.chunk_size, bare.random_seed, bare.explained, bare.tokens
    kinds = tuple(_comparable(bare.kinds[name]) for name in chosen)
    return Again((bare._function, kinds, *options), bare, chosen, wanted, raw)


def stacked_maps(
    explanation: Explanation,
    methods: Sequence[str] | None = None,
    layers: Sequence[str] | None = None,
    *,
    raw: bool = False,
    size: Size | None = None,
) -> Float[Array, "m b *space"]:
    """Returns the maps of an explanation of one target, method by method and each layer by layer.

    Args:
      explanation: of pictures of one size.
      methods: those that are wanted; all by default.
      layers: those that are wanted, of the methods that have any of them; all by default, and all of other methods.
      raw: whether what the maps show is wanted, signed and unscaled: ``explanation.raw``, enlarged to ``size``. It is
        what axioms and relative changes are about.
      size: of the pictures; by default that of the maps.

    Raises:
      ValueError: a method that was not computed, or more than one target for each picture.

    Example:
      >>> import jax.numpy as jnp
      >>> import xrcam_jax as xr
      >>> from xrcam_jax.explain.again import stacked_maps
      >>> model = lambda images: xr.mark(images, "colours").mean((1, 2))
      >>> e = xr.Explainer(model, ["grad_cam", "gradient"])(jnp.ones((2, 4, 4, 3)))
      >>> stacked_maps(e).shape, stacked_maps(e, ["gradient"], raw=True).shape
      ((2, 2, 4, 4), (1, 2, 4, 4))
    """
    if explanation.targets.ndim != 1:
        raise ValueError(f"explanation must be of one target for each picture; got {explanation.targets.shape[1]}")
    found = []
    for method in explanation.maps if methods is None else methods:
        if method not in explanation.maps:
            raise unknown("method", method, explanation.maps)
        by_layer = explanation.raw[method] if raw else explanation.maps[method]
        chosen = [layer for layer in by_layer if layers is None or layer in layers] or list(by_layer)
        found += [by_layer[layer] for layer in chosen]
        if raw:
            space = size or next(iter(explanation.maps[method].values())).shape[1:]
            found[-len(chosen) :] = [a if a.shape[1:] == space else upsample(a, space) for a in found[-len(chosen) :]]
    return jnp.stack(found)


def _comparable(value: Any) -> Any:
    """Returns a method's kind as values that are equal where it does the same, which partial functions are not."""
    if isinstance(value, partial):
        return value.func, tuple(map(_comparable, value.args)), tuple(sorted(value.keywords.items()))
    if is_dataclass(value) and not isinstance(value, type):
        return type(value), *(_comparable(getattr(value, each.name)) for each in fields(value))
    return value
