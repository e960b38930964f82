"""What the evaluation of seven methods at four layers and their aggregates costs, beside pytorch-grad-cam.

    python -m experiments.evaluation_speed --model resnet50 --peer     # five minutes on 2 cores

Seconds per picture, all runs in turns in one process: the evaluation as ``xrcam evaluate segmentation`` does it, maps
and figures; one pass of Grad-CAM and one of XRelevance-CAM, each alone at the four layers; with ``--peer`` (torch,
timm and grad-cam installed) the six methods of pytorch-grad-cam that one gradient gives, layer by layer. Read the
ratios.
"""

import argparse
import json
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np

import xrcam_jax as xr
from experiments.benchmark import interleaved_medians, machine
from experiments.peers import LAYERS, layer_cams
from experiments.segmentation import figures
from experiments.shared.study import SEVEN, Batch
from xrcam_jax.files import write_whole


def main(argv: Sequence[str] | None = None) -> int:
    """Measure and print; returns the exit status."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--model", default="resnet50", choices=xr.list_models())
    options.add_argument("--batch-size", type=int, default=8)
    options.add_argument("--size", type=int, default=224, help="height and width of the pictures")
    options.add_argument("--repeats", type=int, default=5)
    options.add_argument("--peer", action="store_true", help="add pytorch-grad-cam's figures")
    options.add_argument("--out", type=Path, help="where to write the figures as JSON")
    given = options.parse_args(argv)
    batch = random_batch(given.batch_size, given.size)
    model = xr.create_model(given.model)
    evaluate = figures(model, SEVEN, LAYERS)

    def pass_of(method: str) -> Callable[[], Any]:
        explain = xr.Explainer(model, method, LAYERS)
        return lambda: jax.block_until_ready(explain(batch.images, targets=batch.labels).maps)

    runs: dict[str, Callable[[], Any]] = {
        "evaluation": lambda: jax.device_get(dict(evaluate(batch))),
        "grad_cam": pass_of("grad_cam"),
        "xrelevance_cam": pass_of("xrelevance_cam"),
    }
    if given.peer:
        runs["pytorch-grad-cam"] = layer_cams(given.model, given.batch_size, given.size, len(os.sched_getaffinity(0)))
    medians = interleaved_medians(runs, given.repeats, given.model)
    report = {
        "model": given.model,
        "batch_size": given.batch_size,
        "size": given.size,
        **machine(),
        "seconds_per_picture": {name: seconds / given.batch_size for name, seconds in medians.items()},
        "per_two_passes": medians["evaluation"] / (medians["grad_cam"] + medians["xrelevance_cam"]),
        "peer_per_evaluation": medians["pytorch-grad-cam"] / medians["evaluation"] if given.peer else None,
    }
    print(json.dumps(report, indent=1))
    if given.out:
        write_whole(given.out, json.dumps(report, indent=1).encode())
    return 0


def random_batch(count: int, size: int) -> Batch:
    """Noise, with a square outlined in each picture."""
    random = np.random.default_rng(0)
    masks = np.zeros((count, size, size), bool)
    masks[:, size // 4 : size // 2, size // 4 : size // 2] = True
    return Batch(
        random.integers(0, 256, (count, size, size), dtype=np.uint8),
        random.standard_normal((count, size, size, 3)).astype(np.float32),
        np.arange(count, dtype=np.int32) % 2,
        masks,
        np.tile(np.array([size // 4, size // 4, size // 2, size // 2], np.int32), (count, 1, 1)),
        0,
    )


if __name__ == "__main__":
    raise SystemExit(main())
