"""Layers of a model by name, for models that nobody has marked.

A name may be shortened from the left, as long as it fits one layer only. A glob (see :mod:`xrcam_jax.lrp.globs`) stands
for all that it fits.
"""

import math
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from itertools import product
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import PyTree

from xrcam_jax.errors import unknown
from xrcam_jax.lrp import primitives
from xrcam_jax.lrp.globs import fits, is_glob
from xrcam_jax.lrp.program import Insertions, Place, Program, trace
from xrcam_jax.lrp.scopes import Layer, find_layers
from xrcam_jax.marks import mark
from xrcam_jax.runtime import jaxprs

#: How many layers are shown beside an unknown one. Some models have a thousand.
_SHOWN = 12
#: Primitives whose values are listed where nothing else names them. All others can be asked for as well.
_LISTED = (
    primitives.PRODUCTS
    | primitives.ACTIVATIONS
    | primitives.MAXIMA
    | primitives.SUMS
    | {"add", "custom_jvp_call", "custom_vjp_call"}
)


class Turn(NamedTuple):
    """Names a layer, and which turn of the scans around it.

    Attributes:
      layer: the layer.
      turns: of the scans, the outermost first.
    """

    layer: Layer
    turns: tuple[int, ...]

    @property
    def name(self) -> str:
        """Returns the layer's name with the turns."""
        return "/".join((self.layer.name, *map(str, self.turns)))

    def is_called(self, wanted: str) -> bool:
        """Returns whether a name or glob fits the whole name, of this turn or of all."""
        return wanted in (self.layer.name, self.name)

    def fits(self, wanted: str) -> bool:
        """Returns whether a name or glob fits the name or the end of it, of this turn or of all."""
        return fits(wanted, self.name) or (bool(self.turns) and fits(wanted, self.layer.name))

    def named(self, wanted: str) -> str:
        """Returns a name that fits this turn only, made from one that fits the layer."""
        ending = "".join(f"/{turn}" for turn in self.turns)
        return wanted if fits(wanted, self.name) else wanted + ending


@dataclass(frozen=True, repr=False)
class Layers(Mapping[str, Layer]):
    """Holds the layers of a model by name, each before those inside it. ``print`` shows them as a tree.

    Attributes:
      all: the layers.
      hidden: names of scopes and marks where no layer can be, with what they are in.
    """

    all: tuple[Layer, ...]
    hidden: Mapping[str, str]

    def __getitem__(self, name: str) -> Layer:
        return self._by_name[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._by_name)

    def __len__(self) -> int:
        return len(self._by_name)

    @cached_property
    def _by_name(self) -> dict[str, Layer]:
        # A scope often has the name of the mark at its end, which is then meant.
        marks = {layer.name: layer for layer in self.all if layer.kind == "mark"}
        return {layer.name: marks.get(layer.name, layer) for layer in self.all}

    @property
    def marks(self) -> tuple[str, ...]:
        """Returns the names of the marks."""
        return tuple(layer.name for layer in self.values() if layer.kind == "mark")

    def select(self, wanted: str, what: str = "layer", also: Sequence[str] = ()) -> dict[str, Turn]:
        """Finds the layers that a name or a glob stands for.

        A layer in a scan stands for one in each turn, and ``NAME/TURN`` for a single one.

        Args:
          wanted: the name or glob.
          what: what it stands for, in messages.
          also: what else is known by name to whoever asks, for messages.

        Returns:
          The layers by name, which is the wanted one if that is no glob.

        Raises:
          ValueError: nothing has that name, or several layers have and it is no glob.
          NotImplementedError: it is the name of something inside a branch or a loop of unknown length.
        """
        turns = [Turn(layer, turn) for layer in self.values() for turn in product(*map(range, layer.lengths))]
        exact = [turn for turn in turns if turn.is_called(wanted)]
        named = [turn for turn in turns if turn.layer.kind != "value" and turn.fits(wanted)]
        found = exact or named or [turn for turn in turns if turn.fits(wanted)]
        if not found:
            raise self._unknown(wanted, what, also)
        if not exact and is_glob(wanted):
            return {turn.name: turn for turn in found}
        several = list(dict.fromkeys(turn.layer.name for turn in found))
        if len(several) > 1:
            listed = ", ".join(several[:5]) + (f" and {len(several) - 5} more" if len(several) > 5 else "")
            raise ValueError(f"{what} {wanted!r} could be one of {listed}; write more of its name, or a glob for all")
        return {turn.named(wanted): turn for turn in found}

    def _unknown(self, wanted: str, what: str, also: Sequence[str]) -> Exception:
        construct = next((construct for name, construct in self.hidden.items() if fits(wanted, name)), None)
        if construct is not None:
            return NotImplementedError(f"{what} {wanted!r} is inside {construct}, where no layer can be looked at")
        named = [layer.name for layer in self.values() if layer.kind != "value"] or list(self)
        # Marks and outer layers say at a glance how layers are called here.
        outer = sorted(named, key=lambda name: name.count("/"))
        return unknown(what, wanted, list(dict.fromkeys((*self.marks, *also, *outer))), _SHOWN)

    def __str__(self) -> str:
        rows = list(_rows(list(self.values())))
        widths = [max(len(row[column]) for row in rows) for column in range(3)] if rows else []
        return "\n".join("  ".join(map(str.ljust, row, [*widths, 0])).rstrip() for row in rows)

    def __repr__(self) -> str:
        return str(self) or "Layers()"


