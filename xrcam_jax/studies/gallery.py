"""Pictures: maps and masks of all methods, layers and aggregates (Figures 5.3 to 5.15), and the report's viewer.

    xrcam evaluate gallery --data prepared --annotations annotations.json --weights run/ --limit 60

Sheets of a few frames: methods as columns, layers as rows (5.3 to 5.7); masks of each layer (5.8 to 5.11);
XRelevance-CAM aggregated from the highest layer down (5.12); aggregates of all methods (5.13, 5.14) and their masks
(5.15). And ``viewer.json``, from which ``xrcam report`` makes pages to leaf through all frames. Costs what
``segmentation`` does.
"""

import base64
import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import cv2
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

import xrcam_jax as xr
from xrcam_jax.arguments.checks import check_at_least_one
from xrcam_jax.cam.saliency import min_max
from xrcam_jax.errors import CommandError
from xrcam_jax.metrics.overlap import salient
from xrcam_jax.pictures import plot
from xrcam_jax.runtime.devices import first_alone
from xrcam_jax.runtime.files import write_whole
from xrcam_jax.studies.layers import all_maps, columns
from xrcam_jax.studies.networks import some_frames
from xrcam_jax.studies.segmentation import by_place, measured
from xrcam_jax.studies.study import (
    Arrays,
    Batch,
    Network,
    Study,
    add_arguments,
    each_batch,
    open_study,
    parser,
    read_batch,
)
from xrcam_jax.studies.tables import write_contents

NAME = "gallery"
VIEWER = "viewer.json"
#: Where a method has no map.
BLANK = np.full((1, 1, 3), plot.PAPER, np.uint8)


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the experiment; returns the exit status."""
    arguments = parser(__doc__, NAME)
    add_arguments(arguments)
    arguments.add_argument("--shown", type=int, default=3, metavar="N", help="frames of each class in the sheets (3)")
    options = arguments.parse_args(argv)
    check_at_least_one("--shown", options.shown)
    if len(options.weights) > 1:
        raise CommandError("--weights: one network at a time, each with an --out of its own")
    study = open_study(NAME, options)
    network = study.networks[0]
    found = each_batch(study, network, figures(study, network))
    first_alone(lambda: write(study, found, options.shown))
    return 0


def figures(study: Study, network: Network) -> Callable[[Batch], Mapping[str, Array]]:
    """Logits, IoU by ``iou/METHOD/COLUMN``, and what a layer shows, from 0 to 255, by ``shown/METHOD/LAYER``."""
    explain = xr.Explainer(network.model, study.methods, study.layers)

    def compute(batch: Batch) -> Mapping[str, Array]:
        e = explain(batch.images, targets=batch.labels)
        found = by_place(measured(all_maps(e), batch.masks))
        return {
            "logits": e.logits,
            **{name: values for name, values in found.items() if name.startswith("iou/")},
            **{
                f"shown/{method}/{layer}": jnp.rint(255 * min_max(jnp.maximum(raw, 0))).astype(jnp.uint8)
                for method, raws in e.raw.items()
                for layer, raw in raws.items()
            },
        }

    return compute


def write(study: Study, found: Arrays, shown: int) -> None:
    """Writes the viewer's data and the sheets, with ``shown`` frames of each class."""
    (network,) = study.networks
    write_whole(study.folder / VIEWER, json.dumps(viewer(study, network, found)).encode())
    write_contents(
        study.folder,
        title=f"Pictures of {network.label}",
        text=f"{len(study.frames)} frames, the labelled class explained; annotated structures are outlined in yellow.",
        order=8,
        pictures=_sheets(study, network, shown),
        viewer=VIEWER,
    )


