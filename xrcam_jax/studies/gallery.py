"""The gallery shows maps and masks of all methods, layers and aggregates (Figures 5.3 to 5.15), also in a viewer.

    xrcam evaluate gallery --data prepared --annotations annotations.json --weights run/ --limit 60

Sheets show a few frames: methods as columns and layers as rows (5.3 to 5.7), masks of each layer (5.8 to 5.11),
XRelevance-CAM aggregated from the highest layer down (5.12), aggregates of all methods (5.13, 5.14) and their masks
(5.15). One sets what was outlined beside the mask of a map, each with what it cuts out of the frame (5.1). From
``viewer.json``, ``xrcam report`` makes pages to leaf through all frames. The gallery costs what ``segmentation`` does;
with --passes that many times more, and the pages can show how much each map varies.
"""

import base64
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import cv2
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, UInt8
from matplotlib.figure import Figure

import xrcam_jax as xr
from xrcam_jax.arguments.checks import check_at_least_one, check_passes
from xrcam_jax.arguments.parser import Options
from xrcam_jax.cam.saliency import min_max
from xrcam_jax.classes import class_logits, softmax_logits
from xrcam_jax.errors import CommandError
from xrcam_jax.figures.comparison import comparison
from xrcam_jax.figures.grid import scales
from xrcam_jax.figures.overlay import outlined, overlay
from xrcam_jax.figures.sheet import save, sheet
from xrcam_jax.figures.style import Style
from xrcam_jax.metrics.overlap import salient
from xrcam_jax.runtime.devices import first_alone
from xrcam_jax.runtime.files import write_whole
from xrcam_jax.studies.batches import Arrays, Batch, each_batch, judged, read_batch, rgb
from xrcam_jax.studies.compare import explained, frame_title, pictured, some_frames
from xrcam_jax.studies.folds import CrossValidated, number_of_networks
from xrcam_jax.studies.layers import all_maps, columns, described, last_column
from xrcam_jax.studies.networks import Network
from xrcam_jax.studies.segmentation import by_place, measured
from xrcam_jax.studies.study import Study, open_study
from xrcam_jax.studies.tables import write_contents
from xrcam_jax.titles import layer_title, method_title

NAME = "gallery"
VIEWER = "viewer.json"
#: Of dropout, where there are passes.
RATE = 0.1


def run(options: Options) -> int:
    """Runs the study; returns the exit status."""
    check_at_least_one("--shown", options.shown)
    if options.passes is not None:
        check_passes(options.passes)
    elif options.rate is not None:
        raise CommandError("--rate: is of dropout in --passes, which are not asked for")
    rate = RATE if options.rate is None else options.rate
    if not 0 < rate < 1:
        raise CommandError(f"--rate: {rate} is not between 0 and 1")
    if number_of_networks(options) > 1:
        raise CommandError("--weights: one network at a time, each with an --out of its own")
    repeated = {} if options.passes is None else {"passes": options.passes, "rate": rate}
    with open_study(NAME, options, aggregate=options.aggregate, **repeated) as study:
        network = study.networks[0]
        found = each_batch(study, network, partial(figures, study))
        first_alone(lambda: write(study, found, options.shown))
    return 0


def figures(study: Study, network: Network) -> Callable[[Batch], Mapping[str, Array]]:
    """Returns a function that measures a batch.

    It gives the logits, IoU by ``iou/METHOD/COLUMN``, what a layer shows, from 0 to 255, by ``shown/METHOD/LAYER``, and
    of several passes its variation, by ``variation/METHOD/LAYER``.
    """
    explain = xr.Explainer(network.model, study.methods, study.layers)
    passes = study.settings.get("passes")
    how = study.settings["aggregate"]
    repeat = xr.Repeated(explain, xr.Dropout(study.settings["rate"]), passes, how=how) if passes else None

    def compute(batch: Batch) -> Mapping[str, Array]:
        e = explain(batch.images, targets=batch.labels)
        found = by_place(measured(all_maps(e, how), batch.masks))
        return {
            "logits": e.logits,
            **{name: values for name, values in found.items() if name.startswith("iou/")},
            **{
                f"shown/{method}/{layer}": jnp.rint(255 * min_max(jnp.maximum(raw, 0))).astype(jnp.uint8)
                for method, raws in e.raw.items()
                for layer, raw in raws.items()
            },
            **({} if repeat is None else variations(repeat(batch.images, targets=batch.labels))),
        }

    return compute


