"""Writing experiments as one page of HTML that needs no other file; the same experiments give the same bytes."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from xrcam_jax.cam.saliency import AGGREGATE
from xrcam_jax.metrics.uncertainty import Estimate
from xrcam_jax.report.findings import ends, layers, share
from xrcam_jax.report.glance import Accuracy, Glance, glances
from xrcam_jax.report.read import Experiment
from xrcam_jax.report.some_frames import ShownFrame, data_address, palettes, scale, some_frames
from xrcam_jax.report.tables import NOTHING, ShownTable, shown_table
from xrcam_jax.report.templates import Filter, filled_in, json_text
from xrcam_jax.titles import layer_title
from xrcam_jax.titles import method_title as title

# Methods that are ticked to begin with, if they are there.
FIRST_METHODS = ("xrelevance_cam", "relevance_cam", "grad_cam")
# What a page says first of its data: whether they were drawn, the class of the line, its words. The worst comes first.
ORIGINS = (
    (True, "synthetic", "Synthetic data: drawn, they stand for no patient"),
    (None, "unrecorded", "Origin not recorded"),
    (False, "recordings", "Recordings"),
)
#: So many tables of an experiment are open where it is; those that follow are folded once more.
OPEN_TABLES = 2


@dataclass(frozen=True)
class Shown:
    """Frames with the maps of one method, and why it is that method.

    Attributes:
      method: what it is called.
      layers: at which, as a sentence names them.
      measured: whether its overlap was measured, and is the highest.
      frames: some of them.
    """

    method: str
    layers: str
    measured: bool
    frames: tuple[ShownFrame, ...]


def page(experiments: Sequence[Experiment]) -> bytes:
    """Writes the page.

    Args:
      experiments: in the order in which they are shown.

    Returns:
      The page in HTML, in UTF-8.

    Example:
      >>> from xrcam_jax.report.page import page
      >>> from xrcam_jax.report.read import Experiment
      >>> settings = {"data": {"synthetic": True}}
      >>> html = page([Experiment("speed", "How fast?", "Fast.", 1, (), (), settings, None)]).decode()
      >>> html.splitlines()[0], '<h3 id="title-1">How fast?</h3>' in html
      ('<!doctype html>', True)
    """
    looked_at = [(number, one) for number, one in enumerate(experiments, 1) if one.frames is not None]
    glossaries = [one for one in experiments if one.glossary is not None]
    found = glances(experiments)
    return filled_in(
        "page.html",
        styles=("page.css", "viewer.css", *(("glossary.css",) if glossaries else ()), "print.css"),
        scripts=("page.js", *(("maps.js", "viewer.js") if looked_at else ())),
        filters=_filters(),
        origins=_origins(experiments),
        glances=found,
        shown=_shown(looked_at[0][1], found) if looked_at else None,
        glossaries=glossaries,
        experiments=experiments,
        viewer=bool(looked_at),
        data=_viewer_data(looked_at) if looked_at else (),
        open_tables=OPEN_TABLES,
        scale=scale(),
    )


def _filters() -> dict[str, Filter]:
    """Returns what the templates call."""
    return {
        "paragraphs": _paragraphs,
        "data_of": _data,
        "settings_of": _settings,
        "tables_of": _tables,
        "share": share,
        "percent": lambda part: share(Estimate(100 * part)),
        "ends": ends,
        "of_what": _of_what,
        "counted": _counted,
        "layers": layers,
        "title_of": title,
        "layer_of": layer_title,
        "address": data_address,
    }


def _origins(experiments: Sequence[Experiment]) -> list[tuple[str, str, str]]:
    """Returns the class of a line, what it says of data, and of which experiments if not of all."""
    lines = []
    for synthetic, name, statement in ORIGINS:
        concerned = [one.title for one in experiments if one.synthetic is synthetic]
        if concerned:
            lines.append((name, statement, "" if len(concerned) == len(experiments) else "; ".join(concerned)))
    return lines


def _shown(experiment: Experiment, found: Sequence[Glance]) -> Shown | None:
    """Returns some frames of an experiment with the maps that overlap most, or those of the first method."""
    content = experiment.frames or {}
    best = next((one.found.maps for one in found if one.network in experiment.networks), None)
    measured = best is not None and best.method in content["methods"]
    if best is not None and measured:
        method, layer = best.method, best.column if best.column in content["layers"] else AGGREGATE
        said = layers(best.column)
    else:
        method = next((name for name in FIRST_METHODS if name in content["methods"]), content["methods"][0])
        layer, said = AGGREGATE, "all layers together"
    frames = some_frames(content, method, layer)
    return Shown(title(method), said, measured, frames) if frames else None


def _of_what(accuracy: Accuracy) -> list[str]:
    """Says of which frames a network was right, and how many of each class where that is known."""
    counts = [(accuracy.frames, "frame"), (accuracy.patients, "patient")]
    of = " of ".join(_counted(number, noun) for number, noun in counts if number is not None)
    frames = [f"of {of}"] if of else []
    part = [f"part: {accuracy.part}"] if accuracy.part else []
    classes = [f"{name}: {right} of {count}" for name, right, count in accuracy.classes]
    return [text for text in (", ".join(frames + part), ", ".join(classes)) if text]


def _paragraphs(text: str) -> list[str]:
    return [part.strip() for part in re.split(r"\n\s*\n", text) if part.strip()]


def _data(experiment: Experiment) -> str:
    """Says in one line of what kind the data are, where they came from, which they are and how many."""
    data = experiment.settings["data"]
    kind = _kind(experiment)
    parts = [kind]
    if data.get("origin") and str(data["origin"]).lower() != kind.lower():
        parts.append(str(data["origin"]))
    if data.get("part"):
        parts.append(f"part: {data['part']}")
    parts += [f"{data[name]} {name}" for name in ("frames", "patients") if data.get(name) is not None]
    return " · ".join(parts)


def _kind(experiment: Experiment) -> str:
    """Says in a word or two of what kind the data are."""
    return next(words for synthetic, _, words in ORIGINS if experiment.synthetic is synthetic).partition(":")[0]


def _settings(experiment: Experiment) -> Iterator[tuple[str, str]]:
    """Yields settings as pairs of a name, after the names of what it lies in, and a text."""

    def flat(name: str, value: Any) -> Iterator[tuple[str, str]]:
        if isinstance(value, dict) and value:
            for key, inner in value.items():
                yield from flat(f"{name} / {key}" if name else key, inner)
        elif isinstance(value, list) and any(isinstance(inner, dict | list) for inner in value):
            for place, inner in enumerate(value, 1):
                yield from flat(f"{name} / {place}", inner)
        elif isinstance(value, list):
            yield name, ", ".join(map(_said, value)) or NOTHING
        else:
            yield name, _said(value)

    return flat("", experiment.settings)


def _said(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return NOTHING if value in (None, "", {}) else str(value)


def _tables(experiment: Experiment) -> list[ShownTable]:
    return [shown_table(table, too_few=experiment.too_few) for table in experiment.tables]


def _counted(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


def _viewer_data(experiments: Sequence[tuple[int, Experiment]]) -> list[tuple[str, Markup]]:
    """Returns what the viewer reads: the names of elements, and JSON for each."""
    shared = {
        "methodNames": {name: title(name) for _, one in experiments for name in (one.frames or {}).get("methods", ())},
        "firstMethods": FIRST_METHODS,
        **palettes(),
        "experiments": [
            {"element": f"frames-{number}", "title": one.title, "data": _kind(one)} for number, one in experiments
        ],
    }
    return [
        ("viewer-shared", json_text(shared)),
        *((f"frames-{number}", json_text(one.frames)) for number, one in experiments),
    ]
