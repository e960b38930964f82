"""Explanations by hiding parts of the image: occlusion and RISE.

References:
  zeiler2014, petsiuk2018
"""

from dataclasses import dataclass
from functools import partial

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Key

from xrcam_jax.attribution.baseline import Baseline, baseline_images
from xrcam_jax.attribution.case import Case
from xrcam_jax.attribution.chunks import summed
from xrcam_jax.attribution.scores import Index, changed_scores, default_score, intact_scores
from xrcam_jax.attribution.targets import Score
from xrcam_jax.runtime.compiling import compiled


def occlusion(
    case: Case,
    *,
    window: int | tuple[int, int] | None = None,
    stride: int | tuple[int, int] | None = None,
    baseline: Baseline = 0.0,
    score: Score = "logit",
) -> Float[Array, "b t h w"]:
    """Returns the mean of f(x) - f(x with a window hidden), over the windows that cover a pixel.

    This is what zeiler2014, section 4.2, measures. Windows begin at every ``stride`` pixels; those that reach over the
    border are cut off there.

    Args:
      case: what is explained.
      window: height and width in pixels, or one number for both; 16 by default, or half of the shorter side of images
        all of which that would hide.
      stride: from one window to the next, likewise; at most the window, so that every pixel is covered. It is 8 by
        default, or half of a window that is not given.
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
    shorter = min(case.images.shape[1:3])
    default = 16 if shorter > 16 else max(1, shorter // 2)
    if stride is None:
        stride = max(1, default // 2) if window is None else 8
    windows = Windows(_pair(default if window is None else window), _pair(stride))
    windows.check(case.images.shape[1:3])
    hidden = baseline_images(case, baseline)
    rows, columns = (windows.covered(axis, case.images.shape[1 + axis]) for axis in (0, 1))
    count = len(rows) * len(columns)
    drops = intact_scores(case, score) - changed_scores(
        case, Occlude(windows), count, hidden, score=score, name="occlusion"
    )
    return windows.spread(drops, case.images.shape[1:3])


@dataclass(frozen=True)
class Windows:
    """Describes rectangles at regular places, numbered row by row.

    Attributes:
      size: (height, width).
      stride: (down, across).
      inside: whether the last ones are moved inside where they would reach over the border.
    """

    size: tuple[int, int]
    stride: tuple[int, int]
    inside: bool = False

    def check(self, shape: tuple[int, ...]) -> None:
        """Refuses windows that do not fit an image of that shape, or leave pixels out.

        Raises:
          ValueError: names the side that is wrong.
        """
        for size, stride, side, name in zip(self.size, self.stride, shape, ("height", "width"), strict=True):
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

    def mask(self, index: Index, shape: tuple[int, ...]) -> Float[Array, "h w"]:
        """Returns 1 inside one window, and 0 elsewhere."""
        rows, columns = self.covered(0, shape[0]), self.covered(1, shape[1])
        return rows[index // len(columns)][:, None] * columns[index % len(columns)][None, :]

    def spread(self, values: Float[Array, "n b t"], shape: tuple[int, ...]) -> Float[Array, "b t h w"]:
        """Returns for each pixel the mean of the values of the windows that cover it."""
        rows, columns = self.covered(0, shape[0]).astype(values.dtype), self.covered(1, shape[1]).astype(values.dtype)
        grid = values.reshape(len(rows), len(columns), *values.shape[1:])
        covering = rows.sum(0)[:, None] * columns.sum(0)[None, :]
        return jnp.einsum("rcbt,rh,cw->bthw", grid, rows, columns) / covering


@dataclass(frozen=True)
class Occlude:
    """Hides one window of the images; the state is what takes its place.

    Attributes:
      windows: which are hidden, by their number.
    """

    windows: Windows

    def __call__(
        self, images: Float[Array, "b h w c"], index: Index, hidden: Float[Array, "b h w c"]
    ) -> Float[Array, "b h w c"]:
        """Returns the images without the window ``index``."""
        mask = self.windows.mask(index, images.shape[1:3])[..., None]
        return jnp.where(mask > 0, hidden, images)


def rise(
    case: Case,
    *,
    samples: int = 2000,
    grid: int = 7,
    keep: float = 0.5,
    baseline: Baseline = 0.0,
    score: Score | None = None,
) -> Float[Array, "b t h w"]:
    """Returns the mean of f(x · M) M / p over random masks M, smooth and shifted at random (petsiuk2018, eq. 6).

    All images of the batch get the same masks. Of a target function f is the value less its mean over the masks.

    Args:
      case: what is explained.
      samples: number of masks, at least 1.
      grid: cells of a mask along each side, before it is upsampled; at least 1.
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
    if samples < 1 or grid < 1 or not 0 < keep < 1:
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
        return _weighted_masks(state[0], scores, indices, real, masks=masks, shape=case.images.shape[1:3])

    height, width = case.images.shape[1:3]
    return summed(step, samples, case, 8 * height * width) / (samples * keep)


@dataclass(frozen=True)
class RandomMasks:
    """Hides the images behind masks in [0, 1] that depend on a key and their number alone.

    The state is (key, what shows where a mask is 0).

    Attributes:
      grid: cells along each side, before upsampling.
      keep: probability that a cell is 1.
    """

    grid: int
    keep: float

    def mask(self, key: Key[Array, ""], index: Index, shape: tuple[int, ...]) -> Float[Array, "h w"]:
        """Returns the mask of that number."""
        cells_key, shift_key = jax.random.split(jax.random.fold_in(key, index))
        cells = jax.random.bernoulli(cells_key, self.keep, (self.grid, self.grid)).astype(jnp.float32)
        cell = tuple(-(-side // self.grid) for side in shape)
        large = jax.image.resize(cells, tuple((self.grid + 1) * side for side in cell), "linear")
        shift = jax.random.randint(shift_key, (2,), 0, jnp.asarray(cell))
        return jax.lax.dynamic_slice(large, shift, shape)

    def __call__(
        self, images: Float[Array, "b h w c"], index: Index, state: tuple[Key[Array, ""], Float[Array, "b h w c"]]
    ) -> Float[Array, "b h w c"]:
        """Returns the images behind the mask ``index``."""
        key, hidden = state
        mask = self.mask(key, index, images.shape[1:3])[..., None].astype(images.dtype)
        return images * mask + hidden * (1 - mask)


@compiled(static=("masks", "shape"))
def _weighted_masks(
    key: Key[Array, ""],
    scores: Float[Array, "samples b t"],
    indices: Int[Array, " n"],
    real: Float[Array, " n"],
    *,
    masks: RandomMasks,
    shape: tuple[int, int],
) -> Float[Array, "b t h w"]:
    drawn = jax.vmap(partial(masks.mask, key, shape=shape))(indices).astype(scores.dtype)
    return jnp.einsum("nbt,nhw->bthw", scores[indices] * real[:, None, None].astype(scores.dtype), drawn)


def _pair(value: int | tuple[int, int]) -> tuple[int, int]:
    return (value, value) if isinstance(value, int) else value
