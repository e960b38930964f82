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
from xrcam_jax.classes import class_logits
from xrcam_jax.concepts.field import ReceptiveFields
from xrcam_jax.concepts.references import NONE, References, patients_of
from xrcam_jax.explain.passes import Signal
from xrcam_jax.figures.cutting import field_cut
from xrcam_jax.figures.overlay import overlay
from xrcam_jax.studies.batches import Batch, laid, read_batch, rgb
from xrcam_jax.studies.compare import some_frames
from xrcam_jax.studies.concept_scan import Measure, Scan
from xrcam_jax.studies.networks import Network
from xrcam_jax.studies.study import Study

FILE = "glossary.json"
#: References that are shown beside a frame, and what part of a picture's side a cut has at least.
BESIDE, LEAST = 4, 6


@dataclass(frozen=True, eq=False)
class Subject:
    """Holds what a glossary is of.

    Attributes:
      study: whose frames.
      network: whose channels.
      layer: whose channels.
      signal: what was propagated.
      measure: a function of a batch.
      targets: a function of a batch; the class that is explained of each frame.
      fields: the receptive fields of the layer's places.
      found: the scan.
    """

    study: Study
    network: Network
    layer: str
    signal: Signal
    measure: Measure
    targets: Callable[[Batch], Int[Array, " b"]]
    fields: ReceptiveFields
    found: Scan


def glossary(subject: Subject, concepts: Sequence[int], shown: int) -> dict[str, Any]:
    """Returns the glossary, as JSON has it.

    Args:
      subject: what it is of.
      concepts: those that are shown by themselves.
      shown: frames of each class.
    """
    study, found = subject.study, subject.found
    frames = list(_frames(subject, some_frames(study, shown)))
    wanted = {number for kind in (found.relevant, found.active) for c in concepts for number, _ in _of(kind, c)}
    wanted |= {number for _, some in frames for _, _, references in some for number, _ in references}
    pictures = _pictures(subject, sorted(wanted))
    show = partial(_reference, subject, pictures)
    return {
        "layer": subject.layer,
        "classes": study.prepared.classes,
        "frames": [
            {
                **frame,
                "concepts": [{**one, "picture": _jpeg(on), "references": [show(*r) for r in some]} for one, on, some in c],
            }
            for frame, c in frames
        ],
        "concepts": [
            {
                "concept": concept,
                "patients": len(patients_of(found.relevant.pictures[concept], [f.patient for f in study.frames])),
                "relevant": [show(*each) for each in _of(found.relevant, concept)],
                "active": [show(*each) for each in _of(found.active, concept)],
            }
            for concept in concepts
        ],
    }


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


def _frames(subject: Subject, places: Sequence[int]) -> Iterator[tuple[dict[str, Any], list]]:
    """Yields what is said of each frame, and for each of its concepts what is said, the map and the references."""
    study, top = subject.study, subject.study.settings["top"]
    for start in range(0, len(places), study.batch_size):
        some = places[start : start + study.batch_size]
        batch = read_batch(study, subject.network, some)
        here = laid(study, batch)
        measured = subject.measure(here)
        share = np.asarray(measured.share)
        best = np.argsort(-share, axis=1, kind="stable")[:, :top]
        maps = _maps(subject, here, best)
        predicted = class_logits(np.asarray(measured.logits)).argmax(1)
        for i, place in enumerate(some):
            frame, picture = study.frames[place], rgb(batch.pictures[i])
            concepts = [
                (
                    {"concept": int(concept), "share": round(float(share[i, concept]), 6)},
                    overlay(picture, _scaled(maps[rank, i])),
                    of_others(study, subject.found.relevant, int(concept), frame.patient)[:BESIDE],
                )
                for rank, concept in enumerate(best[i])
                if share[i, concept] > 0
            ]
            said = {"name": frame.file.rpartition("/")[2], "patient": frame.patient, "label": int(batch.labels[i])}
            yield {**said, "predicted": int(predicted[i]), "picture": _png(batch.pictures[i])}, concepts


def _maps(subject: Subject, batch: Batch, concepts: Int[np.ndarray, "b n"]) -> Float[np.ndarray, "n b h w"]:
    """Returns for each frame of a batch, which lies across devices, where its concepts lie."""
    options = {"composite": subject.signal.composite, "seed": subject.signal.seed}
    found = xr.concepts.attribute(
        subject.network.model,
        batch.images,
        subject.layer,
        concepts.T,
        targets=subject.targets(batch),
        **options,
    )
    return np.asarray(found.maps)


def _pictures(subject: Subject, places: Sequence[int]) -> dict[int, UInt8[np.ndarray, "h w"]]:
    """Returns frames by their places among those of the study."""
    size, found = subject.study.batch_size, {}
    for start in range(0, len(places), size):
        some = places[start : start + size]
        found |= dict(zip(some, read_batch(subject.study, subject.network, some).pictures, strict=False))
    return found


def _reference(
    subject: Subject, pictures: Mapping[int, UInt8[np.ndarray, "h w"]], number: int, place: int
) -> dict[str, Any]:
    frame, picture = subject.study.frames[number], pictures[number]
    cut = field_cut(picture, subject.fields.box(place), max(picture.shape) // LEAST)
    label = subject.study.prepared.classes.index(frame.label)
    name = frame.file.rpartition("/")[2]
    return {"name": name, "patient": frame.patient, "label": label, "picture": _png(cut)}


def _scaled(values: Float[np.ndarray, "h w"]) -> Float[np.ndarray, "h w"]:
    """Returns what speaks for the class, in [0, 1]; without any it is zero."""
    positive = np.maximum(values, 0)
    return positive / positive.max() if positive.any() else positive


def _png(picture: UInt8[np.ndarray, "h w"]) -> str:
    return _encoded(picture, format="PNG")


def _jpeg(picture: UInt8[np.ndarray, "h w 3"]) -> str:
    return _encoded(picture, format="JPEG", quality=90, subsampling=0)


def _encoded(picture: np.ndarray, **options: Any) -> str:
    content = io.BytesIO()
    Image.fromarray(picture).save(content, **options)
    return base64.b64encode(content.getvalue()).decode()
