"""A case to be explained: a model, a batch and classes, and the model run again on many changed versions of it.

What is changed is run in chunks: as many versions at a time as fit into memory, one compiled program for all.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.extend.core import ClosedJaxpr, Jaxpr
from jax.extend.core import Literal as JaxprLiteral
from jaxtyping import Float, Int, PyTree

from xrcam_jax import jaxprs
from xrcam_jax.compiling import compiled
from xrcam_jax.devices import shards
from xrcam_jax.lrp.cut import cut

#: The name under which the images themselves are a layer.
INPUT = "input"
#: What a chunk may take in memory, in bytes, unless its size is given.
MEMORY = 2**30

Score = Literal["logit", "probability", "log_odds"]
Function = Callable[[Array, PyTree], Array]
#: Of a tree: its structure, and shape and dtype of each leaf.
Shapes = tuple[Any, tuple[tuple[tuple[int, ...], Any], ...]]
#: (iterable, how many there are, what they are for) -> the same items, perhaps with a bar on the screen.
Progress = Callable[[Iterable, int, str], Iterable]


def no_progress(items: Iterable, total: int, name: str) -> Iterable:
    """Shows nothing."""
    return items


@dataclass(frozen=True)
class Case:
    """What perturbation and path methods work on.

    Attributes:
      function: (images, parameters) -> logits (b, n); hashable, equal for equal models.
      parameters: of the model.
      images: preprocessed.
      targets: the classes to explain, t for each image.
      chunk_size: how many changed versions of the batch run at a time; as many as fit into
        ``MEMORY`` of each device by default.
      progress: is told of long loops.
      seed: of all that is random.
    """

    function: Function
    parameters: PyTree
    images: Float[Array, "b h w c"]
    targets: Int[Array, "b t"]
    chunk_size: int | None = None
    progress: Progress = no_progress
    seed: int = 0

    def at(self, layer: str, images: Float[Array, "b h w c"] | None = None) -> tuple[Array, list[Array]]:
        """The activation at ``layer`` (a mark, or ``"input"``), and what else :func:`onwards` needs."""
        images = self.images if images is None else images
        return _at(images, self.parameters, function=self.function, layer=layer)


@compiled(static=("function", "layer"))
def _at(images: Array, parameters: PyTree, *, function: Function, layer: str) -> tuple[Array, list[Array]]:
    if layer == INPUT:
        return images, []
    return cut(function, layer, images, parameters).head(images, parameters)


def onwards(
    function: Function, layer: str, images: Float[Array, "b h w c"], parameters: PyTree
) -> Callable[[Array, list[Array]], Array]:
    """The model from ``layer`` on: (activation, the rest that :meth:`Case.at` gives) -> logits.

    Of ``images`` only the shape counts.
    """
    if layer == INPUT:
        return lambda activation, rest: function(activation, parameters)
    return cut(function, layer, images, parameters).tail


def versions_onwards(
    function: Callable, layer: str, images: Float[Array, "b h w c"], parameters: PyTree, rest: list[Array], count: int
) -> Callable[[Array], Array]:
    """The model from ``layer`` on, for ``count`` versions of each image's activation: (b * count, ...) -> logits.

    The versions of an image come next to each other, here and wherever a batch is run in versions: so a batch that
    is laid across devices stays where it is, which ``jax.vmap`` over the versions would not see to.
    """
    many = jax.ShapeDtypeStruct((len(images) * count, *images.shape[1:]), images.dtype)
    _, wanted = jax.eval_shape(lambda i, p: _at(i, p, function=function, layer=layer), many, parameters)
    tail = onwards(function, layer, many, parameters)  # type: ignore[arg-type]
    repeated = [_repeated(a, like.shape, count) for a, like in zip(rest, wanted, strict=True)]
    return lambda activation: tail(activation, repeated)


def _repeated(a: Array, shape: tuple[int, ...], count: int) -> Array:
    """``a`` with each example ``count`` times, as ``shape`` has it; what is not of the batch stays as it is."""
    axis = next((i for i, side in enumerate(shape) if side != a.shape[i]), None)
    return a if axis is None else jnp.repeat(a, count, axis=axis)


def over_targets(find: Callable[[Int[Array, " b"]], PyTree], targets: Int[Array, "b t"], axis: int = 0) -> PyTree:
    """What ``find`` gives for each of an image's targets, along ``axis`` of the results.

    A single target, which is the rule, is not vmapped: its axis would be joined with the batch's, and that would be
    gathered from the devices that it is laid across.
    """
    if targets.shape[1] == 1:
        return jax.tree.map(lambda a: jnp.expand_dims(a, axis), find(targets[:, 0]))
    return jax.vmap(find, in_axes=1, out_axes=axis)(targets)


def target_scores(logits: Float[Array, "*c b n"], targets: Int[Array, "b t"], score: Score) -> Float[Array, "*c b t"]:
    """The targets' logits, softmax probabilities p, or natural log-odds log(p / (1 - p)).

    Raises:
      ValueError: ``score`` is none of these.
    """
    if score not in ("logit", "probability", "log_odds"):
        raise ValueError(f"score must be logit, probability or log_odds; got {score!r}")
    values = jax.nn.softmax(logits, axis=-1) if score == "probability" else logits
    places = jnp.broadcast_to(targets, (*logits.shape[:-1], targets.shape[-1]))
    at_targets = jnp.take_along_axis(values, places, axis=-1)
    if score != "log_odds":
        return at_targets
    is_target = jax.nn.one_hot(places, logits.shape[-1], dtype=bool)
    return at_targets - jax.nn.logsumexp(jnp.where(is_target, -jnp.inf, logits[..., None, :]), axis=-1)


def changed_scores(
    case: Case,
    change: Callable[[Array, Array, PyTree], Array],
    count: int,
    state: PyTree = (),
    *,
    score: Score,
    name: str = "",
) -> Float[Array, "n b t"]:
    """The targets' scores on ``count`` changed versions of the images.

    Args:
      case: what is explained.
      change: (images, index of the version, state) -> images; hashable, equal where it does the same.
      count: n, how many versions there are.
      state: arrays that ``change`` needs.
      score: see :func:`target_scores`.
      name: of the method, for the progress bar.
    """

    def step(indices: Array) -> Array:
        return _changed_scores(
            case.images, case.parameters, case.targets, state, indices,
            function=case.function, change=change, score=score,
        )  # fmt: skip

    each = bytes_of_forward(case.function, INPUT, case.images, case.parameters)
    return stacked(step, count, case, each, name)


@compiled(static=("function", "change", "score"))
def _changed_scores(
    images: Array, parameters: PyTree, targets: Array, state: PyTree, indices: Array,
    *, function: Function, change: Callable, score: Score,
) -> Array:  # fmt: skip
    versions = jax.vmap(lambda index: change(images, index, state), out_axes=1)(indices)
    logits = function(versions.reshape(-1, *images.shape[1:]), parameters)
    return target_scores(jnp.moveaxis(logits.reshape(len(images), len(indices), -1), 1, 0), targets, score)


def stacked(step: Callable[[Array], PyTree], count: int, case: Case, bytes_each: int, name: str = "") -> PyTree:
    """``step`` of the indices 0 to count - 1, chunk by chunk; results have the indices as leading axis."""
    parts = list(_chunks(step, count, case, bytes_each, name))
    return jax.tree.map(lambda *each: jnp.concatenate(each)[:count], *parts)


def summed(step: Callable[[Array, Array], PyTree], count: int, case: Case, bytes_each: int, name: str = "") -> PyTree:
    """The sum over all indices. ``step`` sums over the chunk that it is given, each index times 1, or 0 if it is
    only there to fill the chunk."""
    total = None
    for part in _chunks(lambda i: step(i, (jnp.arange(len(i)) < count - i[0])), count, case, bytes_each, name):
        total = part if total is None else jax.tree.map(jnp.add, total, part)
    return total


def chunk_size(count: int, case: Case, bytes_each: int) -> int:
    """How many versions run at a time: as asked for, or as many as fit, in chunks of equal size.

    Of a batch that is laid across devices each of them holds a share only.

    Raises:
      ValueError: less than one was asked for.
    """
    if case.chunk_size is not None and case.chunk_size < 1:
        raise ValueError(f"chunk_size must be at least 1; got {case.chunk_size}")
    largest = min(count, case.chunk_size or max(1, MEMORY * shards(case.images) // max(1, bytes_each)))
    return -(-count // -(-count // largest))


def _chunks(step: Callable, count: int, case: Case, bytes_each: int, name: str) -> Iterator[Any]:
    size = chunk_size(count, case, bytes_each)
    starts = range(0, count, size)
    pending = None
    for start in case.progress(starts, len(starts), name):
        # The last chunk is as long as the others: another length would be compiled anew.
        result = step(jnp.asarray(np.minimum(np.arange(start, start + size), max(start, count - 1)), jnp.int32))
        if pending is not None:
            # One chunk ahead and no more, so that memory is bounded, a bar tells the truth and Ctrl-C works.
            yield _wait(pending)
        pending = result
    if pending is not None:
        yield _wait(pending)


def _wait(result: PyTree) -> PyTree:
    leaves = jax.tree.leaves(result)
    return result if any(isinstance(a, jax.core.Tracer) for a in leaves) else jax.block_until_ready(result)


def bytes_of_forward(function: Function, layer: str, images: Array, parameters: PyTree) -> int:
    """Estimate of what one run of the batch from ``layer`` on takes."""
    return _bytes(function, layer, shapes((images, parameters)), backward=False)


def bytes_of_gradient(function: Function, layer: str, images: Array, parameters: PyTree) -> int:
    """Estimate of what one run of the batch from ``layer`` on, and back, takes."""
    return _bytes(function, layer, shapes((images, parameters)), backward=True)


def shapes(tree: PyTree) -> Shapes:
    """The tree's structure, and shape and dtype of its leaves: what a cache of traces goes by."""
    leaves, structure = jax.tree.flatten(tree)
    return structure, tuple((a.shape, a.dtype) for a in leaves)


