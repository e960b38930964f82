"""The frames that stand first are chosen by rule, and drawn as the library draws them."""

import base64
import io

import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from tests.report.results import LAYERS, METHODS, SIZE, annotation, frame, levels, picture, png, text, viewer
from xrcam_jax.cam import saliency
from xrcam_jax.figures.overlay import outlined, overlay
from xrcam_jax.report.some_frames import some_frames


def test_the_frames_are_those_of_the_rule():
    shown = some_frames(viewer(), "grad_cam_pp", "layer2")
    # The overlaps are those of frames 1, 3, 5, 7, 9, 11; of frames 0, 4 and 8, all wrong, 8 has the highest score.
    overlaps = {number: (number * 7 % 12) / 12 for number in range(1, 12, 2)}
    ranked = sorted(overlaps, key=overlaps.get)
    places = {"Highest overlap": ranked[-1], "Middle overlap": ranked[3], "Lowest overlap": ranked[0]}
    expected = {**places, "Wrong, and surest of it": 8}
    assert {one.why: one.name for one in shown} == {why: frame(i)["name"] for why, i in expected.items()}
    assert [one.right for one in shown] == [True, True, True, False]
    assert shown[0].overlap == pytest.approx(max(overlaps.values()), abs=0.01)
    assert shown[3].overlap is None


def test_classes_without_outlines_have_the_frame_of_the_middle_score():
    content = viewer()
    frames = [{**one, "iou": None, "predicted": one["label"]} for one in content["frames"]]
    shown = some_frames({**content, "frames": frames}, "grad_cam_pp", "aggregate")
    for label, one in enumerate(shown):
        scores = sorted((each["scores"][label], each["name"]) for each in frames if each["label"] == label)
        assert (one.why, one.name) == (f"Middle score of {content['classes'][label]}", scores[len(scores) // 2][1])
    assert len(shown) == 2


def test_a_frame_is_shown_once_and_no_more_than_six():
    content = viewer()
    alone = {**content, "frames": [frame(3)]}
    assert [one.why for one in some_frames(alone, "my_cam", "layer1")] == ["Highest overlap"]
    many = {**content, "classes": [f"c{i}" for i in range(9)]}
    frames = [{**frame(0), "name": str(i), "label": i, "predicted": i, "scores": [0.1] * 9} for i in range(9)]
    assert len(some_frames({**many, "frames": frames}, "my_cam", "layer1")) == 6


def test_frames_without_such_a_map_are_left_out():
    without = {**frame(1), "maps": {}}
    assert some_frames({**viewer(), "frames": [without]}, "my_cam", "layer1") == ()
    assert len(some_frames({**viewer(), "frames": [without, frame(4)]}, "my_cam", "aggregate")) == 1


def decoded(address):
    kind, _, content = address.partition(",")
    assert kind == "data:image/jpeg;base64"
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(content))))


@pytest.mark.parametrize("how", saliency.AGGREGATIONS)
def test_the_pictures_are_the_librarys(how):
    (one,) = some_frames({**viewer(), "frames": [frame(3)], "aggregate": how}, "grad_cam_pp", "aggregate")
    raws = [jnp.asarray(levels(3 + 12 * METHODS.index("grad_cam_pp"), layer) / np.float32(255)) for layer in LAYERS]
    rgb = np.repeat(picture(3)[..., None], 3, axis=-1)
    # JPEG changes pixels, most of all at edges of colours.
    expected = overlay(rgb, np.asarray(saliency.aggregate(raws, SIZE, how=how)))
    assert abs(decoded(one.mapped).astype(int) - expected).mean() < 8
    assert abs(decoded(one.frame).astype(int) - outlined(rgb, annotation(3))).mean() < 8
    assert one.size == SIZE[::-1]


def test_a_deep_picture_is_shown_by_its_upper_bits():
    deep = io.BytesIO()
    Image.fromarray(picture(4).astype(np.uint16) * 257).save(deep, format="PNG")
    deeper = {**frame(4), "picture": text(deep.getvalue())}
    usual = {**frame(4), "picture": text(png(picture(4)))}
    first, second = (some_frames({**viewer(), "frames": [one]}, "my_cam", "layer1")[0] for one in (deeper, usual))
    assert first.frame == second.frame
