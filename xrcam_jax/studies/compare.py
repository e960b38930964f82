"""Compares networks: by accuracy, by overlap with outlines where there are some, and by a sheet of their maps."""

from collections.abc import Callable, Mapping, Sequence
from functools import cache
from itertools import product

import numpy as np

import xrcam_jax as xr
from xrcam_jax.data.manifest import Frame
from xrcam_jax.explain.explanation import Explanation
from xrcam_jax.figures.comparison import comparison
from xrcam_jax.figures.grid import scales
from xrcam_jax.figures.overlay import outlined, overlay
from xrcam_jax.figures.save import save
from xrcam_jax.figures.style import Style
from xrcam_jax.metrics.uncertainty import Estimate
from xrcam_jax.runtime.devices import first_alone
from xrcam_jax.studies.batches import Arrays, Batch, laid, read_batch, rgb
from xrcam_jax.studies.folds import CrossValidated
from xrcam_jax.studies.networks import Network
from xrcam_jax.studies.per_picture import accuracy, counted, pooled_iou, write_figures
from xrcam_jax.studies.segmentation import overlaps
from xrcam_jax.studies.study import Study
from xrcam_jax.studies.tables import Table, accuracy_table, mean_of, scaled, write_contents
from xrcam_jax.titles import layer_title, method_title

SHOWN = 4


def compare(study: Study, *, title: str, text: str, order: int, shown: Sequence[tuple[str, str]]) -> None:
    """Measures all networks of a study and writes tables and a sheet.

    Args:
      study: has two networks or more.
      title: of the study.
      text: what it is about; the numbers of frames are added.
      order: place of the study among others.
      shown: methods and layers of the sheet.
    """
    found = overlaps(study)
    first_alone(lambda: _write(study, found, title, text, order, shown))


def _write(
    study: Study, found: Mapping[str, Arrays], title: str, text: str, order: int, shown: Sequence[tuple[str, str]]
) -> None:
    write_figures(study, found)
    marked = {label: counted(study, arrays) for label, arrays in found.items()}
    tables = [accuracy_table({label: accuracy(study, arrays) for label, arrays in found.items()})]
    if study.annotated.any():
        rows = {}
        for method, label in product(study.methods, found):
            cells = [scaled(_iou(study, found[label], f"{method}/{layer}", marked[label])) for layer in study.layers]
            rows[method, label] = [*cells, mean_of(cells)]
        tables.append(
            Table("iou", "Pooled IoU of each layer's maps", rows, [*study.layers, "average"], ("method", "network"))
        )
    counts = ", ".join(f"{label} {int(mask.sum())}" for label, mask in marked.items())
    sheets = [_sheet(study, network, shown) for network in study.networks]
    write_contents(
        study.folder,
        title=title,
        text=f"{text} {len(study.frames)} frames; annotated and right: {counts}.",
        order=order,
        tables=tables,
        pictures=sheets,
    )


def _iou(study: Study, arrays: Arrays, place: str, chosen: np.ndarray) -> Estimate:
    return pooled_iou(study, arrays, place, chosen) if f"both/{place}" in arrays else Estimate(float("nan"))


def some_frames(study: Study, count: int = SHOWN) -> list[int]:
    """Returns the places of a few frames, spread over each class in turn; annotated ones if there are any."""
    places: list[int] = []
    for c in np.unique(study.labels):
        of_class = np.flatnonzero(study.labels == c)
        marked = of_class[study.annotated[of_class]]
        choice = marked if len(marked) else of_class
        places += [int(choice[i]) for i in np.linspace(0, len(choice) - 1, min(count, len(choice))).astype(int)]
    return places


def frame_title(frame: Frame) -> str:
    """Returns what sheets call a frame: its class, its patient and its number in the recording."""
    return f"{frame.label} {frame.patient}, frame {frame.number}"


def pictured(methods: Sequence[str]) -> str:
    """Returns the method of the sheets that have room for one: XRelevance-CAM, or else the last.

    Args:
      methods: of the study, in any order.
    """
    return "xrelevance_cam" if "xrelevance_cam" in methods else methods[-1]


def explained(
    study: Study,
    network: Network | CrossValidated,
    methods: Sequence[str],
    layers: Sequence[str],
    *,
    top_k: int | None = None,
) -> Callable[[int], tuple[Batch, Explanation]]:
    """Returns a function that explains the frame at a place, the first of a batch, by the network that judges it.

    Args:
      study: whose frames are explained.
      network: judges them.
      methods: of the maps.
      layers: of the maps.
      top_k: how many of the likeliest classes are explained; the labelled one by default.
    """

    @cache
    def explainer(judge: Network) -> xr.Explainer:
        return xr.Explainer(judge.model, methods, layers)

    def explain(place: int) -> tuple[Batch, Explanation]:
        judge = network.judge(study.frames[place].patient)
        batch = read_batch(study, judge, [place])
        here = laid(study, batch)
        return batch, explainer(judge)(here.images, None if top_k else here.labels, top_k=top_k)

    return explain


def _sheet(study: Study, network: Network | CrossValidated, shown: Sequence[tuple[str, str]]) -> tuple[str, str]:
    """Saves a sheet with frames as rows, the chosen methods and layers as columns; returns its file and caption."""
    methods = tuple(dict.fromkeys(method for method, _ in shown))
    layers = tuple(dict.fromkeys(layer for _, layer in shown))
    explain = explained(study, network, methods, layers)
    rows, names = [], []
    for place in some_frames(study):
        batch, e = explain(place)
        picture = rgb(batch.pictures[0])
        maps = [overlay(picture, np.asarray(e.maps[method][layer][0])) for method, layer in shown]
        rows.append([outlined(picture, batch.masks[0]), *maps])
        names.append(frame_title(study.frames[place]))
    heads = [layer_title(layer) for _, layer in shown]
    if len(methods) > 1:
        heads = [f"{method_title(method)}, {head}" for (method, _), head in zip(shown, heads, strict=True)]
    file = f"maps_{network.label}.jpg"
    figure = comparison(rows, columns=["frame", *heads], row_labels=names, scales=scales(Style()))
    save(figure, study.folder / file)
    return file, f"{network.label}: {', '.join(map(method_title, methods))}; outlines in yellow"
