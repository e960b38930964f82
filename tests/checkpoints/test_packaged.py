"""The network that comes with the package is what its model card says."""

import re

import jax
import numpy as np
import pytest
from flax import nnx
from safetensors import safe_open

from xrcam_jax.checkpoints.load import load_model
from xrcam_jax.checkpoints.packaged import MODEL, WEIGHTS


@pytest.fixture(scope="module")
def card():
    return WEIGHTS.with_name("MODEL_CARD.md").read_text()


@pytest.fixture(scope="module")
def model():
    return load_model(MODEL, WEIGHTS)


def test_size_of_network_and_pictures(card, model):
    assert card.startswith(f"# Model card: {MODEL}\n")
    (count,) = re.findall(r"([\d,]+) parameters", card)
    parameters = jax.tree.leaves(nnx.state(model, nnx.Param))
    assert sum(leaf.size for leaf in parameters) == int(count.replace(",", ""))
    height, width = model.preprocessing.input_size
    assert f"input {height} x {width};" in card
    assert model.num_classes == 2


def test_it_is_stored_in_half_precision_and_finite(card):
    assert "stored in float16" in card
    with safe_open(WEIGHTS, framework="numpy") as file:
        tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
    assert {tensor.dtype for tensor in tensors.values()} <= {np.dtype(np.float16), np.dtype(np.int64)}
    assert all(np.isfinite(tensor).all() for tensor in tensors.values())