def of_shapes(structure: Any, leaves: Sequence[tuple[tuple[int, ...], Any]]) -> PyTree:
    """The tree again, of :class:`jax.ShapeDtypeStruct`."""
    return jax.tree.unflatten(structure, [jax.ShapeDtypeStruct(shape, dtype) for shape, dtype in leaves])


@lru_cache(maxsize=64)
def _bytes(function: Function, layer: str, known: Shapes, *, backward: bool) -> int:
    images, parameters = of_shapes(*known)
    tail = onwards(function, layer, images, parameters)
    activation = jax.eval_shape(lambda i, p: _at(i, p, function=function, layer=layer), images, parameters)

    def total(a: Array, rest: list[Array], parameters: PyTree) -> Array:
        again = onwards(function, layer, images, parameters) if layer == INPUT else tail
        return jnp.sum(again(a, rest))

    run = jax.grad(total) if backward else total
    return peak_bytes(jax.make_jaxpr(run)(*activation, parameters))


def peak_bytes(jaxpr: ClosedJaxpr | Jaxpr) -> int:
    """Upper bound of what intermediate values of ``jaxpr`` take at any one time, if none is computed in place."""
    last = {v: i for i, e in enumerate(jaxpr.eqns) for v in e.invars if not isinstance(v, JaxprLiteral)}
    last |= {v: len(jaxpr.eqns) for v in jaxpr.outvars if not isinstance(v, JaxprLiteral)}
    sizes: dict[Any, int] = {}
    most = now = 0
    for i, equation in enumerate(jaxpr.eqns):
        most = max([most, *(now + peak_bytes(body) for body in jaxprs.all_bodies(equation))])
        for v in equation.outvars:
            aval: Any = v.aval
            sizes[v] = aval.size * aval.dtype.itemsize
            now += sizes[v]
        most = max(most, now)
        for v in {v for v in [*equation.invars, *equation.outvars] if not isinstance(v, JaxprLiteral)}:
            if last.get(v, -1) <= i:
                now -= sizes.pop(v, 0)
    return most