def viewer(study: Study, network: Network, found: Arrays) -> dict[str, Any]:
    """All that the report's viewer shows, as JSON has it."""
    config = network.model.preprocessing
    frames = []
    shares = np.exp(found["logits"].astype(np.float64) - found["logits"].max(1, keepdims=True))
    shares /= shares.sum(1, keepdims=True)
    layers = {m: [x for x in study.layers if f"shown/{m}/{x}" in found] for m in study.methods}
    last = columns(study.layers)[-1]
    for start in range(0, len(study.frames), study.batch_size):
        batch = read_batch(study, network, start)
        for i, place in enumerate(range(start, min(start + study.batch_size, len(study.frames)))):
            frame, marked = study.frames[place], bool(batch.masks[i].any())
            ious = {
                m: {
                    name: round(float(found[f"iou/{m}/{x}"][place]), 4)
                    for x, name in [*zip(some, some, strict=True), (last, "aggregate")]
                    if f"iou/{m}/{x}" in found
                }
                for m, some in layers.items()
            }
            frames.append({
                "name": frame.file.rpartition("/")[2],
                "patient": frame.patient,
                "label": int(batch.labels[i]),
                "predicted": int(found["logits"][place].argmax()),
                "scores": [round(float(share), 4) for share in shares[place]],
                "picture": _png(batch.pictures[i]),
                "annotation": _png(np.uint8(255) * batch.masks[i]) if marked else None,
                "maps": {m: {x: _packed(found[f"shown/{m}/{x}"][place]) for x in some} for m, some in layers.items()},
                "iou": ious if marked else None,
            })  # fmt: skip
    return {
        "classes": study.prepared.classes,
        "size": list(config.input_size),
        "methods": list(study.methods),
        "layers": list(study.layers),
        "frames": frames,
    }


def _png(picture: np.ndarray) -> str:
    done, content = cv2.imencode(".png", picture)
    assert done
    return base64.b64encode(content.tobytes()).decode()


def _packed(shown: np.ndarray) -> dict[str, Any]:
    rows, across = shown.shape
    return {"rows": rows, "columns": across, "data": base64.b64encode(shown.tobytes()).decode()}


def _sheets(study: Study, network: Network, shown: int) -> list[tuple[str, str]]:
    explain = xr.Explainer(network.model, study.methods, study.layers)
    layers, together = list(study.layers), columns(study.layers)[len(study.layers) :]
    pictures, maps, names = [], [], []
    for place in some_frames(study, shown):
        batch = read_batch(study, network, place)
        found = all_maps(explain(batch.images, targets=batch.labels))
        maps.append({name: np.asarray(values[0]) for name, values in found.items()})
        picture = np.repeat(batch.pictures[0][..., None], 3, axis=2)
        pictures.append((picture, plot.outlined(picture, batch.masks[0])))
        names.append(f"{study.frames[place].label} {study.frames[place].patient}")
    saved = []

    def save(file: str, caption: str, rows: list, heads: list[str], labels: list[str]) -> None:
        sheet = plot.contact_sheet(rows, columns=["frame", *heads], row_labels=labels, cell=150)
        plot.save_picture(study.folder / file, sheet)
        saved.append((file, caption))

    def over(i: int, name: str) -> np.ndarray:
        return plot.overlay(pictures[i][0], maps[i][name]) if name in maps[i] else BLANK

    def mask(i: int, name: str) -> np.ndarray:
        if name not in maps[i]:
            return BLANK
        shown = np.asarray(salient(jnp.asarray(maps[i][name])))
        return np.repeat(np.uint8(255) * shown[..., None], 3, axis=2)

    methods = list(study.methods)
    for i, name in enumerate(names):
        rows = [[pictures[i][1], *(over(i, f"{m}/{layer}") for m in methods)] for layer in layers]
        save(f"layers_{i + 1}.jpg", f"{name}: methods at each layer", rows, methods, layers)
    for layer in layers:
        rows = [[pictures[i][1], *(mask(i, f"{m}/{layer}") for m in methods)] for i in range(len(names))]
        save(f"masks_{layer}.png", f"What is above mean + deviation at {layer}", rows, methods, names)
    if together:
        best = methods[-1]
        rows = [[pictures[i][1], *(over(i, f"{best}/{c}") for c in [layers[-1], *together])] for i in range(len(names))]
        save("aggregation.jpg", f"{best}, aggregated from the highest layer down", rows, [layers[-1], *together], names)
        for draw, file, what in ((over, "aggregated.jpg", "maps"), (mask, "masks_aggregated.png", "masks")):
            rows = [[pictures[i][1], *(draw(i, f"{m}/{together[-1]}") for m in methods)] for i in range(len(names))]
            save(file, f"Aggregated {what} of all layers", rows, methods, names)
    return saved
