"""Descriptions of models are read back, and timm's are understood."""

import json
from dataclasses import replace

import pytest
from flax import nnx

from xrcam_jax.checkpoints import config
from xrcam_jax.models import create_model
from xrcam_jax.pictures.preprocessing import Preprocessing

WANTS = Preprocessing((0.5, 0.4, 0.3), (0.1, 0.2, 0.3), (230, 240), 1.0, "bilinear")


def test_description_is_read_back():
    model = nnx.eval_shape(lambda: create_model("resnet18", num_classes=2))
    model.preprocessing = WANTS
    described = json.loads(json.dumps(config.describe(model)))
    assert (described["architecture"], described["num_classes"]) == ("resnet18", 2)
    assert config.preprocessing(described, Preprocessing()) == WANTS


@pytest.mark.parametrize(
    "frames",
    [
        {"field_of_view": "auto"},
        {"grey": True},
        {"field_of_view": "auto", "grey": True, "interpolation": "area"},
        {"interpolation": "area"},
    ],
)
def test_how_frames_were_made_is_read_back_and_kept_from_timm(frames):
    """timm refuses fields of ``pretrained_cfg`` that it does not know, and ways to resize."""
    model = nnx.eval_shape(lambda: create_model("resnet18", num_classes=2))
    model.preprocessing = replace(WANTS, **frames)
    described = json.loads(json.dumps(config.describe(model)))
    assert config.preprocessing(described, Preprocessing()) == model.preprocessing
    of_timm = {"input_size", "interpolation", "crop_pct", "crop_mode", "mean", "std"}
    of_timm |= {"num_classes", "first_conv", "classifier"}
    assert set(described["pretrained_cfg"]) <= of_timm
    assert described["pretrained_cfg"]["interpolation"] == "bilinear"
    model.preprocessing = WANTS
    assert "frames" not in config.describe(model)


@pytest.mark.parametrize(
    "frames",
    [{"field_of_view": "round"}, {"field_of_view": [1, 2, 3]}, {"grey": "yes"}, {"grey": 1}, {"gray": True}, ["grey"]],
)
def test_nonsense_about_frames_is_refused(frames):
    with pytest.raises(ValueError, match="preprocessing config makes no sense"):
        config.preprocessing({"frames": frames, "pretrained_cfg": {}}, WANTS)


@pytest.mark.parametrize("nested", [True, False])
def test_both_layouts_of_timm_are_read(nested):
    fields = {"mean": [0.5, 0.5, 0.5], "input_size": [3, 288, 256], "test_input_size": [3, 320, 320]}
    found = config.preprocessing({"pretrained_cfg": fields} if nested else fields, WANTS)
    assert found == Preprocessing((0.5, 0.5, 0.5), WANTS.std, (288, 256), 1.0, "bilinear")


@pytest.mark.parametrize(
    "fields",
    [{"mean": 0.5}, {"std": [1, 2]}, {"input_size": 224}, {"crop_pct": 3}, {"interpolation": "best"}, []],
)
def test_nonsense_is_refused(fields):
    with pytest.raises(ValueError, match="preprocessing config makes no sense"):
        config.preprocessing({"pretrained_cfg": fields}, WANTS)
