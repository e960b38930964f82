"""LeGrad beside a small vision transformer written out layer by layer, with ``jax.grad`` of each layer's own logit."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import xrcam_jax as xr

HEADS, WIDTH, CLASSES, PATCH = 2, 8, 3, 2
BLOCKS = 2


def drawn(extra):
    rng = np.random.default_rng(extra)
    shapes = {
        "patch": (12, WIDTH),
        "first": (1, extra, WIDTH),
        "qkv": (BLOCKS, WIDTH, 3, HEADS, WIDTH // HEADS),
        "out": (BLOCKS, WIDTH, WIDTH),
        "up": (BLOCKS, WIDTH, 2 * WIDTH),
        "down": (BLOCKS, 2 * WIDTH, WIDTH),
        "head": (WIDTH, CLASSES),
    }
    return {name: jnp.asarray(rng.normal(size=shape) / np.sqrt(WIDTH)) for name, shape in shapes.items()}


def norm(x):
    centred = x - x.mean(-1, keepdims=True)
    return centred / jnp.sqrt((centred**2).mean(-1, keepdims=True) + 1e-6)


def embedded(images, p):
    b, h, w, _ = images.shape
    cut = images.reshape(b, h // PATCH, PATCH, w // PATCH, PATCH, 3).transpose(0, 1, 3, 2, 4, 5).reshape(b, -1, 12)
    return jnp.concatenate([jnp.broadcast_to(p["first"], (b, *p["first"].shape[1:])), cut @ p["patch"]], 1)


def block(x, p, number, change=None):
    q, k, v = jnp.moveaxis(jnp.einsum("btc,csnd->btsnd", norm(x), p["qkv"][number]), 2, 0)
    a = jax.nn.softmax(jnp.einsum("bqnd,bknd->bnqk", q, k))
    a = a if change is None else a + change
    x = x + jnp.einsum("bnqk,bknd->bqnd", a, v).reshape(x.shape) @ p["out"][number]
    return x + jax.nn.gelu(norm(x) @ p["up"][number], approximate=False) @ p["down"][number]


def head(x, p):
    return norm(x)[:, 0] @ p["head"]


def model(images, p):
    x = embedded(images, p)
    for number in range(BLOCKS):
        x = block(x, p, number)
    return head(x, p)


def test_it_is_the_mean_of_the_gradients_by_hand(float64):
    """With a class token that the logits are read from, and two registers. Pooled tokens are in the docstring."""
    extra = 3
    p, images = drawn(extra), jnp.asarray(np.random.default_rng(1).normal(size=(2, 4, 6, 3)))
    targets = jnp.array([[0, 1], [2, 0]])
    found = xr.attribute(lambda x: model(x, p), images, "legrad", targets).raw["legrad"]["input"]
    assert found.shape == (2, 2, 2, 3)
    n = 6 + extra
    for which in range(2):
        x, wanted = embedded(images, p), np.zeros((2, n))
        for number in range(BLOCKS):

            def score(change, x=x, number=number, which=which):
                return head(block(x, p, number, change), p)[jnp.arange(2), targets[:, which]].sum()

            gradient = np.asarray(jax.jit(jax.grad(score))(jnp.zeros((2, HEADS, n, n))))
            wanted += np.maximum(gradient, 0).mean((1, 2)) / BLOCKS
            x = block(x, p, number)
        np.testing.assert_allclose(found[:, which], wanted[:, extra:].reshape(2, 2, 3), rtol=1e-9)


def test_a_model_without_attention_is_refused():
    with pytest.raises(NotImplementedError, match="the method legrad needs attention weights, and none were found"):
        xr.attribute(lambda x: x.mean((1, 2)), jnp.ones((1, 4, 4, 3)), "legrad")


def test_attention_that_adds_to_nothing_is_refused():
    def attends(images):
        x = images.reshape(len(images), -1, 3)
        return (jax.nn.softmax(jnp.einsum("bqd,bkd->bqk", x, x)) @ x).mean(1)

    with pytest.raises(NotImplementedError, match="attention number 1 must be in a block that adds to its 16 tokens"):
        xr.attribute(attends, jnp.ones((1, 4, 4, 3)), "legrad")
