"""Score-CAM and Ablation-CAM of a layer with many channels, beside pytorch-grad-cam in the same process.

    python -m experiments.channel_cams --model resnet50 --layer layer4 --peer     # ten minutes on 2 cores

One picture, each method once after a first call that compiles it, ours and theirs in turns. ``--peer`` needs
torch, timm and grad-cam. Read the ratios: bare times depend on the machine.
"""

import argparse
import json
import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np

import xrcam_jax as xr
from experiments.benchmark import machine, peak_memory_mb
from experiments.peers import channel_cams
from xrcam_jax.files import write_whole

METHODS = ("score_cam", "ablation_cam")


def seconds(run: Callable[[], Any]) -> float:
    """How long one call takes."""
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def main(argv: Sequence[str] | None = None) -> int:
    """Measure and print; returns the exit status."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--model", default="resnet50", choices=xr.list_models())
    options.add_argument("--layer", default="layer4")
    options.add_argument("--size", type=int, default=224, help="height and width of the picture")
    options.add_argument("--chunk-size", type=int, metavar="N", help="as many as fit into 1 GiB by default")
    options.add_argument("--repeats", type=int, default=1)
    options.add_argument("--peer", action="store_true", help="add pytorch-grad-cam's figures")
    options.add_argument("--out", type=Path, help="where to write the figures as JSON")
    given = options.parse_args(argv)
    model = xr.create_model(given.model)
    images = np.random.default_rng(0).standard_normal((1, given.size, given.size, 3)).astype(np.float32)

    def ours(method: str) -> Callable[[], Any]:
        explain = xr.Explainer(model, method, [given.layer], chunk_size=given.chunk_size)
        return lambda: jax.block_until_ready(explain(images).maps)

    peers = channel_cams(given.model, given.layer, given.size, len(os.sched_getaffinity(0))) if given.peer else {}
    figures = []
    for method in METHODS:
        run = ours(method)
        figure: dict[str, Any] = {"method": method, "first_call_s": seconds(run), "peak_memory_mb": peak_memory_mb()}
        times: dict[str, list[float]] = {}
        for _ in range(given.repeats):
            times.setdefault("xrcam_jax", []).append(seconds(run))
            if method in peers:
                times.setdefault("pytorch-grad-cam", []).append(seconds(peers[method]))
        figure |= {f"{name}_s": float(np.median(each)) for name, each in times.items()}
        if method in peers:
            figure["per_peer"] = figure["xrcam_jax_s"] / figure["pytorch-grad-cam_s"]
        figures.append(figure)
        print(json.dumps(figure), flush=True)
    report = {"model": given.model, "layer": given.layer, "size": given.size, **machine(), "figures": figures}
    if given.out:
        write_whole(given.out, json.dumps(report, indent=1).encode())
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
