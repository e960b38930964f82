"""How many pictures at a time the device's memory is enough for."""

from collections.abc import Callable
from functools import partial

import jax

from xrcam_jax.explain.explainer import Explainer
from xrcam_jax.runtime.compiling import compiler_options
from xrcam_jax.runtime.memory import compiled_bytes, free_bytes

#: The largest batch. On CPU, and beyond the second on others, more at a time is not faster.
CPU_LIMIT, LIMIT = 32, 1024


def largest_batch_size(explain: Explainer, size: tuple[int, int], devices: int = 1) -> int:
    """The largest batch of pictures of ``size`` (h, w) that there is memory for, laid across ``devices``.

    Each device gets the same power of two; 1 if there is memory for none. What counts is the one program of all methods
    that need no changed versions of the batch: the others run in chunks. It is compiled for a few batch sizes, for one
    device, whose share of the batch takes as much on each of several.
    """
    methods = [name for name, kind in explain.kinds.items() if kind.single_pass]
    # Shapes alone, as parameters that lie on several devices would have it compiled for all of them.
    parameters = jax.tree.map(lambda a: jax.ShapeDtypeStruct(a.shape, a.dtype), explain.parameters)
    program = jax.jit(partial(explain.explain, methods=methods), compiler_options=dict(compiler_options()))

    def needed(batch: int) -> int:
        images = jax.ShapeDtypeStruct((batch, *size, 3), "float32")
        return compiled_bytes(program.lower(parameters, images).compile())

    if jax.default_backend() == "cpu":
        # All CPU devices are one machine with one memory.
        return devices * largest_power_of_two(needed, free_bytes() // devices, max(1, CPU_LIMIT // devices))
    return devices * largest_power_of_two(needed, free_bytes(), LIMIT)


def largest_power_of_two(needed: Callable[[int], int], available: int, limit: int, first: int = 32) -> int:
    """The largest power of two n up to ``limit`` with needed(n) <= available; 1 if there is none.

    Args:
      needed: increasing; asked as seldom as may be, since an answer may take long.
      available: what ``needed`` is compared with.
      limit: of n.
      first: n to begin with, a power of two.
    """
    limit = _power_of_two(limit)
    n = min(first, limit)
    while (bytes_ := needed(n)) > available:
        if n == 1:
            return 1
        n = limit = n // 2
    # Part of it does not grow with n, so that at least this many fit.
    likely = min(_power_of_two(n * available // max(1, bytes_)), limit)
    while likely > n and needed(likely) > available:
        likely = limit = likely // 2
    n = likely
    while 2 * n <= limit and needed(2 * n) <= available:
        n *= 2
    return n


def _power_of_two(n: int) -> int:
    """The largest one that is not above ``n``, which is at least 1."""
    return 1 << (n.bit_length() - 1)
