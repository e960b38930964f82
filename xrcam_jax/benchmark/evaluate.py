"""What does the evaluation of seven methods at four layers and their aggregates cost per picture?

    python -m experiments.benchmark evaluate --models resnet50 --peers pytorch-grad-cam     # five minutes on 2 cores

The suite times the evaluation as ``xrcam evaluate segmentation`` does it, maps and figures; one pass of Grad-CAM and
one of XRelevance-CAM, each alone at the four layers; and the six methods of pytorch-grad-cam that one gradient gives,
layer by layer.
"""

from collections.abc import Iterator, Mapping
from typing import Any

import jax
import numpy as np

import xrcam_jax as xr
from xrcam_jax.arguments.parser import Options
from xrcam_jax.benchmark.machine import cores
from xrcam_jax.benchmark.runs import Peer, Row, Run, interleaved_medians, peer_runs
from xrcam_jax.models.resnet import STAGES
from xrcam_jax.studies.batches import Batch
from xrcam_jax.studies.parameters import SEVEN
from xrcam_jax.studies.segmentation import figures


def measure(options: Options, peers: Mapping[str, Peer]) -> Iterator[Row]:
    """Yields a row for each run of each model."""
    batch = random_batch(options.batch_size, options.size)
    for name in options.models:
        model = xr.create_model(name)
        evaluate = figures(model, SEVEN, STAGES)

        def evaluation(evaluate=evaluate) -> Any:
            return jax.device_get(dict(evaluate(batch)))

        def pass_of(method: str, model=model) -> Run:
            explain = xr.Explainer(model, method, STAGES)
            return lambda: jax.block_until_ready(explain(batch.images, targets=batch.labels).maps)

        runs: dict[str, Run] = {
            "evaluation": evaluation,
            "grad_cam": pass_of("grad_cam"),
            "xrelevance_cam": pass_of("xrelevance_cam"),
            **peer_runs(peers, name, options.batch_size, options.size, cores()),
        }
        medians = interleaved_medians(runs, options.repeats, name)
        for label, seconds in medians.items():
            yield {
                "model": name,
                "run": label,
                "s_per_picture": seconds / options.batch_size,
                "per_two_passes": seconds / (medians["grad_cam"] + medians["xrelevance_cam"]),
                "per_evaluation": seconds / medians["evaluation"],
            }


def random_batch(count: int, size: int) -> Batch:
    """Returns a batch of noise, with a square outlined in each picture."""
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
