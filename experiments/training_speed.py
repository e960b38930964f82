"""Images per second in training, beside PyTorch's in the same process; the two take turns.

    python -m experiments.training_speed --model skresnext50_32x4d --torch     # two minutes on 2 cores

Our step includes the augmentation, which PyTorch's does without. Read the ratio: bare times depend on the
machine.
"""

import argparse
import json
import os
import time
from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np
import optax

import xrcam_jax as xr
from experiments.benchmark import interleaved_medians, machine
from experiments.peers import torch_training
from xrcam_jax.data.augment import Augmentation, augment, normalise
from xrcam_jax.data.manifest import Statistics
from xrcam_jax.train.step import data_mesh, initial_state, make_train_step, place


def training(name: str, batch: int, size: int) -> Callable[[], Any]:
    """One training step of our model ``name`` on random pictures of two classes."""
    mesh, optimiser = data_mesh(), optax.adamax(1e-3)
    static, state = initial_state(xr.create_model(name, num_classes=2), optimiser, mesh)
    settings, statistics = Augmentation(), Statistics(0.5, 0.25)
    step = make_train_step(
        static, optimiser, lambda key, images: normalise(augment(key, images, settings), statistics), mesh, seed=0
    )
    images = np.random.default_rng(0).integers(0, 256, (batch, size, size, 1), dtype=np.uint8)
    placed = place(mesh, {"image": images, "label": np.arange(batch, dtype=np.int32) % 2})

    def run() -> Any:
        nonlocal state
        state, sums = step(state, placed)
        return jax.block_until_ready(sums)

    return run


def main(argv: Sequence[str] | None = None) -> int:
    """Measure and print; returns the exit status."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--model", default="skresnext50_32x4d", choices=xr.list_models())
    options.add_argument("--batch-size", type=int, default=8)
    options.add_argument("--size", type=int, default=224, help="height and width of the images")
    options.add_argument("--repeats", type=int, default=7)
    options.add_argument("--torch", action="store_true", help="add PyTorch's figure (needs torch and timm)")
    given = options.parse_args(argv)
    runs = {"xrcam_jax": training(given.model, given.batch_size, given.size)}
    if given.torch:
        runs["torch"] = torch_training(given.model, given.batch_size, given.size, len(os.sched_getaffinity(0)))
    start = time.perf_counter()
    runs["xrcam_jax"]()
    compilation = time.perf_counter() - start
    medians = interleaved_medians(runs, given.repeats, given.model)
    for label, seconds in medians.items():
        ratio = f", {medians['torch'] / seconds:.2f} x torch" if given.torch else ""
        print(f"{given.model} {label}: {given.batch_size / seconds:.2f} images/s in training{ratio}")
    print(f"first step, compilation included: {compilation:.1f} s; {json.dumps(machine())}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
