"""The networks that there are, under timm's names and with timm's checkpoints."""

import pytest

from xrcam_jax.models import list_models
from xrcam_jax.models.specs import SPECS, find_spec
from xrcam_jax.pictures.preprocessing import Preprocessing


def test_models_are_listed_in_order():
    names = list_models()
    assert names == sorted(SPECS)
    assert {"efficientnet_lite0", "resnet18_narrow", "skresnext50_32x4d"} <= set(names)
    assert {f"vit_{size}_patch14_{kind}" for size in ("small", "base") for kind in ("dinov2", "reg4_dinov2")} <= set(
        names
    )
    assert {f"convnext_{size}" for size in ("atto", "femto", "pico", "nano", "tiny", "small", "base")} <= set(names)


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


#: What differs from (224, 224), 0.875 and ImageNet's mean and deviation in timm's pretrained_cfg, by how names begin.
PREPARED = {
    "tf_": {"mean": (0.5, 0.5, 0.5), "std": (0.5, 0.5, 0.5)},
    "vit_small_patch14": {"input_size": (518, 518), "crop_pct": 1.0},
    "vit_base_patch14": {"input_size": (518, 518), "crop_pct": 1.0},
    "vit_": {"mean": (0.5, 0.5, 0.5), "std": (0.5, 0.5, 0.5), "crop_pct": 0.9},
    "deit": {"crop_pct": 0.9},
    "swin_": {"crop_pct": 0.9},
    "convnext_nano": {"crop_pct": 0.95},
    "convnext_tiny": {"crop_pct": 0.95},
    "convnext_small": {"crop_pct": 0.95},
    # Of a1_in1k and a1h_in1k.
    "res": {"crop_pct": 0.95},
}


def test_preprocessing_is_the_checkpoints():
    for name, spec in SPECS.items():
        wanted = next((fields for begin, fields in PREPARED.items() if name.startswith(begin)), {})
        if spec.hub is not None:
            assert spec.preprocessing == Preprocessing(**wanted), name
        assert spec.preprocessing.interpolation == "bicubic"
