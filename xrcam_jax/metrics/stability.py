"""How much maps change beside what else changes: the pictures, the model's outputs, or the values of a layer.

With R the map of a picture x, and noise that gives x' and R', each metric is the largest of

    ||(R - R') / R|| / max(change, smallest)

over those x' that the model gives the same class as x (agarwal2022). The change is ||(x - x') / x|| for the input,
||h - h'|| for the output h, the logits, and ||(L - L') / L|| for the representation L, the values of a layer. Norms are
Euclidean, and divisions go value by value; where a value is 0, its change is divided by ``smallest``.

References:
  agarwal2022
"""

from dataclasses import dataclass
from math import inf
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, PyTree

from xrcam_jax.attribution.case import Case, Function, activation_at
from xrcam_jax.attribution.shapes import at_least_float32
from xrcam_jax.classes import class_logits
from xrcam_jax.metrics.judged import Explain, Figures, Maps
from xrcam_jax.metrics.versions import Versions, check_samples, checked_draws, given_noise, measured, norms, of_versions

#: What changes are divided by in the place of 0, and at least.
SMALLEST = 1e-6


class Neighbours(NamedTuple):
    """Holds how much n noisy versions of each picture differ from it.

    The three metrics are what the methods make of it, so the passes are run once for all.

    Attributes:
      maps: ||(R - R') / R||.
      images: ||(x - x') / x||.
      logits: ||h - h'||.
      layer: ||(L - L') / L||; None without a layer.
      same: whether the model gives x' the class of x.
    """

    maps: Float[Array, "n m b"]
    images: Float[Array, "n b"]
    logits: Float[Array, "n b"]
    layer: Float[Array, "n b"] | None
    same: Bool[Array, "n b"]

    def relative_input_stability(self) -> Figures:
        """Returns what :func:`relative_input_stability` does."""
        return self._largest(self.images)

    def relative_output_stability(self) -> Figures:
        """Returns what :func:`relative_output_stability` does."""
        return self._largest(self.logits)

    def relative_representation_stability(self) -> Figures:
        """Returns what :func:`relative_representation_stability` does.

        Raises:
          ValueError: the passes were made without a layer.
        """
        if self.layer is None:
            raise ValueError("relative_representation_stability needs passes with a layer; got none")
        return self._largest(self.layer)

    def _largest(self, change: Float[Array, "n b"]) -> Figures:
        each = self.maps / jnp.maximum(change, SMALLEST)[:, None]
        largest = jnp.where(self.same[:, None], each, -jnp.inf).max(0)
        return jnp.where(self.same.any(0), largest, jnp.nan)


def neighbours(
    case: Case,
    explain: Explain,
    maps: Maps,
    *,
    layer: str | None = None,
    noise: float = 0.05,
    nr_samples: int = 50,
    draws: Float[Array | np.ndarray, "n *space c"] | None = None,
) -> Neighbours:
    """Returns how much noisy versions of the pictures differ from them, in all that the three metrics look at.

    Noise is normal, and the same for all pictures of the batch, so that no figure depends on the others.

    Args:
      case: the model, the pictures and one target class for each, (b, 1).
      explain: makes the maps.
      maps: those of the pictures as they are.
      layer: whose values are the representation, a mark or any other layer.
      noise: its standard deviation, in the units of the preprocessed pictures.
      nr_samples: n, how many noisy versions there are.
      draws: the noise itself, in the place of such draws; then its deviation and the number of samples do not count.

    Raises:
      ValueError: noise that is not positive, less than one sample, a layer that the model does not have, or draws of
        another shape than the pictures.

    Example:
      >>> import jax.numpy as jnp
      >>> from xrcam_jax.attribution.case import Case
      >>> from xrcam_jax.metrics.stability import neighbours
      >>> model = lambda images, parameters: images[:, 0, 0]
      >>> case = Case(model, (), jnp.array([1.0, 3.0]).reshape(1, 1, 1, 2), jnp.ones((1, 1), int))
      >>> def brightness(images, parameters, targets):
      ...   return images.sum(-1)[None]
      >>> found = neighbours(case, brightness, jnp.full((1, 1, 1, 1), 4.0), nr_samples=2)
      >>> found.maps.shape, found.images.shape, found.same.tolist()
      ((2, 1, 1), (2, 1), [[True], [True]])

    References:
      agarwal2022
    """
    if not 0 < noise < inf:
        raise ValueError(f"noise must be a positive number; got {noise!r}")
    check_samples(nr_samples)
    maps, change, count = jnp.asarray(maps), _normal_noise, nr_samples
    state: PyTree = jax.random.key(case.random_seed), jnp.asarray(noise, case.images.dtype), maps
    if draws is not None:
        given = checked_draws(case, draws)
        change, count, state = given_noise, len(given), (given, maps)
    measure = _Differences(case.function, layer)
    return Neighbours(*measured(case, explain, change, measure, count, state, name="stability"))


