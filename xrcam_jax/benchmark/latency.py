"""How long does one picture take, from the start of a fresh process and once all is compiled?

    xrcam benchmark latency --models resnet50,skresnext50_32x4d     # two minutes on 2 cores

A fresh process imports the library, reads a checkpoint, builds the network, compiles and explains: once with an empty
persistent compilation cache (cold), and once more with what that left there (warm). Times to the first result are to
be under 20 s cold and 5 s warm for the networks above at 224 x 224.
"""

import json
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

import jax
import numpy as np

import xrcam_jax as xr
from xrcam_jax.arguments.parser import Options
from xrcam_jax.benchmark.fresh_process import fresh_process, leave_room_on_the_device
from xrcam_jax.benchmark.runs import Peer, Row, seconds
from xrcam_jax.checkpoints.save import save_timm
from xrcam_jax.models.resnet import STAGES
from xrcam_jax.runtime.compiling import keep_compiled
from xrcam_jax.runtime.host_memory import keep_freed_memory

#: The goal for the seconds to the first result.
GOALS = {"cold": 20, "warm": 5}


def measure(options: Options, peers: Mapping[str, Peer]) -> Iterator[Row]:
    """Yields two rows for each model, cold and warm."""
    leave_room_on_the_device()
    for name in options.models:
        with TemporaryDirectory() as folder:
            weights = Path(folder) / "weights.safetensors"
            save_timm(xr.create_model(name), weights)
            for cache, goal in GOALS.items():
                arguments = (name, weights, options.size, options.repeats, time.time())
                variables = {"JAX_COMPILATION_CACHE_DIR": str(Path(folder) / "cache")}
                found = fresh_process(__name__, *arguments, **variables)
                yield {"model": name, "cache": cache, **found, "goal_s": goal}


def first_result(name: str, weights: Path, size: int, repeats: int, started: float) -> Row:
    """Explains one picture in this process and times each step.

    Args:
      name: the model.
      weights: its checkpoint.
      size: height and width of the picture.
      repeats: of the picture once all is compiled.
      started: when the process was started, as ``time.time()`` has it.

    Returns:
      Seconds of each step and of all until the first result, and the median milliseconds of a picture afterwards.
    """
    keep_freed_memory()
    keep_compiled()
    imported = time.time()
    explain = xr.Explainer(xr.load_model(name, weights), ("xrelevance_cam",), STAGES)
    loaded = time.time()
    image = np.random.default_rng(0).standard_normal((1, size, size, 3)).astype(np.float32)

    def run() -> None:
        jax.device_get(explain(image).maps)

    run()
    done = time.time()
    return {
        "import_s": imported - started,
        "load_s": loaded - imported,
        "compile_and_run_s": done - loaded,
        "first_result_s": done - started,
        "then_ms": 1e3 * median(seconds(run) for _ in range(repeats)),
    }


def result(argv: Sequence[str]) -> Row:
    """Returns what the fresh process finds out, given MODEL WEIGHTS SIZE REPEATS STARTED."""
    name, weights, size, repeats, started = argv
    return first_result(name, Path(weights), int(size), int(repeats), float(started))


if __name__ == "__main__":
    print(json.dumps(result(sys.argv[1:])))
