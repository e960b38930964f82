"""Compiled functions with their arguments, what one call of them costs, and the functions that several suites time."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import jax

import xrcam_jax as xr
from xrcam_jax.benchmark.runs import Row
from xrcam_jax.explain.functional import as_function
from xrcam_jax.models.resnet import STAGES
from xrcam_jax.models.specs import find_spec
from xrcam_jax.runtime.compiling import compiler_options
from xrcam_jax.runtime.memory import compiled_bytes

#: Rows and columns of the matrices whose product tells what the device can do. Larger ones would take a CPU too long.
MATRIX = {"cpu": 2048}
LARGE_MATRIX = 8192


@dataclass(frozen=True)
class CompiledCall:
    """Describes a compiled function with its arguments; calling it runs the function and waits for the result.

    Attributes:
      function: what was compiled.
      arguments: on the device.
      compile_s: seconds that tracing and compiling took.
      gflop: floating-point operations of one call, in units of 1e9, by XLA's count; None if it does not say.
      memory: bytes of arguments, results and all in between, by XLA's count.
    """

    function: Callable[..., Any]
    arguments: tuple[Any, ...]
    compile_s: float
    gflop: float | None
    memory: int

    def __call__(self) -> Any:
        return jax.block_until_ready(self.function(*self.arguments))


def compile_call(function: Callable[..., Any], *arguments: Any) -> CompiledCall:
    """Compiles ``function`` for ``arguments``, with the options that the library compiles with."""
    return compile_jitted(jax.jit(function, compiler_options=dict(compiler_options())), *arguments)


def compile_jitted(function: Any, *arguments: Any) -> CompiledCall:
    """Compiles what ``jax.jit`` has made already for ``arguments``."""
    start = time.perf_counter()
    executable = function.lower(*arguments).compile()
    took = time.perf_counter() - start
    return CompiledCall(executable, arguments, took, gflop_of(executable), compiled_bytes(executable))


def gflop_of(executable: Any) -> float | None:
    """Returns the floating-point operations that XLA counts, in units of 1e9; None if it does not say."""
    flops = (executable.cost_analysis() or {}).get("flops")
    return None if flops is None or flops <= 0 else flops / 1e9


def matrix_product(dtype: str) -> CompiledCall:
    """Compiles a product of large matrices: nothing else comes as close to the device's peak rate."""
    n = MATRIX.get(jax.default_backend(), LARGE_MATRIX)
    a, b = (jax.random.normal(jax.random.key(i), (n, n), dtype) for i in range(2))
    return compile_call(lambda a, b: a @ b, a, b)


def achieved(gflop: float | None, seconds: float, peak: float) -> Row:
    """Returns the cells that say how fast a run was.

    Args:
      gflop: the work that XLA counts; None if it does not say.
      seconds: that the run took.
      peak: the device's rate in GFLOP/s.

    Returns:
      The work, the rate in GFLOP/s, and its share of the peak.
    """
    if gflop is None:
        return {"gflop": None, "gflop_per_s": None, "share_of_peak": None}
    return {"gflop": gflop, "gflop_per_s": gflop / seconds, "share_of_peak": gflop / seconds / peak}


def limit(run: CompiledCall, seconds: float, gradient: CompiledCall, gradient_s: float) -> Row:
    """Returns the cells that say what a run counts in gradients, and its time in gradients as a multiple of that.

    Args:
      run: what was timed.
      seconds: that it took.
      gradient: of the same network and batch.
      gradient_s: seconds that it took.
    """
    if not run.gflop or not gradient.gflop:
        return {"counted": None, "per_counted": None}
    counted = run.gflop / gradient.gflop
    return {"counted": counted, "per_counted": seconds / gradient_s / counted}


def network(name: str, size: int, **options: Any) -> Any:
    """Creates a network for pictures of ``size`` x ``size``, which those with positions are made for."""
    sized: dict[str, Any] = {"img_size": size} if "img_size" in find_spec(name).variants else {}
    return xr.create_model(name, **sized, **options)


def gradient(model: Callable[..., Any], layers: Sequence[str] = STAGES) -> tuple[Callable[..., Any], Any]:
    """Returns a function (parameters, images) -> gradients of the predicted class's logit at layers; and parameters."""
    f, parameters = as_function(model)

    def seed(logits: Any) -> Any:
        return xr.seeds.unit(logits, logits.argmax(-1))

    def gradients(parameters: Any, images: Any) -> Any:
        return xr.taps(f, xr.composites.gradient(), images, parameters, seed=seed, marks=layers).relevances

    return gradients, parameters
