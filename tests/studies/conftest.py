"""Studies read what is made here: a few drawn frames, some of them outlined, and small random networks."""

import json
from dataclasses import dataclass
from pathlib import Path

import cv2
import jax
import numpy as np
import pytest
from flax import nnx

from tests.tiny_networks import PLAIN, tiny  # noqa: F401, a fixture
from xrcam_jax.checkpoints.save import save_timm
from xrcam_jax.cli import main
from xrcam_jax.data import manifest
from xrcam_jax.data.counts import Counts, write_counts
from xrcam_jax.data.manifest import Frame, Statistics
from xrcam_jax.models import create_model
from xrcam_jax.pictures.crop import Crop
from xrcam_jax.pictures.preprocessing import Preprocessing

SIDE, MEAN, STD = 40, 0.5, 0.25
#: Of the outlined structures of a frame: top, left, bottom, right.
OUTLINES = {
    ("p1", 0): [(3, 2, 15, 20)],
    ("p1", 2): [(10, 12, 30, 25), (0, 30, 6, 40)],
    ("p2", 0): [(22, 5, 38, 30)],
    ("p2", 4): [(5, 5, 9, 35), (20, 20, 36, 36), (30, 2, 35, 9)],
    ("p3", 0): [(12, 8, 28, 33)],
}
#: Patients of each class, and numbers of their frames.
PATIENTS = {"ill": {"p1": (0, 2, 4), "p2": (0, 4), "p3": (0,)}, "well": {"q1": (0, 2), "q2": (6,)}}
PARTS = {"p1": "train", "p2": "test", "p3": "validation", "q1": "train", "q2": "test"}


@dataclass(frozen=True)
class Drawn:
    """Holds a prepared folder and all that was put into it, by the frames' files."""

    folder: Path
    annotations: Path
    frames: dict[str, Frame]
    pictures: dict[str, np.ndarray]
    masks: dict[str, np.ndarray]
    boxes: dict[str, list[tuple[int, int, int, int]]]

    @property
    def annotated(self) -> list[str]:
        return [file for file, boxes in self.boxes.items() if boxes]

    def images(self, files):
        """Returns frames as a network wants them."""
        grey = np.stack([self.pictures[file] for file in files])[..., None]
        return (np.repeat(grey, 3, axis=3) / np.float32(255) - np.float32(MEAN)) / np.float32(STD)


def _polygon(top, left, bottom, right):
    return [left, top, right, top, right, bottom, left, bottom]


def write_coco(path, boxes):
    """Writes outlines of rectangles, as MakeSense.ai exports polygons."""
    images = [
        {"id": i + 1, "width": SIDE, "height": SIDE, "file_name": file.rpartition("/")[2]}
        for i, file in enumerate(boxes)
    ]
    marked = [(i + 1, box) for i, some in enumerate(boxes.values()) for box in some]
    annotations = [
        {
            "id": n,
            "iscrowd": 0,
            "image_id": i,
            "category_id": 1,
            "segmentation": [_polygon(*box)],
            "bbox": [],
            "area": 0,
        }
        for n, (i, box) in enumerate(marked)
    ]
    categories = [{"id": 1, "name": "lesion"}]
    content = {"info": {}, "images": images, "annotations": annotations, "categories": categories}
    path.write_text(json.dumps(content))
    return path


@pytest.fixture(scope="session")
def drawn(tmp_path_factory):
    """Draws nine frames of five patients; five frames of the three ill ones are outlined."""
    folder = tmp_path_factory.mktemp("prepared")
    random = np.random.default_rng(0)
    frames, pictures, masks, boxes = {}, {}, {}, {}
    for label, patients in PATIENTS.items():
        for patient, numbers in patients.items():
            for number in numbers:
                file = f"{label}/{label}_{patient}_clip_{number:06d}.png"
                noise = cv2.GaussianBlur(random.integers(0, 256, (SIDE, SIDE)).astype(np.float32), (0, 0), 2)
                picture = np.clip(128 + 4 * (noise - 128), 0, 255)
                mask = np.zeros((SIDE, SIDE), bool)
                boxes[file] = OUTLINES.get((patient, number), [])
                for top, left, bottom, right in boxes[file]:
                    mask[top:bottom, left:right] = True
                pictures[file] = np.where(mask, picture / 2, picture).astype(np.uint8)
                masks[file] = mask
                frames[file] = Frame(
                    file, label, patient, f"{label}/{patient}/clip.avi", number, Crop(10, 5, SIDE, 60, 50)
                )
                (folder / label).mkdir(exist_ok=True)
                cv2.imwrite(str(folder / file), pictures[file])
    manifest.write_manifest(folder, list(frames.values()))
    write_counts(folder, [_counts(patient, frames, pictures) for patient in PARTS])
    manifest.write_split(folder, PARTS)
    manifest.write_statistics(folder, Statistics(MEAN, STD))
    manifest.write_origin(folder, "drawn by a test")
    return Drawn(folder, write_coco(folder / "outlines.json", boxes), frames, pictures, masks, boxes)


def _counts(patient, frames, pictures):
    """Returns what ``prepare`` writes of a recording of 7 frames, of which it took one more than it kept."""
    ours = [frame for frame in frames.values() if frame.patient == patient]
    pixels = np.stack([pictures[frame.file] for frame in ours]).astype(int)
    n, sums = len(ours), (pixels.size, int(pixels.sum()), int((pixels**2).sum()))
    return Counts(ours[0].video, ours[0].label, patient, 7, n + 1, n, *sums)


@pytest.fixture(scope="session")
def weights(tmp_path_factory):
    """Writes a checkpoint of random weights for the drawn frames, into a run's folder of the given name."""
    made = {}

    def write(run, *, name=PLAIN, seed=1, bias=None, scale=1, classes=2):
        wanted = (name, seed, bias, scale, classes)
        path = tmp_path_factory.getbasetemp() / "runs" / run / "best.safetensors"
        assert made.setdefault(run, wanted) == wanted
        if path.exists():
            return path.parent
        definition, state = nnx.split(nnx.eval_shape(lambda: create_model(name, num_classes=classes)))
        random = np.random.default_rng(seed)
        model = nnx.merge(
            definition, jax.tree_util.tree_map_with_path(lambda path, leaf: _draw(random, path, leaf.shape), state)
        )
        model.fc.kernel[...] *= np.float32(scale)
        if bias is not None:
            model.fc.bias[...] = np.float32(bias)
        model.preprocessing = Preprocessing(
            (MEAN,) * 3, (STD,) * 3, (SIDE, SIDE), 1.0, "area", field_of_view="auto", grey=True
        )
        save_timm(model, path)
        return path.parent

    return write


def _draw(random, path, shape):
    """Draws weights with which activations stay of one size on their way up."""
    names = {str(getattr(entry, "key", getattr(entry, "name", entry))) for entry in path}
    values = random.standard_normal(shape).astype(np.float32)
    if "kernel" in names:
        return values * np.float32((2 / np.prod(shape[:-1])) ** 0.5)
    return np.exp(values / 4) if names & {"scale", "var"} else values / 4


@pytest.fixture
def evaluate(drawn, tmp_path):
    """Runs a study on the drawn frames; returns its exit status. By default its results are in ``tmp_path``."""

    def run(name, *options, runs, data=drawn.folder, out=tmp_path, annotations=drawn.annotations):
        arguments = ["--data", data, "--weights", *runs, "--out", out, "--part", "all"]
        arguments += ["--annotations", annotations] if annotations else []
        return main(["evaluate", name, *map(str, (*arguments, *options))])

    return run
