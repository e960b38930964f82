"""What XLA is asked for, on each kind of device."""

from collections.abc import Mapping
from functools import cache
from typing import Any

import jax

# jaxlib 0.10 sends convolutions on CPU to a library that leaves some shapes on one thread: without it the
# models here are 1.3 to 1.5 times as fast.
_CPU = {"xla_cpu_experimental_ynn_fusion_type": ""}


def compiler_options() -> Mapping[str, Any]:
    """Options for ``jax.jit(..., compiler_options=)`` on the default device; only those that this jaxlib knows."""
    return _known_cpu_options() if jax.default_backend() == "cpu" else {}


@cache
def _known_cpu_options() -> Mapping[str, Any]:
    try:
        jax.jit(lambda x: x, compiler_options=_CPU).lower(0.0).compile()
    except jax.errors.JaxRuntimeError:
        return {}
    return _CPU
