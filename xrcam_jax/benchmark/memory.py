"""How much memory does XRelevance-CAM take at its peak, beside the gradient at the same four layers?

    xrcam benchmark memory --models resnet50 --batch-sizes 1,8,32 --sizes 224,448     # six minutes on 2 cores

For each batch and picture size there are two figures in MiB: what XLA counts (arguments, results and all in between),
and the measured peak. Each program runs in a process of its own. Its peak is that of the device's allocator or, on a
CPU under Linux, by how much the process grows in a run, plus its arguments. The goal is that XRelevance-CAM takes at
most 1.5 times as much as the gradient.
"""

import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from itertools import product
from pathlib import Path

import jax
import jax.numpy as jnp
from tqdm import tqdm

import xrcam_jax as xr
from xrcam_jax.arguments.parser import Options
from xrcam_jax.benchmark.compiled_calls import compile_call, gradient
from xrcam_jax.benchmark.fresh_process import fresh_process, leave_room_on_the_device
from xrcam_jax.benchmark.runs import Peer, Row, Run
from xrcam_jax.models.resnet import STAGES

RUNS = ("gradient", "xrelevance_cam")
GOAL = 1.5
MB = 2**20
CLEAR = Path("/proc/self/clear_refs")


def measure(options: Options, peers: Mapping[str, Peer]) -> Iterator[Row]:
    """Yields a row for each model, batch size and picture size."""
    leave_room_on_the_device()
    cases = list(product(options.models, options.sizes, options.batch_sizes))
    for name, size, batch in tqdm(cases, desc="memory", leave=False, disable=None):
        found = {run: fresh_process(__name__, name, run, batch, size, options.dtype) for run in RUNS}
        row: Row = {"model": name, "size": size, "batch": batch}
        for kind in ("compiled_mb", "measured_mb"):
            values = {run: found[run][kind] for run in RUNS}
            row |= {f"{run}_{kind}": value for run, value in values.items()}
            known = None not in values.values()
            row[f"ratio_{kind.removesuffix('_mb')}"] = values[RUNS[1]] / values[RUNS[0]] if known else None
        yield {**row, "goal": GOAL}


def peak(name: str, run: str, batch: int, size: int, dtype: str) -> Row:
    """Compiles a program and runs it once in this process; returns its MiB by XLA's count, and as measured."""
    model = xr.create_model(name, dtype=dtype)
    gradients, parameters = gradient(model)
    function = gradients if run == "gradient" else xr.Explainer(model, (run,), STAGES).explain
    images = jnp.zeros((batch, size, size, 3), dtype)
    once = compile_call(function, parameters, images)
    arguments = sum(leaf.nbytes for leaf in jax.tree.leaves((parameters, images)))
    most = measured(once, arguments)
    return {"compiled_mb": once.memory / MB, "measured_mb": None if most is None else most / MB}


def measured(run: Run, arguments: int) -> int | None:
    """Returns the bytes that ``run`` takes at its peak, its arguments included; None where they cannot be told."""
    of_device = jax.local_devices()[0].memory_stats()
    if of_device:
        run()
        return (jax.local_devices()[0].memory_stats() or {}).get("peak_bytes_in_use")
    try:
        # This resets the process's peak, VmHWM, so that what came before does not count.
        CLEAR.write_text("5")
        before = _resident("VmRSS")
        run()
        return _resident("VmHWM") - before + arguments
    except OSError:
        return None


def _resident(field: str) -> int:
    """Returns the bytes that the process holds (VmRSS), or has held at most (VmHWM)."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(1024 * int(line.split()[1]) for line in lines if line.startswith(f"{field}:"))


def result(argv: Sequence[str]) -> Row:
    """Returns what each process finds out, given MODEL RUN BATCH SIZE DTYPE."""
    name, run, batch, size, dtype = argv
    return peak(name, run, int(batch), int(size), dtype)


if __name__ == "__main__":
    print(json.dumps(result(sys.argv[1:])))
