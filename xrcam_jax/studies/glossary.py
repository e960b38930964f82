"""The glossary of a scan: what concepts look like in other patients, and where they lie in some frames.

The report shows it from ``glossary.json``, in which all pictures are; see :mod:`xrcam_jax.report.glossary`.
"""

import base64
import io
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from jaxtyping import Array, Float, Int, UInt8
from PIL import Image

import xrcam_jax as xr
from xrcam_jax.concepts.field import ReceptiveFields
from xrcam_jax.concepts.references import NONE, References
from xrcam_jax.figures.cutting import field_cut
from xrcam_jax.figures.overlay import overlay
from xrcam_jax.studies.batches import Batch, laid, read_batch, rgb
from xrcam_jax.studies.channels import Channels
from xrcam_jax.studies.compare import some_frames
from xrcam_jax.studies.concept_scan import Scan
from xrcam_jax.studies.study import Study

FILE = "glossary.json"
#: References that are shown beside a frame, and what part of a picture's side a cut has at least.
BESIDE, LEAST = 4, 6
#: The longest side of a reference's picture, in pixels: larger ones are shrunk, since the page shows them small.
LONGEST = 112


@dataclass(frozen=True, eq=False)
class Subject:
    """Holds what a glossary is of.

    Attributes:
      study: whose frames.
      channels: of a layer.
      fields: the receptive fields of the layer's places.
      found: the scan.
    """

    study: Study
    channels: Channels
    fields: ReceptiveFields
    found: Scan


@dataclass(frozen=True, eq=False)
class _Concept:
    """Holds a concept of a frame.

    Attributes:
      said: of it, as JSON has it.
      lies: the frame, with where the concept lies on it.
      references: numbers of frames of other patients, and places in the layer.
    """

    said: dict[str, Any]
    lies: UInt8[np.ndarray, "h w 3"]
    references: list[tuple[int, int]]


def glossary(subject: Subject, concepts: Mapping[int, Mapping[str, Any]], shown: int) -> dict[str, Any]:
    """Returns the glossary, as JSON has it.

    Args:
      subject: what it is of.
      concepts: those that are shown by themselves, with what is said of each.
      shown: frames of each class.
    """
    study, found = subject.study, subject.found
    frames = list(_frames(subject, some_frames(study, shown)))
    kinds = {"relevant": found.relevant, "active": found.active}
    wanted = {number for kind in kinds.values() for concept in concepts for number, _ in _of(kind, concept)}
    wanted |= {number for _, some in frames for concept in some for number, _ in concept.references}
    show = partial(_reference, subject, _pictures(subject, sorted(wanted)))
    return {
        "layer": subject.channels.layer,
        "top": study.settings["top"],
        "classes": study.prepared.classes,
        "target": subject.channels.target,
        "frames": [{**said, "concepts": [_as_json(concept, show) for concept in some]} for said, some in frames],
        "concepts": [
            {
                "concept": concept,
                **said,
                **{name: [show(*each) for each in _of(kind, concept)] for name, kind in kinds.items()},
            }
            for concept, said in concepts.items()
        ],
    }


def _as_json(concept: _Concept, show: Callable[[int, int], dict[str, Any]]) -> dict[str, Any]:
    references = [show(*each) for each in concept.references]
    return {**concept.said, "picture": _jpeg(concept.lies), "references": references}


def _of(references: References, concept: int) -> list[tuple[int, int]]:
    """Returns the frames and places of a concept's references."""
    numbers, places = references.pictures[concept].tolist(), references.places[concept].tolist()
    return [each for each in zip(numbers, places, strict=True) if each[0] != NONE]


def of_others(study: Study, references: References, concept: int, patient: str) -> list[tuple[int, int]]:
    """Returns the references of a concept that are of other patients.

    Args:
      study: whose frames they are.
      references: of all concepts.
      concept: which one.
      patient: whose frames are left out.
    """
    return [each for each in _of(references, concept) if study.frames[each[0]].patient != patient]


def _frames(subject: Subject, places: Sequence[int]) -> Iterator[tuple[dict[str, Any], list[_Concept]]]:
    """Yields what is said of each of some frames, and its concepts."""
    study, top = subject.study, subject.study.settings["top"]
    for start in range(0, len(places), study.batch_size):
        some = places[start : start + study.batch_size]
        batch = read_batch(study, subject.channels.network, some)
        here = laid(study, batch)
        measured, predicted, targets = subject.channels.measure_said(here)
        share = np.asarray(measured.share)
        best = np.argsort(-share, axis=1, kind="stable")[:, :top]
        maps = _maps(subject, here, targets, best)
        for i, place in enumerate(some):
            frame, picture = study.frames[place], batch.pictures[i]
            said = {"name": frame.file.rpartition("/")[2], "patient": frame.patient, "label": int(batch.labels[i])}
            concepts = [
                _Concept(
                    {"concept": concept, "share": round(float(share[i, concept]), 6)},
                    overlay(rgb(picture), _scaled(maps[rank, i])),
                    of_others(study, subject.found.relevant, concept, frame.patient)[:BESIDE],
                )
                for rank, concept in enumerate(best[i].tolist())
                if share[i, concept] > 0
            ]
            yield {**said, "predicted": int(predicted[i]), "picture": _png(picture)}, concepts


def _maps(
    subject: Subject, batch: Batch, targets: Int[Array, " b"], concepts: Int[np.ndarray, "b n"]
) -> Float[np.ndarray, "n b h w"]:
    """Returns for each frame of a batch, which lies across devices, where its concepts lie."""
    channels = subject.channels
    options: dict[str, Any] = {"composite": channels.signal.composite, "seed": channels.signal.seed}
    found = xr.concepts.attribute(
        channels.network.model, batch.images, channels.layer, concepts.T, targets=targets, **options
    )
    return np.asarray(found.maps)


def _pictures(subject: Subject, places: Sequence[int]) -> dict[int, UInt8[np.ndarray, "h w"]]:
    """Returns frames by their places among those of the study."""
    size = subject.study.batch_size
    found: dict[int, np.ndarray] = {}
    for start in range(0, len(places), size):
        some = places[start : start + size]
        found |= dict(zip(some, read_batch(subject.study, subject.channels.network, some).pictures, strict=False))
    return found


def _reference(
    subject: Subject, pictures: Mapping[int, UInt8[np.ndarray, "h w"]], number: int, place: int
) -> dict[str, Any]:
    frame, picture = subject.study.frames[number], pictures[number]
    cut = field_cut(picture, subject.fields.box(place), max(picture.shape) // LEAST)
    label = subject.study.prepared.classes.index(frame.label)
    name = frame.file.rpartition("/")[2]
    return {"name": name, "patient": frame.patient, "label": label, "picture": _png(cut, LONGEST)}


def _scaled(values: Float[np.ndarray, "h w"]) -> Float[np.ndarray, "h w"]:
    """Returns what speaks for the class, in [0, 1]; without any it is zero."""
    positive = np.maximum(values, 0)
    return positive / positive.max() if positive.any() else positive


def _png(picture: UInt8[np.ndarray, "h w"], longest: int | None = None) -> str:
    image = Image.fromarray(picture)
    if longest is not None:
        image.thumbnail((longest, longest))
    return _encoded(image, format="PNG")


def _jpeg(picture: UInt8[np.ndarray, "h w 3"]) -> str:
    return _encoded(Image.fromarray(picture), format="JPEG", quality=90, subsampling=0)


def _encoded(image: Image.Image, **options: Any) -> str:
    content = io.BytesIO()
    image.save(content, **options)
    return base64.b64encode(content.getvalue()).decode()
