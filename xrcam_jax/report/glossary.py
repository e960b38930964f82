"""Reading the glossary of a network's concepts from ``glossary.json``, checked before it goes into a page."""

import base64
import binascii
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from xrcam_jax.pictures.decode import format_and_size
from xrcam_jax.report.checked import expect, is_index, is_names, is_number, read_object

MIMES = {"PNG": "image/png", "JPEG": "image/jpeg"}
#: Numbers of channels, and of patients, that a glossary may have.
MOST = 2**31


@dataclass(frozen=True)
class GlossaryPicture:
    """A picture of a glossary.

    Attributes:
      address: a data address with all of it.
      width: in pixels.
      height: in pixels.
    """

    address: str
    width: int
    height: int


@dataclass(frozen=True)
class Reference:
    """What a concept looks like somewhere.

    Attributes:
      name: of the frame.
      patient: whose it is.
      label: its class.
      picture: what a place of the layer sees of it.
    """

    name: str
    patient: str
    label: str
    picture: GlossaryPicture


@dataclass(frozen=True)
class ConceptOfFrame:
    """A concept that speaks for the class that is explained of a frame.

    Attributes:
      concept: its number.
      share: of the relevance in this frame that goes through it.
      picture: the frame, with where the concept lies on it.
      references: of other patients.
    """

    concept: int
    share: float
    picture: GlossaryPicture
    references: tuple[Reference, ...]


@dataclass(frozen=True)
class GlossaryFrame:
    """A frame and its concepts.

    Attributes:
      name: of the frame.
      patient: whose it is.
      label: its class.
      predicted: what the network says of it.
      picture: the frame.
      concepts: that speak for what the network says, or for the target, the most relevant first.
    """

    name: str
    patient: str
    label: str
    predicted: str
    picture: GlossaryPicture
    concepts: tuple[ConceptOfFrame, ...]


@dataclass(frozen=True)
class Concept:
    """A concept of the overview.

    Attributes:
      concept: its number.
      patients: how many its references are of.
      classes: of each class its name, the mean share of the relevance, and the share of the frames where the concept is
        among the most relevant; without those of which there are no frames.
      relevant: references by relevance.
      active: references by activation.
    """

    concept: int
    patients: int
    classes: tuple[tuple[str, float, float], ...]
    relevant: tuple[Reference, ...]
    active: tuple[Reference, ...]


@dataclass(frozen=True)
class Glossary:
    """A glossary of the concepts of a layer.

    Attributes:
      layer: its name.
      top: how many concepts count as the most relevant of a frame.
      target: the class for which concepts speak; None for that which the network says of each frame.
      frames: some, with their concepts.
      concepts: the leading ones.
    """

    layer: str
    top: int
    target: str | None
    frames: tuple[GlossaryFrame, ...]
    concepts: tuple[Concept, ...]


def read_glossary(path: Path) -> Glossary:
    """Reads a glossary.

    Args:
      path: of the file.

    Returns:
      The glossary.

    Raises:
      ValueError: naming the file and the entry that is missing or wrong.

    Example:
      >>> import json
      >>> import tempfile
      >>> from pathlib import Path
      >>> from xrcam_jax.report.glossary import read_glossary
      >>> content = {"layer": "layer3", "top": 5, "classes": ["sick"], "frames": [], "concepts": []}
      >>> with tempfile.TemporaryDirectory() as folder:
      ...     path = Path(folder) / "glossary.json"
      ...     _ = path.write_text(json.dumps(content))
      ...     read_glossary(path)
      Glossary(layer='layer3', top=5, target=None, frames=(), concepts=())
    """
    content = read_object(path, "a glossary of concepts, a JSON object")
    expect(is_names(content.get("classes")), f"{path}: classes", "a list of different names", content.get("classes"))
    classes, where = content["classes"], str(path)
    return Glossary(
        layer=_text(where, content, "layer"),
        top=_index(where, content, "top", MOST),
        target=None if content.get("target") is None else classes[_index(where, content, "target", len(classes))],
        frames=tuple(_frame(at, one, classes) for at, one in _entries(where, content, "frames")),
        concepts=tuple(_concept(at, one, classes) for at, one in _entries(where, content, "concepts")),
    )


