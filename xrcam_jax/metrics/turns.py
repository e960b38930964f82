"""Which pixels of a picture are replaced at which turn, as a map orders them, and by what; the scores at each turn.

References:
  bach2015, samek2017
"""

from dataclasses import dataclass
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Key

from xrcam_jax.attribution.baseline import Baseline, baseline_images
from xrcam_jax.attribution.case import Case
from xrcam_jax.attribution.perturbations import PerAxis, per_axis
from xrcam_jax.attribution.scores import changed_scores
from xrcam_jax.attribution.shapes import at_least_float32
from xrcam_jax.attribution.targets import Score
from xrcam_jax.metrics.judged import Maps
from xrcam_jax.metrics.patches import patch_numbers
from xrcam_jax.runtime.compiling import compiled

#: The most relevant first, the least relevant first, at random (the same for all pictures), or as they lie.
Order = Literal["morf", "lerf", "random", "rows"]
ORDERS = ("morf", "lerf", "random", "rows")


@dataclass(frozen=True)
class Uniform:
    """Draws what replaces a pixel, each channel by itself (samek2017); the same draw for all pictures.

    Attributes:
      draws: how often everything is replaced anew, from 1.
      low: the least value; by default that of each picture's channel.
      high: the greatest value; by default that of each picture's channel.
    """

    draws: int = 1
    low: float | None = None
    high: float | None = None


#: What replaces a pixel: a number or an array like the pictures, or what is drawn.
Fill = Baseline | Uniform


class Fills(NamedTuple):
    """Holds what replaces pixels, low + span · noise.

    Attributes:
      low: the least value.
      span: from the least to the greatest value; 0 where nothing is drawn.
      noise: in [0, 1], the same for all pictures.
    """

    low: Float[Array, "b *space c"]
    span: Float[Array, "#b *#space c"]
    noise: Float[Array, "d *#space #c"]

    def at(self, draw: Int[Array, ""]) -> Float[Array, "b *space c"]:
        """Returns the replacement of all pixels in one draw."""
        return self.low + self.span * self.noise[draw]


class Turns(NamedTuple):
    """Says when it is a pixel's turn. Where maps do not matter for it, there is one order for all.

    Attributes:
      of_pixel: the turn of each pixel, from 0.
      sums: of the map over the pixels of each turn.
    """

    of_pixel: Int[Array, "#m #b *space"]
    sums: Float[Array, "m b s"]


def fills_of(case: Case, fill: Fill) -> Fills:
    """Returns what replaces the pixels of a batch.

    Args:
      case: the pictures, and the seed of what is drawn.
      fill: a number, an array like the pictures, or a :class:`Uniform`.

    Returns:
      The replacements, as many as are drawn, and one where nothing is.

    Raises:
      ValueError: an array that does not fit the pictures, or no draws.

    Example:
      >>> import jax.numpy as jnp
      >>> from xrcam_jax.attribution.case import Case
      >>> from xrcam_jax.metrics.turns import Uniform, fills_of
      >>> model = lambda images, parameters: images.sum((1, 2))
      >>> case = Case(model, (), jnp.array([1.0, 3.0]).reshape(1, 1, 2, 1), jnp.zeros((1, 1), int))
      >>> fills_of(case, 0.5).at(jnp.array(0)).ravel().tolist()
      [0.5, 0.5]
      >>> drawn = fills_of(case, Uniform(draws=2)).at(jnp.array(1))
      >>> bool((drawn >= 1).all() & (drawn <= 3).all())
      True
    """
    images = case.images
    if not isinstance(fill, Uniform):
        nothing = jnp.zeros((1,) * images.ndim, images.dtype)
        return Fills(baseline_images(case, fill), nothing, nothing)
    if fill.draws < 1:
        raise ValueError(f"draws must be at least 1; got {fill.draws}")
    return Fills(*_drawn(images, jax.random.key(case.random_seed), fill=fill))