def _normal_noise(images: Float[Array, "b *space c"], index: Array, state: PyTree) -> Float[Array, "b *space c"]:
    key, noise, _ = state
    return images + noise * jax.random.normal(jax.random.fold_in(key, index), images.shape[1:], images.dtype)


@dataclass(frozen=True)
class _Differences:
    """Measures :class:`Neighbours`."""

    function: Function
    layer: str | None

    def __call__(self, versions: Versions, state: PyTree) -> tuple[Array, Array, Array, Array | None, Array]:
        maps = state[-1][:, :, None]
        # The pictures as they are run beside their versions, by the same program.
        everything = jnp.concatenate([versions.intact[:, None], versions.images], axis=1)
        flat = everything.reshape(-1, *everything.shape[2:])
        logits = self._beside(self.function(flat, versions.parameters), everything)
        classes = class_logits(logits).argmax(-1)
        layer = None
        if self.layer is not None:
            values, _ = activation_at(flat, versions.parameters, function=self.function, layer=self.layer)
            values = self._beside(values, everything)
            layer = norms(_relative(values[:, :1], values[:, 1:]), 2).T
        return (
            of_versions(norms(_relative(maps, versions.maps), 3)),
            norms(_relative(everything[:, :1], versions.images), 2).T,
            norms(logits[:, :1] - logits[:, 1:], 2).T,
            layer,
            (classes[:, :1] == classes[:, 1:]).T,
        )

    def _beside(self, a: Array, like: Array) -> Array:
        return a.reshape(*like.shape[:2], *a.shape[1:])


def _relative(a: Float[Array, "..."], other: Float[Array, "..."]) -> Float[Array, "..."]:
    """Returns (a - other) / a, with ``SMALLEST`` in the place of 0."""
    a, other = at_least_float32(a), at_least_float32(other)
    return (a - other) / jnp.where(a == 0, SMALLEST, a)


def relative_input_stability(
    case: Case, explain: Explain, maps: Maps, *, noise: float = 0.05, nr_samples: int = 50
) -> Figures:
    """Returns max_x' ||(R - R') / R|| / max(||(x - x') / x||, smallest), x' of the class of x (agarwal2022).

    Where noise changes the class of a version, the version does not count, as the paper has it; Quantus gives up the
    whole picture.

    Args:
      case: the model, the pictures and one target class for each, (b, 1).
      explain: makes the maps.
      maps: those of the pictures as they are.
      noise: its standard deviation, in the units of the preprocessed pictures.
      nr_samples: how many noisy versions there are.

    Returns:
      From 0, the lower the steadier; NaN where all versions are of another class.

    Raises:
      ValueError: noise that is not positive, or less than one sample.

    Example:
      >>> import jax.numpy as jnp
      >>> from xrcam_jax.attribution.case import Case
      >>> from xrcam_jax.metrics.stability import relative_input_stability
      >>> model = lambda images, parameters: images[:, 0, 0]
      >>> case = Case(model, (), jnp.array([1.0, 3.0]).reshape(1, 1, 1, 2), jnp.ones((1, 1), int))
      >>> def first(images, parameters, targets):
      ...   return images[None, ..., 0]
      >>> found = relative_input_stability(case, first, jnp.ones((1, 1, 1, 1)), nr_samples=3)
      >>> 0.0 < float(found[0, 0]) < 1.0
      True

    References:
      agarwal2022
    """
    return neighbours(case, explain, maps, noise=noise, nr_samples=nr_samples).relative_input_stability()