def _frame(where: str, entry: dict[str, Any], classes: list[str]) -> GlossaryFrame:
    shown = _reference(where, entry, classes)
    return GlossaryFrame(
        name=shown.name,
        patient=shown.patient,
        label=shown.label,
        predicted=classes[_index(where, entry, "predicted", len(classes))],
        picture=shown.picture,
        concepts=tuple(_concept_of_frame(at, one, classes) for at, one in _entries(where, entry, "concepts")),
    )


def _concept_of_frame(where: str, entry: dict[str, Any], classes: list[str]) -> ConceptOfFrame:
    expect(_is_share(entry.get("share")), f"{where}: share", "a number from -1 to 1", entry.get("share"))
    return ConceptOfFrame(
        concept=_index(where, entry, "concept", MOST),
        share=entry["share"],
        picture=_picture(where, entry),
        references=_references(where, entry, "references", classes),
    )


def _concept(where: str, entry: dict[str, Any], classes: list[str]) -> Concept:
    shares, tops = (_figures(where, entry, key, len(classes)) for key in ("shares", "tops"))
    return Concept(
        concept=_index(where, entry, "concept", MOST),
        patients=_index(where, entry, "patients", MOST),
        classes=tuple(each for each in zip(classes, shares, tops, strict=True) if None not in each),
        relevant=_references(where, entry, "relevant", classes),
        active=_references(where, entry, "active", classes),
    )


def _figures(where: str, entry: dict[str, Any], key: str, count: int) -> list[Any]:
    """Returns a number for each class, None where there is none."""
    values = entry.get(key)
    fits = isinstance(values, list) and len(values) == count
    fits = fits and all(value is None or _is_share(value) for value in values or ())
    expect(fits, f"{where}: {key}", f"{count} numbers from -1 to 1, or null", values)
    return list(values or ())


def _references(where: str, entry: dict[str, Any], key: str, classes: list[str]) -> tuple[Reference, ...]:
    return tuple(_reference(at, one, classes) for at, one in _entries(where, entry, key))


def _reference(where: str, entry: dict[str, Any], classes: list[str]) -> Reference:
    label = classes[_index(where, entry, "label", len(classes))]
    return Reference(_text(where, entry, "name"), _text(where, entry, "patient"), label, _picture(where, entry))


def _entries(where: str, entry: dict[str, Any], key: str) -> list[tuple[str, dict[str, Any]]]:
    """Returns the objects of a list, each with what a message calls it."""
    found = entry.get(key)
    fits = isinstance(found, list) and all(isinstance(one, dict) for one in found or ())
    expect(fits, f"{where}: {key}", "a list of objects", found)
    return [(f"{where}: {key}: {number}", one) for number, one in enumerate(found or ())]


def _text(where: str, entry: dict[str, Any], key: str) -> str:
    expect(isinstance(entry.get(key), str), f"{where}: {key}", "a name", entry.get(key))
    return entry[key]


def _index(where: str, entry: dict[str, Any], key: str, length: int) -> int:
    expect(is_index(entry.get(key), length), f"{where}: {key}", f"a number from 0 to {length - 1}", entry.get(key))
    return entry[key]


def _is_share(value: Any) -> bool:
    return is_number(value) and -1 <= value <= 1


def _picture(where: str, entry: dict[str, Any]) -> GlossaryPicture:
    where, value, expected = f"{where}: picture", entry.get("picture"), "a PNG or JPEG picture in base64"
    expect(isinstance(value, str), where, expected, value)
    try:
        kind, (width, height) = format_and_size(base64.b64decode(str(value), validate=True), list(MIMES))
    except (binascii.Error, ValueError) as error:
        raise ValueError(f"{where}: expected {expected}, found something else ({error})") from error
    return GlossaryPicture(f"data:{MIMES[kind]};base64,{value}", width, height)
