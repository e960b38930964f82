"""The names of the classes come along with the best weights of a run."""

import json
import shutil

import pytest

import xrcam_jax as xr
from xrcam_jax.checkpoints.packaged import MODEL, WEIGHTS


@pytest.mark.parametrize(
    ("classes", "name", "found"),
    [
        (["glioma", "meningioma"], "best.safetensors", ("glioma", "meningioma")),
        (["glioma", "meningioma"], "other.safetensors", None),
        (["one", "two", "three"], "best.safetensors", None),
        ("glioma", "best.safetensors", None),
    ],
)
def test_a_run_names_its_classes(tmp_path, classes, name, found):
    shutil.copy(WEIGHTS, tmp_path / name)
    (tmp_path / "settings.json").write_text(json.dumps({"classes": classes}))
    model = xr.load_model(MODEL, tmp_path / name)
    assert model.labels == found
    assert xr.Explainer(model).labels == found
    assert xr.Explainer(model).preprocessing == model.preprocessing
