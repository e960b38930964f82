"""What the suites have in common: programs and what they cost, runs in turns, other processes, the machine."""

import argparse
import json
import os
import platform
import re
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import jax
from tqdm import tqdm

import xrcam_jax as xr
from xrcam_jax.errors import CommandError
from xrcam_jax.explain.functional import as_function
from xrcam_jax.runtime.compiling import compiler_options
from xrcam_jax.runtime.memory import compiled_bytes

LAYERS = ("layer1", "layer2", "layer3", "layer4")
PACKAGES = ("xrcam-jax", "jax", "jaxlib", "flax", "numpy", "torch", "timm", "grad-cam", "zennit", "captum")
#: What changes how fast programs are, if it is set.
VARIABLES = ("XLA_FLAGS", "GLIBC_TUNABLES")
#: Rows and columns of the matrices whose product tells what the device can do; a second of work for a slow one.
MATRIX = {"cpu": 2048}
LARGE_MATRIX = 8192

# After a run PyTorch's threads keep their cores busy for some 5 ms, at the cost of whoever runs next.
_REST_S = 0.05

#: What a suite yields: its table's cells by heading.
Row = dict[str, Any]
Run = Callable[[], Any]
#: Given what a suite measures, the runs of another library by their labels.
Peer = Callable[..., dict[str, Any]]


@dataclass(frozen=True)
class Program:
    """A compiled function with its arguments.

    Attributes:
      call: the function.
      arguments: on the device.
      compile_s: seconds that tracing and compiling took.
      gflop: that XLA counts in one run; None if it does not say.
      memory: bytes of arguments, results and all in between, by XLA's count.
    """

    call: Callable[..., Any]
    arguments: tuple[Any, ...]
    compile_s: float
    gflop: float | None
    memory: int

    def __call__(self) -> Any:
        return jax.block_until_ready(self.call(*self.arguments))


def program(function: Callable[..., Any], *arguments: Any) -> Program:
    """``function`` compiled for ``arguments``, as the library compiles."""
    return compiled(jax.jit(function, compiler_options=dict(compiler_options())), *arguments)


def compiled(function: Any, *arguments: Any) -> Program:
    """The same of what ``jax.jit`` has made already."""
    start = time.perf_counter()
    executable = function.lower(*arguments).compile()
    return Program(executable, arguments, time.perf_counter() - start, gflop_of(executable), compiled_bytes(executable))


def gflop_of(executable: Any) -> float | None:
    """What XLA counts; None if it does not say."""
    flops = (executable.cost_analysis() or {}).get("flops")
    return None if flops is None or flops <= 0 else flops / 1e9


def matrix_product(dtype: str) -> Program:
    """A product of large matrices, the most that a device does."""
    n = MATRIX.get(jax.default_backend(), LARGE_MATRIX)
    a, b = (jax.random.normal(jax.random.key(i), (n, n), dtype) for i in range(2))
    return program(lambda a, b: a @ b, a, b)


def achieved(gflop: float | None, seconds: float, peak: float) -> Row:
    """Of a run: the work that XLA counts, the rate, and its share of ``peak`` (GFLOP/s)."""
    if gflop is None:
        return {"gflop": None, "gflop_per_s": None, "share_of_peak": None}
    return {"gflop": gflop, "gflop_per_s": gflop / seconds, "share_of_peak": gflop / seconds / peak}


def gradient(model: Callable[..., Any], layers: Sequence[str] = LAYERS) -> tuple[Callable[..., Any], Any]:
    """(parameters, images) -> the gradients of the predicted class's logit at the layers; and the parameters."""
    f, parameters = as_function(model)

    def seed(logits: Any) -> Any:
        return xr.seeds.unit(logits, logits.argmax(-1))

    def gradients(parameters: Any, images: Any) -> Any:
        return xr.taps(f, xr.composites.gradient(), images, parameters, seed=seed, marks=layers).relevances

    return gradients, parameters


def interleaved_medians(runs: Mapping[str, Run], repeats: int, label: str, *, warm_up: bool = True) -> dict[str, float]:
    """Median seconds of each run; they take turns, so that a slow moment of the machine hits all alike.

    ``warm_up`` runs each once beforehand, which does not count.
    """
    times: dict[str, list[float]] = {name: [] for name in runs}
    if warm_up:
        for run in runs.values():
            run()
    for _ in tqdm(range(repeats), desc=label, leave=False, disable=None):
        for name, run in runs.items():
            time.sleep(_REST_S)
            times[name].append(seconds(run))
    return {name: statistics.median(values) for name, values in times.items()}


def seconds(run: Run) -> float:
    """How long one call takes."""
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def peer_runs(peers: Mapping[str, Peer], *arguments: Any) -> dict[str, Any]:
    """The runs of other libraries, given the suite's arguments; one that is not installed is left out, with a line."""
    runs: dict[str, Any] = {}
    for name, peer in peers.items():
        try:
            runs |= peer(*arguments)
        except (ImportError, ValueError) as error:
            print(f"xrcam benchmark: --peers: {name} is left out: {error}", file=sys.stderr)
    return runs


def cores() -> int:
    """That this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def numbers(text: str, least: int = 1) -> list[int]:
    """The value of an option: whole numbers with commas between, none below ``least``."""
    found = [int(part) for part in text.split(",")]
    if min(found) < least:
        raise argparse.ArgumentTypeError(f"{min(found)} is less than {least}")
    return found


def fresh_process(module: str, *arguments: Any, **environment: str) -> Row:
    """What ``python -m module arguments`` prints as JSON in its last line.

    Raises:
      CommandError: it fails.
    """
    root = str(Path(__file__).parents[2])
    path = os.pathsep.join(filter(None, (root, os.environ.get("PYTHONPATH"))))
    finished = subprocess.run(
        [sys.executable, "-m", module, *map(str, arguments)],
        env={**os.environ, **environment, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=False,
    )
    if finished.returncode:
        last = finished.stderr.strip().splitlines()[-1:] or ["no message"]
        raise CommandError(f"{module} {' '.join(map(str, arguments))}: {last[0]}")
    return json.loads(finished.stdout.strip().splitlines()[-1])


def leave_room_on_the_device() -> None:
    """Before JAX starts: keeps this process from taking most of a GPU's memory, for processes that it will start."""
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")


def peak_memory_mb() -> float:
    """Of the device where it tells, else of this process, since it began."""
    of_device = jax.local_devices()[0].memory_stats() or {}
    if "peak_bytes_in_use" in of_device:
        return of_device["peak_bytes_in_use"] / 2**20
    unit = 2**20 if sys.platform == "darwin" else 2**10
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit


def machine() -> Row:
    """What the figures were measured on and with."""
    installed: dict[str, str | None] = {}
    for package in PACKAGES:
        try:
            installed[package] = version(package)
        except PackageNotFoundError:
            installed[package] = None
    return {
        "device": str(jax.devices()[0].device_kind),
        "platform": jax.default_backend(),
        "devices": jax.device_count(),
        "cores": cores(),
        "processor": _processor(),
        "versions": {"python": platform.python_version(), **installed},
        "variables": {name: os.environ[name] for name in VARIABLES if name in os.environ},
    }


def device_name(machine: Mapping[str, Any]) -> str:
    """For file names: ``cpu_2cores``, ``nvidia_h100_80gb_hbm3``."""
    if machine["platform"] == "cpu":
        return f"cpu_{machine['cores']}cores"
    return re.sub(r"[^a-z0-9]+", "_", machine["device"].lower()).strip("_")


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()
