"""How much memory programs take, and how much there is: estimates from a jaxpr, XLA's own count, what is free."""

import os
from pathlib import Path
from typing import Any

import jax
from jax.extend.core import ClosedJaxpr, Jaxpr, JaxprEqn
from jax.extend.core import Literal as JaxprLiteral

#: Of a CPU's free memory, what a batch may take: other programs need some too.
CPU_SHARE = 0.5


def compiled_bytes(program: jax.stages.Compiled) -> int:
    """What a run of ``program`` takes by XLA's count: its arguments, its results and all in between."""
    memory = program.memory_analysis()
    return 0 if memory is None else (
        memory.argument_size_in_bytes + memory.output_size_in_bytes + memory.temp_size_in_bytes
    )  # fmt: skip


def free_bytes() -> int:
    """Of the first device: what its allocator has left or, of a CPU, ``CPU_SHARE`` of what the machine has left."""
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


def peak_bytes(closed: ClosedJaxpr) -> int:
    """Upper bound of what intermediate values of a jaxpr take at any one time, if none is computed in place."""
    return _peak_bytes(closed.jaxpr)


def _peak_bytes(jaxpr: Jaxpr) -> int:
    last = {v: i for i, e in enumerate(jaxpr.eqns) for v in e.invars if not isinstance(v, JaxprLiteral)}
    last |= {v: len(jaxpr.eqns) for v in jaxpr.outvars if not isinstance(v, JaxprLiteral)}
    sizes: dict[Any, int] = {}
    most = now = 0
    for i, equation in enumerate(jaxpr.eqns):
        most = max([most, *(now + _peak_bytes(body) for body in _bodies(equation))])
        for v in equation.outvars:
            aval: Any = v.aval
            sizes[v] = aval.size * aval.dtype.itemsize
            now += sizes[v]
        most = max(most, now)
        for v in {v for v in [*equation.invars, *equation.outvars] if not isinstance(v, JaxprLiteral)}:
            if last.get(v, -1) <= i:
                now -= sizes.pop(v, 0)
    return most


def _bodies(equation: JaxprEqn) -> list[Jaxpr]:
    """Of a call, a loop or a branch."""
    found = [p for p in jax.tree.leaves(list(equation.params.values())) if isinstance(p, (ClosedJaxpr, Jaxpr))]
    return [body.jaxpr if isinstance(body, ClosedJaxpr) else body for body in found]
