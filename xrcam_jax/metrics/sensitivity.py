"""How much maps change when the pictures change a little: by uniform noise, which the three metrics here share.

References:
  alvarezmelis2018, yeh2019
"""

from math import inf
from typing import Literal, NamedTuple, get_args

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PyTree

from xrcam_jax.attribution.case import Case
from xrcam_jax.attribution.scores import Index
from xrcam_jax.metrics.judged import Explain, Figures, Maps
from xrcam_jax.metrics.versions import (
    Versions,
    check_samples,
    checked_draws,
    distances_from,
    given_noise,
    measured,
    norms,
    of_versions,
)

#: How many noisy versions there are of a picture, as in the experiments of yeh2019.
NOISY = 50
#: What a distance of maps is divided by.
RelativeTo = Literal["map", "image", "nothing"]


class NoisyDistances(NamedTuple):
    """Holds how far n noisy versions of each picture, and their maps, are from those without noise.

    All norms are Euclidean. The three metrics are what the methods make of it, so the passes are run once for all.

    Attributes:
      maps: ||R(x + e) - R(x)||.
      images: ||e||.
      map_norm: ||R(x)||.
      image_norm: ||x||.
    """

    maps: Float[Array, "n m b"]
    images: Float[Array, "n b"]
    map_norm: Float[Array, "m b"]
    image_norm: Float[Array, " b"]

    def max_sensitivity(self, relative_to: RelativeTo = "map") -> Figures:
        """Returns what :func:`max_sensitivity` does."""
        return self._relative(self.maps.max(0), relative_to)

    def avg_sensitivity(self, relative_to: RelativeTo = "map") -> Figures:
        """Returns what :func:`avg_sensitivity` does."""
        return self._relative(self.maps.mean(0), relative_to)

    def local_lipschitz(self) -> Figures:
        """Returns what :func:`local_lipschitz` does."""
        return (self.maps / self.images[:, None]).max(0)

    def _relative(self, distance: Figures, relative_to: RelativeTo) -> Figures:
        _check_relative(relative_to)
        if relative_to == "nothing":
            return distance
        scale = self.map_norm if relative_to == "map" else self.image_norm
        return jnp.where(distance == 0, 0, distance / scale)


def noisy_distances(
    case: Case,
    explain: Explain,
    maps: Maps,
    *,
    radius: float = 0.2,
    nr_samples: int = NOISY,
    draws: Float[Array | np.ndarray, "n *space c"] | None = None,
) -> NoisyDistances:
    """Returns how far the maps of noisy pictures are from those of the pictures as they are.

    Noise is uniform in [-radius, radius] for each value of a picture, and the same for all pictures of the batch, so
    that no figure depends on the others.

    Args:
      case: the model, the pictures and one target class for each, (b, 1).
      explain: makes the maps.
      maps: those of the pictures as they are.
      radius: of the noise, in the units of the preprocessed pictures.
      nr_samples: n, how many noisy versions there are.
      draws: the noise itself, in the place of such draws; then the radius and the number of samples do not count.

    Raises:
      ValueError: a radius that is not positive, less than one sample, or draws of another shape than the pictures.

    Example:
      >>> import jax.numpy as jnp
      >>> from xrcam_jax.attribution.case import Case
      >>> from xrcam_jax.metrics.sensitivity import noisy_distances
      >>> case = Case(lambda x, p: x.sum((1, 2)), (), jnp.ones((1, 1, 2, 1)), jnp.zeros((1, 1), int))
      >>> def doubled(images, parameters, targets):
      ...   return 2 * images[None, ..., 0]
      >>> found = noisy_distances(case, doubled, jnp.full((1, 1, 1, 2), 2.0), nr_samples=3)
      >>> found.maps.shape, bool(jnp.allclose(found.maps[:, 0], 2 * found.images))
      ((3, 1, 1), True)
      >>> found.local_lipschitz().round(3).tolist()
      [[2.0]]

    References:
      yeh2019
    """
    _check_noise(radius, nr_samples)
    maps, change, count = jnp.asarray(maps), uniform_noise, nr_samples
    state: PyTree = jax.random.key(case.random_seed), jnp.asarray(radius, case.images.dtype), maps
    if draws is not None:
        given = checked_draws(case, draws)
        change, count, state = given_noise, len(given), (given, maps)
    of_maps, of_images = measured(case, explain, change, _distances, count, state, name="sensitivity")
    return NoisyDistances(of_maps, of_images, norms(maps, 2), norms(case.images, 1))


def uniform_noise(images: Float[Array, "b *space c"], index: Index, state: PyTree) -> Float[Array, "b *space c"]:
    """Returns the pictures with noise, as :func:`xrcam_jax.metrics.versions.measured` asks for them.

    Args:
      images: the pictures.
      index: the number of the version.
      state: a key, the radius of the noise, and anything else.

    Example:
      >>> import jax
      >>> import jax.numpy as jnp
      >>> from xrcam_jax.metrics.sensitivity import uniform_noise
      >>> noise = uniform_noise(jnp.zeros((2, 8, 8, 3)), 0, (jax.random.key(0), jnp.float32(0.2)))
      >>> bool((noise[0] == noise[1]).all()), 0.1 < float(abs(noise).max()) < 0.2
      (True, True)
    """
    key, radius, *_ = state
    drawn = jax.random.uniform(jax.random.fold_in(key, index), images.shape[1:], images.dtype, -1, 1)
    return images + radius * drawn


def _distances(versions: Versions, state: PyTree) -> tuple[Float[Array, "v m b"], Float[Array, "v b"]]:
    return distances_from(versions, state), of_versions(norms(versions.changes, 2))


