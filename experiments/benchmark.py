"""What relevance costs, in units of the gradient: all runs in one process, interleaved, medians.

    python -m experiments.benchmark --models resnet50,skresnext50_32x4d --batch-size 8 --size 224

About four minutes on 2 cores; ``xrcam benchmark`` is the same door. It times the forward pass, the gradient
at the four layers, and at the four layers with maps: XRelevance-CAM, XRelevance-CAM with Grad-CAM, and all CAMs
that need a single pass. With ``--torch`` (torch and timm installed) it adds PyTorch's forward pass and gradient on
the same work. Bare times depend on the machine; compare the ratios.
"""

import argparse
import json
import os
import platform
import resource
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import jax
from tqdm import tqdm

import xrcam_jax as xr
from experiments.peers import LAYERS, torch_runs
from xrcam_jax.compiling import compiler_options
from xrcam_jax.explain.kinds import Cam
from xrcam_jax.files import write_whole
from xrcam_jax.functional import as_function
from xrcam_jax.names import unknown

#: What one forward pass, one gradient and one relevance give.
SINGLE_PASS = tuple(name for name, method in xr.METHODS.items() if isinstance(method.kind, Cam))


def compiled_runs(name: str, batch: int, size: int, dtype: str) -> dict[str, tuple[Callable, float, float]]:
    """By run: a function that does it, the seconds its compilation took, and the GFLOP that XLA counts."""
    model = xr.create_model(name, dtype=dtype)
    f, parameters = as_function(model)
    images = jax.random.normal(jax.random.key(0), (batch, size, size, 3), dtype)

    def gradient(parameters: Any, images: Any) -> Any:
        def seed(logits: Any) -> Any:
            return xr.seeds.unit(logits, logits.argmax(-1))

        return xr.taps(f, xr.composites.gradient(), images, parameters, seed=seed, marks=LAYERS).relevances

    functions = {
        "forward": lambda parameters, images: f(images, parameters),
        "gradient": gradient,
        "xrelevance_cam": xr.Explainer(model, ("xrelevance_cam",), LAYERS).explain,
        "with grad_cam": xr.Explainer(model, ("xrelevance_cam", "grad_cam"), LAYERS).explain,
        f"all {len(SINGLE_PASS)} cams": xr.Explainer(model, SINGLE_PASS, LAYERS).explain,
    }
    runs = {}
    for label, function in functions.items():
        start = time.perf_counter()
        compiled = jax.jit(function, compiler_options=dict(compiler_options())).lower(parameters, images).compile()
        seconds = time.perf_counter() - start
        gflop = (compiled.cost_analysis() or {}).get("flops", float("nan")) / 1e9
        runs[label] = (lambda compiled=compiled: jax.block_until_ready(compiled(parameters, images))), seconds, gflop
    return runs


def interleaved_medians(runs: dict[str, Callable], repeats: int, label: str) -> dict[str, float]:
    """Median seconds of each run; they take turns, so that a slow moment of the machine hits all alike."""
    times: dict[str, list[float]] = {name: [] for name in runs}
    for run in runs.values():
        run()
    for _ in tqdm(range(repeats), desc=label, disable=None):
        for name, run in runs.items():
            start = time.perf_counter()
            run()
            times[name].append(time.perf_counter() - start)
    return {name: statistics.median(values) for name, values in times.items()}


def measure(name: str, options: argparse.Namespace) -> list[dict[str, Any]]:
    """One row for each run of the model ``name``."""
    compiled = compiled_runs(name, options.batch_size, options.size, options.dtype)
    runs: dict[str, Callable] = {label: run for label, (run, _, _) in compiled.items()}
    if options.torch:
        runs |= torch_runs(name, options.batch_size, options.size, len(os.sched_getaffinity(0)))
    medians = interleaved_medians(runs, options.repeats, name)
    return [
        {
            "model": name,
            "run": label,
            "ms": 1e3 * seconds,
            "per_gradient": seconds / medians["gradient"],
            "per_torch_gradient": seconds / medians["torch gradient"] if options.torch else None,
            "images_per_second": options.batch_size / seconds,
            "compile_s": compiled[label][1] if label in compiled else None,
            "gflop": compiled[label][2] if label in compiled else None,
            "gflop_per_gradient": compiled[label][2] / compiled["gradient"][2] if label in compiled else None,
        }
        for label, seconds in medians.items()
    ]


