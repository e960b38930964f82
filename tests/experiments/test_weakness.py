"""Every setting of the table is another way of making maps, and what is drawn anew is what the table says."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import xrcam_jax as xr
from experiments import weakness
from experiments.weakness import SETTINGS, alone, measured
from tests.tiny_networks import tiny  # noqa: F401

pytestmark = pytest.mark.long


@pytest.fixture(scope="module")
def found():
    """Returns what is measured of a small network by each setting."""
    with jax.enable_x64(True):
        model = xr.create_model("tiny", num_classes=2, dtype=jnp.float64, rngs=nnx.Rngs(0))
        images = np.random.default_rng(0).normal(size=(4, 32, 32, 3))
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(weakness, "DRAWS", 1)
            patch.setattr(weakness, "PARTS", {"classifier": ("fc",)})
            return [measured(model, images, np.array([0, 1, 0, 1]), setting) for setting in SETTINGS]


def test_settings_differ(found):
    """An option that is not handed on would give the same figures as the published method."""
    for i, one in enumerate(found):
        for other in found[i + 1 :]:
            assert any(not np.allclose(one[name], other[name], atol=1e-6) for name in one)


def test_figures_are_similarities(found):
    for figures in found:
        assert list(figures) == ["classifier", "both classes"]
        assert all(values.shape == (4,) and (abs(values) <= 1 + 1e-12).all() for values in figures.values())


def test_the_seed_at_the_target_alone_ignores_its_logit():
    logits, targets = jnp.array([[-3.0, 5.0], [2.0, 0.0]]), jnp.array([0, 1])
    assert alone(logits, targets).tolist() == [[1, 0], [0, 1]]


def test_the_page_gets_the_table(tmp_path, monkeypatch):
    page = tmp_path / "weakness.md"
    page.write_text(f"Before.\n\n{weakness.BEGIN}\nan older table\n{weakness.END}\n\nAfter.\n")
    monkeypatch.setattr(weakness, "PAGE", page)
    monkeypatch.setattr(weakness, "rows", lambda: iter(["| a |", "|---|"]))
    for _ in range(2):
        assert weakness.main() == 0
        assert page.read_text() == f"Before.\n\n{weakness.BEGIN}\n\n| a |\n|---|\n\n{weakness.END}\n\nAfter.\n"
