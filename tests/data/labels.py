"""COCO files of one small frame, in which tests change what they are about."""

from typing import Any

from xrcam_jax.data.manifest import Frame
from xrcam_jax.pictures.crop import Crop

# The crop has 20 pixels, at column 7 and row 4 of frames of 40 x 30.
LEFT, TOP, SIZE, WIDTH, HEIGHT = 7, 4, 20, 40, 30
CROP = Crop(LEFT, TOP, SIZE, WIDTH, HEIGHT)
FRAME = Frame("sick/sick_p1_clip_a_000012.png", "sick", "p1", "sick/p1/clip_a.avi", 12, CROP)
OTHER = Frame("sick/sick_p1_clip_a_000024.png", "sick", "p1", "sick/p1/clip_a.avi", 24, CROP)
NAME = "sick_p1_clip_a_000012.png"
SQUARE = [2, 3, 9, 3, 9, 8, 2, 8]


def image(name: str = NAME, *, id: int = 1, width: int = SIZE, height: int = SIZE) -> dict:
    return {"id": id, "width": width, "height": height, "file_name": name}


def marked(**fields: Any) -> dict:
    """Returns a polygon as MakeSense.ai writes it."""
    return {
        "id": 0,
        "iscrowd": 0,
        "image_id": 1,
        "category_id": 1,
        "segmentation": [SQUARE],
        "bbox": [2, 3, 7, 5],
        "area": 35,
    } | fields


def content(annotations: list[dict], images: list[dict] | None = None) -> dict:
    return {
        "info": {"description": "my-project-name"},
        "images": [image()] if images is None else images,
        "annotations": annotations,
        "categories": [{"id": 1, "name": "lesion"}, {"id": 2, "name": "line"}],
    }
