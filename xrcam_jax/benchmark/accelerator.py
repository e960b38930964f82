"""What do explanations cost on a card? All that there is to say of one, in one report.

    xrcam benchmark accelerator                                     # on a card; half an hour
    python -m experiments.benchmark accelerator --peers torch,relevance-cam,pytorch-grad-cam,autolrp
    xrcam benchmark accelerator --models skresnet18_narrow --size 64 --batch-sizes 1,2 --concepts 8 --seconds 1  # a CPU

The column ``part`` says what a row is of. ``pace``: the forward pass, the gradient at the four layers and
XRelevance-CAM there, in float32, TF32 (of GPUs only) and bfloat16, by the size of the batch, up to the first that does
not fit into memory; with its share of the rate of a product of large matrices in the same precision, and its counted
limit as in the suite explain. Peers take turns with ours, and multiply in TF32 where ours do. ``error``: maps against
float64, as in the suite precision. ``live``: an overlay of frames that come at a fixed rate, from a frame's coming to
its drawn map; one that comes while another is under way is left out. ``concepts``: relevance through each of so many
channels of layer3.
"""

import time
from collections.abc import Iterator, Mapping
from dataclasses import replace
from statistics import median
from typing import Any

import jax
import numpy as np

import xrcam_jax as xr
from xrcam_jax.arguments.parser import Options
from xrcam_jax.benchmark import precision
from xrcam_jax.benchmark.compiled_calls import (
    CompiledCall,
    achieved,
    compile_call,
    gradient,
    limit,
    matrix_product,
    network,
)
from xrcam_jax.benchmark.machine import cores
from xrcam_jax.benchmark.runs import Peer, Row, interleaved_medians, peer_runs, seconds
from xrcam_jax.explain.functional import as_function
from xrcam_jax.explain.outline import outline
from xrcam_jax.figures.overlay import overlay
from xrcam_jax.models.resnet import STAGES
from xrcam_jax.runtime.memory import free_bytes

PEAK = "matrix product"
#: The layer whose channels are the concepts.
LAYER = "layer3"
METHOD = "xrelevance_cam"


def measure(options: Options, peers: Mapping[str, Peer]) -> Iterator[Row]:
    """Yields the rows of each part, model by model."""
    for name in options.models:
        for kind in precisions():
            for row in pace(name, kind, options, peers):
                yield {"part": "pace", "model": name, "precision": kind, **row}
        yield {"part": "live", "model": name, **live(name, options.size, options.rate, options.seconds)}
        yield {"part": "concepts", "model": name, **concepts(name, options)}
    for row in precision.measure(options, {}):
        yield {"part": "error", **row}


def precisions() -> tuple[str, ...]:
    """Returns those that this device computes in; of others there are errors, by rounding, but no rates."""
    known = tuple(kind for kind in precision.PRECISIONS if kind != precision.ROUNDED)
    return known if jax.default_backend() == "gpu" else tuple(kind for kind in known if kind != "TF32")


def pace(name: str, kind: str, options: Options, peers: Mapping[str, Peer]) -> Iterator[Row]:
    """Yields how fast each run is, batch by batch, until one does not fit into the device's memory.

    Args:
      name: the model.
      kind: one of :func:`precisions`.
      options: those of the suite.
      peers: which are given the same batches.
    """
    dtype, products = precision.PRECISIONS[kind]
    with jax.default_matmul_precision(products):
        for batch in options.batch_sizes:
            ours = compiled(name, batch, options.size, dtype)
            needed = max(run.memory for run in ours.values())
            if needed > free_bytes():
                yield {"batch": batch, "run": METHOD, "memory_mb": needed / 2**20, "fits": "no"}
                return
            theirs = peer_runs(peers, name, batch, options.size, cores()) if dtype == "float32" else {}
            medians = interleaved_medians({**ours, **theirs}, options.repeats, f"{name} {kind} {batch}")
            yield from _paces(batch, ours, medians)


def compiled(name: str, batch: int, size: int, dtype: str) -> dict[str, CompiledCall]:
    """Compiles the runs of ours for a batch, and the product of matrices that tells the device's peak."""
    model = network(name, size, dtype=dtype)
    f, parameters = as_function(model)
    functions = {
        "forward": lambda parameters, images: f(images, parameters),
        "gradient": gradient(model)[0],
        METHOD: xr.Explainer(model, (METHOD,), STAGES).explain,
    }
    images = jax.random.normal(jax.random.key(0), (batch, size, size, 3), dtype)
    runs = {label: compile_call(function, parameters, images) for label, function in functions.items()}
    return {**runs, PEAK: matrix_product(dtype)}


def _paces(batch: int, ours: Mapping[str, CompiledCall], medians: Mapping[str, float]) -> Iterator[Row]:
    peak = (ours[PEAK].gflop or float("nan")) / medians[PEAK]
    for label, took in medians.items():
        row: Row = {"batch": batch, "run": label, "ms": 1e3 * took}
        if label != PEAK:
            row |= {"images_per_s": batch / took, "per_gradient": took / medians["gradient"]}
        if label in ours:
            row |= {"memory_mb": ours[label].memory / 2**20, **achieved(ours[label].gflop, took, peak)}
        if label in ours and label != PEAK:
            row |= limit(ours[label], took, ours["gradient"], medians["gradient"])
        yield row


def live(name: str, size: int, rate: float, lasting: float) -> Row:
    """Draws the maps of frames that come at a fixed rate, and returns how late they are.

    Args:
      name: the model.
      size: height and width of the frames.
      rate: frames per second.
      lasting: seconds.
    """
    model = network(name, size)
    config = replace(model.preprocessing, input_size=(size, size))
    explain = xr.Explainer(model, (METHOD,), STAGES)
    frames = np.random.default_rng(0).integers(0, 256, (8, size, size, 3), np.uint8)

    def draw(number: int) -> Any:
        frame = frames[number % len(frames)]
        found = explain(xr.preprocess(frame[None], config)).maps[METHOD]
        return overlay(frame, np.mean([jax.device_get(maps[0]) for maps in found.values()], axis=0))

    draw(0)
    late, number, total, begun = [], 0, max(1, round(rate * lasting)), time.perf_counter()
    while number < total:
        time.sleep(max(0.0, begun + number / rate - time.perf_counter()))
        draw(number)
        done = time.perf_counter() - begun
        late.append(1e3 * (done - number / rate))
        # The next one is the newest that has come meanwhile, as whoever looks on would want it.
        number = max(number + 1, int(done * rate))
    quantile = float(np.quantile(late, 0.95))
    return {"rate_hz": rate, "frames": total, "drawn": len(late), "ms": median(late), "ms_95_percent": quantile}


def concepts(name: str, options: Options) -> Row:
    """Returns what the maps of concepts take: those of the first channels of a layer, for one picture."""
    model = network(name, options.size)
    images = np.random.default_rng(0).standard_normal((1, options.size, options.size, 3)).astype(np.float32)
    f, parameters = as_function(model)
    count = min(options.concepts, outline(f, images, parameters).marks[LAYER][-1])

    def run() -> None:
        jax.block_until_ready(xr.concepts.attribute(model, images, LAYER, np.arange(count), targets=0).maps)

    first, pass_ = seconds(run), compile_call(gradient(model)[0], parameters, images)
    medians = interleaved_medians({"concepts": run, "gradient": pass_}, options.repeats, f"{name} concepts")
    took = medians["concepts"]
    per = took / count / medians["gradient"]
    return {"concepts": count, "ms": 1e3 * took, "first_call_s": first, "per_gradient_and_concept": per}
