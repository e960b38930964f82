"""What the score loses when pixels are changed, and what a map has in them: subsets of pixels, or noise everywhere.

The passes do not depend on maps: :func:`subset_drops` and :func:`noise_drops` serve all of them.

References:
  bhatt2020, ancona2018, yeh2019
"""

from collections.abc import Sequence
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, Key

from xrcam_jax.attribution.baseline import Baseline, baseline_images
from xrcam_jax.attribution.case import Case
from xrcam_jax.attribution.perturbations import PerAxis, per_axis
from xrcam_jax.attribution.scores import changed_scores
from xrcam_jax.attribution.shapes import at_least_float32
from xrcam_jax.attribution.targets import Score
from xrcam_jax.metrics.judged import Maps
from xrcam_jax.runtime.compiling import compiled

Subsets = Bool[Array | np.ndarray, "v *space"]


@dataclass(frozen=True)
class Noise:
    """Adds Gaussian noise to the baseline, or to the picture itself (yeh2019).

    Attributes:
      deviation: of the noise.
      of_picture: whether noise is added to the picture, and not to the baseline that is there instead of it.
    """

    deviation: float = 0.2
    of_picture: bool = False

    def __call__(
        self, images: Float[Array, "b *space c"], index: Array, state: tuple[Float[Array, "b *space c"], Key[Array, ""]]
    ) -> Float[Array, "b *space c"]:
        """Returns the pictures as they are for index 0, and else with noise of that number, the same for all."""
        centre, key = state
        return jnp.where(index == 0, images, centre + self.drawn(key, index, images))

    def drawn(self, key: Key[Array, ""], index: Array, images: Float[Array, "b *space c"]) -> Float[Array, "*space c"]:
        """Returns the noise of a number, from 1."""
        noise = jax.random.normal(jax.random.fold_in(key, index), images.shape[1:], images.dtype)
        return noise * jnp.asarray(self.deviation, images.dtype)


def random_subsets(shape: tuple[int, ...], sizes: Sequence[int], *, seed: int = 0) -> Bool[Array, "v *space"]:
    """Returns random sets of pixels, without repetition in a set.

    Args:
      shape: of space: (height, width) of images.
      sizes: how many pixels each set has, from 1 to all.
      seed: of what is drawn. A set depends on its size and its number alone.

    Returns:
      True for the pixels of each set.

    Raises:
      ValueError: no sizes, or one that is less than 1 or more than the picture has.

    Example:
      >>> from xrcam_jax.metrics.drops import random_subsets
      >>> random_subsets((4, 4), [1, 5, 16]).sum((1, 2)).tolist()
      [1, 5, 16]

    References:
      bhatt2020, ancona2018
    """
    count = int(np.prod(shape))
    if not len(sizes) or min(sizes) < 1 or max(sizes) > count:
        raise ValueError(f"sizes of subsets must be 1 to the picture's {count} pixels; got {sorted(set(sizes))}")
    return _random_subsets(jnp.asarray(sizes, jnp.int32), jax.random.key(seed), shape=tuple(shape))


@compiled(static=("shape",))
def _random_subsets(sizes: Int[Array, " v"], key: Key[Array, ""], *, shape: tuple[int, ...]) -> Bool[Array, "v *space"]:
    count = int(np.prod(shape))

    def one(number_and_size: tuple[Array, Array]) -> Array:
        number, size = number_and_size
        return (jax.random.permutation(jax.random.fold_in(key, number), count) < size).reshape(shape)

    return jax.lax.map(one, (jnp.arange(len(sizes)), sizes))


def random_squares(shape: tuple[int, ...], side: PerAxis, count: int, *, seed: int = 0) -> Bool[Array, "v *space"]:
    """Returns squares of pixels at random places inside a picture, all places alike.

    Args:
      shape: of space: (height, width) of images.
      side: of a square, or one number for each axis, from 1 to the picture's.
      count: how many squares, from 1.
      seed: of what is drawn.

    Returns:
      True for the pixels of each square.

    Raises:
      ValueError: a side that does not fit, or no squares.

    Example:
      >>> from xrcam_jax.metrics.drops import random_squares
      >>> squares = random_squares((4, 4), 2, 3)
      >>> squares.sum((1, 2)).tolist(), squares.any(1).sum(1).tolist()
      ([4, 4, 4], [2, 2, 2])

    References:
      yeh2019
    """
    sides = per_axis("side", side, shape)
    if any(not 1 <= each <= whole for each, whole in zip(sides, shape, strict=True)):
        raise ValueError(f"side of a square must be 1 to the picture's {shape}; got {side}")
    if count < 1:
        raise ValueError(f"samples must be at least 1; got {count}")
    return _random_squares(jax.random.key(seed), jnp.arange(count), shape=tuple(shape), sides=sides)


