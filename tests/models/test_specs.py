"""The networks that there are, under timm's names and with timm's checkpoints."""

import pytest

from xrcam_jax.models import list_models
from xrcam_jax.models.specs import SPECS, find_spec
from xrcam_jax.pictures.preprocessing import Preprocessing


def test_models_are_listed_in_order():
    assert list_models() == [
        "densenet121",
        "densenet161",
        "densenet169",
        "densenet201",
        *(f"efficientnet_b{n}" for n in range(6)),
        "efficientnet_lite0",
        "mobilenetv3_large_100",
        "mobilenetv3_small_100",
        "resnet101",
        "resnet18",
        "resnet18_narrow",
        "resnet34",
        "resnet34_narrow",
        "resnet50",
        "resnext50_32x4d",
        "skresnet18",
        "skresnet18_narrow",
        "skresnet34",
        "skresnext50_32x4d",
        *(f"tf_efficientnet_b{n}" for n in range(8)),
        "tf_efficientnet_lite0",
        "tf_mobilenetv3_large_100",
        "tf_mobilenetv3_small_100",
        *(f"vgg{depth}{norm}" for depth in (11, 13, 16, 19) for norm in ("", "_bn")),
    ]


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
}


def test_preprocessing_is_the_checkpoints():
    for name, spec in SPECS.items():
        if spec.hub is not None:
            assert spec.preprocessing == Preprocessing(**{"crop_pct": 0.875, **WANTS.get(name, {})}), name
