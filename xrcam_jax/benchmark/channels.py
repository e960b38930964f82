"""How long do Score-CAM and Ablation-CAM take at a layer with many channels?

    python -m experiments.benchmark channels --models resnet50 --layer layer4 --peers pytorch-grad-cam  # ten minutes

One picture is explained, by ours and theirs in turns. A first call, which compiles, is timed apart.
"""

from collections.abc import Iterator, Mapping

import jax
import numpy as np

import xrcam_jax as xr
from xrcam_jax.arguments.parser import Options
from xrcam_jax.benchmark.machine import cores
from xrcam_jax.benchmark.runs import Peer, Row, Run, interleaved_medians, peer_runs, seconds

METHODS = ("score_cam", "ablation_cam")


def measure(options: Options, peers: Mapping[str, Peer]) -> Iterator[Row]:
    """Yields a row for each run of each method of each model."""
    images = np.random.default_rng(0).standard_normal((1, options.size, options.size, 3)).astype(np.float32)
    for name in options.models:
        model = xr.create_model(name)
        others = peer_runs(peers, name, options.layer, options.size, cores())
        for method in METHODS:
            explain = xr.Explainer(model, method, [options.layer], chunk_size=options.chunk_size)

            def ours(explain=explain) -> None:
                jax.block_until_ready(explain(images).maps)

            first = seconds(ours)
            theirs = {label: run[method] for label, run in others.items()}
            runs: dict[str, Run] = {"xrcam_jax": ours, **theirs}
            medians = interleaved_medians(runs, options.repeats, f"{name} {method}", warm_up=False)
            for label, median in medians.items():
                yield {
                    "model": name,
                    "method": method,
                    "run": label,
                    "s": median,
                    "first_call_s": first if label == "xrcam_jax" else None,
                    "per_xrcam_jax": median / medians["xrcam_jax"],
                }
