"""Methods made of methods: SmoothGrad around any other, and guided backprop times any class activation map.

References:
  smilkov2017, selvaraju2017
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Key, PyTree

from xrcam_jax.attribution.case import INPUT, Case, Function
from xrcam_jax.attribution.chunks import bytes_of_gradient, summed
from xrcam_jax.cam.channel_cams import noisy
from xrcam_jax.cam.saliency import min_max, upsample
from xrcam_jax.explain.kinds import Channels, Found, Kind, Where, split
from xrcam_jax.explain.passes import Propagation, Signal, requests, run_together
from xrcam_jax.lrp import seeds
from xrcam_jax.lrp.composites import guided_backprop
from xrcam_jax.runtime.compiling import compiled

GUIDED_BACKPROP = Propagation(Signal(guided_backprop(), seeds.unit), channels="largest")


@dataclass(frozen=True)
class Composed(Kind):
    """Is a method that has another one inside it.

    Attributes:
      inner: the other method.
    """

    inner: Kind

    @property
    def behind_pooling(self) -> bool:
        return self.inner.behind_pooling

    @property
    def is_relevance(self) -> bool:
        return self.inner.is_relevance

    @property
    def changes_input(self) -> bool:
        return self.inner.changes_input

    def options_known(self) -> dict[str, Any]:
        return self.inner.options_known()

    def configured(self, options: Mapping[str, Any]) -> Kind:
        return replace(self, inner=self.inner.configured(options))

    def around(self, name: str, method: Kind) -> Kind:
        return replace(self, inner=method)


@dataclass(frozen=True)
class Guided(Composed):
    """Is guided backprop at the input times a CAM of a layer, pixel by pixel (selvaraju2017, section 3.2)."""

    inside: ClassVar[str | None] = "cam"

    @property
    def channels(self) -> Channels:
        return "largest"

    def around(self, name: str, method: Kind) -> Kind:
        if method.where != "marks":
            raise ValueError(f"cam must name a class activation map; got {name!r}")
        return super().around(name, method)

    def run(self, case: Case, layers: tuple[str, ...]) -> dict[str, Found]:
        kinds = {"cam": self.inner, "guided_backprop": GUIDED_BACKPROP}
        found = run_together(requests(kinds, {"cam": layers, "guided_backprop": (INPUT,)}), case)
        backprop = found["guided_backprop"][INPUT].values
        assert backprop is not None
        size = case.images.shape[1:-1]

        def product(cam: Found) -> Found:
            assert cam.maps is not None
            positive = min_max(jax.nn.relu(cam.maps), len(size))
            return Found(values=backprop * upsample(positive, size)[..., None])

        cams = found["cam"] if "cam" in found else self.inner.run(case, layers)
        return {layer: product(cam) for layer, cam in cams.items()}


@dataclass(frozen=True)
class Smooth(Composed):
    """Is SmoothGrad around a method: the mean of what it finds on noisy copies of the image (smilkov2017).

    Attributes:
      samples: number of copies, at least 1.
      noise: standard deviation of the noise, as a share of each image's range.
    """

    inside: ClassVar[str | None] = "base"

    samples: int = 16
    noise: float = 0.15

    def __post_init__(self) -> None:
        if self.samples < 1 or self.noise < 0:
            raise ValueError(f"samples must be at least 1 and noise not negative; got {self.samples} and {self.noise}")

    @property
    def where(self) -> Where:
        return self.inner.where

    @property
    def changes_input(self) -> bool:
        return True

    @property
    def channels(self) -> Channels:
        return self.inner.channels

    @property
    def signed(self) -> bool:
        return self.inner.signed

    def options_known(self) -> dict[str, Any]:
        return {"samples": int, "noise": float, **self.inner.options_known()}

    def configured(self, options: Mapping[str, Any]) -> Kind:
        own, of_inner = split(options, ("samples", "noise"))
        return replace(self, inner=self.inner.configured(of_inner), **own)

    def run(self, case: Case, layers: tuple[str, ...]) -> dict[str, Found]:
        key = jax.random.key(case.random_seed)

        def many_copies(indices: Array, real: Array) -> dict[str, Found]:
            given, weight = (case.images, case.parameters, case.targets), real / self.samples
            fixed = {"function": case.function, "kind": self.inner, "layers": layers, "noise": self.noise}
            return _weighted_sum_over_copies(*given, key, indices, weight, **fixed)

        def one_copy(indices: Array, real: Array) -> dict[str, Found]:
            images = noisy(case.images, jax.random.fold_in(key, indices[0]), self.noise)
            found = self.inner.run(replace(case, images=images), layers)
            return jax.tree.map(lambda a: a / self.samples, found)

        if not self.inner.single_pass:
            # The method inside fills the device by itself.
            return summed(one_copy, self.samples, replace(case, chunk_size=1), 1, "SmoothGrad")
        each = bytes_of_gradient(case.function, INPUT, case.images, case.parameters)
        return summed(many_copies, self.samples, case, each, "SmoothGrad")


@compiled(static=("function", "kind", "layers", "noise"))
def _weighted_sum_over_copies(
    images: Float[Array, "b *space c"],
    parameters: PyTree,
    targets: Int[Array, "b t"],
    key: Key[Array, ""],
    indices: Int[Array, " n"],
    weight: Float[Array, " n"],
    *,
    function: Function,
    kind: Kind,
    layers: tuple[str, ...],
    noise: float,
) -> dict[str, Found]:
    copies = jax.vmap(lambda index: noisy(images, jax.random.fold_in(key, index), noise), out_axes=1)(indices)
    count = len(indices)
    repeated = Case(function, parameters, copies.reshape(-1, *images.shape[1:]), jnp.repeat(targets, count, axis=0))

    def total(a: Array) -> Array:
        each = a.reshape(-1, count, *a.shape[1:])
        return jnp.tensordot(each, weight.astype(a.dtype), axes=(1, 0))

    return jax.tree.map(total, kind.run(repeated, layers))
