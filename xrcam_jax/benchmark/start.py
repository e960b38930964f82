"""How long does ``xrcam explain`` of one picture take, from the prompt to its end?

    xrcam benchmark start --models resnet50     # two minutes on 2 cores

The command runs in processes of its own: one that finds nothing kept (cold), and one that finds the traces and programs
which that one has kept (warm), ``--repeats`` times in turn; a row has the medians. The processor's seconds are those of
all cores, which tell more than the clock where a machine does other work. Goals are those for ResNet50 at 224 x 224.
"""

import resource
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

import numpy as np

import xrcam_jax as xr
from xrcam_jax.arguments.parser import Options
from xrcam_jax.benchmark.fresh_process import leave_room_on_the_device, run_module
from xrcam_jax.benchmark.runs import Peer, Row
from xrcam_jax.checkpoints.save import save_timm
from xrcam_jax.pictures.write import save_picture

#: The goal for the seconds of a command.
GOALS = {"cold": 8, "warm": 2}


def measure(options: Options, peers: Mapping[str, Peer]) -> Iterator[Row]:
    """Yields two rows for each model, cold and warm."""
    leave_room_on_the_device()
    for name in options.models:
        found: dict[str, list[tuple[float, float]]] = {cache: [] for cache in GOALS}
        with TemporaryDirectory() as made:
            weights, picture = Path(made) / "weights.safetensors", Path(made) / "picture.png"
            save_timm(xr.create_model(name), weights)
            save_picture(picture, np.random.default_rng(0).integers(0, 256, (options.size,) * 2 + (3,), np.uint8))
            for turn in range(options.repeats):
                folder = Path(made) / str(turn)
                for cache, took in found.items():
                    took.append(seconds_of_explain(name, weights, picture, folder / cache, folder / "kept"))
        for cache, goal in GOALS.items():
            clock, processor = zip(*found[cache], strict=True)
            yield {"model": name, "cache": cache, "s": median(clock), "cpu_s": median(processor), "goal_s": goal}


def seconds_of_explain(name: str, weights: Path, picture: Path, out: Path, kept: Path) -> tuple[float, float]:
    """Runs ``xrcam explain`` of one picture; returns its seconds by the clock, and those of the processor.

    Args:
      name: the model.
      weights: its checkpoint.
      picture: that is explained.
      out: folder of what is drawn.
      kept: folder of traces and compiled programs.
    """
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    arguments = ("explain", picture, "--model", name, "--weights", weights, "--out", out)
    run_module("xrcam_jax", *arguments, JAX_COMPILATION_CACHE_DIR=str(kept))
    took, after = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
    return took, after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime
