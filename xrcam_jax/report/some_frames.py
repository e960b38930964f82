"""A few frames with a map on each, as pictures that need no script: what a page shows of an experiment at first."""

import base64
import io
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, UInt8
from PIL import Image

from xrcam_jax.cam.saliency import AGGREGATE, aggregate
from xrcam_jax.figures.overlay import outlined, overlay
from xrcam_jax.figures.style import VARIATION, Style, table
from xrcam_jax.report.read import MIMES

MOST = 6


@dataclass(frozen=True)
class ShownFrame:
    """A frame beside the same with a map on it.

    Attributes:
      name: of the frame.
      patient: whose it is.
      decision: its class, and what the network says of it.
      right: whether the network is right.
      why: it is shown, of all.
      overlap: of its map with what was outlined; None where nothing was.
      frame: the picture, outlined where something was; a data address.
      mapped: the picture with its map; a data address.
      size: width and height, in pixels.
    """

    name: str
    patient: str
    decision: str
    right: bool
    why: str
    overlap: float | None
    frame: str
    mapped: str
    size: tuple[int, int]


def some_frames(content: dict[str, Any], method: str, layer: str) -> tuple[ShownFrame, ...]:
    """Chooses a few frames by rule, not by how good they look, and lays a method's map on each.

    These are the frames of the highest, the middle and the lowest overlap, where something was outlined, then the wrong
    decision of which the network is surest, then of each other class the frame with the middle score.

    Args:
      content: what :func:`xrcam_jax.report.frames.read_frames` returns.
      method: whose maps are shown.
      layer: at which, or ``aggregate`` for all layers together.

    Returns:
      At most six, each of another frame.

    Example:
      >>> import base64, io
      >>> from PIL import Image
      >>> from xrcam_jax.report.some_frames import some_frames
      >>> png = io.BytesIO()
      >>> Image.new("L", (4, 3)).save(png, format="PNG")
      >>> maps = {"cam": {"layer4": {"rows": 1, "columns": 2, "data": base64.b64encode(bytes(2)).decode()}}}
      >>> frame = {"name": "a", "patient": "p1", "label": 0, "predicted": 0, "scores": [1.0], "maps": maps}
      >>> frame["picture"] = base64.b64encode(png.getvalue()).decode()
      >>> content = {"classes": ["sick"], "size": [3, 4], "methods": ["cam"], "layers": ["layer4"], "frames": [frame]}
      >>> [(one.name, one.decision, one.why) for one in some_frames(content, "cam", "layer4")]
      [('a', 'sick, the network says sick', 'Middle score of sick')]
    """
    chosen: dict[int, str] = {}
    for place, why in _chosen(content, method, layer):
        chosen.setdefault(place, why)
    places = list(chosen.items())[:MOST]
    return tuple(_shown(content, content["frames"][place], why, method, layer) for place, why in places)


def palettes() -> dict[str, str]:
    """Returns the 256 colours of maps and of their variation, those of the package's other pictures.

    Returns:
      Bytes of red, green and blue in base64, by ``colours`` and ``variationColours``.

    Example:
      >>> from xrcam_jax.report.some_frames import palettes
      >>> [len(text) for text in palettes().values()]
      [1024, 1024]
    """
    names = {"colours": Style().colormap, "variationColours": VARIATION}
    return {key: base64.b64encode(table(name).tobytes()).decode() for key, name in names.items()}


def scale() -> str:
    """Returns the colours of maps from the least to the most, as a picture of one row.

    Returns:
      A data address.

    Example:
      >>> from xrcam_jax.report.some_frames import scale
      >>> scale()[:22]
      'data:image/png;base64,'
    """
    return _encoded(np.ascontiguousarray(table(Style().colormap))[None], "PNG")


def data_address(content: bytes, mime: str) -> str:
    """Returns a file as an address that holds all of it.

    Args:
      content: of the file.
      mime: its type.

    Returns:
      The address, which needs no network.

    Example:
      >>> from xrcam_jax.report.some_frames import data_address
      >>> data_address(b"abc", "image/png")
      'data:image/png;base64,YWJj'
    """
    return f"data:{mime};base64,{base64.b64encode(content).decode()}"


