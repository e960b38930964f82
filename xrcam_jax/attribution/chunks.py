"""Changed versions of a batch are run in chunks: as many at a time as fit into memory, one program for all chunks."""

from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, PyTree

from xrcam_jax.attribution.case import INPUT, Case, Function, Images, activation_at, onwards
from xrcam_jax.attribution.shapes import Shapes, of_shapes, shapes
from xrcam_jax.runtime.devices import shards
from xrcam_jax.runtime.memory import peak_bytes

#: What a chunk may take in memory, in bytes, unless its size is given.
MEMORY = 2**30


def stacked(
    step: Callable[[Int[Array, " n"]], PyTree], count: int, case: Case, bytes_each: int, name: str = ""
) -> PyTree:
    """Returns what ``step`` gives for the indices 0 to count - 1, which it is asked for chunk by chunk.

    Args:
      step: (indices of a chunk) -> a tree of arrays that have these indices as leading axis.
      count: number of indices.
      case: says how large chunks are, and shows progress.
      bytes_each: estimate of what one index takes in memory.
      name: of the loop, for the progress bar.

    Returns:
      The tree, with a leading axis of length ``count``.

    Raises:
      ValueError: ``case.chunk_size`` is less than 1.

    Example:
      >>> import jax.numpy as jnp
      >>> from xrcam_jax.attribution.case import Case
      >>> from xrcam_jax.attribution.chunks import stacked
      >>> model = lambda images, parameters: images.sum((1, 2))
      >>> case = Case(model, (), jnp.ones((1, 1, 1, 1)), jnp.zeros((1, 1), int), chunk_size=2)
      >>> stacked(lambda indices: indices**2, 5, case, 1).tolist()
      [0, 1, 4, 9, 16]
    """
    parts = list(_chunks(lambda indices, real: step(indices), count, case, bytes_each, name))
    return jax.tree.map(lambda *each: jnp.concatenate(each)[:count], *parts)


def summed(
    step: Callable[[Int[Array, " n"], Float[Array, " n"]], PyTree],
    count: int,
    case: Case,
    bytes_each: int,
    name: str = "",
) -> PyTree:
    """Returns the sum over the indices 0 to count - 1 of what ``step`` gives for chunks of them.

    Args:
      step: (indices of a chunk, weights) -> a tree of arrays, which are sums over the chunk, each index times its
        weight: 1, or 0 for an index that is only there to fill the chunk.
      count: number of indices.
      case: says how large chunks are, and shows progress.
      bytes_each: estimate of what one index takes in memory.
      name: of the loop, for the progress bar.

    Raises:
      ValueError: ``case.chunk_size`` is less than 1.

    Example:
      >>> import jax.numpy as jnp
      >>> from xrcam_jax.attribution.case import Case
      >>> from xrcam_jax.attribution.chunks import summed
      >>> model = lambda images, parameters: images.sum((1, 2))
      >>> case = Case(model, (), jnp.ones((1, 1, 1, 1)), jnp.zeros((1, 1), int), chunk_size=2)
      >>> float(summed(lambda indices, real: (indices.astype(float) * real).sum(), 5, case, 1))
      10.0
    """
    total = None
    for part in _chunks(step, count, case, bytes_each, name):
        total = part if total is None else jax.tree.map(jnp.add, total, part)
    return total