def variations(e: xr.RepeatedExplanation) -> dict[str, UInt8[Array, "b _p _q"]]:
    """Returns how each map varies, from 0 to 255 where the deviation is no less than the mean.

    Maps are reduced to their layer's size, and the aggregate to the largest, since the viewer enlarges them again.

    Args:
      e: what is found in several passes.

    Returns:
      By ``variation/METHOD/LAYER``, with a row for each picture.
    """
    found = {}
    for method, by_layer in e.maps.items():
        sizes = {layer: spread.mean.shape[1:] for layer, spread in e.raw[method].items()}
        for layer, spread in by_layer.items():
            size = sizes.get(layer, max(sizes.values()))
            small = jax.image.resize(jnp.minimum(spread.variation, 1), (len(e.logits), *size), "linear")
            found[f"variation/{method}/{layer}"] = jnp.rint(255 * small).astype(jnp.uint8)
    return found


def write(study: Study, found: Arrays, shown: int) -> None:
    """Writes the viewer's data and the sheets, with ``shown`` frames of each class."""
    (network,) = study.networks
    write_whole(study.folder / VIEWER, json.dumps(viewer(study, network, found)).encode())
    write_contents(
        study.folder,
        title=f"Pictures of {network.label}",
        text=f"{len(study.frames)} frames, the labelled class explained; annotated structures are outlined in yellow. "
        "What the mask of a map cuts out of a frame shows where the network looked; no method was taught to outline."
        f" {described(study.settings['aggregate'])}{_said_of_passes(study)}",
        order=8,
        pictures=_sheets(study, network, shown),
        viewer=VIEWER,
    )


def _said_of_passes(study: Study) -> str:
    if "passes" not in study.settings:
        return ""
    passes = f"{study.settings['passes']} passes with dropout of {study.settings['rate']}"
    return (
        f"\n\nThe variation is that of {passes}: where it is small, slightly other networks would look at the same "
        "place. It does not say that the place is the right one."
    )


def viewer(study: Study, network: Network | CrossValidated, found: Arrays) -> dict[str, Any]:
    """Returns all that the report's viewer shows, as JSON has it."""
    logits = softmax_logits(found["logits"].astype(np.float64))
    shares = np.exp(logits - logits.max(1, keepdims=True))
    shares /= shares.sum(1, keepdims=True)
    frames: dict[int, dict[str, Any]] = {}
    for judge, places in judged(study, network):
        batch = read_batch(study, judge, places)
        frames |= {place: _frame(study, found, batch, i, place, shares[place]) for i, place in enumerate(places)}
    return {
        "classes": study.prepared.classes,
        "size": list(network.input_size),
        "methods": list(study.methods),
        "layers": list(study.layers),
        "aggregate": study.settings["aggregate"],
        "frames": [frames[place] for place in sorted(frames)],
    }


def _frame(
    study: Study, found: Arrays, batch: Batch, i: int, place: int, shares: Float[np.ndarray, " c"]
) -> dict[str, Any]:
    """Returns what the viewer shows of the frame that is ith in its batch, at ``place`` among all."""
    frame, marked = study.frames[place], bool(batch.masks[i].any())
    layers = {m: [x for x in study.layers if f"shown/{m}/{x}" in found] for m in study.methods}
    maps = {m: {x: _packed(found[f"shown/{m}/{x}"][place]) for x in some} for m, some in layers.items()}
    variation = {
        m: {x: _packed(found[key][place]) for x in (*some, "aggregate") if (key := f"variation/{m}/{x}") in found}
        for m, some in layers.items()
    }
    return {
        "name": frame.file.rpartition("/")[2],
        "patient": frame.patient,
        "label": int(batch.labels[i]),
        "predicted": int(class_logits(found["logits"][place]).argmax()),
        "scores": [round(float(share), 4) for share in shares],
        "picture": _png(batch.pictures[i]),
        "annotation": _png(np.uint8(255) * batch.masks[i]) if marked else None,
        "maps": maps,
        **({"variation": variation} if any(variation.values()) else {}),
        "iou": {m: _ious(study, found, m, some, place) for m, some in layers.items()} if marked else None,
    }


def _ious(study: Study, found: Arrays, method: str, layers: Sequence[str], place: int) -> dict[str, float]:
    """Returns a method's overlaps by layer, and that of the aggregate of all layers if there is one."""
    # With one layer alone the aggregate is that layer, and both are there.
    names = [*zip(layers, layers, strict=True), (columns(study.layers)[-1], "aggregate")]
    return {
        name: round(float(found[f"iou/{method}/{column}"][place]), 4)
        for column, name in names
        if f"iou/{method}/{column}" in found
    }


def _png(picture: np.ndarray) -> str:
    done, content = cv2.imencode(".png", picture)
    assert done
    return base64.b64encode(content.tobytes()).decode()


def _packed(shown: np.ndarray) -> dict[str, Any]:
    rows, across = shown.shape
    return {"rows": rows, "columns": across, "data": base64.b64encode(shown.tobytes()).decode()}


