"""A page on which a reader compares maps without knowing whose they are: blinded pairs of methods, frame by frame."""

import base64
import hashlib
import itertools
import json
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from xrcam_jax.cam.saliency import AGGREGATE
from xrcam_jax.report.some_frames import palettes
from xrcam_jax.report.templates import filled_in, json_text
from xrcam_jax.runtime.names import cell

#: What the number from 1 to 5 answers.
QUESTION = "How well does the better of the two maps show what matters in this frame?"


class Pair(NamedTuple):
    """Two maps of one frame.

    Attributes:
      frame: its place among the frames.
      first: the place of one map's method among the methods.
      second: that of the other's, which comes later.
    """

    frame: int
    first: int
    second: int


def reader_page(
    content: dict[str, Any],
    methods: Sequence[str],
    *,
    layer: str = AGGREGATE,
    most: int | None = None,
    seed: int = 0,
    question: str = QUESTION,
) -> bytes:
    """Writes the page. Names of methods are in it for the export alone, encoded so that its source does not show them.

    Args:
      content: what :func:`xrcam_jax.report.frames.read_frames` returns.
      methods: two or more that are compared, each with each.
      layer: whose maps are shown, or ``aggregate`` for those of all layers together.
      most: how many pairs there are at most.
      seed: draws which pairs, where there are more; with a reader's name, their order and which map is on the left.
      question: what a reader's number from 1 to 5 answers.

    Returns:
      The page in HTML, in UTF-8.

    Raises:
      ValueError: a method or the layer is not among the content's, or no frame has maps of two of the methods.

    Example:
      >>> from xrcam_jax.report.reader import reader_page
      >>> maps = {name: {"layer4": {"rows": 1, "columns": 1, "data": "AA=="}} for name in ("grad_cam", "lrp")}
      >>> frame = {"name": "a", "patient": "p1", "label": 0, "predicted": 0, "picture": "", "maps": maps}
      >>> content = {"classes": ["sick"], "size": [3, 4], "layers": ["layer4"], "methods": list(maps)}
      >>> page = reader_page({**content, "frames": [frame]}, ["grad_cam", "lrp"]).decode()
      >>> page.splitlines()[0], "grad_cam" in page
      ('<!doctype html>', False)
    """
    layers = content["layers"] if layer == AGGREGATE else [layer]
    _check(content, methods, layer)
    pairs = chosen_pairs(content, methods, layers, most, seed)
    if not pairs:
        raise ValueError(f"no frame has maps of two of the methods {', '.join(methods)} at {layer}")
    study = _study(content, methods, layers, pairs)
    study |= {"seed": seed, "question": question, "colours": palettes()["colours"]}
    # Ratings are kept in the browser under this name, so that those of another page are not taken for this one's.
    study["name"] = hashlib.sha256(json.dumps(study, sort_keys=True).encode()).hexdigest()[:16]
    return filled_in(
        "reader.html",
        styles=("page.css", "reader.css"),
        scripts=("reader_order.js", "maps.js", "reader_marks.js", "reader.js"),
        filters={},
        question=question,
        data=json_text(study),
    )


def chosen_pairs(
    content: dict[str, Any], methods: Sequence[str], layers: Sequence[str], most: int | None, seed: int
) -> list[Pair]:
    """Returns the pairs of a page: each method with each, frame by frame.

    Args:
      content: what :func:`xrcam_jax.report.frames.read_frames` returns.
      methods: that are compared.
      layers: of which all maps that a method has anywhere have to be there.
      most: how many pairs at most. Of more, some are drawn, such that any two methods are compared about as often.
      seed: of the draw.

    Returns:
      The pairs by frame, then by methods.

    Example:
      >>> from xrcam_jax.report.reader import chosen_pairs
      >>> maps = {name: {"layer4": {}} for name in ("grad_cam", "lrp", "cam")}
      >>> content = {"methods": list(maps), "frames": [{"maps": maps}, {"maps": maps}]}
      >>> [tuple(pair) for pair in chosen_pairs(content, ["lrp", "cam"], ["layer4"], None, 0)]
      [(0, 0, 1), (1, 0, 1)]
    """
    frames = content["frames"]
    # A map of fewer layers than the other frames' would be another one under the same name.
    needed = {name: {x for frame in frames for x in frame["maps"].get(name, {}) if x in layers} for name in methods}
    whole = [
        [bool(needed[name]) and needed[name] <= set(frame["maps"].get(name, {})) for name in methods]
        for frame in frames
    ]
    drawn = np.random.default_rng(seed)
    by_methods = []
    for first, second in itertools.combinations(range(len(methods)), 2):
        known = [place for place, found in enumerate(whole) if found[first] and found[second]]
        by_methods.append([Pair(int(place), first, second) for place in drawn.permutation(known)])
    in_turn = [pair for turn in itertools.zip_longest(*by_methods) for pair in turn if pair is not None]
    return sorted(in_turn[:most])


def _check(content: dict[str, Any], methods: Sequence[str], layer: str) -> None:
    for name in methods:
        if name not in content["methods"]:
            raise ValueError(f"expected methods of {', '.join(content['methods'])}, found {name}")
    if len(set(methods)) < 2 or len(set(methods)) < len(methods):
        raise ValueError(f"expected two or more different methods to compare, found {', '.join(methods) or 'none'}")
    if layer not in (*content["layers"], AGGREGATE):
        raise ValueError(f"expected {AGGREGATE} or a layer of {', '.join(content['layers'])}, found {layer}")


def _study(
    content: dict[str, Any], methods: Sequence[str], layers: Sequence[str], pairs: Sequence[Pair]
) -> dict[str, Any]:
    """Returns what the script reads; methods are numbers there."""
    shown = sorted({pair.frame for pair in pairs})
    used = {(pair.frame, method) for pair in pairs for method in (pair.first, pair.second)}

    def maps(place: int, number: int) -> list[dict[str, Any]] | None:
        stored = content["frames"][place]["maps"].get(methods[number], {})
        return [stored[name] for name in layers if name in stored] if (place, number) in used else None

    frames = [
        {
            # As spreadsheets may open them: the browser puts these texts into its file as they are.
            "name": cell(frame["name"]),
            "patient": cell(frame["patient"]),
            "class": content["classes"][frame["label"]],
            "predicted": content["classes"][frame["predicted"]],
            "picture": frame["picture"],
            "maps": [maps(place, number) for number in range(len(methods))],
        }
        for place, frame in ((place, content["frames"][place]) for place in shown)
    ]
    return {
        "size": content["size"],
        "how": content.get("aggregate", "mean"),
        "key": base64.b64encode(json.dumps([cell(name) for name in methods]).encode()).decode(),
        "frames": frames,
        "pairs": [[shown.index(pair.frame), pair.first, pair.second] for pair in pairs],
    }
