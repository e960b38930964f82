"""The names of the classes come along with the best weights of a run."""

import json
import shutil

import pytest
from flax import nnx

import xrcam_jax as xr
from xrcam_jax.checkpoints.packaged import MODEL, WEIGHTS
from xrcam_jax.checkpoints.save import save_orbax


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


def test_the_folder_of_a_run_is_enough(tmp_path):
    run = tmp_path / "run"
    (run / "last").mkdir(parents=True)
    (run / "settings.json").write_text(json.dumps({"classes": ["glioma", "meningioma"]}))
    with pytest.raises(ValueError, match=r"run is a run of xrcam train that has not come to its best\.safetensors yet"):
        xr.load_model(MODEL, run)
    shutil.copy(WEIGHTS, run / "best.safetensors")
    for folder in (run, str(run)):
        model = xr.load_model(MODEL, folder)
        assert model.labels == ("glioma", "meningioma")
        assert str(nnx.state(model)) == str(nnx.state(xr.load_model(MODEL, WEIGHTS)))
    with pytest.raises(ValueError, match=r"last has what xrcam train goes on from; .* in .*run/best\.safetensors"):
        xr.load_model(MODEL, run / "last")
    # A folder of that name may be a checkpoint of its own.
    save_orbax(xr.load_model(MODEL, WEIGHTS), run / "best")
    assert xr.load_model(MODEL, run / "best").num_classes == 2
