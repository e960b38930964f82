"""How many images per second does training take in?

    python -m experiments.benchmark train --models skresnext50_32x4d --peers torch     # five minutes on 2 cores

A step of ours includes the augmentation, which PyTorch's does not; so there is a step without it, to compare.
"""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import jax
import numpy as np
import optax

import xrcam_jax as xr
from xrcam_jax.arguments.parser import Options
from xrcam_jax.benchmark.compiled_calls import CompiledCall, achieved, compile_jitted, matrix_product
from xrcam_jax.benchmark.machine import cores
from xrcam_jax.benchmark.runs import Peer, Row, interleaved_medians, peer_runs
from xrcam_jax.data.augment import Augmentation, augment, normalise
from xrcam_jax.data.manifest import Statistics
from xrcam_jax.errors import CommandError
from xrcam_jax.runtime.devices import data_mesh, place
from xrcam_jax.train.step import initial_state, make_train_step

PEAK = "matrix product"


def measure(options: Options, peers: Mapping[str, Peer]) -> Iterator[Row]:
    """Yields a row for each library and model."""
    if options.batch_size % jax.device_count():
        raise CommandError(f"--batch-size: {options.batch_size} is no multiple of {jax.device_count()}, the devices")
    for name in options.models:
        runs = {
            "xrcam_jax": training(name, options.batch_size, options.size),
            "without augmentation": training(name, options.batch_size, options.size, augmented=False),
            PEAK: matrix_product("float32"),
        }
        theirs = peer_runs(peers, name, options.batch_size, options.size, cores())
        medians = interleaved_medians({**runs, **theirs}, options.repeats, name)
        peak = (runs[PEAK].gflop or float("nan")) / medians[PEAK]
        for label, seconds in medians.items():
            yield {
                "model": name,
                "run": label,
                "ms": 1e3 * seconds,
                "images_per_s": None if label == PEAK else options.batch_size / seconds,
                "times_torch": medians["torch"] / seconds if "torch" in medians and label != PEAK else None,
                **({"compile_s": runs[label].compile_s} if label in runs else {}),
                **(achieved(runs[label].gflop, seconds, peak) if label in runs else {}),
            }


def training(name: str, batch: int, size: int, *, augmented: bool = True) -> CompiledCall:
    """Compiles a training step of our model ``name`` on random pictures of two classes; each call does the next."""
    mesh, optimiser = data_mesh(), optax.adamax(1e-3)
    static, state = initial_state(xr.create_model(name, num_classes=2), optimiser, mesh)
    settings, statistics = Augmentation(), Statistics(0.5, 0.25)

    def prepared(key: jax.Array, images: jax.Array) -> jax.Array:
        return normalise(augment(key, images, settings) if augmented else images, statistics)

    step = make_train_step(static, optimiser, prepared, mesh, seed=0)
    images = np.random.default_rng(0).integers(0, 256, (batch, size, size, 1), dtype=np.uint8)
    placed = place(mesh, {"image": images, "label": np.arange(batch, dtype=np.int32) % 2})
    first = compile_jitted(step, state, placed)

    def run() -> Any:
        nonlocal state
        state, sums = first.function(state, placed)
        return sums

    return replace(first, function=run, arguments=())