def machine() -> dict[str, Any]:
    """What the figures were measured on and with."""

    def installed(package: str) -> str | None:
        try:
            return version(package)
        except PackageNotFoundError:
            return None

    packages = ("xrcam-jax", "jax", "jaxlib", "flax", "torch", "timm")
    return {
        "device": str(jax.devices()[0].device_kind),
        "platform": jax.default_backend(),
        "cores": len(os.sched_getaffinity(0)),
        "processor": platform.processor() or platform.machine(),
        "versions": {package: installed(package) for package in packages},
    }


def peak_memory_mb() -> float:
    """Of the device where it tells, else of this process."""
    statistics_of_device = jax.devices()[0].memory_stats() or {}
    if "peak_bytes_in_use" in statistics_of_device:
        return statistics_of_device["peak_bytes_in_use"] / 2**20
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10


COLUMNS = ("ms", "per_gradient", "per_torch_gradient", "images_per_second", "compile_s", "gflop", "gflop_per_gradient")


def table(rows: Sequence[dict[str, Any]]) -> str:
    """The rows as Markdown."""
    shown = [column for column in COLUMNS if any(row[column] is not None for row in rows)]
    lines = ["| model | run | " + " | ".join(shown) + " |", "|---|---|" + "---:|" * len(shown)]
    for row in rows:
        cells = ["" if row[column] is None else f"{row[column]:.4g}" for column in shown]
        lines.append(f"| {row['model']} | {row['run']} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def parser() -> argparse.ArgumentParser:
    """The command's options."""
    options = argparse.ArgumentParser(
        prog="xrcam benchmark", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    options.add_argument("--models", default="resnet50,skresnext50_32x4d", help="names, with commas between")
    options.add_argument("--batch-size", type=int, default=8)
    options.add_argument("--size", type=int, default=224, help="height and width of the images")
    options.add_argument("--dtype", choices=("float32", "bfloat16"), default="float32")
    options.add_argument("--repeats", type=int, default=7)
    options.add_argument("--torch", action="store_true", help="add PyTorch's figures (needs torch and timm)")
    options.add_argument("--out", type=Path, help="write the figures as JSON there")
    return options


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, print the table, write the JSON; returns the exit status."""
    options = parser().parse_args(argv)
    names = options.models.split(",")
    for name in names:
        if name not in xr.list_models():
            print(f"xrcam benchmark: error: --models: {unknown('model', name, xr.list_models())}", file=sys.stderr)
            return 2
    if min(options.batch_size, options.repeats) < 1 or options.size < 32:
        print("xrcam benchmark: error: --batch-size and --repeats start at 1, --size at 32", file=sys.stderr)
        return 2
    if options.torch:
        missing = [package for package in ("torch", "timm") if find_spec(package) is None]
        if missing:
            print(f"xrcam benchmark: error: --torch: {' and '.join(missing)} not installed", file=sys.stderr)
            return 2
    rows = [row for name in names for row in measure(name, options)]
    report = {
        "machine": machine(),
        "batch_size": options.batch_size,
        "size": options.size,
        "dtype": options.dtype,
        "peak_memory_mb": peak_memory_mb(),
        "rows": rows,
    }
    print(table(rows))
    print(f"\npeak memory {report['peak_memory_mb']:.0f} MB; {json.dumps(report['machine'])}")
    if options.out:
        write_whole(options.out, json.dumps(report, indent=1).encode())
        print(f"figures written to {options.out}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
