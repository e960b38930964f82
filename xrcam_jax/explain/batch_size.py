"""How many pictures at a time fit into the device's memory."""

from collections.abc import Callable
from functools import partial

import jax

from xrcam_jax.explain.explainer import Explainer
from xrcam_jax.runtime.compiling import compiler_options
from xrcam_jax.runtime.memory import compiled_bytes, free_bytes

#: Upper bounds of the batch: beyond 32 on CPU, and 1024 elsewhere, more pictures at a time are not faster.
CPU_LIMIT, LIMIT = 32, 1024


def largest_batch_size(explain: Explainer, size: tuple[int, ...], devices: int = 1, channels: int = 3) -> int:
    """Returns the size of the largest batch that there is memory for.

    What counts is the one program of all methods that need no changed versions of the batch; the others run in chunks.
    The program is compiled for a few batch sizes on one device, since each of several takes as much for its share.

    Args:
      explain: the methods and the model.
      size: of the pictures: (height, width) for images.
      devices: how many devices the batch is laid across.
      channels: of the pictures.

    Returns:
      The same power of two for each device, up to ``CPU_LIMIT`` or ``LIMIT``; 1 for each if there is memory for none.

    Example:
      >>> import xrcam_jax as xr
      >>> from xrcam_jax.explain.batch_size import largest_batch_size
      >>> explain = xr.Explainer(lambda images: images.mean((1, 2)), "gradient")
      >>> 1 <= largest_batch_size(explain, (2, 2)) <= 1024
      True
    """
    methods = [name for name, kind in explain.kinds.items() if kind.single_pass]
    # Only shapes are given: parameters that lie on several devices would have it compiled for all of them.
    parameters = jax.tree.map(lambda a: jax.ShapeDtypeStruct(a.shape, a.dtype), explain.parameters)
    program = jax.jit(partial(explain.explain, methods=methods), compiler_options=dict(compiler_options()))

    def needed(batch: int) -> int:
        images = jax.ShapeDtypeStruct((batch, *size, channels), "float32")
        return compiled_bytes(program.lower(parameters, images).compile())

    if jax.default_backend() == "cpu":
        # All CPU devices share the memory of one machine.
        return devices * largest_power_of_two(needed, free_bytes() // devices, max(1, CPU_LIMIT // devices))
    return devices * largest_power_of_two(needed, free_bytes(), LIMIT)


def largest_power_of_two(needed: Callable[[int], int], available: int, limit: int, first: int = 32) -> int:
    """Returns the largest power of two n with needed(n) <= available.

    Args:
      needed: an increasing function of n; it is asked as seldom as possible, since an answer may take long.
      available: what ``needed`` is compared with.
      limit: upper bound of n.
      first: n to begin with, a power of two.

    Returns:
      n, or 1 if not even that fits.

    Example:
      >>> from xrcam_jax.explain.batch_size import largest_power_of_two
      >>> largest_power_of_two(lambda n: 100 + 10 * n, 800, limit=1024)
      64
    """
    limit = _power_of_two(limit)
    n = min(first, limit)
    while (bytes_ := needed(n)) > available:
        if n == 1:
            return 1
        n = limit = n // 2
    # Part of what is needed does not grow with n, so that at least this many fit.
    likely = min(_power_of_two(n * available // max(1, bytes_)), limit)
    while likely > n and needed(likely) > available:
        likely = limit = likely // 2
    n = likely
    while 2 * n <= limit and needed(2 * n) <= available:
        n *= 2
    return n


def _power_of_two(n: int) -> int:
    """Returns the largest power of two that is not above ``n``, which is at least 1."""
    return 1 << (n.bit_length() - 1)
