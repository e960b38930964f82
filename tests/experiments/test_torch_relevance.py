"""Relevance-CAM in PyTorch, which ours is timed against, finds what the official code once found."""

import numpy as np
import pytest

from tests import oracle

torch, timm = pytest.importorskip("torch"), pytest.importorskip("timm")


@pytest.mark.parametrize("name", ["resnet50", "resnext50_32x4d"])
def test_relevance_at_layer1_is_the_official_one(name):
    """Both are of the predicted class: in float64 they agree to what float32 storage leaves."""
    from experiments import torch_relevance

    model = timm.create_model(name).eval().double()
    state = {key: torch.from_numpy(np.array(array)) for key, array in oracle.seeded_state(name).items()}
    model.load_state_dict(state)
    images = torch.from_numpy(np.array(oracle.images().transpose(0, 3, 1, 2), np.float64))
    layer, relevance = torch_relevance.relevance_at_layer1(model, images)
    with np.load(oracle.DATA / f"lrp_{name}.npz") as wanted:
        expected = wanted["R_layer1_argmax"]
    error = np.linalg.norm(relevance.numpy() - expected) / np.linalg.norm(expected)
    assert error < 1e-6
    cam = torch_relevance.cam(layer, relevance).numpy()
    by_hand = sum(layer[:, k].numpy() * expected[:, k].mean((1, 2))[:, None, None] for k in range(layer.shape[1]))
    np.testing.assert_allclose(cam, by_hand, rtol=0, atol=1e-5 * np.abs(by_hand).max())
    maps = torch_relevance.relevance_cam(model, images).numpy()
    assert maps.shape == (2, 64, 64)
    assert maps.min() >= 0
    assert 0.9 < maps.max() <= 1
