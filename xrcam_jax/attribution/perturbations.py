"""Explanations by hiding parts of the image: occlusion and RISE.

References:
  zeiler2014, petsiuk2018
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial, reduce
from itertools import chain
from math import prod

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Key

from xrcam_jax.attribution.baseline import Baseline, baseline_images
from xrcam_jax.attribution.case import Case
from xrcam_jax.attribution.chunks import summed
from xrcam_jax.attribution.scores import Index, changed_scores, default_score, intact_scores
from xrcam_jax.attribution.targets import Score
from xrcam_jax.runtime.compiling import compiled

#: A number for all axes of space, or one for each: (height, width) of images.
PerAxis = int | tuple[int, ...]


def occlusion(
    case: Case,
    *,
    window: PerAxis | None = None,
    stride: PerAxis | None = None,
    baseline: Baseline = 0.0,
    score: Score = "logit",
) -> Float[Array, "b t *space"]:
    """Returns the mean of f(x) - f(x with a window hidden), over the windows that cover a pixel.

    This is what zeiler2014, section 4.2, measures. Windows begin at every ``stride`` pixels; those that reach over the
    border are cut off there.

    Args:
      case: what is explained.
      window: sides in pixels, (height, width) of images and (depth, height, width) of volumes, or one number for all;
        16 by default, or half of the shortest side of images all of which that would hide. Sides of one pixel do not
        count, and have windows of one pixel.
      stride: from one window to the next, likewise; at most the window, so that every pixel is covered. It is 8 by
        default, or half of a window that is not given, or as much as the window where that is less.
      baseline: what is put in the window's place.
      score: ``"logit"``, ``"probability"`` or ``"log_odds"``.

    Raises:
      ValueError: a window larger than the image, a stride of none or beyond the window, an unknown score, or a baseline
        that does not fit the images.

    Example:
      >>> import jax.numpy as jnp
      >>> from xrcam_jax.attribution.case import Case
      >>> from xrcam_jax.attribution.perturbations import occlusion
      >>> model = lambda images, parameters: images.sum((1, 2))
      >>> case = Case(model, (), jnp.array([1.0, 2.0, 0.0, 4.0]).reshape(1, 2, 2, 1), jnp.array([[1]]))
      >>> occlusion(case, window=1, stride=1)[0, 0].tolist()
      [[1.0, 2.0], [0.0, 4.0]]

    References:
      zeiler2014
    """
    shape = case.images.shape[1:-1]
    windows = _windows(shape, window, stride)
    windows.check(shape)
    hidden = baseline_images(case, baseline)
    count = prod(windows.counts(shape))
    drops = intact_scores(case, score) - changed_scores(
        case, Occlude(windows), count, hidden, score=score, name="occlusion"
    )
    return windows.spread(drops, shape)


def _windows(shape: tuple[int, ...], window: PerAxis | None, stride: PerAxis | None) -> "Windows":
    """Returns the windows that are asked for, or those that are taken by default."""
    shortest = min([side for side in shape if side > 1], default=1)
    default = 16 if shortest > 16 else max(1, shortest // 2)
    size = tuple(min(default, side) for side in shape) if window is None else per_axis("window", window, shape)
    if stride is not None:
        return Windows(size, per_axis("stride", stride, shape))
    step = 8 if window is not None else max(1, default // 2)
    return Windows(size, tuple(min(step, side) for side in size))


@dataclass(frozen=True)
class Windows:
    """Describes windows at regular places, numbered along the last axis first: row by row in images.

    Attributes:
      size: of a window, along each axis of space: (height, width) in images.
      stride: from one window to the next, likewise.
      inside: whether the last ones are moved inside where they would reach over the border.
    """

    size: tuple[int, ...]
    stride: tuple[int, ...]
    inside: bool = False

    def check(self, shape: tuple[int, ...]) -> None:
        """Refuses windows that do not fit an image of that shape, or leave pixels out.

        Raises:
          ValueError: names the side that is wrong.
        """
        for size, stride, side, name in zip(self.size, self.stride, shape, _axis_names(shape), strict=True):
            if not 1 <= size <= side:
                raise ValueError(f"window must have a {name} of 1 to the image's {side}; got {size}")
            if not 1 <= stride <= size:
                raise ValueError(f"stride must be 1 to the window's {name} {size}; got {stride}")

    def starts(self, axis: int, side: int) -> Int[Array, " n"]:
        """Returns the first pixel of each window along an axis."""
        last = side - self.size[axis]
        starts = jnp.arange(-(-last // self.stride[axis]) + 1) * self.stride[axis]
        return jnp.minimum(starts, last) if self.inside else starts

    def covered(self, axis: int, side: int) -> Float[Array, "n side"]:
        """Returns 1 for the pixels that a window covers along an axis, else 0, for each window."""
        starts = self.starts(axis, side)[:, None]
        pixels = jnp.arange(side)
        return ((pixels >= starts) & (pixels < starts + self.size[axis])).astype(jnp.float32)

    def counts(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """Returns how many windows there are along each axis."""
        return tuple(len(self.starts(axis, side)) for axis, side in enumerate(shape))

    def corner(self, index: Index, shape: tuple[int, ...]) -> list[Int[Array, ""]]:
        """Returns the first pixel of one window along each axis."""
        numbers = jnp.unravel_index(index, self.counts(shape))
        return [self.starts(axis, side)[numbers[axis]] for axis, side in enumerate(shape)]

    def mask(self, index: Index, shape: tuple[int, ...]) -> Float[Array, "*space"]:
        """Returns 1 inside one window, and 0 elsewhere."""
        numbers = jnp.unravel_index(index, self.counts(shape))
        return _outer([self.covered(axis, side)[numbers[axis]] for axis, side in enumerate(shape)])

    def spread(self, values: Float[Array, "n b t"], shape: tuple[int, ...]) -> Float[Array, "b t *space"]:
        """Returns for each pixel the mean of the values of the windows that cover it."""
        covered = [self.covered(axis, side).astype(values.dtype) for axis, side in enumerate(shape)]
        grid = values.reshape(*self.counts(shape), *values.shape[1:])
        # Axes by number: those of the windows come first, then b and t, then those of the pixels.
        n = len(shape)
        windows, batch, pixels = list(range(n)), [n, n + 1], list(range(n + 2, 2 * n + 2))
        covers = chain.from_iterable(zip(covered, map(list, zip(windows, pixels, strict=True)), strict=True))
        sums = jnp.einsum(grid, [*windows, *batch], *covers, [*batch, *pixels])
        return sums / _outer([each.sum(0) for each in covered])


@dataclass(frozen=True)
class Occlude:
    """Hides one window of the images; the state is what takes its place.

    Attributes:
      windows: which are hidden, by their number.
    """

    windows: Windows

    def __call__(
        self, images: Float[Array, "b *space c"], index: Index, hidden: Float[Array, "b *space c"]
    ) -> Float[Array, "b *space c"]:
        """Returns the images without the window ``index``."""
        mask = self.windows.mask(index, images.shape[1:-1])[..., None]
        return jnp.where(mask > 0, hidden, images)


def rise(
    case: Case,
    *,
    samples: int = 2000,
    grid: PerAxis = 7,
    keep: float = 0.5,
    baseline: Baseline = 0.0,
    score: Score | None = None,
) -> Float[Array, "b t *space"]:
    """Returns the mean of f(x · M) M / p over random masks M, smooth and shifted at random (petsiuk2018, eq. 6).

    All images of the batch get the same masks. Of a target function f is the value less its mean over the masks.

    Args:
      case: what is explained.
      samples: number of masks, at least 1.
      grid: cells of a mask along each axis, before it is upsampled, or one number for all; at least 1.
      keep: p, the probability that a cell stays visible, between 0 and 1.
      baseline: what shows where a mask is 0.
      score: ``"probability"``, ``"logit"`` or ``"log_odds"``; by default the probability of a class, and the value
        itself of a target function.

    Raises:
      ValueError: no samples, no cells, ``keep`` not between 0 and 1, an unknown score, or a baseline that does not fit
        the images.

    Example:
      >>> import jax.numpy as jnp
      >>> from xrcam_jax.attribution.case import Case
      >>> from xrcam_jax.attribution.perturbations import rise
      >>> model = lambda images, parameters: images[:, :3, :3].sum((1, 2))
      >>> case = Case(model, (), jnp.ones((1, 6, 6, 1)), jnp.array([[1]]))
      >>> maps = rise(case, samples=100, grid=2, score="logit")[0, 0]
      >>> bool(maps[:3, :3].mean() > maps[3:, 3:].mean())
      True

    References:
      petsiuk2018
    """
    shape = case.images.shape[1:-1]
    if samples < 1 or min(per_axis("grid", grid, shape)) < 1 or not 0 < keep < 1:
        raise ValueError(
            f"samples and grid must be at least 1 and keep between 0 and 1; got {samples}, {grid} and {keep}"
        )
    masks = RandomMasks(grid, keep)
    state = (jax.random.key(case.random_seed), baseline_images(case, baseline))
    scores = changed_scores(case, masks, samples, state, score=score or default_score(case), name="RISE")
    if case.of_value:
        # Nothing is known of where its values lie: shares of an offset would hide where they change.
        scores -= scores.mean(0)

    def step(indices: Array, real: Array) -> Array:
        return _weighted_masks(state[0], scores, indices, real, masks=masks, shape=shape)

    return summed(step, samples, case, 8 * prod(shape)) / (samples * keep)


@dataclass(frozen=True)
class RandomMasks:
    """Hides the images behind masks in [0, 1] that depend on a key and their number alone.

    The state is (key, what shows where a mask is 0).

    Attributes:
      grid: cells along each axis, before upsampling, or one number for all.
      keep: probability that a cell is 1.
    """

    grid: PerAxis
    keep: float

    def mask(self, key: Key[Array, ""], index: Index, shape: tuple[int, ...]) -> Float[Array, "*space"]:
        """Returns the mask of that number."""
        grid = per_axis("grid", self.grid, shape)
        cells_key, shift_key = jax.random.split(jax.random.fold_in(key, index))
        cells = jax.random.bernoulli(cells_key, self.keep, grid).astype(jnp.float32)
        cell = tuple(-(-side // count) for side, count in zip(shape, grid, strict=True))
        larger = tuple((count + 1) * side for count, side in zip(grid, cell, strict=True))
        large = jax.image.resize(cells, larger, "linear")
        shift = jax.random.randint(shift_key, (len(shape),), 0, jnp.asarray(cell))
        return jax.lax.dynamic_slice(large, shift, shape)

    def __call__(
        self, images: Float[Array, "b *space c"], index: Index, state: tuple[Key[Array, ""], Float[Array, "b *space c"]]
    ) -> Float[Array, "b *space c"]:
        """Returns the images behind the mask ``index``."""
        key, hidden = state
        mask = self.mask(key, index, images.shape[1:-1])[..., None].astype(images.dtype)
        return images * mask + hidden * (1 - mask)


@compiled(static=("masks", "shape"))
def _weighted_masks(
    key: Key[Array, ""],
    scores: Float[Array, "samples b t"],
    indices: Int[Array, " n"],
    real: Float[Array, " n"],
    *,
    masks: RandomMasks,
    shape: tuple[int, ...],
) -> Float[Array, "b t *space"]:
    drawn = jax.vmap(partial(masks.mask, key, shape=shape))(indices).astype(scores.dtype)
    return jnp.einsum("nbt,n...->bt...", scores[indices] * real[:, None, None].astype(scores.dtype), drawn)


def per_axis(name: str, value: PerAxis, shape: tuple[int, ...]) -> tuple[int, ...]:
    """Returns an option as one number for each axis of space.

    Args:
      name: of the option, for messages.
      value: a number for all axes, or one for each.
      shape: of space: (height, width) of images.

    Raises:
      ValueError: there are more numbers than axes, or less.

    Example:
      >>> from xrcam_jax.attribution.perturbations import per_axis
      >>> per_axis("window", 3, (32, 64)), per_axis("window", (2, 3), (32, 64))
      ((3, 3), (2, 3))
    """
    values = (value,) * len(shape) if isinstance(value, int) else tuple(value)
    if len(values) != len(shape):
        raise ValueError(f"{name} must be a number, or one for each of {', '.join(_axis_names(shape))}; got {value}")
    return values


def _axis_names(shape: tuple[int, ...]) -> list[str]:
    """Returns what the axes of space are called."""
    extra = [f"axis {axis + 1}" for axis in range(len(shape) - 3)]
    return [*extra, *("depth", "height", "width")[-len(shape) :]]


def _outer(vectors: Sequence[Float[Array, " _side"]]) -> Float[Array, "*space"]:
    """Returns the product of a number for each place along each axis, for all places."""
    return reduce(jnp.multiply.outer, vectors)
