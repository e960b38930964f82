"""How much memory programs take, estimated from a jaxpr or counted by XLA, and how much of it is free."""

import os
from pathlib import Path
from typing import Any

import jax
from jax.extend.core import ClosedJaxpr, Jaxpr
from jax.extend.core import Literal as JaxprLiteral

from xrcam_jax.runtime import jaxprs

#: Share of a CPU's free memory that a batch may take, since other programs need some too.
CPU_SHARE = 0.5


def compiled_bytes(program: jax.stages.Compiled) -> int:
    """Returns what a run of a program takes by XLA's count: its arguments, its results and all in between.

    Args:
      program: compiled.

    Returns:
      Bytes on each device; 0 where XLA does not count.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> program = jax.jit(lambda x: x + 1).lower(jnp.zeros(1000, jnp.float32)).compile()
      >>> compiled_bytes(program) >= 8000
      True
    """
    memory = program.memory_analysis()
    if memory is None:
        return 0
    return memory.argument_size_in_bytes + memory.output_size_in_bytes + memory.temp_size_in_bytes


def free_bytes() -> int:
    """Returns how much memory of this process's first device is free for a program.

    Returns:
      Bytes: what the device's allocator has left or, of a CPU, ``CPU_SHARE`` of what the machine has left.

    Example:
      >>> free_bytes() > 0
      True
    """
    memory = jax.local_devices()[0].memory_stats() or {}
    if "bytes_limit" in memory:
        return memory["bytes_limit"] - memory["bytes_in_use"]
    return int(CPU_SHARE * _free_memory())


def _free_memory() -> int:
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
        return next(1024 * int(line.split()[1]) for line in lines if line.startswith("MemAvailable:"))
    except (OSError, StopIteration):
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def peak_bytes(jaxpr: ClosedJaxpr | Jaxpr) -> int:
    """Returns an upper bound of what the intermediate values of a jaxpr take at any one time.

    A compiler that computes some of them in place, or not at all, takes less.

    Args:
      jaxpr: a program. Bodies of its calls, loops and branches are looked into.

    Returns:
      Bytes, without those of the arguments.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> peak_bytes(jax.make_jaxpr(lambda x: jnp.cos(jnp.sin(x)))(jnp.zeros(10, jnp.float32)))
      80
    """
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
