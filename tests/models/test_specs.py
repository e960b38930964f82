"""The networks that there are, under timm's names and with timm's checkpoints."""

import pytest

from xrcam_jax.models import list_models
from xrcam_jax.models.specs import SPECS, find_spec
from xrcam_jax.pictures.preprocessing import Preprocessing


def test_models_are_listed_in_order():
    assert list_models() == [
        "efficientnet_lite0",
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
        "tf_efficientnet_lite0",
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


def test_preprocessing_is_the_checkpoints():
    # The crop_pct of timm's pretrained_cfg is 0.875 for ra_in1k and in1k, 0.95 for a1_in1k and a1h_in1k.
    for name, spec in SPECS.items():
        if spec.hub is not None:
            assert spec.preprocessing.crop_pct == (0.95 if name.startswith("res") else 0.875)
            assert spec.preprocessing.mean == ((0.5, 0.5, 0.5) if name.startswith("tf") else Preprocessing().mean)
            assert spec.preprocessing.std == ((0.5, 0.5, 0.5) if name.startswith("tf") else Preprocessing().std)
        assert spec.preprocessing.input_size == (224, 224)
        assert spec.preprocessing.interpolation == "bicubic"