@dataclass(frozen=True)
class _Shown:
    """Holds a frame of the sheets.

    Attributes:
      name: its class, patient and number.
      picture: the frame.
      outlined: the same with its structures outlined.
      truth: where they are.
      maps: by method and column.
    """

    name: str
    picture: UInt8[np.ndarray, "h w 3"]
    outlined: UInt8[np.ndarray, "h w 3"]
    truth: Bool[np.ndarray, "h w"]
    maps: dict[str, np.ndarray]

    def overlay(self, place: str) -> np.ndarray:
        """Returns the frame under a map."""
        return overlay(self.picture, self.maps[place])

    def by_layer(self, method: str, layers: Sequence[str]) -> dict[str, np.ndarray]:
        """Returns the maps of a method at those of the layers where it has some, each as a batch."""
        return {layer: self.maps[place][None] for layer in layers if (place := f"{method}/{layer}") in self.maps}

    def mask(self, place: str) -> np.ndarray:
        """Returns in black and white what is above a map's mean plus standard deviation."""
        return rgb(np.asarray(salient(self.maps[place])))

    def segmentations(self, place: str) -> list[np.ndarray]:
        """Returns the outlined mask and that of a map, each with what it cuts out of the frame (eq. 5.2)."""
        masks = self.truth, np.asarray(salient(self.maps[place]))
        return [each for mask in masks for each in (rgb(mask), self.picture * mask[..., None])]


def _sheets(study: Study, network: Network | CrossValidated, shown: int) -> list[tuple[str, str]]:
    """Saves all sheets; returns their files with their captions."""
    frames = _frames(study, network, shown)
    layers, names = list(study.layers), [frame.name for frame in frames]
    best, saved = pictured(study.methods), []

    def keep(file: str, caption: str, figure: Figure) -> None:
        save(figure, study.folder / file)
        saved.append((file, caption))

    def across(columns: Mapping[str, str], show: Callable[[_Shown, str], np.ndarray]) -> Figure:
        """Sets frames and what they have at each of some places side by side, under the headings of the places."""
        rows = [[frame.outlined, *(show(frame, place) for place in columns)] for frame in frames]
        found = scales(Style()) if show is _Shown.overlay else ()
        return comparison(rows, columns=["frame", *columns.values()], row_labels=names, scales=found)

    def at(column: str) -> dict[str, str]:
        """Returns the titles of all methods that have maps there."""
        return {f"{m}/{column}": method_title(m) for m in study.methods if f"{m}/{column}" in frames[0].maps}

    for i, frame in enumerate(frames):
        figure = sheet([frame.outlined], {m: frame.by_layer(m, layers) for m in study.methods}, columns="methods")
        keep(f"layers_{i + 1}.jpg", f"{frame.name}: methods at each layer", figure)
    for layer in layers:
        caption = f"What is above mean + deviation at {layer_title(layer)}"
        keep(f"masks_{layer}.png", caption, across(at(layer), _Shown.mask))
    marked = [frame for frame in frames if frame.truth.any()]
    if marked:
        keep("segmentations.jpg", *_segmentations(marked, best, last_column(study.layers, best, marked[0].maps)))
    aggregates = columns(study.layers)[len(layers) :]
    if aggregates:
        places = {f"{best}/{column}": layer_title(column) for column in (layers[-1], *aggregates)}
        ways = {place: name for place, name in places.items() if place in frames[0].maps}
        caption = f"{method_title(best)}, aggregated from the highest layer down"
        keep("aggregation.jpg", caption, across(ways, _Shown.overlay))
        keep("aggregated.jpg", "Aggregated maps of all layers", across(at(aggregates[-1]), _Shown.overlay))
        keep("masks_aggregated.png", "Aggregated masks of all layers", across(at(aggregates[-1]), _Shown.mask))
    return saved


def _segmentations(marked: Sequence[_Shown], method: str, column: str) -> tuple[str, Figure]:
    """Returns a sheet of what was outlined beside what a method's maps point at, and its caption."""
    rows = [[frame.outlined, *frame.segmentations(f"{method}/{column}")] for frame in marked]
    heads = ["frame", "outlined", "cut out by it", "mask of the map", "cut out by it"]
    source = f"{method_title(method)} at {layer_title(column)}"
    caption = f"What was outlined, and what is above mean + deviation of {source}; what either cuts out"
    return caption, comparison(rows, columns=heads, row_labels=[frame.name for frame in marked])


def _frames(study: Study, network: Network | CrossValidated, shown: int) -> list[_Shown]:
    """Explains the frames of the sheets, one at a time."""
    explain = explained(study, network, study.methods, study.layers)
    frames = []
    for place in some_frames(study, shown):
        batch, e = explain(place)
        found = all_maps(e, study.settings["aggregate"])
        maps = {name: np.asarray(values[0]) for name, values in found.items()}
        picture = rgb(batch.pictures[0])
        name = frame_title(study.frames[place])
        frames.append(_Shown(name, picture, outlined(picture, batch.masks[0]), batch.masks[0], maps))
    return frames