def _chosen(content: dict[str, Any], method: str, layer: str) -> Iterator[tuple[int, str]]:
    """Yields places of frames, the most telling first, and why each is there; some may come twice."""
    frames = content["frames"]
    known = [place for place, frame in enumerate(frames) if _stored(content, frame, method, layer)]

    def ranked(places: Sequence[int], value: Callable[[dict[str, Any]], Any]) -> list[int]:
        return sorted(places, key=lambda place: (value(frames[place]), place))

    measured = [place for place in known if _overlap(frames[place], method, layer) is not None]
    overlaps = ranked(measured, lambda frame: _overlap(frame, method, layer))
    if overlaps:
        yield overlaps[-1], "Highest overlap"
        yield overlaps[len(overlaps) // 2], "Middle overlap"
        yield overlaps[0], "Lowest overlap"
    wrong = [place for place in known if frames[place]["predicted"] != frames[place]["label"]]
    if wrong:
        yield ranked(wrong, lambda frame: frame["scores"][frame["predicted"]])[-1], "Wrong, and surest of it"
    outlined_classes = {frames[place]["label"] for place in overlaps}
    for label, name in enumerate(content["classes"]):
        of_class = [place for place in known if frames[place]["label"] == label]
        if of_class and label not in outlined_classes:
            scores = ranked(of_class, lambda frame: frame["scores"][frame["label"]])
            yield scores[len(scores) // 2], f"Middle score of {name}"


def _overlap(frame: dict[str, Any], method: str, layer: str) -> float | None:
    value = ((frame.get("iou") or {}).get(method) or {}).get(layer)
    return None if value is None or math.isnan(value) else float(value)


def _stored(content: dict[str, Any], frame: dict[str, Any], method: str, layer: str) -> list[dict[str, Any]]:
    """Returns the stored maps that make up the one that is asked for, of which there may be none."""
    maps = frame["maps"].get(method, {})
    return [maps[each] for each in (content["layers"] if layer == AGGREGATE else [layer]) if each in maps]


def _shown(content: dict[str, Any], frame: dict[str, Any], why: str, method: str, layer: str) -> ShownFrame:
    height, width = content["size"]
    picture = _decoded(frame["picture"])
    raws = [_levels(stored) for stored in _stored(content, frame, method, layer)]
    saliency = aggregate([jnp.asarray(raw) for raw in raws], (height, width), how=content.get("aggregate", "mean"))
    annotation = frame.get("annotation")
    marked = picture if annotation is None else outlined(picture, _decoded(annotation)[..., 0] > 127)
    classes = content["classes"]
    return ShownFrame(
        name=frame["name"],
        patient=frame["patient"],
        decision=f"{classes[frame['label']]}, the network says {classes[frame['predicted']]}",
        right=frame["label"] == frame["predicted"],
        why=why,
        overlap=_overlap(frame, method, layer),
        frame=_encoded(marked, "JPEG"),
        mapped=_encoded(overlay(picture, np.asarray(saliency)), "JPEG"),
        size=(width, height),
    )


def _levels(stored: dict[str, Any]) -> Float[np.ndarray, "p q"]:
    levels = np.frombuffer(base64.b64decode(stored["data"]), np.uint8).reshape(stored["rows"], stored["columns"])
    return levels.astype(np.float32) / 255


def _decoded(picture: str) -> UInt8[np.ndarray, "h w 3"]:
    with Image.open(io.BytesIO(base64.b64decode(picture)), formats=["PNG"]) as opened:
        # Deep pictures have 16 bits; of others the first channel alone counts, as in the viewer: frames are grey.
        deep = opened.mode.startswith("I")
        grey = np.asarray(opened) // 257 if deep else np.asarray(opened.convert("RGB"))[..., 0]
        return np.repeat(grey.astype(np.uint8)[..., None], 3, axis=2)


def _encoded(picture: UInt8[np.ndarray, "h w 3"], kind: Literal["JPEG", "PNG"]) -> str:
    encoded = io.BytesIO()
    options = {"quality": 90, "subsampling": 0} if kind == "JPEG" else {}
    Image.fromarray(picture).save(encoded, format=kind, **options)
    return data_address(encoded.getvalue(), MIMES[kind])
