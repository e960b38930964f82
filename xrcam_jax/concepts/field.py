"""Which pixels a place of a layer sees: its receptive field, found by following the model's operations back.

Each operation hands on whether, and not how much: a convolution reaches all places under its kernel whatever its
weights are, a maximum all of its window, and a batch norm or ReLU the place itself. Gates, as those of Selective
Kernels, the statistics of normalisations and the weights of attention count as constants, as they do where relevance
is propagated: they see the whole picture, but no relevance goes there. The values that attention mixes are reached,
and so a place behind it sees all that these see, what a mask keeps out included: at the border of a Swin transformer,
whose shifted windows have the other border in them too, that is more than can have an effect.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from itertools import product
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Int, PyTree

from xrcam_jax.attribution.asked import INPUT, explained_flags
from xrcam_jax.attribution.case import Function
from xrcam_jax.lrp.assignments import Assign, Composite
from xrcam_jax.lrp.parts import in_parts
from xrcam_jax.lrp.program import trace
from xrcam_jax.lrp.protocol import LINEAR_KINDS, Bilinear, Loss, Rule, no_loss
from xrcam_jax.lrp.rules import Flat, Gate, Gradient, Pass
from xrcam_jax.marks import mark
from xrcam_jax.pictures.preprocessing import Box
from xrcam_jax.runtime.compiling import compiled

#: Places that are followed at a time; each takes what a picture takes.
_TOGETHER = 8


@dataclass(frozen=True, eq=False)
class ReceptiveFields:
    """Holds what each place of a layer sees of a picture.

    Attributes:
      rows: of each row of the layer, the first row of the picture that it sees, and the one after the last.
      columns: of each column, likewise.
    """

    rows: Int[np.ndarray, "p 2"]
    columns: Int[np.ndarray, "q 2"]

    def box(self, place: int) -> Box:
        """Returns the pixels that a place sees; places are counted along the rows."""
        row, column = divmod(place, len(self.columns))
        (top, bottom), (left, right) = self.rows[row].tolist(), self.columns[column].tolist()
        return Box(top, left, bottom, right)


@dataclass(frozen=True)
class _Reached:
    """Turns what a rule hands on into whether there is any, so that nothing grows small on a long way."""

    rule: Rule

    def relevance(self, op: Bilinear, r: Array) -> tuple[PyTree, Loss]:
        """Implements :class:`xrcam_jax.lrp.protocol.Rule`."""
        handed, _ = self.rule.relevance(op, r)
        return jax.tree.map(lambda x: (x != 0).astype(x.dtype), handed), no_loss(r)


@dataclass(frozen=True)
class _Corners:
    """Lets each corner of a maximum's window win once, for which its inputs are replaced by slopes."""

    def relevance(self, op: Bilinear, r: Array) -> tuple[PyTree, Loss]:
        """Implements :class:`xrcam_jax.lrp.protocol.Rule`."""
        space = op.x[0].ndim - 2
        each = [self._won(op, r, signs) for signs in product((-1, 1), repeat=space)]
        return jax.tree.map(lambda *won: sum(won), *each), no_loss(r)

    @staticmethod
    def _won(op: Bilinear, r: Array, signs: tuple[int, ...]) -> PyTree:
        def slope(x: Array) -> Array:
            along = [sign * jax.lax.broadcasted_iota(x.dtype, x.shape, axis) for axis, sign in enumerate(signs, 1)]
            return sum(along, jnp.zeros_like(x))

        return jax.vjp(lambda x: op.apply(x, op.w), jax.tree.map(slope, op.x))[1](r)[0]


@dataclass(frozen=True)
class _General:
    """Takes the derivative at values in general position: at equal ones that of a softmax is 0, as a product's at 0."""

    def relevance(self, op: Bilinear, r: Array) -> tuple[PyTree, Loss]:
        """Implements :class:`xrcam_jax.lrp.protocol.Rule`."""

        def general(x: Array) -> Array:
            return 1 + jnp.sin(jnp.arange(x.size, dtype=x.dtype)).reshape(x.shape) / 2

        derivative = jax.vjp(lambda x: op.apply(x, op.w), jax.tree.map(general, op.x))[1]
        return derivative(r * general(r))[0], no_loss(r)


@dataclass(frozen=True)
class _Mixed:
    """A product of matrices, as of attention: all values are reached, and weights count as constants."""

    receives = (True, False)

    def relevance(self, op: Bilinear, r: Array) -> tuple[PyTree, Loss]:
        """Implements :class:`xrcam_jax.lrp.protocol.Rule`."""
        signal, gate = op.x
        transpose = jax.vjp(lambda x: op.apply((x, jnp.ones_like(gate)), op.w), signal)[1]
        return (transpose(r)[0], None), no_loss(r)