@compiled(static=("shape", "sides"))
def _random_squares(
    key: Key[Array, ""], numbers: Int[Array, " v"], *, shape: tuple[int, ...], sides: tuple[int, ...]
) -> Bool[Array, "v *space"]:
    most = jnp.asarray([whole - each + 1 for whole, each in zip(shape, sides, strict=True)])

    def one(number: Array) -> Array:
        first = jax.random.randint(jax.random.fold_in(key, number), (len(shape),), 0, most)
        inside = jnp.ones(shape, bool)
        for axis, each in enumerate(sides):
            place = jax.lax.broadcasted_iota(first.dtype, shape, axis)
            inside &= (place >= first[axis]) & (place < first[axis] + each)
        return inside

    return jax.vmap(one)(numbers)


def without(
    images: Float[Array, "b *space c"], index: Array, state: tuple[Subsets, Float[Array, "b *space c"]]
) -> Float[Array, "b *space c"]:
    """Returns the pictures with one subset of pixels replaced, as :func:`changed_scores` asks for them.

    Args:
      images: the pictures.
      index: 0 for the pictures as they are, and else one more than the subset's number.
      state: the subsets, and what replaces a pixel.

    Example:
      >>> import jax.numpy as jnp
      >>> from xrcam_jax.metrics.drops import without
      >>> images, subsets = jnp.ones((1, 1, 2, 1)), jnp.array([[[True, False]]])
      >>> [without(images, jnp.array(i), (subsets, 0 * images)).ravel().tolist() for i in range(2)]
      [[1.0, 1.0], [0.0, 1.0]]
    """
    subsets, hidden = state
    replaced = subsets[jnp.maximum(index - 1, 0)] & (index > 0)
    return jnp.where(replaced[..., None], hidden, images)


def subset_drops(
    case: Case, subsets: Subsets, *, fill: Baseline = 0.0, score: Score = "probability"
) -> Float[Array, "v b"]:
    """Returns f(x) - f(x without S), what the targets' scores lose with each subset of pixels.

    Args:
      case: the model, the pictures and one target class for each, (b, 1).
      subsets: S, the same for all pictures; see :func:`random_subsets` and :func:`random_squares`.
      fill: what replaces a pixel, a number or an array like the pictures.
      score: see :func:`xrcam_jax.attribution.targets.target_scores`.

    Returns:
      The drop for each subset and picture.

    Raises:
      ValueError: an unknown score, or a fill that does not fit the pictures.

    Example:
      >>> import jax.numpy as jnp
      >>> from xrcam_jax.attribution.case import Case
      >>> from xrcam_jax.metrics.drops import subset_drops
      >>> model = lambda images, parameters: images.sum((1, 2)) * parameters
      >>> case = Case(model, jnp.ones(1), jnp.array([1.0, 2.0]).reshape(1, 1, 2, 1), jnp.ones((1, 1), int))
      >>> subset_drops(case, jnp.array([[[False, True]], [[True, True]]]), score="logit").tolist()
      [[2.0], [3.0]]

    References:
      bhatt2020, ancona2018
    """
    state = (jnp.asarray(subsets), baseline_images(case, fill))
    scores = changed_scores(case, without, len(subsets) + 1, state, score=score, name="subsets")[..., 0]
    return scores[0] - scores[1:]


@jax.jit
def subset_sums(maps: Maps, subsets: Subsets) -> Float[Array, "m v b"]:
    """Returns sum_{p in S} R_p, what a map has in each subset.

    Args:
      maps: R, m saliency maps of each picture.
      subsets: S, see :func:`subset_drops`.

    Returns:
      The sum for each map, subset and picture.

    Example:
      >>> import jax.numpy as jnp
      >>> from xrcam_jax.metrics.drops import subset_sums
      >>> subset_sums(jnp.array([[[[1.0, 2.0]]]]), jnp.array([[[False, True]], [[True, True]]])).ravel().tolist()
      [2.0, 3.0]
    """
    values = at_least_float32(jnp.asarray(maps))
    space = tuple(range(2, values.ndim))
    # One subset at a time: maps and subsets all at once would take subsets times the memory of the maps.
    sums = jax.lax.map(lambda subset: jnp.where(subset, values, 0).sum(space), jnp.asarray(subsets))
    return jnp.moveaxis(sums, 0, 1)


