"""Tokens on their grid give the maps of the same model with marks on the grid, written by hand."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import xrcam_jax as xr
from xrcam_jax.attribution.tokens import Tokens

GRID = Tokens(grid=(2, 3), prefix=2)
#: Of a single pass, and run onwards from the layer.
METHODS = ("xrelevance_cam", "ablation_cam")


def normal(seed, *shape):
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def model(mark):
    """Two patches down and three across, two tokens before them; all mix twice, and the first two are read."""
    embed, extra, head = normal(0, 3, 4) / 2, normal(1, 1, 2, 4), normal(2, 4, 3)
    mixers = [(normal(3 + i, 8, 8) / 3, normal(5 + i, 4, 4) / 2) for i in range(2)]

    def run(x):
        patches = jax.lax.reduce_window(x, 0.0, jax.lax.add, (1, 4, 4, 1), (1, 4, 4, 1), "VALID") @ embed
        before = jnp.broadcast_to(jnp.asarray(extra), (len(x), 2, 4))
        tokens = jnp.concatenate([before, patches.reshape(len(x), 6, 4)], axis=1)
        for number, (across, within) in enumerate(mixers):
            with jax.named_scope(f"block{number}"):
                tokens = jax.nn.relu(jnp.einsum("nm,bmk->bnk", across, tokens) @ within)
            tokens = mark(tokens, f"block{number}")
        # The last layer's patches count as well.
        return (2 * tokens[:, :2].mean(1) + tokens.mean(1)) @ head

    return run


def by_hand(tokens, name):
    laid = xr.mark(tokens[:, 2:].reshape(len(tokens), 2, 3, 4), name)
    return jnp.concatenate([tokens[:, :2], laid.reshape(len(tokens), 6, 4)], axis=1)


def unmarked(tokens, name):
    return tokens


@pytest.fixture(scope="module")
def images():
    return normal(9, 2, 8, 12, 3)


@pytest.fixture(scope="module")
def wanted(images):
    return xr.Explainer(model(by_hand), METHODS)(images)


@pytest.mark.parametrize("layers", [None, ["block*", "input"]], ids=["marks", "names"])
def test_maps_are_those_of_marks_on_the_grid(layers, images, wanted):
    mark = unmarked if layers else xr.mark
    found = xr.Explainer(model(mark), METHODS, layers, tokens=GRID)(images)
    for method in METHODS:
        assert list(found.raw[method]) == ["block0", "block1"]
        for name, expected in wanted.raw[method].items():
            assert expected.shape == (2, 2, 3)
            assert np.abs(expected).max() > 0
            np.testing.assert_allclose(found.raw[method][name], expected, rtol=1e-5, atol=1e-6)
            np.testing.assert_allclose(found.maps[method][name], wanted.maps[method][name], atol=1e-5)


def test_ablation_keeps_the_tokens_before_the_patches(images):
    """The drop of a linear model without channel k is what the patches' channel k contributes."""
    head = normal(0, 3, 2)
    linear = lambda x: xr.mark(jnp.concatenate([x[:, :1, 0], x.reshape(len(x), 96, 3)], 1), "all").sum(1) @ head  # noqa: E731
    found = xr.attribute(linear, images, "ablation_cam", [0, 1], tokens=Tokens((8, 12), prefix=1))
    total = (images[:, 0, 0] + images.sum((1, 2))) @ head
    for i, target in enumerate([0, 1]):
        drops = images[i].sum((0, 1)) * head[:, target] / total[i, target]
        np.testing.assert_allclose(found.raw["ablation_cam"]["all"][i], images[i] @ drops, rtol=1e-3, atol=1e-4)


def test_turns_of_a_loop_have_names_of_their_own(images):
    def looped(x):
        tokens = x.reshape(len(x), 96, 3)
        tokens, _ = jax.lax.scan(lambda x, w: (xr.mark(jax.nn.relu(x @ w), "turn"), None), tokens, normal(0, 2, 3, 3))
        return tokens.mean(1)

    e = xr.attribute(looped, images, "grad_cam", layers=["turn/1", "turn/0"], tokens=Tokens((8, 12)))
    last = np.asarray(e.raw["grad_cam"]["turn/1"])
    activation = np.maximum(np.maximum(images @ normal(0, 2, 3, 3)[0], 0) @ normal(0, 2, 3, 3)[1], 0)
    target = np.asarray(e.targets)
    np.testing.assert_allclose(last, activation[[0, 1], ..., target] / 96, rtol=1e-4, atol=1e-6)


def test_where_tokens_lie_is_not_guessed(images):
    def explain(layers=("block0",), method="grad_cam", mark=unmarked, **given):
        return xr.attribute(model(mark), images, method, layers=layers, **given)

    said = r"layer 'block0' must be \(b, h, w, k\) .*, has shape \(2, 8, 4\); if these are tokens, say where they lie, "
    with pytest.raises(
        ValueError, match=said + r"as tokens=xr.Tokens\(grid=\(2, 3\), prefix=2\) does for 2 \+ 2 x 3 = 8"
    ):
        explain()
    with pytest.raises(ValueError, match=r"tokens: layer 'block0' has 8 of them, and the grid says 2 x 3 = 6"):
        explain(tokens=Tokens((2, 3)))
    with pytest.raises(ValueError, match=r"tokens: the grid \(8,\) has 1 axes, and images \(2, 8, 12, 3\) 2"):
        explain(tokens=Tokens((8,)))
    with pytest.raises(ValueError, match=r"tokens: no mark has 2 \+ 2 x 3 = 8 of them; name layers in layers="):
        explain(None, tokens=GRID)
    with pytest.raises(ValueError, match="tokens: grid must be of positive numbers and prefix not negative"):
        Tokens((0, 3))
    remat = lambda x: jax.checkpoint(lambda x: xr.mark(jnp.sin(x), "in") * 2)(x.reshape(2, 96, 3)).mean(1)  # noqa: E731
    with pytest.raises(NotImplementedError, match="layer 'in' is inside remat, where its tokens cannot be laid"):
        xr.attribute(remat, images, "grad_cam", tokens=Tokens((8, 12)))


def test_the_rollout_lies_where_the_tokens_are_said_to_lie():
    def attending(x):
        tokens = x.reshape(len(x), -1, 2)
        return (jax.nn.softmax(jnp.einsum("bqd,bkd->bqk", tokens, tokens)) @ tokens).mean(1)

    volume = jnp.asarray(normal(0, 1, 2, 2, 2, 2))
    e = xr.attribute(attending, volume, "chefer", tokens=Tokens((2, 2, 2)))
    image = xr.attribute(attending, volume.reshape(1, 2, 4, 2), "chefer")
    np.testing.assert_allclose(e.raw["chefer"]["input"].ravel(), image.raw["chefer"]["input"].ravel(), rtol=1e-6)
    with pytest.raises(NotImplementedError, match="8 tokens in 3 dimensions: say where they lie by tokens="):
        xr.attribute(attending, volume, "chefer")
    with pytest.raises(
        ValueError, match=r"there are 8 of them in the attention, and the grid says 1 [+] 2 x 2 x 2 = 9"
    ):
        xr.attribute(attending, volume, "chefer", tokens=Tokens((2, 2, 2), prefix=1))
