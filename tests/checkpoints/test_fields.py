"""Every field of timm's config.json is honoured, has no part in the result, or is refused by its name."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

import xrcam_jax as xr
from tests import oracle
from tests.tiny_networks import PLAIN, tiny  # noqa: F401
from xrcam_jax.checkpoints import config as config_file
from xrcam_jax.checkpoints.convert import to_timm
from xrcam_jax.checkpoints.fields import check_fields
from xrcam_jax.checkpoints.load import load_model, read_checkpoint
from xrcam_jax.checkpoints.save import save_orbax, save_timm
from xrcam_jax.checkpoints.verify import digest
from xrcam_jax.models.variant import Variant
from xrcam_jax.pictures.preprocessing import Preprocessing

#: What timm 1.0.31 writes beside a ResNet with one channel, maxima and another activation.
EXPORTED = {
    "architecture": "resnet18",
    "num_classes": 3,
    "num_features": 512,
    "global_pool": "max",
    "model_args": {"global_pool": "max", "act_layer": "silu", "in_chans": 1, "num_classes": 3, "output_stride": 16},
    "pretrained_cfg": {
        "tag": "a1_in1k",
        "custom_load": False,
        "input_size": [1, 96, 128],
        "test_input_size": [1, 120, 160],
        "fixed_input_size": False,
        "interpolation": "hamming",
        "crop_pct": 0.9,
        "test_crop_pct": 1.0,
        "crop_mode": "squash",
        "mean": [0.4],
        "std": [0.2],
        "num_classes": 3,
        "pool_size": [7, 7],
        "first_conv": "conv1",
        "classifier": "fc",
        "license": "apache-2.0",
        "origin_url": "https://example.org",
        "paper_ids": "arXiv:2110.00476",
    },
}


def test_an_export_of_timm_is_honoured():
    check_fields(EXPORTED, "resnet18")
    assert config_file.variant(EXPORTED) == Variant("max", "silu", 16, 1)
    assert config_file.class_count(EXPORTED) == 3
    wanted = Preprocessing((0.4,), (0.2,), (96, 128), 0.9, "hamming", "squash")
    assert config_file.preprocessing(EXPORTED, Preprocessing()) == wanted
    tested = config_file.preprocessing(EXPORTED, Preprocessing(), use_test_size=True)
    assert (tested.input_size, tested.crop_pct) == ((120, 160), 1.0)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"global_pool": ""}, "global_pool: '' is none of"),
        ({"model_args": {"global_pool": "max"}, "global_pool": "avg"}, "global_pool: the config contradicts itself"),
        ({"model_args": {"act_layer": "prelu"}}, "unknown act_layer 'prelu'"),
        ({"model_args": {"output_stride": 4}}, "output_stride: 4 is none of"),
        ({"model_args": {"in_chans": 3}, "pretrained_cfg": {"input_size": [1, 8, 8]}}, "in_chans: the config contr"),
        ({"model_args": {"in_chans": 4}}, "in_channels: 4 is none of"),
        ({"model_args": {"aa_layer": "blurpool"}}, "model_args has a field 'aa_layer'"),
        ({"model_args": {"stem_type": "deep"}}, "stem_type is 'deep', but resnet18 is known here with '' alone"),
        ({"model_args": []}, "model_args: expected a JSON object"),
        ({"pretrained_cfg": {"first_conv": "conv1.0"}}, "first_conv is 'conv1.0', that of resnet18 is 'conv1'"),
        ({"pretrained_cfg": {"label_offset": 1}}, "label_offset is 1"),
        ({"pretrained_cfg": {"rotate": 90}}, "pretrained_cfg has a field 'rotate'"),
        ({"pretrained_cfg": "none"}, "pretrained_cfg: expected a JSON object"),
        ({"quantized": True}, "the config has a field 'quantized'"),
        ({"do_pooling": False}, "do_pooling: without pooling"),
    ],
)
def test_what_cannot_be_honoured_is_refused_by_name(change, message):
    def read():
        check_fields(change, "resnet18")
        config_file.variant(change)

    with pytest.raises(ValueError, match=message):
        read()


def test_null_is_as_if_it_were_not_there():
    empty = {"model_args": {"aa_layer": None, "act_layer": None}, "pretrained_cfg": {"crop_mode": None, "mean": None}}
    check_fields(empty, "resnet18")
    assert config_file.variant(empty) == Variant()
    assert config_file.preprocessing(empty, Preprocessing()) == Preprocessing()


def test_the_fast_poolings_are_the_same_ones():
    assert [config_file.variant({"global_pool": name}).global_pool for name in ("fast", "fastmax", "FASTAVGMAX")] == [
        "avg",
        "max",
        "avgmax",
    ]


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"crop_mode": "rrc"}, "crop_mode: 'rrc'"),
        ({"interpolation": "random"}, "interpolation: 'random'"),
        ({"interpolation": ["bilinear"]}, "makes no sense"),
        ({"mean": [0.1, 0.2]}, "mean: 2 values for 3 channels"),
        ({"std": [0.1, 0.0, 0.1]}, "not all above 0"),
        ({"input_size": [3, 10**30, 8]}, "is not a number of pixels"),
        ({"input_size": [3, 1e400, 8]}, "is not a number of pixels"),
        ({"crop_pct": float("nan")}, "crop_pct: nan is not a finite number"),
    ],
)
def test_impossible_pictures_are_refused_by_name(fields, message):
    with pytest.raises(ValueError, match=message):
        config_file.preprocessing({"pretrained_cfg": fields}, Preprocessing())


def test_means_of_three_channels_are_averaged_for_one_and_one_holds_for_three():
    grey = {"pretrained_cfg": {"input_size": [1, 8, 8], "mean": [0.1, 0.2, 0.6], "std": [0.5]}}
    assert config_file.preprocessing(grey, Preprocessing()).mean == pytest.approx((0.3,))
    assert config_file.preprocessing({"std": [0.5]}, Preprocessing()).std == (0.5, 0.5, 0.5)


@pytest.mark.parametrize("save", [save_timm, save_orbax])
def test_what_differs_is_written_and_read_back(save, tmp_path):
    model = xr.create_model(
        PLAIN, num_classes=2, global_pool="catavgmax", act_layer="gelu", output_stride=8, in_channels=1
    )
    model.preprocessing = Preprocessing((0.3,), (0.2,), (40, 48), 0.9, "box", "border")
    path = tmp_path / ("w.safetensors" if save is save_timm else "w")
    save(model, path)
    found = load_model(PLAIN, path)
    assert (found.variant, found.preprocessing) == (model.variant, model.preprocessing)
    assert digest(to_timm(found)) == digest(to_timm(model))


@pytest.fixture
def bare(tmp_path):
    """A file as timm writes it, whose description would lie beside it; and a function that writes that."""
    save_timm(xr.create_model(PLAIN, num_classes=3), tmp_path / "w.safetensors")
    save_file(load_file(tmp_path / "w.safetensors"), tmp_path / "w.safetensors")

    def describe(config):
        (tmp_path / "config.json").write_text(json.dumps(config), encoding="utf-8-sig")
        return tmp_path / "w.safetensors"

    return describe


def test_pooling_beside_the_weights_counts(bare):
    path = bare({"architecture": PLAIN, "num_classes": 3, "global_pool": "max", "model_args": {"global_pool": "max"}})
    model = load_model(PLAIN, path)
    images = jnp.asarray(oracle.seeded_images(0, 1, 64))
    taps = jax.jit(lambda x: xr.taps(model, xr.composites.gradient(), x, seed=jnp.ones((1, 3))))(images)
    pooled = np.asarray(taps.activations["layer4"]).max((1, 2))
    expected = pooled @ np.asarray(model.fc.kernel[...]) + np.asarray(model.fc.bias[...])
    np.testing.assert_allclose(taps.output, expected, rtol=1e-4)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (
            {"global_pool": "token"},
            "global_pool: 'token' is none of avg, max, avgmax, catavgmax, which tiny comes with",
        ),
        ({"model_args": {"img_size": 96}}, r"img_size: tiny comes with None only, got \(96, 96\)"),
        ({"num_classes": 5}, "num_classes: 5 in its config, but the tensors are for 3 classes"),
        ({"model_args": {"global_pool": "catavgmax"}}, r"wrong shape: fc.weight \(3, 64\), expected \(3, 128\)"),
        ({"model_args": {"in_chans": 1}}, r"wrong shape: conv1.weight \(8, 3, 7, 7\), expected \(8, 1, 7, 7\)"),
        ({"model_args": {"hidden": 1}}, "w.safetensors: model_args has a field 'hidden'"),
    ],
)
def test_a_description_of_other_weights_is_refused(bare, config, message):
    with pytest.raises(ValueError, match=message):
        load_model(PLAIN, bare(config))


def test_what_is_supposed_or_not_used_is_said(bare, caplog):
    load_model(PLAIN, bare({}))
    assert "there is no config.json: pictures are prepared as tiny wants them (224 x 224, bicubic" in caplog.text
    caplog.clear()
    load_model(PLAIN, bare({"pretrained_cfg": {"test_input_size": [3, 288, 288]}}))
    assert "not used: test_input_size [3, 288, 288]" in caplog.text


def test_one_channel_asks_for_a_description(tmp_path):
    save_timm(xr.create_model(PLAIN, num_classes=3, in_channels=1), tmp_path / "w.safetensors")
    save_file(load_file(tmp_path / "w.safetensors"), tmp_path / "w.safetensors")
    with pytest.raises(ValueError, match=r"conv1.weight is for one channel.*config.json beside it"):
        load_model(PLAIN, tmp_path / "w.safetensors")


@pytest.mark.parametrize("text", ["[" * 100_000, '{"a":' * 100_000, "1" * 5000, "\x00"])
def test_a_description_that_python_cannot_read_is_one_line(bare, text):
    path = bare({})
    path.with_name("config.json").write_text(text)
    with pytest.raises(ValueError, match=r"config.json: (expected JSON|expected text|its config is not)"):
        read_checkpoint(path)