def max_sensitivity(
    case: Case,
    explain: Explain,
    maps: Maps,
    *,
    radius: float = 0.2,
    nr_samples: int = NOISY,
    relative_to: RelativeTo = "map",
) -> Figures:
    """Returns max_e ||R(x + e) - R(x)|| / ||R(x)|| over noise e of a radius (yeh2019).

    The paper defines the numerator; its authors' code divides by the norm of the map, without which a map would be the
    steadier the smaller its values are.

    Args:
      case: the model, the pictures and one target class for each, (b, 1).
      explain: makes the maps.
      maps: those of the pictures as they are.
      radius: of the noise, which is uniform, in the units of the preprocessed pictures.
      nr_samples: over how many draws the maximum is taken; the more, the closer it comes to that over all noise.
      relative_to: ``"map"``, ``"image"`` or ``"nothing"``.

    Returns:
      From 0, the lower the steadier; 0 where no map changes, infinite where only maps without noise are zero.

    Raises:
      ValueError: a radius that is not positive, less than one sample, or another ``relative_to``.

    Example:
      >>> import jax.numpy as jnp
      >>> from xrcam_jax.attribution.case import Case
      >>> from xrcam_jax.metrics.sensitivity import max_sensitivity
      >>> case = Case(lambda x, p: x.sum((1, 2)), (), jnp.ones((1, 1, 2, 1)), jnp.zeros((1, 1), int))
      >>> def constant(images, parameters, targets):
      ...   return jnp.ones((1, *images.shape[:-1]))
      >>> max_sensitivity(case, constant, jnp.ones((1, 1, 1, 2))).tolist()
      [[0.0]]

    References:
      yeh2019
    """
    _check_relative(relative_to)
    return noisy_distances(case, explain, maps, radius=radius, nr_samples=nr_samples).max_sensitivity(relative_to)


def avg_sensitivity(
    case: Case,
    explain: Explain,
    maps: Maps,
    *,
    radius: float = 0.2,
    nr_samples: int = NOISY,
    relative_to: RelativeTo = "map",
) -> Figures:
    """Returns the mean of ||R(x + e) - R(x)|| / ||R(x)|| over noise e of a radius (yeh2019).

    Args:
      case: the model, the pictures and one target class for each, (b, 1).
      explain: makes the maps.
      maps: those of the pictures as they are.
      radius: of the noise, which is uniform, in the units of the preprocessed pictures.
      nr_samples: over how many draws the mean is taken.
      relative_to: ``"map"``, ``"image"`` or ``"nothing"``, see :func:`max_sensitivity`.

    Returns:
      From 0, the lower the steadier, and at most the figure of :func:`max_sensitivity`.

    Raises:
      ValueError: a radius that is not positive, less than one sample, or another ``relative_to``.

    Example:
      >>> import jax.numpy as jnp
      >>> from xrcam_jax.attribution.case import Case
      >>> from xrcam_jax.metrics.sensitivity import avg_sensitivity
      >>> case = Case(lambda x, p: x.sum((1, 2)), (), jnp.ones((1, 1, 2, 1)), jnp.zeros((1, 1), int))
      >>> def constant(images, parameters, targets):
      ...   return jnp.ones((1, *images.shape[:-1]))
      >>> avg_sensitivity(case, constant, jnp.ones((1, 1, 1, 2))).tolist()
      [[0.0]]

    References:
      yeh2019
    """
    _check_relative(relative_to)
    return noisy_distances(case, explain, maps, radius=radius, nr_samples=nr_samples).avg_sensitivity(relative_to)


def local_lipschitz(
    case: Case, explain: Explain, maps: Maps, *, radius: float = 0.2, nr_samples: int = NOISY
) -> Figures:
    """Returns max_e ||R(x + e) - R(x)|| / ||e|| over noise e of a radius (alvarezmelis2018).

    The paper searches for the maximum with Bayesian optimisation, of which draws are a lower bound.

    Args:
      case: the model, the pictures and one target class for each, (b, 1).
      explain: makes the maps.
      maps: those of the pictures as they are.
      radius: of the noise, which is uniform, in the units of the preprocessed pictures. It is that of
        :func:`max_sensitivity`, so that both can share their passes.
      nr_samples: over how many draws the maximum is taken.

    Returns:
      From 0, the lower the steadier.

    Raises:
      ValueError: a radius that is not positive, or less than one sample.

    Example:
      >>> import jax.numpy as jnp
      >>> from xrcam_jax.attribution.case import Case
      >>> from xrcam_jax.metrics.sensitivity import local_lipschitz
      >>> case = Case(lambda x, p: x.sum((1, 2)), (), jnp.ones((1, 1, 2, 1)), jnp.zeros((1, 1), int))
      >>> def doubled(images, parameters, targets):
      ...   return 2 * images[None, ..., 0]
      >>> local_lipschitz(case, doubled, jnp.full((1, 1, 1, 2), 2.0)).round(3).tolist()
      [[2.0]]

    References:
      alvarezmelis2018
    """
    return noisy_distances(case, explain, maps, radius=radius, nr_samples=nr_samples).local_lipschitz()


def _check_noise(radius: float, nr_samples: int) -> None:
    if not 0 < radius < inf:
        raise ValueError(f"radius must be a positive number; got {radius!r}")
    check_samples(nr_samples)


def _check_relative(relative_to: str) -> None:
    if relative_to not in get_args(RelativeTo):
        raise ValueError(f"relative_to must be map, image or nothing; got {relative_to!r}")