@compiled(static=("fill",))
def _drawn(images: Float[Array, "b *space c"], key: Key[Array, ""], *, fill: Uniform) -> tuple[Array, Array, Array]:
    space = tuple(range(1, images.ndim - 1))
    low = images.min(space, keepdims=True) if fill.low is None else jnp.asarray(fill.low, images.dtype)
    high = images.max(space, keepdims=True) if fill.high is None else jnp.asarray(fill.high, images.dtype)
    keys = jax.vmap(lambda draw: jax.random.fold_in(key, draw))(jnp.arange(fill.draws))
    noise = jax.vmap(lambda each: jax.random.uniform(each, images.shape[1:], images.dtype))(keys)
    span = jnp.broadcast_to(high - low, (len(images), *(1 for _ in space), images.shape[-1]))
    return jnp.broadcast_to(low, images.shape), span, noise


def patch_side(shape: tuple[int, ...], count: int) -> tuple[int, ...]:
    """Returns the sides of patches of which a picture has about ``count``, as many along each axis.

    Args:
      shape: of space: (height, width) of images.
      count: how many patches there are to be, at most as many as pixels.

    Returns:
      The side along each axis, in pixels.

    Example:
      >>> from xrcam_jax.metrics.turns import patch_side
      >>> patch_side((224, 224), 49), patch_side((8, 8), 256)
      ((32, 32), (1, 1))
    """
    axes = max(1, sum(side > 1 for side in shape))
    along = max(1, round(count ** (1 / axes)))
    return tuple(-(-side // along) for side in shape)


def in_turn(maps: Maps, *, patch: PerAxis = 1, per_turn: int = 1, order: Order = "morf", seed: int = 0) -> Turns:
    """Returns the turn of each pixel: that of its patch in the order of the patches' sums.

    Patches lie side by side from the top left corner, those at the other borders cut off. Equal ones follow the order
    of rows and columns.

    Args:
      maps: m saliency maps of each picture, of any range.
      patch: side of the squares whose pixels have the same turn, or one number for each axis, from 1.
      per_turn: how many patches have the same turn, from 1; the last turn may have less.
      order: ``"morf"`` and ``"lerf"`` for the most and the least relevant first (samek2017), ``"random"``, or
        ``"rows"`` for patches as they lie.
      seed: of the random order, which all pictures share.

    Returns:
      The turns, and what the map has in each.

    Raises:
      ValueError: an empty patch, no patch per turn, or another order.

    Example:
      >>> import jax.numpy as jnp
      >>> from xrcam_jax.metrics.turns import in_turn
      >>> turns = in_turn(jnp.array([[[[0.1, 0.9], [0.5, 0.25]]]]), per_turn=2)
      >>> turns.of_pixel.tolist(), [round(float(each), 2) for each in turns.sums.ravel()]
      ([[[[1, 0], [0, 1]]]], [1.4, 0.35])

    References:
      samek2017
    """
    sides = per_axis("patch", patch, maps.shape[2:])
    if min(sides) < 1:
        raise ValueError(f"patch must have sides of at least 1; got {patch}")
    if per_turn < 1:
        raise ValueError(f"per_turn must be at least 1; got {per_turn}")
    if order not in ORDERS:
        raise ValueError(f"order must be one of {', '.join(ORDERS)}; got {order!r}")
    return _in_turn(jnp.asarray(maps), jax.random.key(seed), sides=sides, per_turn=per_turn, order=order)


@compiled(static=("sides", "per_turn", "order"))
def _in_turn(maps: Maps, key: Key[Array, ""], *, sides: tuple[int, ...], per_turn: int, order: Order) -> Turns:
    sums = _patch_sums(maps, sides)
    count = sums.shape[-1]
    if order in ("morf", "lerf"):
        sequence = jnp.argsort(-sums if order == "morf" else sums, axis=-1)
    else:
        numbers = jax.random.permutation(key, count) if order == "random" else jnp.arange(count)
        sequence = numbers[None, None]
    turn = jnp.argsort(sequence, axis=-1) // per_turn
    ordered = jnp.take_along_axis(sums, jnp.broadcast_to(sequence, sums.shape), -1)
    padded = jnp.pad(ordered, ((0, 0), (0, 0), (0, -count % per_turn)))
    per_turn_sums = padded.reshape(*sums.shape[:2], -1, per_turn).sum(-1)
    return Turns(turn[..., patch_numbers(maps.shape[2:], sides)[0]].astype(jnp.int32), per_turn_sums)


def _patch_sums(maps: Maps, sides: tuple[int, ...]) -> Float[Array, "m b s"]:
    window, shape = (1, 1, *sides), maps.shape[2:]
    borders = ((0, 0), (0, 0), *((0, -side % each) for side, each in zip(shape, sides, strict=True)))
    values = at_least_float32(jnp.asarray(maps))
    # In one order on all devices, as adding to numbered places is not: an order of patches hangs on these sums.
    sums = jax.lax.reduce_window(values, jnp.zeros((), values.dtype), jax.lax.add, window, window, borders)
    return sums.reshape(*maps.shape[:2], -1)


@dataclass(frozen=True)
class Replaced:
    """Replaces the pixels whose turn it has been, or those alone whose turn it is.

    Attributes:
      steps: versions for each order and draw: the picture as it is, and one for each turn.
      draws: how many replacements there are.
      alone: whether the pixels of one turn are replaced alone, instead of those of all turns so far.
    """

    steps: int
    draws: int
    alone: bool

    def __call__(
        self, images: Float[Array, "b *space c"], index: Array, state: tuple[Int[Array, "_m _b *space"], Fills]
    ) -> Float[Array, "b *space c"]:
        """Returns the pictures at a step; its number is (order · steps + step) · draws + draw."""
        of_pixel, fills = state
        number, draw = index // self.draws, index % self.draws
        turn, step = of_pixel[number // self.steps], number % self.steps
        replaced = turn == step - 1 if self.alone else turn < step
        return jnp.where(replaced[..., None], fills.at(draw), images)


def replaced_scores(
    case: Case, turns: Turns, *, alone: bool, fill: Fill, score: Score, steps: int | None = None, name: str = ""
) -> Float[Array, "_m s d b"]:
    """Returns the targets' scores while the pixels are replaced, turn by turn.

    Args:
      case: the model, the pictures and one target class for each, (b, 1).
      turns: see :func:`in_turn`.
      alone: whether only the pixels of one turn are replaced at a time, instead of those of all turns so far.
      fill: what replaces a pixel, see :class:`Uniform`.
      score: see :func:`xrcam_jax.attribution.targets.target_scores`.
      steps: how many turns there are at most, from 1; all by default.
      name: of what is measured, for the progress bar.

    Returns:
      The scores before the first turn and at each, s is one more than the turns; one for each of d draws. Where the
      order is the same for all maps, it has a single m.

    Raises:
      ValueError: less than one step, or a fill that does not fit the pictures.

    Example:
      >>> import jax.numpy as jnp
      >>> from xrcam_jax.attribution.case import Case
      >>> from xrcam_jax.metrics.turns import in_turn, replaced_scores
      >>> model = lambda images, parameters: images.sum((1, 2))
      >>> case = Case(model, (), jnp.array([1.0, 2.0]).reshape(1, 1, 2, 1), jnp.ones((1, 1), int))
      >>> turns = in_turn(jnp.array([[[[0.1, 0.9]]]]))
      >>> [
      ...   replaced_scores(case, turns, alone=alone, fill=0.0, score="logit").ravel().tolist()
      ...   for alone in (False, True)
      ... ]
      [[3.0, 1.0, 0.0], [3.0, 1.0, 2.0]]
    """
    if steps is not None and steps < 1:
        raise ValueError(f"steps must be at least 1; got {steps}")
    most = turns.sums.shape[-1]
    count = 1 + (most if steps is None else min(steps, most))
    fills = fills_of(case, fill)
    orders, draws = len(turns.of_pixel), len(fills.noise)
    change = Replaced(count, draws, alone)
    state = (turns.of_pixel, fills)
    scores = changed_scores(case, change, orders * count * draws, state, score=score, name=name)
    return scores[..., 0].reshape(orders, count, draws, -1)
