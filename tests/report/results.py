"""Small results of two experiments, drawn by rule; texts in them try to break out of a page."""

import base64
import io
import json
from pathlib import Path

import numpy as np
from PIL import Image

CLASSES = ("GBM", "Meningioma")
METHODS = ("xrelevance_cam", "grad_cam_pp", "my_cam")
LAYERS = ("layer1", "layer2", "layer4")
SIDES = {"layer1": (12, 14), "layer2": (6, 7), "layer4": (3, 2)}
SIZE = (48, 56)
HOSTILE = "</script><script>alert(1)</script><!-- \"'&amp;"

TABLE = """method,network,IoU,IoU low,IoU high,Dice,Dice low,Dice high
xrelevance_cam,SK <b>50</b>,40.12,38,42.5,51,,
grad_cam_pp,SK <b>50</b>,40.121,-1.5,44,nan,,
my_cam,SK <b>50</b>,,,,-3.25,-4,-2
"""

CONTENTS = {
    "title": f"Segmentation {HOSTILE}",
    "text": f"First paragraph {HOSTILE}\n\nSecond paragraph.",
    "order": 1,
    "tables": [
        {"file": "table.csv", "title": "Overlap & more", "unit": "%", "best": "max", "labels": 2, "decimals": 2}
    ],
    "pictures": [{"file": "iou.png", "caption": "Overlap by layer <i>"}, {"file": "photo.jpg", "caption": ""}],
    "viewer": "viewer.json",
}

SETTINGS = {
    "data": {"origin": "drawn by xrcam synth", "synthetic": True, "part": "test", "frames": 12, "patients": 8},
    "model": {"name": "skresnet18_narrow", "options": [{"rate": 0.1}, {"rate": None}], HOSTILE: True},
    "layers": list(LAYERS),
}


def png(pixels) -> bytes:
    encoded = io.BytesIO()
    Image.fromarray(np.asarray(pixels, np.uint8)).save(encoded, format="PNG")
    return encoded.getvalue()


def text(content: bytes) -> str:
    return base64.b64encode(content).decode()


def levels(number: int, layer: str) -> np.ndarray:
    """Draws a map as it is stored, (p, q) uint8 from 0 to 255; that of the last frame at layer4 is empty."""
    drawn = np.random.default_rng([number, LAYERS.index(layer)]).random(SIDES[layer]) ** 2
    if number == 11 and layer == "layer4":
        return np.zeros(SIDES[layer], np.uint8)
    return np.rint(255 * (drawn - drawn.min()) / np.ptp(drawn)).astype(np.uint8)


def annotation(number: int) -> np.ndarray:
    """Draws what a person outlined: an ellipse, (h, w) bool."""
    y, x = np.mgrid[: SIZE[0], : SIZE[1]]
    return ((y - 20 - number) / 12) ** 2 + ((x - 25) / 9) ** 2 < 1


def picture(number: int) -> np.ndarray:
    y, x = np.mgrid[: SIZE[0], : SIZE[1]]
    return np.uint8(90 + 60 * np.sin(x / (3 + number)) * np.cos(y / 7) + 40 * annotation(number))


def frame(number: int) -> dict:
    """Returns frame 0 to 11; those whose number is a multiple of 4 are decided wrongly, the odd ones are outlined."""
    label = number % 3 % 2
    predicted = 1 - label if number % 4 == 0 else label
    score = round(0.5 + 0.04 * number, 3)
    maps = {
        method: {
            layer: {
                "rows": SIDES[layer][0],
                "columns": SIDES[layer][1],
                "data": text(levels(number + 12 * METHODS.index(method), layer).tobytes()),
            }
            for layer in LAYERS
        }
        for method in METHODS
    }
    iou = {method: {layer: round((number * 7 % 12) / 12, 2) for layer in (*LAYERS, "aggregate")} for method in METHODS}
    scores = [1 - score, 1 - score]
    scores[predicted] = score
    return {
        "name": f"P0{number % 3}/frame{number}" + (f" {HOSTILE}" if number == 2 else ""),
        "patient": f"P0{number % 3}",
        "label": label,
        "predicted": predicted,
        "scores": scores,
        "picture": text(png(picture(number))),
        "annotation": text(png(255 * annotation(number))) if number % 2 else None,
        "maps": maps,
        "iou": iou if number % 2 else None,
    }


def viewer() -> dict:
    return {
        "classes": list(CLASSES),
        "size": list(SIZE),
        "methods": list(METHODS),
        "layers": list(LAYERS),
        "frames": [frame(number) for number in range(12)],
    }


def write_json(path: Path, content) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content), encoding="utf-8")


def write_results(folder: Path) -> Path:
    """Writes an experiment with all that there can be, and one with next to nothing; returns the folder."""
    first, second = folder / "segmentation", folder / "a_late_one"
    write_json(first / "contents.json", CONTENTS)
    write_json(first / "settings.json", SETTINGS)
    write_json(first / "viewer.json", viewer())
    (first / "table.csv").write_text(TABLE, encoding="utf-8")
    chart = np.full((60, 90, 3), 255, np.uint8)
    chart[20:50, 10:30] = (11, 94, 105)
    (first / "iou.png").write_bytes(png(chart))
    Image.fromarray(chart).save(first / "photo.jpg")
    write_json(
        second / "contents.json",
        {"title": "Robustness", "text": "", "order": 2, "tables": [], "pictures": [], "viewer": None},
    )
    write_json(second / "settings.json", {"data": {"origin": "recordings", "synthetic": False}})
    return folder