def layers(f: Callable, x: PyTree, *args: PyTree) -> Layers:
    """Lists the layers of a model, which :func:`xrcam_jax.taps`, the Explainer and others find by their names.

    Args:
      f: a function of (x, *args), or an NNX or Equinox module.
      x: an example of its input, of which only shapes and dtypes count.
      *args: examples of its other arguments, likewise.

    Returns:
      The layers by name: marks, named scopes (modules of Linen, Haiku and Keras are such), and all other values, which
      are called by their primitive and a number. ``print`` shows them as a tree.

    Example:
      >>> import jax
      >>> import jax.numpy as jnp
      >>> import xrcam_jax as xr
      >>> def model(x):
      ...     with jax.named_scope("encoder"):
      ...         x = jnp.maximum(x @ jnp.ones((3, 4)), 0)
      ...     return x @ jnp.ones((4, 2))
      >>> print(xr.layers(model, jnp.ones((1, 3))))
      encoder      (1, 4)  float32  dot_general, max
      dot_general  (1, 2)  float32
      >>> "encoder/max" in xr.layers(model, jnp.ones((1, 3)))
      True
    """
    closed, _ = trace(f, x, *args)
    explained = [True] * len(jax.tree.leaves(x)) + [False] * len(jax.tree.leaves(args))
    return Layers(*find_layers(closed, explained))


def insertions(wanted: Mapping[str, Turn]) -> Insertions:
    """Returns what has to be put into a program for layers to be marks of it.

    Args:
      wanted: the layers, by the names of the marks.

    Returns:
      A mark for each, with the channels last while the mark is set. What is a mark of the model already needs none, but
      the scans around it have to be unrolled.

    Example:
      >>> import jax
      >>> import jax.numpy as jnp
      >>> from xrcam_jax.lrp.layers import insertions, layers
      >>> found = layers(jax.named_scope("head")(jnp.tanh), jnp.ones(3))
      >>> [(place.path, len(each)) for place, each in insertions(found.select("head")).items()]
      [((0,), 1)]
    """
    put_in: dict[Place, list] = {}
    for name, (layer, turns) in wanted.items():
        each = put_in.setdefault(Place(layer.place.path, turns), [])
        if layer.kind != "mark" or name != Turn(layer, turns).name:
            each.append((layer.output, partial(marked, name=name, axes=layer.axes)))
    return put_in


def marked(x: Array, name: str, axes: tuple[int, ...] | None) -> Array:
    """Returns a value as it is, with a mark set while its axes are in another order.

    Args:
      x: the value.
      name: of the mark.
      axes: the order of the axes at the mark, without some of length 1; None leaves it.

    Example:
      >>> import jax
      >>> import jax.numpy as jnp
      >>> from xrcam_jax.lrp.layers import marked
      >>> closed = jax.make_jaxpr(lambda x: marked(x, "here", (1, 0)))(jnp.ones((2, 3)))
      >>> [eqn.outvars[0].aval.shape for eqn in closed.eqns]
      [(3, 2), (3, 2), (2, 3)]
    """
    if axes is None or axes == tuple(range(x.ndim)):
        return mark(x, name)
    # The other axes are of length 1, as where single pictures are mapped over a batch.
    order = (*axes, *(axis for axis in range(x.ndim) if axis not in axes))
    moved = jnp.transpose(x, order)
    seen = mark(moved.reshape(moved.shape[: len(axes)]), name)
    return jnp.transpose(seen.reshape(moved.shape), sorted(range(x.ndim), key=order.__getitem__))


def has_marks_in_loops(program: Program) -> bool:
    """Returns whether there are marks in a scan, so that it would have to be unrolled for them.

    Args:
      program: any program.

    Example:
      >>> import jax
      >>> import jax.numpy as jnp
      >>> import xrcam_jax as xr
      >>> from xrcam_jax.lrp.layers import has_marks_in_loops
      >>> from xrcam_jax.lrp.program import flatten, trace
      >>> scanned = lambda x: jax.lax.scan(lambda c, _: (xr.mark(c * 2, "twice"), None), x, length=3)[0]
      >>> has_marks_in_loops(flatten(trace(scanned, jnp.ones(2))[0]))
      True
    """

    def inside(program: Program, in_loop: bool) -> bool:
        for equation in program.equations:
            name = equation.eqn.primitive.name
            if in_loop and equation.mark is not None:
                return True
            if name in (jaxprs.SCAN, jaxprs.REMAT) and inside(equation.bodies[0], in_loop or name == jaxprs.SCAN):
                return True
        return False

    return inside(program, False)


