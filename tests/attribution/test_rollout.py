"""The rollout of attention beside a loop in NumPy, with gradients by finite differences of the attention weights."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import xrcam_jax as xr
from xrcam_jax.attribution.rollout import check_weights, patch_grid

HEADS, WIDTH, CLASSES = 2, 8, 3


def weights(seed, class_token):
    rng = np.random.default_rng(seed)
    shapes = {"patch": (12, WIDTH), "qkv": (2, WIDTH, 3, HEADS, WIDTH // HEADS), "out": (2, WIDTH, WIDTH)}
    drawn = {name: rng.normal(size=shape) / np.sqrt(WIDTH) for name, shape in shapes.items()}
    drawn["head"] = rng.normal(size=(WIDTH, CLASSES))
    drawn["token"] = rng.normal(size=(1, int(class_token), WIDTH))
    return jax.tree.map(jnp.asarray, drawn)


def transformer(images, parameters, changes=(None, None), seen=None):
    """Two layers of attention; ``changes`` are added to the attention weights, which ``seen`` collects."""
    b, h, w, _ = images.shape
    patches = images.reshape(b, h // 2, 2, w // 2, 2, 3).transpose(0, 1, 3, 2, 4, 5).reshape(b, -1, 12)
    token = jnp.broadcast_to(parameters["token"], (b, *parameters["token"].shape[1:]))
    x = jnp.concatenate([token, patches @ parameters["patch"]], 1)
    for layer, change in enumerate(changes):
        q, k, v = jnp.moveaxis(jnp.einsum("btc,csnd->btsnd", x, parameters["qkv"][layer]), 2, 0)
        a = jax.nn.softmax(jnp.einsum("bqnd,bknd->bnqk", q, k))
        a = a if change is None else a + change
        if seen is not None:
            seen.append(a)
        x = x + jnp.einsum("bnqk,bknd->bqnd", a, v).reshape(x.shape) @ parameters["out"][layer]
    tokens = x[:, 0] if parameters["token"].shape[1] else x.mean(1)
    return jnp.tanh(tokens) @ parameters["head"]


@pytest.mark.long(one_in=4)
@pytest.mark.parametrize("class_token", [True, False])
@pytest.mark.parametrize("size", [(4, 4), (4, 8)])
def test_it_is_the_rollout_by_hand(float64, class_token, size):
    parameters, images = weights(0, class_token), jnp.asarray(np.random.default_rng(1).normal(size=(3, *size, 3)))
    targets = jnp.array([0, 2, 1])
    found = xr.attribute(lambda x: transformer(x, parameters), images, "chefer", targets).raw["chefer"]["input"]
    seen = []
    transformer(images, parameters, seen=seen)
    zeros = [jnp.zeros_like(a) for a in seen]

    def chosen(changes):
        return transformer(images, parameters, changes)[jnp.arange(3), targets].sum()

    gradients = jax.grad(chosen)(zeros)
    n = seen[0].shape[-1]
    for i in range(3):
        rollout = np.eye(n)
        for a, gradient in zip(seen, gradients, strict=True):
            rollout = rollout + np.maximum(np.asarray(gradient[i] * a[i]), 0).mean(0) @ rollout
        wanted = rollout[0, 1:] if class_token else rollout.mean(0)
        # The maps are scaled from what is found.
        np.testing.assert_allclose(found[i], wanted.reshape(size[0] // 2, size[1] // 2), rtol=1e-9)


def test_attention_of_flax_and_of_jax_is_found():
    attend = nnx.MultiHeadAttention(2, 8, decode=False, rngs=nnx.Rngs(0))

    def own(images):
        return attend(images.reshape(len(images), -1, 8)).mean(1)

    def of_jax(images):
        tokens = images.reshape(len(images), -1, 2, 4)
        return jax.nn.dot_product_attention(tokens, tokens * 2, tokens).reshape(len(images), -1, 8).mean(1)

    images = jnp.asarray(np.random.default_rng(2).normal(size=(2, 3, 3, 8)), jnp.float32)
    for model in (own, of_jax):
        maps = xr.attribute(model, images, "chefer").raw["chefer"]["input"]
        assert maps.shape == (2, 3, 3)
        assert float(maps.min()) >= 0
        assert float(maps.std()) > 0


def test_a_model_without_attention_is_refused():
    with pytest.raises(NotImplementedError, match="the method chefer needs attention weights, and none were found"):
        xr.attribute(lambda x: x.mean((1, 2)), jnp.ones((1, 4, 4, 3)), "chefer")


def test_tokens_that_make_no_grid_are_refused():
    with pytest.raises(NotImplementedError, match="7 tokens make no grid of the proportions 100 x 1"):
        patch_grid(7, (100, 1))


def test_attention_within_windows_is_refused():
    """Each stage of a Swin transformer has fewer windows, which look like heads."""
    with pytest.raises(NotImplementedError, match=r"attention must be of all tokens to each other.*\[\(1, 4, 9, 9\)"):
        check_weights([jnp.ones((2, 4, 2, 9, 9)), jnp.ones((2, 1, 4, 9, 9))])
    with pytest.raises(NotImplementedError, match="attention must be of all tokens to each other"):
        check_weights([jnp.ones((2, 4, 1, 9))])