def relative_output_stability(
    case: Case, explain: Explain, maps: Maps, *, noise: float = 0.05, nr_samples: int = 50
) -> Figures:
    """Returns max_x' ||(R - R') / R|| / max(||h - h'||, smallest), h the logits (agarwal2022).

    Args:
      case: the model, the pictures and one target class for each, (b, 1).
      explain: makes the maps.
      maps: those of the pictures as they are.
      noise: its standard deviation, in the units of the preprocessed pictures.
      nr_samples: how many noisy versions there are.

    Returns:
      From 0, the lower the steadier; NaN where all versions are of another class, see
      :func:`relative_input_stability`.

    Raises:
      ValueError: noise that is not positive, or less than one sample.

    Example:
      >>> import jax.numpy as jnp
      >>> from xrcam_jax.attribution.case import Case
      >>> from xrcam_jax.metrics.stability import relative_output_stability
      >>> model = lambda images, parameters: images[:, 0, 0]
      >>> case = Case(model, (), jnp.array([1.0, 3.0]).reshape(1, 1, 1, 2), jnp.ones((1, 1), int))
      >>> def first(images, parameters, targets):
      ...   return images[None, ..., 0]
      >>> found = relative_output_stability(case, first, jnp.ones((1, 1, 1, 1)), nr_samples=3)
      >>> 0.0 < float(found[0, 0]) < 1.0
      True

    References:
      agarwal2022
    """
    return neighbours(case, explain, maps, noise=noise, nr_samples=nr_samples).relative_output_stability()


def relative_representation_stability(
    case: Case, explain: Explain, maps: Maps, *, layer: str, noise: float = 0.05, nr_samples: int = 50
) -> Figures:
    """Returns max_x' ||(R - R') / R|| / max(||(L - L') / L||, smallest), L a layer's values (agarwal2022).

    Args:
      case: the model, the pictures and one target class for each, (b, 1).
      explain: makes the maps.
      maps: those of the pictures as they are.
      layer: whose values are the representation, a mark or any other layer.
      noise: its standard deviation, in the units of the preprocessed pictures.
      nr_samples: how many noisy versions there are.

    Returns:
      From 0, the lower the steadier; NaN where all versions are of another class, see
      :func:`relative_input_stability`.

    Raises:
      ValueError: noise that is not positive, less than one sample, or a layer that the model does not have.

    Example:
      >>> import jax.numpy as jnp
      >>> import xrcam_jax as xr
      >>> from xrcam_jax.attribution.case import Case
      >>> from xrcam_jax.metrics.stability import relative_representation_stability
      >>> model = lambda images, parameters: xr.mark(2 * images, "double")[:, 0, 0]
      >>> case = Case(model, (), jnp.array([1.0, 3.0]).reshape(1, 1, 1, 2), jnp.ones((1, 1), int))
      >>> def first(images, parameters, targets):
      ...   return images[None, ..., 0]
      >>> maps = jnp.ones((1, 1, 1, 1))
      >>> found = relative_representation_stability(case, first, maps, layer="double", nr_samples=3)
      >>> 0.0 < float(found[0, 0]) < 1.0
      True

    References:
      agarwal2022
    """
    found = neighbours(case, explain, maps, layer=layer, noise=noise, nr_samples=nr_samples)
    return found.relative_representation_stability()
