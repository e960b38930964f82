"""Reading the frames of an experiment and their maps from ``viewer.json``, checked before they go into a page."""

import base64
import binascii
from pathlib import Path
from typing import Any

from xrcam_jax.cam.saliency import AGGREGATE, AGGREGATIONS
from xrcam_jax.pictures.decode import format_and_size
from xrcam_jax.report.checked import expect, is_index, is_names, is_number, read_object


def read_frames(path: Path) -> dict[str, Any]:
    """Reads frames, with their maps at the layers' own resolutions.

    Args:
      path: of the file.

    Returns:
      The file's content: ``classes``, ``size`` (height, width), ``methods``, ``layers``, ``frames`` and, if it says so,
        ``aggregate``, how layers are put together.

    Raises:
      ValueError: naming the file, the frame and the entry that is missing or wrong.

    Example:
      >>> import base64
      >>> import io
      >>> import json
      >>> import tempfile
      >>> from pathlib import Path
      >>> from PIL import Image
      >>> from xrcam_jax.report.frames import read_frames
      >>> png = io.BytesIO()
      >>> Image.new("L", (4, 3)).save(png, format="PNG")
      >>> picture = base64.b64encode(png.getvalue()).decode()
      >>> maps = {"cam": {"layer4": {"rows": 1, "columns": 2, "data": base64.b64encode(bytes(2)).decode()}}}
      >>> frame = {"name": "a", "patient": "p1", "label": 0, "predicted": 0, "scores": [1.0], "picture": picture}
      >>> content = {"classes": ["sick"], "size": [3, 4], "methods": ["cam"], "layers": ["layer4"]}
      >>> with tempfile.TemporaryDirectory() as folder:
      ...     path = Path(folder) / "viewer.json"
      ...     _ = path.write_text(json.dumps({**content, "frames": [{**frame, "maps": maps}]}))
      ...     [found["name"] for found in read_frames(path)["frames"]]
      ['a']
    """
    content = read_object(path, "the frames of an experiment, a JSON object")
    for key in ("classes", "methods", "layers"):
        expect(is_names(content.get(key)), f"{path}: {key}", "a list of different names", content.get(key))
    expect(AGGREGATE not in content["layers"], f"{path}: layers", f"no layer named {AGGREGATE}", content["layers"])
    how = content.get("aggregate", "mean")
    expect(how in AGGREGATIONS, f"{path}: aggregate", f"one of {', '.join(AGGREGATIONS)}", how)
    size = content.get("size")
    fits = isinstance(size, list) and len(size) == 2 and all(is_index(side, 4097) and side for side in size)
    expect(fits, f"{path}: size", "[height, width] in pixels", size)
    frames = content.get("frames")
    expect(isinstance(frames, list) and bool(frames), f"{path}: frames", "a list of frames", frames)
    for index, frame in enumerate(frames or ()):
        _check_frame(f"{path}: frame {index}", frame, content)
    return content


def _check_frame(where: str, frame: Any, content: dict[str, Any]) -> None:
    expect(isinstance(frame, dict), where, "an object", frame)
    for key in ("name", "patient"):
        expect(isinstance(frame.get(key), str), f"{where}: {key}", "a name", frame.get(key))
    where = f"{where} ({frame['name']})"
    classes, size = content["classes"], (content["size"][0], content["size"][1])
    for key in ("label", "predicted"):
        expect(is_index(frame.get(key), len(classes)), f"{where}: {key}", "the number of a class", frame.get(key))
    scores = frame.get("scores")
    fits = isinstance(scores, list) and len(scores) == len(classes) and all(map(_is_share, scores))
    expect(fits, f"{where}: scores", f"{len(classes)} numbers from 0 to 1, one a class", scores)
    _check_picture(f"{where}: picture", frame.get("picture"), size)
    if frame.get("annotation") is not None:
        _check_picture(f"{where}: annotation", frame["annotation"], size)
    for entry, leaf in (("maps", _check_map), ("iou", _check_iou), ("variation", _check_map)):
        table = frame.get(entry)
        if entry != "maps" and table is None:
            continue
        expect(isinstance(table, dict), f"{where}: {entry}", "an object, method by method", table)
        for method, layers in (table or {}).items():
            expect(method in content["methods"], f"{where}: {entry}", f"methods of {content['methods']}", method)
            expect(isinstance(layers, dict), f"{where}: {entry}: {method}", "an object, layer by layer", layers)
            for layer, value in layers.items():
                known = [*content["layers"], *([] if entry == "maps" else [AGGREGATE])]
                expect(layer in known, f"{where}: {entry}: {method}", f"layers of {known}", layer)
                leaf(f"{where}: {entry}: {method}: {layer}", value, size)


def _check_map(where: str, value: Any, size: tuple[int, int]) -> None:
    expect(isinstance(value, dict), where, "an object with rows, columns and data", value)
    # A map finer than the picture would have to be shrunk, and the page only knows how to enlarge one.
    for key, side in (("rows", size[0]), ("columns", size[1])):
        number = value.get(key)
        expect(is_index(number, side + 1) and number != 0, f"{where}: {key}", f"a number from 1 to {side}", number)
    length, needed = len(_decoded(f"{where}: data", value.get("data"))), value["rows"] * value["columns"]
    expect(length == needed, f"{where}: data", f"{needed} bytes, rows x columns", length)


def _check_iou(where: str, value: Any, size: tuple[int, int]) -> None:
    expect(value is None or _is_share(value), where, "a number from 0 to 1, or null", value)


def _is_share(value: Any) -> bool:
    return is_number(value) and 0 <= value <= 1


def _check_picture(where: str, value: Any, size: tuple[int, int]) -> None:
    height, width = size
    expected = f"a PNG picture of {height} x {width} in base64"
    content = _decoded(where, value)
    try:
        _, found = format_and_size(content, ["PNG"])
    except ValueError as error:
        raise ValueError(f"{where}: expected {expected}, found something else ({error})") from error
    expect(found == (width, height), where, expected, f"one of {found[1]} x {found[0]}", quoted=False)


def _decoded(where: str, value: Any) -> bytes:
    expect(isinstance(value, str), where, "base64", value)
    try:
        return base64.b64decode(value, validate=True)
    except (binascii.Error, ValueError) as error:
        raise ValueError(f"{where}: expected base64, found something else ({error})") from error