def last_of_each_size(layers: Layers, axes: int = 4) -> dict[str, Turn]:
    """Chooses layers of a model that has no marks: the last picture of each height and width.

    Args:
      layers: of the model.
      axes: how many a picture has, with those of the batch and the channels: 3 for signals, 5 for volumes.

    Returns:
      Layers (b, h, w, k) with different (h, w), neither of which is 1, in the order of the program, by name; of
      signals and volumes likewise. If there are convolutions, only what they made counts, so that attention is not
      taken for a picture; nor do pictures count of which one axis is resized and the other not yet. What a branch of
      the next block makes before it changes the size is passed over: the last layer is taken that all paths of the
      model pass through, unless paths join at this size after it.

    Example:
      >>> import jax.numpy as jnp
      >>> from xrcam_jax.lrp.layers import last_of_each_size, layers
      >>> model = lambda x: jnp.maximum(jnp.abs(x)[:, ::2, ::2] * 2, 0).mean((1, 2))
      >>> {name: turn.layer.shape for name, turn in last_of_each_size(layers(model, jnp.ones((1, 8, 8, 3)))).items()}
      {'abs': (1, 8, 8, 3), 'max': (1, 4, 4, 3)}
    """
    pictures = [layer for layer in layers.values() if len(layer.shape) == axes and min(layer.shape[1:-1]) > 1]
    convolved = [layer for layer in pictures if layer.axes is not None]
    whole = [layer for layer in convolved or pictures if not layer.half_resized]
    made = [layer for layer in whole if not primitives.STRUCTURE.issuperset(layer.primitives)]
    # Of the names of one value the shortest is taken: that of the outermost scope that ends with it. What a remat
    # puts out comes after what is in it.
    made.sort(key=lambda layer: ((*layer.place.path, math.inf), layer.kind == "scope", -layer.name.count("/")))
    of_size: dict[tuple[int, ...], list[Layer]] = {}
    for layer in made:
        of_size.setdefault(layer.shape[1:-1], []).append(layer)
    turns = [Turn(layer, tuple(n - 1 for n in layer.lengths)) for layer in map(_last, of_size.values())]
    return {turn.name: turn for turn in sorted(turns, key=lambda turn: turn.layer.place.path)}


def _last(made: Sequence[Layer]) -> Layer:
    """Returns the last layer, or the one before what only a branch of the next block makes."""
    alone = max((i for i, layer in enumerate(made) if layer.alone), default=len(made) - 1)
    return made[-1] if any(layer.joins for layer in made[alone + 1 :]) else made[alone]


def _rows(named: Sequence[Layer]) -> Iterator[tuple[str, str, str, str]]:
    """Yields for each layer worth listing the part of its name that is to be shown, shape, dtype, and what is in it."""
    scopes = {layer.name: layer for layer in named if layer.kind == "scope"}
    children = Counter(layer.scope for layer in scopes.values())
    # A scope that is all there is in another one is not listed again, and the innermost scopes are summed up.
    again = {n for n, layer in scopes.items() if children[layer.scope] == 1 and _is_same(layer, scopes)}
    outer = {part for name in scopes.keys() - again for part in _all_around(name)}
    within: list[str] = []
    for layer in named:
        while within and not f"{layer.scope}/".startswith(f"{within[-1]}/"):
            within.pop()
        innermost = layer.scope != "" and not children[layer.scope]
        if layer.name in again or (layer.kind == "value" and (innermost or layer.primitives[0] not in _LISTED)):
            continue
        name = layer.name.removeprefix(f"{within[-1]}/") if within and layer.kind != "mark" else layer.name
        turns = f" (turns {' x '.join(f'0..{n - 1}' for n in layer.lengths)})" if layer.lengths else ""
        summed_up = ", ".join(layer.primitives) if layer.kind == "scope" and layer.name not in outer else ""
        inside = "mark" if layer.kind == "mark" else summed_up
        yield "  " * len(within) + name + turns, str(layer.shape), str(layer.dtype), inside
        if layer.name in outer:
            within.append(layer.name)


def _all_around(name: str) -> Iterator[str]:
    while name := name.rpartition("/")[0]:
        yield name


def _is_same(layer: Layer, scopes: Mapping[str, Layer]) -> bool:
    """Says whether the scope around a layer ends with the same value."""
    around = scopes.get(layer.scope)
    return around is not None and (around.place, around.output) == (layer.place, layer.output)