def chunk_size(count: int, case: Case, bytes_each: int) -> int:
    """Returns how many versions run at a time: as many as asked for, or as fit into memory, in chunks of equal size.

    Args:
      count: number of versions, at least 1.
      case: says how many are asked for. Of a batch that is laid across devices, each of them holds a share only.
      bytes_each: estimate of what one version takes in memory.

    Raises:
      ValueError: ``case.chunk_size`` is less than 1.

    Example:
      >>> import jax.numpy as jnp
      >>> from xrcam_jax.attribution.case import Case
      >>> from xrcam_jax.attribution.chunks import MEMORY, chunk_size
      >>> model = lambda images, parameters: images.sum((1, 2))
      >>> case = Case(model, (), jnp.ones((1, 1, 1, 1)), jnp.zeros((1, 1), int))
      >>> chunk_size(100, case, MEMORY // 60)  # 60 fit, and two chunks are needed
      50
    """
    if case.chunk_size is not None and case.chunk_size < 1:
        raise ValueError(f"chunk_size must be at least 1; got {case.chunk_size}")
    largest = min(count, case.chunk_size or max(1, MEMORY * shards(case.images) // max(1, bytes_each)))
    return -(-count // -(-count // largest))


def _chunks(
    step: Callable[[Array, Array], PyTree], count: int, case: Case, bytes_each: int, name: str
) -> Iterator[Any]:
    size = chunk_size(count, case, bytes_each)
    starts = range(0, count, size)
    pending = None
    for start in case.progress(starts, len(starts), name):
        # The last chunk is as long as the others, since another length would be compiled anew.
        numbers = np.arange(start, start + size)
        indices, real = jnp.asarray(np.minimum(numbers, count - 1), jnp.int32), jnp.asarray(numbers < count, float)
        result = step(indices, real)
        if pending is not None:
            # One chunk runs ahead and no more, so that memory is bounded, a bar tells the truth and Ctrl-C works.
            yield _waited_for(pending)
        pending = result
    if pending is not None:
        yield _waited_for(pending)


def _waited_for(result: PyTree) -> PyTree:
    leaves = jax.tree.leaves(result)
    return result if any(isinstance(a, jax.core.Tracer) for a in leaves) else jax.block_until_ready(result)


def bytes_of_forward(function: Function, layer: str, images: Images, parameters: PyTree) -> int:
    """Returns an estimate of the memory that one run of the batch takes, from a layer on.

    Args:
      function: the model.
      layer: a mark, or ``"input"``.
      images: a batch, of which only shape and dtype count.
      parameters: of the model, likewise.

    Returns:
      An upper bound in bytes, with no value computed in place of another.

    Raises:
      ValueError: there is no such mark.

    Example:
      >>> import jax.numpy as jnp
      >>> from xrcam_jax.attribution.chunks import bytes_of_forward
      >>> model = lambda images, parameters: (images * parameters).sum((1, 2))
      >>> bytes_of_forward(model, "input", jnp.ones((2, 8, 8, 1)), jnp.float32(3))  # the product and its sums
      520
    """
    return _bytes(function, layer, shapes((images, parameters)), backward=False)


def bytes_of_gradient(function: Function, layer: str, images: Images, parameters: PyTree) -> int:
    """Returns an estimate of the memory that one run of the batch takes, from a layer on and back.

    Args:
      function: the model.
      layer: a mark, or ``"input"``.
      images: a batch, of which only shape and dtype count.
      parameters: of the model, likewise.

    Returns:
      An upper bound in bytes, with no value computed in place of another.

    Raises:
      ValueError: there is no such mark.

    Example:
      >>> import jax.numpy as jnp
      >>> from xrcam_jax.attribution.chunks import bytes_of_forward, bytes_of_gradient
      >>> model = lambda images, parameters: jnp.tanh(images * parameters).sum((1, 2))
      >>> images, parameters = jnp.ones((2, 8, 8, 1)), jnp.float32(3)
      >>> bytes_of_gradient(model, "input", images, parameters) > bytes_of_forward(model, "input", images, parameters)
      True
    """
    return _bytes(function, layer, shapes((images, parameters)), backward=True)


@lru_cache(maxsize=64)
def _bytes(function: Function, layer: str, known: Shapes, *, backward: bool) -> int:
    images, parameters = of_shapes(*known)
    tail = onwards(function, layer, images, parameters)
    activation = jax.eval_shape(lambda i, p: activation_at(i, p, function=function, layer=layer), images, parameters)

    def total(a: Array, rest: list[Array], parameters: PyTree) -> Array:
        again = onwards(function, layer, images, parameters) if layer == INPUT else tail
        return jnp.sum(again(a, rest))

    run = jax.grad(total) if backward else total
    return peak_bytes(jax.make_jaxpr(run)(*activation, parameters))
