"""Frames and maps come back as they were stored; a broken one is named."""

import re

import pytest

from tests.report.results import viewer, write_json
from xrcam_jax.report.frames import read_frames


def test_the_content_comes_back(tmp_path):
    write_json(tmp_path / "viewer.json", viewer())
    assert read_frames(tmp_path / "viewer.json") == viewer()


def test_annotations_and_overlaps_may_be_missing(tmp_path):
    content = viewer()
    for frame in content["frames"]:
        del frame["annotation"], frame["iou"]
    content["frames"][1]["iou"] = {"my_cam": {"layer1": None}}
    content["frames"][1]["variation"] = {"my_cam": {"aggregate": content["frames"][1]["maps"]["my_cam"]["layer1"]}}
    write_json(tmp_path / "viewer.json", content)
    assert read_frames(tmp_path / "viewer.json") == content


def _without_a_score(content):
    content["frames"][3]["scores"].pop()


def _with_logits(content):
    content["frames"][3]["scores"] = [-2.5, 3]


def _with_a_picture_of_another_size(content):
    content["size"] = [48, 57]


def _with_short_data(content):
    content["frames"][3]["maps"]["my_cam"]["layer2"]["rows"] = 5


def _with_a_map_finer_than_the_picture(content):
    content["frames"][3]["maps"]["my_cam"]["layer2"]["rows"] = 49


def _with_an_unknown_layer(content):
    content["frames"][3]["iou"]["my_cam"]["layer9"] = 0.5


def _with_an_impossible_overlap(content):
    content["frames"][3]["iou"]["my_cam"]["aggregate"] = 1.5


def _with_a_variation_of_an_unknown_layer(content):
    content["frames"][3]["variation"] = {"my_cam": {"layer9": content["frames"][3]["maps"]["my_cam"]["layer2"]}}


def _with_a_short_variation(content):
    content["frames"][3]["variation"] = {"my_cam": {"aggregate": {"rows": 2, "columns": 2, "data": ""}}}


def _with_broken_base64(content):
    content["frames"][3]["annotation"] = "%%%"


def _with_an_unknown_class(content):
    content["frames"][3]["label"] = 2


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (_without_a_score, ["frame 3 (P00/frame3): scores", "expected 2 numbers"]),
        (_with_logits, ["scores", "from 0 to 1", "[-2.5, 3]"]),
        (_with_a_picture_of_another_size, ["frame 0", "picture", "48 x 57", "48 x 56"]),
        (_with_short_data, ["my_cam: layer2: data", "expected 35 bytes", "found 42"]),
        (_with_a_map_finer_than_the_picture, ["my_cam: layer2: rows", "1 to 48", "found 49"]),
        (_with_an_unknown_layer, ["iou: my_cam", "layer9"]),
        (_with_an_impossible_overlap, ["iou: my_cam: aggregate", "found 1.5"]),
        (_with_a_variation_of_an_unknown_layer, ["variation: my_cam", "layer9"]),
        (_with_a_short_variation, ["variation: my_cam: aggregate: data", "expected 4 bytes", "found 0"]),
        (_with_broken_base64, ["annotation", "expected base64"]),
        (_with_an_unknown_class, ["label", "number of a class", "found 2"]),
    ],
)
def test_a_broken_frame_is_named(tmp_path, spoil, said):
    path = tmp_path / "viewer.json"
    content = viewer()
    spoil(content)
    write_json(path, content)
    with pytest.raises(ValueError, match=re.escape(str(path))) as caught:
        read_frames(path)
    message = str(caught.value)
    assert "\n" not in message
    for words in said:
        assert words in message


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"classes": []}, "classes: expected a list of different names, found []"),
        ({"methods": ["a", "a"]}, "methods: expected a list of different names"),
        ({"layers": ["layer1", "aggregate"]}, "layers: expected no layer named aggregate"),
        ({"aggregate": "median"}, "aggregate: expected one of mean, maximum, weighted, product, found 'median'"),
        ({"size": [48]}, "size: expected [height, width] in pixels, found [48]"),
        ({"size": [48, 0]}, "size: expected [height, width] in pixels"),
        ({"frames": []}, "frames: expected a list of frames, found []"),
    ],
)
def test_a_broken_head_is_named(tmp_path, change, said):
    path = tmp_path / "viewer.json"
    write_json(path, {**viewer(), **change})
    with pytest.raises(ValueError, match=re.escape(str(path))) as caught:
        read_frames(path)
    assert said in str(caught.value)