_REACH = Composite(
    (
        Assign(_Reached(Flat()), kinds=tuple(sorted(LINEAR_KINDS))),
        Assign(_Reached(_Corners()), kinds=("max_pool",)),
        Assign(_Reached(_General()), kinds=("softmax", "product")),
        Assign(Pass(), kinds=("activation", "nonlinear", "norm")),
        Assign(Gate(), kinds=("gate",)),
        Assign(_Mixed(), kinds=("matmul",)),
    ),
    default=Gradient(),
)


def receptive_fields(
    function: Callable, parameters: PyTree, layer: str, picture: tuple[int, int, int], size: tuple[int, int]
) -> ReceptiveFields:
    """Returns which pixels each place of a layer sees.

    What a place of row i sees in rows is taken not to depend on its column, nor the other way round, as holds for
    convolutions, pooling and batch norm. Pixels between the first and the last that are seen count, as those that a
    dilated kernel leaves out. Products with a matrix reach all along its axis, also where it has zeros, as those by
    which pictures are resized have.

    Args:
      function: (images, parameters) -> logits.
      parameters: of the model.
      layer: its name, or ``"input"``, of which each place sees itself.
      picture: height, width and channels of the pictures.
      size: height and width of the layer.

    Returns:
      The receptive fields, cut off at the borders of the picture.

    Raises:
      ValueError: there is no such layer, or it does not depend on the picture.
      NotImplementedError: it is inside remat, scan or cond, or an operation below it has no derivative.

    Example:
      >>> import jax
      >>> import jax.numpy as jnp
      >>> import xrcam_jax as xr
      >>> from xrcam_jax.concepts.field import receptive_fields
      >>> def model(images, parameters):
      ...     pooled = jax.lax.reduce_window(images, -jnp.inf, jax.lax.max, (1, 3, 3, 1), (1, 2, 2, 1), "SAME")
      ...     return xr.mark(pooled, "layer").sum((1, 2))
      >>> fields = receptive_fields(model, (), "layer", (8, 8, 2), (4, 4))
      >>> fields.rows.tolist(), fields.box(4)
      ([[0, 3], [2, 5], [4, 7], [6, 8]], Box(top=2, left=0, bottom=5, right=3))

    References:
      achtibat2023
    """
    if layer == INPUT:
        return ReceptiveFields(*(np.arange(length)[:, None] + np.arange(2) for length in size))
    height, width = size
    diagonal = np.arange(max(size))
    places = np.stack([np.minimum(diagonal, height - 1), np.minimum(diagonal, width - 1)], 1).astype(np.int32)
    images = np.zeros((_TOGETHER, *picture), np.float32)
    rows, columns = [], []
    for start in range(0, len(places), _TOGETHER):
        some = places[start : start + _TOGETHER]
        filled = np.concatenate([some, np.repeat(some[-1:], _TOGETHER - len(some), axis=0)])
        seen = jax.device_get(_seen(images, parameters, filled, function=function, layer=layer))
        rows.append(seen[0][: len(some)])
        columns.append(seen[1][: len(some)])
    return ReceptiveFields(_ends(np.concatenate(rows)[:height]), _ends(np.concatenate(columns)[:width]))


@compiled(static=("function", "layer"))
def _seen(
    images: Any, parameters: PyTree, places: Any, *, function: Function, layer: str
) -> tuple[Bool[Array, "n h"], Bool[Array, "n w"]]:
    """Returns for each of some places of a layer, (n, 2), which rows and which columns of a picture it sees."""
    closed, _ = trace(lambda x, p: function(mark(x, INPUT), p), images, parameters)
    parts = in_parts(closed, _REACH, (INPUT, layer), explained_flags(images, parameters))
    _, (_, activation), pullbacks = parts.run(jax.tree.leaves((images, parameters)))
    one = partial(jax.nn.one_hot, dtype=activation.dtype)
    seed = one(places[:, 0], activation.shape[1])[:, :, None] * one(places[:, 1], activation.shape[2])[:, None]
    (r,) = pullbacks[0](jnp.broadcast_to(seed[..., None], activation.shape))
    reached = (r != 0).any(-1)
    return reached.any(2), reached.any(1)


def _ends(seen: Bool[np.ndarray, "n m"]) -> Int[np.ndarray, "n 2"]:
    """Returns the first of what is seen, and what follows the last; an empty range where nothing is."""
    first, behind = seen.argmax(1), seen.shape[1] - seen[:, ::-1].argmax(1)
    return np.stack([first, np.where(seen.any(1), behind, first)], 1)
