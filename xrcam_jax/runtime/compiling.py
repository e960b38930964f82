"""Compilation: the options that XLA is given on each kind of device, and JAX's cache of compiled programs on disk."""

import logging
import os
from collections.abc import Callable, Mapping, Sequence
from functools import cache, wraps
from pathlib import Path
from typing import Any

import jax

from xrcam_jax.runtime.private import private_folder
from xrcam_jax.runtime.trace_cache import can_be_kept, traced_once

_LOG = logging.getLogger(__name__)

_CPU = {
    # jaxlib 0.10 sends convolutions on CPU to a library that leaves some shapes on one thread. Without it the models
    # here are 1.3 to 1.5 times as fast.
    "xla_cpu_experimental_ynn_fusion_type": "",
    # The order that jaxlib 0.10 chooses on CPU begins with all that needs no picture. Then the positive weights of all
    # layers lie in memory together, and relevance takes 1.5 times the memory and no less time.
    "xla_cpu_scheduler_type": "CPU_SCHEDULER_TYPE_MEMORY_OPTIMIZED",
}


def compiler_options() -> Mapping[str, Any]:
    """Returns the options for ``jax.jit(..., compiler_options=)`` on the default kind of device.

    Returns:
      Values by name of the option; only those options that this jaxlib knows.

    Example:
      >>> import jax
      >>> float(jax.jit(lambda x: x + 1, compiler_options=dict(compiler_options()))(1.0))
      2.0
    """
    return _known_cpu_options() if jax.default_backend() == "cpu" else {}


@cache
def _known_cpu_options() -> Mapping[str, Any]:
    # One program tells of all of them, as a rule.
    return _CPU if _is_known(_CPU) else {name: value for name, value in _CPU.items() if _is_known({name: value})}


def _is_known(options: Mapping[str, Any]) -> bool:
    try:
        jax.jit(lambda x: x, compiler_options=dict(options)).lower(0.0).compile()
    except jax.errors.JaxRuntimeError:
        return False
    return True


def compiled(*, static: Sequence[str] = (), keep_trace: bool = False) -> Callable[[Callable], Callable]:
    """Returns a decorator that is ``jax.jit`` with :func:`compiler_options`, looked up at the first call.

    Inside another transformation the function is traced as it is, since options are for whole programs.

    Args:
      static: names of the arguments that are part of the program; hashable, and passed by name.
      keep_trace: whether to keep what is traced on disk, for functions that take long to trace; see
        :func:`xrcam_jax.runtime.trace_cache.traced_once`.

    Returns:
      The decorator.

    Example:
      >>> import jax.numpy as jnp
      >>> @compiled(static=("power",))
      ... def raised(x, *, power):
      ...     return x**power
      >>> raised(jnp.arange(3), power=2).tolist()
      [0, 1, 4]
    """

    def decorate(f: Callable) -> Callable:
        @cache
        def jitted(keep: bool) -> Callable:
            g = traced_once(f, tuple(static)) if keep else f
            return jax.jit(g, static_argnames=tuple(static), compiler_options=dict(compiler_options()))

        @wraps(f)
        def call(*args: Any, **options: Any) -> Any:
            dynamic = [value for name, value in options.items() if name not in static]
            if any(isinstance(leaf, jax.core.Tracer) for leaf in jax.tree.leaves((args, dynamic))):
                return f(*args, **options)
            return jitted(keep_trace and can_be_kept((args, dynamic)))(*args, **options)

        return call

    return decorate


def keep_compiled() -> None:
    """Lets JAX keep what it compiles in ``~/.cache/xrcam_jax`` (or ``$XDG_CACHE_HOME/xrcam_jax``), for later processes.

    For programs, not for libraries: it changes JAX's configuration. The standard variable
    ``JAX_COMPILATION_CACHE_DIR`` names another folder, or switches the cache off where it is empty. Where the folder
    cannot be written, or others can write there, nothing is kept: a program that is found there is run.

    Example:
      >>> keep_compiled()  # doctest: +SKIP
    """
    chosen = os.environ.get("JAX_COMPILATION_CACHE_DIR")
    if chosen is None:
        folder = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "xrcam_jax"
        chosen = str(folder) if private_folder(folder) else ""
        if not chosen and folder.is_dir():
            line = "compiled programs are not kept there, since it is not yours, or others can write there"
            _LOG.warning("%s: %s", folder, line)
    jax.config.update("jax_compilation_cache_dir", chosen or None)
    if "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS" not in os.environ:
        # By default JAX keeps only what took a second. Around each large program there are many small ones that take
        # less.
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
