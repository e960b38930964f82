"""Changed versions of a batch are run in chunks: as many at a time as fit into memory, one program for all chunks."""

from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, PyTree

from xrcam_jax.attribution.case import INPUT, Case, Function, activation_at, onwards
from xrcam_jax.attribution.shapes import Shapes, of_shapes, shapes
from xrcam_jax.runtime.devices import shards
from xrcam_jax.runtime.memory import peak_bytes

#: What a chunk may take in memory, in bytes, unless its size is given.
MEMORY = 2**30


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