def noise_drops(
    case: Case, noise: Noise, samples: int, *, fill: Baseline = 0.0, score: Score = "probability"
) -> Float[Array, "v b"]:
    """Returns f(x) - f(x - I), what the targets' scores lose by noise in all pixels.

    Args:
      case: the model, the pictures and one target class for each, (b, 1).
      noise: what x - I is: the baseline with noise, or the picture with noise.
      samples: how often noise is drawn, from 1; the same for all pictures.
      fill: the baseline, a number or an array like the pictures.
      score: see :func:`xrcam_jax.attribution.targets.target_scores`.

    Returns:
      The drop for each sample and picture.

    Raises:
      ValueError: no samples, an unknown score, or a baseline that does not fit the pictures.

    Example:
      >>> import jax.numpy as jnp
      >>> from xrcam_jax.attribution.case import Case
      >>> from xrcam_jax.metrics.drops import Noise, noise_drops
      >>> model = lambda images, parameters: images.sum((1, 2)) * parameters
      >>> case = Case(model, jnp.ones(1), jnp.array([1.0, 2.0]).reshape(1, 1, 2, 1), jnp.ones((1, 1), int))
      >>> noise_drops(case, Noise(deviation=0.0), 2, score="logit").tolist()
      [[3.0], [3.0]]

    References:
      yeh2019
    """
    if samples < 1:
        raise ValueError(f"samples must be at least 1; got {samples}")
    state = _centre_and_key(case, noise, fill)
    scores = changed_scores(case, noise, samples + 1, state, score=score, name="noise")[..., 0]
    return scores[0] - scores[1:]


def noise_sums(case: Case, maps: Maps, noise: Noise, samples: int, *, fill: Baseline = 0.0) -> Float[Array, "m v b"]:
    """Returns sum_p R_p sum_c I_pc, what a map says that the score loses by the noise of :func:`noise_drops`.

    Args:
      case: the pictures, and the seed of the noise.
      maps: R, m saliency maps of each picture, which count for each channel of a pixel.
      noise: what x - I is, see :func:`noise_drops`.
      samples: how often noise is drawn.
      fill: the baseline.

    Returns:
      The sum for each map, sample and picture.

    Raises:
      ValueError: a baseline that does not fit the pictures.

    Example:
      >>> import jax.numpy as jnp
      >>> from xrcam_jax.attribution.case import Case
      >>> from xrcam_jax.metrics.drops import Noise, noise_sums
      >>> model = lambda images, parameters: images.sum((1, 2))
      >>> case = Case(model, (), jnp.array([1.0, 2.0]).reshape(1, 1, 2, 1), jnp.ones((1, 1), int))
      >>> noise_sums(case, jnp.array([[[[1.0, 10.0]]]]), Noise(deviation=0.0), 2).ravel().tolist()
      [21.0, 21.0]

    References:
      yeh2019
    """
    return _noise_sums(
        jnp.asarray(maps), case.images, *_centre_and_key(case, noise, fill), noise=noise, samples=samples
    )


def _centre_and_key(case: Case, noise: Noise, fill: Baseline) -> tuple[Array, Array]:
    centre = case.images if noise.of_picture else baseline_images(case, fill)
    return centre, jax.random.key(case.random_seed)


@compiled(static=("noise", "samples"))
def _noise_sums(
    maps: Maps,
    images: Float[Array, "b *space c"],
    centre: Float[Array, "b *space c"],
    key: Key[Array, ""],
    *,
    noise: Noise,
    samples: int,
) -> Float[Array, "m v b"]:
    values = at_least_float32(jnp.asarray(maps))
    space = tuple(range(2, values.ndim))

    def one(number: Array) -> Array:
        change = (images - noise(images, number, (centre, key))).astype(values.dtype).sum(-1)
        return (values * change).sum(space)

    return jnp.moveaxis(jax.lax.map(one, jnp.arange(1, samples + 1)), 0, 1)
