"""Networks are read with what their checkpoints say of the frames that they were trained on."""

from dataclasses import replace

import jax
import pytest

from tests.tiny_networks import PLAIN
from xrcam_jax.arguments.parser import Options
from xrcam_jax.checkpoints.load import load_model
from xrcam_jax.checkpoints.save import save_timm
from xrcam_jax.data.manifest import read_prepared
from xrcam_jax.errors import CommandError
from xrcam_jax.runtime.devices import data_mesh
from xrcam_jax.studies.networks import read_networks


def test_a_run_that_has_no_weights_yet_is_named(drawn, tmp_path):
    (tmp_path / "settings.json").write_text("{}")
    (tmp_path / "best").mkdir()
    options = Options(model=None, weights=[tmp_path], data=drawn.folder)
    with pytest.raises(CommandError, match=r"is a run of xrcam train that has not come to its best\.safetensors yet"):
        read_networks(options, read_prepared(drawn.folder), data_mesh(jax.local_devices()[:1]))


@pytest.mark.parametrize("said", [{}, {"grey": False}, {"field_of_view": "none"}])
def test_a_network_of_other_frames_is_named(drawn, weights, tmp_path, capsys, said):
    path = weights("plain") / "best.safetensors"
    if said:
        model = load_model(PLAIN, path)
        model.preprocessing = replace(model.preprocessing, **said)
        path = tmp_path / "other.safetensors"
        save_timm(model, path)
    options = Options(model=None, weights=[path], data=drawn.folder)
    (network,) = read_networks(options, read_prepared(drawn.folder), data_mesh(jax.local_devices()[:1]))
    assert (network.model.preprocessing.grey, network.model.preprocessing.field_of_view) == (
        said.get("grey", True),
        said.get("field_of_view", "auto"),
    )
    err = capsys.readouterr().err
    line = f"xrcam: {path} does not say that it was trained on grey frames cut to their field of view"
    assert err.startswith(line) if said else not err
