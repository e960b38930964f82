"""Writing experiments as one page of HTML that needs no other file; the same experiments give the same bytes."""

import base64
import hashlib
import json
import math
import re
from collections.abc import Iterator, Sequence
from html import escape as escaped
from importlib.resources import files
from string import Template
from typing import Any

import numpy as np

from xrcam_jax.figures.style import VARIATION, Style, table
from xrcam_jax.metrics.uncertainty import Estimate, leading
from xrcam_jax.report.checked import is_baseline
from xrcam_jax.report.read import EncodedPicture, Experiment, Figure, ResultTable
from xrcam_jax.runtime.names import printable
from xrcam_jax.titles import method_title as title

# Methods that are ticked to begin with, if they are there.
FIRST_METHODS = ("xrelevance_cam", "relevance_cam", "grad_cam")
# What a page says first of its data: whether they were drawn, the class of the line, its words. The worst comes first.
ORIGINS = (
    (True, "synthetic", "Synthetic data: drawn, they stand for no patient"),
    (None, "unrecorded", "Origin not recorded"),
    (False, "recordings", "Recordings"),
)
NOTHING = "–"


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
      >>> html.splitlines()[0], '<h2 id="title-1">How fast?</h2>' in html
      ('<!doctype html>', True)
    """
    looked_at = [(number, one) for number, one in enumerate(experiments, 1) if one.frames is not None]
    style, script = _parts("page.css", "viewer.css"), _parts("maps.js", "viewer.js") if looked_at else ""
    content = Template(_parts("page.html")).substitute(
        # The browser itself then refuses all that is not of this page, whatever its texts may say.
        policy=f"default-src 'none'; img-src data:; style-src {_hash(style)}; script-src {_hash(script)}",
        style=style,
        origins=_origins(experiments),
        navigation=_navigation(experiments, bool(looked_at)),
        experiments="".join(_experiment(number, one) for number, one in enumerate(experiments, 1)),
        viewer=_viewer(looked_at, script) if looked_at else "",
        without_viewer="" if looked_at else "<p>These results hold no single frames to look through.</p>",
    )
    # A lone half of a surrogate pair, which JSON allows, has no bytes of its own.
    return content.encode("utf-8", "replace")


def escape(text: str) -> str:
    """Returns a text as HTML shows it: letter by letter, without controls that would turn its direction around.

    Args:
      text: any.

    Returns:
      The text with its marks escaped.

    Example:
      >>> from xrcam_jax.report.page import escape
      >>> escape("<b>\u202egpj.exe")
      '&lt;b&gt;\\\\u202egpj.exe'
    """
    return escaped(printable(text, lines=True))


def _parts(*names: str) -> str:
    return "\n".join(files("xrcam_jax.report").joinpath(name).read_text(encoding="utf-8") for name in names)


def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def _origins(experiments: Sequence[Experiment]) -> str:
    lines = []
    for synthetic, name, statement in ORIGINS:
        concerned = [one.title for one in experiments if one.synthetic is synthetic]
        if concerned:
            whose = "" if len(concerned) == len(experiments) else f" <span>{escape('; '.join(concerned))}</span>"
            lines.append(f'<p class="origin {name}"><strong>{escape(statement)}</strong>{whose}</p>')
    return "\n".join(lines)


def _navigation(experiments: Sequence[Experiment], viewer: bool) -> str:
    items = [
        f'<li><a href="#experiment-{number}">{escape(one.title)}</a></li>' for number, one in enumerate(experiments, 1)
    ]
    if viewer:
        items.append('<li><a href="#viewer">Look through the frames</a></li>')
    return "\n".join(items)


def _experiment(number: int, experiment: Experiment) -> str:
    paragraphs = [part.strip() for part in re.split(r"\n\s*\n", experiment.text) if part.strip()]
    return "\n".join(
        [
            f'<section class="experiment" id="experiment-{number}" aria-labelledby="title-{number}">',
            f'<h2 id="title-{number}">{escape(experiment.title)}</h2>',
            f'<p class="data">{escape(_data(experiment))}</p>',
            *(f"<p>{escape(paragraph)}</p>" for paragraph in paragraphs),
            *map(_table, experiment.tables),
            *map(_picture, experiment.pictures),
            '<details class="settings"><summary>Settings</summary><dl>',
            *(f"<div><dt>{escape(name)}</dt><dd>{escape(value)}</dd></div>" for name, value in _flat(experiment)),
            "</dl></details></section>\n",
        ]
    )


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


def _flat(experiment: Experiment) -> Iterator[tuple[str, str]]:
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


def _table(table: ResultTable) -> str:
    unit = f' <span class="unit">in {escape(table.unit)}</span>' if table.unit else ""
    best = _best(table)
    heads = [f'<th scope="col">{escape(name)}</th>' for name in table.labels]
    heads += [f'<th scope="col" class="figure">{escape(name)}</th>' for name in table.columns]
    lines = []
    for row in table.rows:
        labels = [f'<th scope="row">{escape(title(label))}</th>' for label in row.labels]
        known = [None] * len(best) if is_baseline(row.labels) else best
        figures = [_figure(figure, table.decimals, most) for figure, most in zip(row.figures, known, strict=True)]
        lines.append(f"<tr>{''.join(labels + figures)}</tr>")
    notes = []
    if any(mark is not None for mark in best):
        best_is = "highest" if table.best == "max" else "lowest"
        notes.append(f"Bold: the {best_is} of its column, which is the best, unless another one lies in its interval.")
    if any(figure.low is not None for row in table.rows for figure in row.figures):
        notes.append(f"Small figures: {escape(table.interval)}.")
    return "\n".join(
        [
            '<figure class="table">',
            f"<figcaption>{escape(table.title)}{unit}</figcaption>",
            # Whoever scrolls with keys must be able to get to the table.
            f'<div class="scroll" role="region" tabindex="0" aria-label="{escape(table.title)}"><table>',
            f"<thead><tr>{''.join(heads)}</tr></thead>",
            "<tbody>",
            *lines,
            "</tbody></table></div>",
            *([f'<p class="note">{" ".join(notes)}</p>'] if notes else []),
            "</figure>",
        ]
    )


def _best(table: ResultTable) -> list[str | None]:
    """Returns the best figure of each column, as it is shown, but for baselines; None where there is none."""
    if table.best is None:
        return [None] * len(table.columns)
    compared = [[_estimate(figure) for figure in row.figures] for row in table.rows if not is_baseline(row.labels)]
    values = [leading([row[at] for row in compared], table.best) for at in range(len(table.columns))]
    return [None if math.isnan(value) else _shown(value, table.decimals) for value in values]


def _estimate(figure: Figure) -> Estimate:
    return Estimate(*(math.nan if value is None else value for value in (figure.value, figure.low, figure.high)))


def _figure(figure: Figure, decimals: int, best: str | None) -> str:
    text = _shown(figure.value, decimals)
    value = f"<strong>{text}</strong>" if text == best else f"<span>{text}</span>"
    interval = ""
    if figure.low is not None:
        interval = f" <small>{_shown(figure.low, decimals)} to {_shown(figure.high, decimals)}</small>"
    return f'<td class="figure">{value}{interval}</td>'


def _shown(value: float | None, decimals: int) -> str:
    if value is None or math.isnan(value):
        return NOTHING
    # Tiny values are printed in exponent form, lest they look like zero.
    small = 0 < abs(value) < 10**-decimals
    return (f"{value:.1e}" if small else f"{value:.{decimals}f}").replace("-", "−").replace("inf", "∞")


def _picture(picture: EncodedPicture) -> str:
    source = f"data:{picture.mime};base64,{base64.b64encode(picture.content).decode()}"
    caption = escape(picture.caption)
    return (
        f'<figure class="picture"><div class="paper"><img src="{source}" alt="{caption}" width="{picture.width}" '
        f'height="{picture.height}"></div>{f"<figcaption>{caption}</figcaption>" if caption else ""}</figure>'
    )


def _viewer(experiments: Sequence[tuple[int, Experiment]], script: str) -> str:
    shared = {
        "methodNames": {name: title(name) for _, one in experiments for name in (one.frames or {}).get("methods", ())},
        "firstMethods": FIRST_METHODS,
        # The colours are those of the package's other pictures: 256 times red, green, blue.
        "colours": base64.b64encode(np.ascontiguousarray(table(Style().colormap)).tobytes()).decode(),
        "variationColours": base64.b64encode(np.ascontiguousarray(table(VARIATION)).tobytes()).decode(),
        "experiments": [
            {"element": f"frames-{number}", "title": one.title, "data": _kind(one)} for number, one in experiments
        ],
    }
    return "\n".join(
        [
            _parts("viewer.html"),
            _json("viewer-shared", shared),
            *(_json(f"frames-{number}", one.frames) for number, one in experiments),
            f"<script>{script}</script>",
        ]
    )


def _json(name: str, content: Any) -> str:
    # A text without "<" can neither end the element nor begin a comment in it.
    text = json.dumps(content, separators=(",", ":"), allow_nan=False).replace("<", "\\u003c")
    return f'<script type="application/json" id="{name}">{text}</script>'
