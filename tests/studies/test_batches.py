"""A batch holds the frames as networks of other sizes want them; a study knows which frames belong together."""

from pathlib import Path

import numpy as np
import pytest
from flax import nnx

from tests.tiny_networks import PLAIN
from xrcam_jax.data.coco import read_annotations
from xrcam_jax.data.manifest import read_prepared
from xrcam_jax.models import create_model
from xrcam_jax.pictures.preprocessing import Preprocessing
from xrcam_jax.studies.batches import read_batch
from xrcam_jax.studies.networks import Network
from xrcam_jax.studies.study import Study


@pytest.fixture
def study(drawn):
    """Returns a study of the ill frames, four at a time."""
    prepared = read_prepared(drawn.folder)
    frames = tuple(frame for frame in prepared.frames if frame.label == "ill")
    annotations = read_annotations(drawn.annotations, prepared.frames)
    return Study("name", drawn.folder, (), prepared, frames, annotations, (), (), 4, 0, {})


def network(**wants):
    """Returns a network that wants such pictures, with shapes in the place of weights."""
    model = nnx.eval_shape(lambda: create_model(PLAIN, num_classes=2))
    model.preprocessing = Preprocessing((0.5,) * 3, (0.25,) * 3, interpolation="bilinear", **wants)
    return Network(PLAIN, model, Path(), "")


def test_a_batch_at_the_frames_own_size(drawn, study):
    batch = read_batch(study, network(input_size=(40, 40), crop_pct=1.0), [4, 5])
    files = [study.frames[i].file for i in (4, 5, 5, 5)]
    assert batch.start == 4
    np.testing.assert_array_equal(batch.pictures, [drawn.pictures[file] for file in files])
    np.testing.assert_allclose(batch.images, drawn.images(files), rtol=1e-6)
    np.testing.assert_array_equal(batch.masks, [drawn.masks[file] for file in files])
    np.testing.assert_array_equal(batch.labels, 0)
    for boxes, file in zip(batch.boxes, files, strict=True):
        rest = [(0, 0, 0, 0)] * (3 - len(drawn.boxes[file]))
        np.testing.assert_array_equal(boxes, [*drawn.boxes[file], *rest])


def test_a_batch_of_the_middle(drawn, study):
    """A network that crops sees the outlines of its crop only."""
    batch = read_batch(study, network(input_size=(20, 20), crop_pct=0.5), range(4))
    for i, frame in enumerate(study.frames[:4]):
        middle = np.s_[10:30, 10:30]
        np.testing.assert_array_equal(batch.pictures[i], drawn.pictures[frame.file][middle])
        np.testing.assert_array_equal(batch.masks[i], drawn.masks[frame.file][middle])
        for found, box in zip(batch.boxes[i], drawn.boxes[frame.file], strict=False):
            inside = np.zeros((40, 40), bool)
            inside[box[0] : box[2], box[1] : box[3]] = True
            painted = np.zeros((20, 20), bool)
            painted[found[0] : found[2], found[1] : found[3]] = True
            np.testing.assert_array_equal(painted, inside[middle])


def test_a_batch_of_half_the_size(drawn, study):
    """Where a structure's edges lie on whole pixels of the smaller picture, that is what comes out."""
    batch = read_batch(study, network(input_size=(20, 20), crop_pct=1.0), [2, 3])
    assert study.frames[2].file == "ill/ill_p1_clip_000004.png"
    box = (11, 2, 19, 15)
    frame = study.frames[3].file
    assert drawn.boxes[frame] == [(22, 5, 38, 30)]
    expected = np.zeros((20, 20), bool)
    expected[box[0] : box[2], box[1] : box[3]] = True
    # Column 2 is half covered, which is enough.
    np.testing.assert_array_equal(batch.masks[1], expected)
    np.testing.assert_array_equal(batch.boxes[1][0], box)


def test_units_and_annotated(study):
    assert [frame.patient for frame in study.frames] == ["p1", "p1", "p1", "p2", "p2", "p3"]
    assert study.units.tolist() == [0, 0, 0, 1, 1, 2]
    assert study.annotated.tolist() == [True, True, False, True, True, True]
    assert study.labels.tolist() == [0] * 6
