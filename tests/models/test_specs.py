"""The networks that there are, under timm's names and with timm's checkpoints."""

import math

import pytest

from tests import oracle
from xrcam_jax.models import list_models
from xrcam_jax.models.parameter_counts import PARAMETERS
from xrcam_jax.models.specs import SPECS, find_spec
from xrcam_jax.pictures.preprocessing import Preprocessing


def test_models_are_listed_in_order():
    names = list_models()
    assert names == sorted(SPECS)
    assert {"efficientnet_lite0", "resnet18_narrow", "skresnext50_32x4d", "vgg16_bn", "tf_efficientnet_b7"} <= set(
        names
    )
    assert {f"vit_{size}_patch14_{kind}" for size in ("small", "base") for kind in ("dinov2", "reg4_dinov2")} <= set(
        names
    )
    assert {f"convnext_{size}" for size in ("atto", "femto", "pico", "nano", "tiny", "small", "base")} <= set(names)
    assert {f"densenet{depth}" for depth in (121, 161, 169, 201)} <= set(names)


@pytest.mark.parametrize(
    ("wrong", "near"),
    [
        ("resnet-50", "resnet50"),
        ("skresnext50", "skresnext50_32x4d"),
        ("ResNet18", "resnet18"),
    ],
)
def test_unknown_name_offers_the_nearest(wrong, near):
    with pytest.raises(ValueError, match=f"unknown model '{wrong}'; did you mean '{near}"):
        find_spec(wrong)


def test_checkpoints_are_those_of_the_same_model():
    for name, spec in SPECS.items():
        assert spec.hub is None or spec.hub.startswith(f"timm/{name}.")


#: Of timm's pretrained_cfg what is not 224 pixels, a share of 0.875, bicubic, with ImageNet's mean and deviation.
HALVES = {"mean": (0.5, 0.5, 0.5), "std": (0.5, 0.5, 0.5)}
WANTS = {
    **{name: {"crop_pct": 0.95} for name in SPECS if name.startswith("res")},
    "tf_efficientnet_lite0": HALVES,
    "efficientnet_b1": {"input_size": (240, 240), "crop_pct": 0.9, **HALVES},
    "efficientnet_b2": {"input_size": (256, 256)},
    "efficientnet_b3": {"input_size": (288, 288)},
    "efficientnet_b4": {"input_size": (320, 320)},
    "efficientnet_b5": {"input_size": (448, 448), "crop_pct": 1.0, "crop_mode": "squash"},
    "tf_efficientnet_b1": {"input_size": (240, 240), "crop_pct": 0.882},
    "tf_efficientnet_b2": {"input_size": (260, 260), "crop_pct": 0.89},
    "tf_efficientnet_b3": {"input_size": (300, 300), "crop_pct": 0.904},
    "tf_efficientnet_b4": {"input_size": (380, 380), "crop_pct": 0.922},
    "tf_efficientnet_b5": {"input_size": (456, 456), "crop_pct": 0.934},
    "tf_efficientnet_b6": {"input_size": (528, 528), "crop_pct": 0.942},
    "tf_efficientnet_b7": {"input_size": (600, 600), "crop_pct": 0.949},
    **{name: {"interpolation": "bilinear", **HALVES} for name in SPECS if name.startswith("tf_mobilenet")},
    **{name: {"interpolation": "bilinear"} for name in SPECS if name.startswith("vgg")},
    **{name: {"crop_pct": 0.9, **HALVES} for name in SPECS if name.startswith("vit_")},
    **{name: {"input_size": (518, 518), "crop_pct": 1.0} for name in SPECS if name.endswith("dinov2")},
    **{name: {"crop_pct": 0.9} for name in SPECS if name.startswith(("deit", "swin_"))},
    **{f"convnext_{size}": {"crop_pct": 0.95} for size in ("nano", "tiny", "small")},
}


def test_preprocessing_is_the_checkpoints():
    for name, spec in SPECS.items():
        if spec.hub is not None:
            assert spec.preprocessing == Preprocessing(**{"crop_pct": 0.875, **WANTS.get(name, {})}), name


def test_parameters_are_counted_as_timms_tensors_are():
    kept = [stem.rpartition("_nc") for stem in oracle.MANIFESTS if not stem.endswith("_nc2")]
    for name, _, classes in kept:
        if name in SPECS:
            tensors = oracle.manifest(name, int(classes)).items()
            buffers = ("running_mean", "running_var", "num_batches_tracked", "relative_position_index", "attn_mask")
            count = sum(math.prod(shape) for key, shape in tensors if not key.endswith(buffers))
            assert count == PARAMETERS[name], name
    assert list(PARAMETERS) == list_models()
