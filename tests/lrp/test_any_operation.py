"""Relevance through any operation is conserved, or its loss is accounted for, or the operation is refused by name."""

import inspect
from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from jax import lax

import xrcam_jax as xr

pytestmark = [pytest.mark.usefixtures("float64", "mixed"), pytest.mark.long(one_in=5)]


COMPOSITES = {
    "relevance_cam": xr.composites.relevance_cam(),
    "alpha2_beta1": xr.composites.relevance_cam(alpha=2, beta=1, batch_norm="alpha_beta"),
    "half": xr.composites.relevance_cam(gate="half", batch_norm="fold"),
    "epsilon_plus": xr.composites.epsilon_plus(),
    "epsilon_plus_flat": xr.composites.epsilon_plus_flat(fold=True),
    "epsilon_alpha2_beta1": xr.composites.epsilon_alpha2_beta1(bias=False),
    "epsilon_gamma_box": xr.composites.epsilon_gamma_box(),
    "attn_lrp": xr.composites.attn_lrp(),
    "attn_lrp_gamma": xr.composites.attn_lrp(gamma=0.1, conv_gamma=0.25, fold=True),
    "cp_lrp": xr.composites.cp_lrp(),
}


#: Between them these have every rule for what is no layer.
OF_EACH_KIND = ("relevance_cam", "half", "epsilon_plus", "attn_lrp_gamma", "cp_lrp")


def drawn(*shape, seed=0):
    return jnp.asarray(np.random.default_rng(seed).normal(size=shape))


W = np.random.default_rng(1).normal(size=(6, 6))
PLACES = jnp.array([1, 0, 2, 1])


def account(f, x, composite):
    """Returns what the ledger leaves unexplained, as a share of the largest relevance that arrived anywhere.

    All of it is refused with NotImplementedError, or conserved with its losses named.
    """

    def seed(out):
        return jax.tree.map(lambda o: drawn(*o.shape, seed=2).astype(o.dtype), out)

    report = xr.conservation(f, composite, x, seed=seed)
    balances = [balance for _, balance in report.operations]
    named = sum(b.bias + b.stabiliser + b.zero for b in balances)
    largest = max([1.0, abs(report.seed), *(b.arrived_absolute for b in balances)])
    return (report.seed - report.reached - named) / largest


def check(f, x, tolerance=1e-9, names=tuple(COMPOSITES)):
    """Checks a function under composites, every one by default, and returns under which of them it is refused."""
    refused = []
    for name in names:
        try:
            assert abs(account(f, x, COMPOSITES[name])) < tolerance, name
        except NotImplementedError as error:
            assert "no relevance rule for the primitive '" in str(error)  # noqa: PT017
            refused.append(name)
    return refused


ACTIVATIONS = {
    name: f
    for name, f in vars(jax.nn).items()
    if inspect.isroutine(f) or type(f).__name__ in ("PjitFunction", "custom_jvp")
    if name not in ("one_hot", "dot_product_attention", "scaled_matmul", "scaled_dot_general", "log1mexp")
    and not name.startswith("get_")
}


def test_all_activations_are_there():
    assert {"relu", "gelu", "silu", "softplus", "squareplus", "softmax", "logsumexp", "hard_tanh", "mish"} <= {
        *ACTIVATIONS
    }
    assert len(ACTIVATIONS) > 25


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_every_activation_of_jax_conserves(name):
    refused = check(lambda x: ACTIVATIONS[name](x @ W), drawn(4, 6), names=OF_EACH_KIND)
    # Half of the features gate the other half, and neither factor is known to be the gate but for the sigmoid.
    assert not refused


@pytest.mark.parametrize("name", ["gelu", "softplus", "hard_sigmoid", "hard_tanh", "squareplus", "mish", "selu"])
def test_an_activation_is_the_identity(name):
    """In whatever way it is computed, all relevance of an element is that of the element before."""
    f, x, r = ACTIVATIONS[name], drawn(4, 6, seed=3) * 3, drawn(4, 6, seed=4)
    for name in ("relevance_cam", "epsilon_plus", "epsilon_gamma_box", "attn_lrp", "cp_lrp"):
        composite = COMPOSITES[name]
        np.testing.assert_allclose(jax.vjp(xr.lrp(f, composite), x)[1](r)[0], r, rtol=1e-12)


FUNCTIONS = {
    "exact GELU": lambda x: jax.nn.gelu(x @ W, approximate=False),
    "softmax with a mask": lambda x: jax.nn.softmax(x @ W, where=jnp.arange(6) != 3),
    "softmax of minus infinity": lambda x: jax.nn.softmax(jnp.where(jnp.arange(6) != 3, x @ W, -jnp.inf)),
    "log-sum-exp": lambda x: jax.nn.logsumexp(x @ W, axis=1),
    "p-norm pooling": lambda x: jnp.sum(jnp.abs(x @ W) ** 3, 1) ** (1 / 3),
    "median": lambda x: jnp.median(x @ W, axis=1),
    "percentile": lambda x: jnp.percentile(x @ W, 30, axis=1),
    "standard deviation": lambda x: jnp.std(x @ W, axis=1),
    "unit length": lambda x: x / jnp.linalg.norm(x, axis=1, keepdims=True),
    "range": lambda x: (x - x.min()) / (x.max() - x.min()),
    "product": lambda x: jnp.prod(x @ W, axis=1),
    "cumulative sum": lambda x: jnp.cumsum(x @ W, axis=1),
    "cumulative maximum": lambda x: lax.cummax(x @ W, axis=1),
    "cumulative log-sum-exp": lambda x: lax.cumlogsumexp(x @ W, axis=1),
    "sort": lambda x: jnp.sort(x @ W, axis=1),
    "argsort": lambda x: jnp.take_along_axis(x @ W, jnp.argsort(x @ W, axis=1), axis=1),
    "top-k with places": lambda x: lax.top_k(x @ W, 2),
    "graph sum": lambda x: jax.ops.segment_sum(x @ W, PLACES, 3),
    "graph maximum": lambda x: jax.ops.segment_max(x @ W, PLACES, 3),
    "set": lambda x: (x @ W).at[:, 0].set(7.0),
    "set in constants": lambda x: jnp.ones((4, 6)).at[:, 1:3].set((x @ W)[:, :2]),
    "add to places": lambda x: (x @ W).at[:, 0].add(x[:, 1]),
    "add constants to places": lambda x: (x @ W).at[:, 0].add(7.0),
    "subtract from places": lambda x: (x @ W).at[:, 0].subtract(x[:, 1]),
    "update": lambda x: lax.dynamic_update_slice(x @ W, x[:, :2], (0, 2)),
    "update with constants": lambda x: lax.dynamic_update_slice(x @ W, jnp.ones((4, 2)), (0, 2)),
    "loop": lambda x: lax.fori_loop(0, 3, lambda _, h: jax.nn.relu(h @ W), x),
    "loop from a constant": lambda x: lax.fori_loop(0, 3, lambda _, h: jax.nn.relu(h @ W) + x, jnp.ones((4, 6))),
    "branch": lambda x: lax.cond(x.sum() > 0, lambda x: x @ W, jax.nn.gelu, x),
    "branch to a constant": lambda x: lax.cond(x.sum() < 99, lambda x: jnp.ones((4, 6)), jax.nn.gelu, x),
    "rematerialised": jax.checkpoint(lambda x: jax.nn.gelu(x @ W)),
    "class token": lambda x: jnp.concatenate([jnp.ones((1, 6)), x @ W]) @ W,
    "padding": lambda x: jnp.pad(x @ W, 1, constant_values=2.0),
    "mask": lambda x: jnp.where(jnp.arange(6) > 2, x @ W, 1.0),
    "choice": lambda x: jnp.where(x > 0, x @ W, 2 * x),
    "embedding of positions": lambda x: (x @ W + drawn(4, 6, seed=5)) @ W,
    "bias of rows": lambda x: W[:, :4] @ (x @ W) + drawn(6, 1, seed=5),
    "constant minus": lambda x: 3 - x @ W,
    "minus": lambda x: -(x @ W),
    "minus of a layer with bias": lambda x: -(x @ W + W[0]),
    "minus of a norm": lambda x: -jax.nn.standardize(x),
    "constant over": lambda x: 3 / (1.5 + (x @ W) ** 2),
    "power": lambda x: (x @ W) ** 3,
    "remainder": lambda x: (x @ W) % 1.0,
    "rounding": lambda x: jnp.round(x @ W) @ W,
    "resizing": lambda x: jax.image.resize(x @ W, (4, 12), "bilinear"),
    "SwiGLU": lambda x: jax.nn.silu(x @ W) * (x @ W.T),
    "squeeze and excitation": lambda x: x * jax.nn.sigmoid(jax.nn.relu(x.mean(0) @ W) @ W),
    "triangle": lambda x: jnp.triu(x @ W),
    "integers out": lambda x: (x @ W, jnp.argmax(x @ W, axis=1)),
    "classes as numbers": lambda x: jnp.argmax(x @ W, axis=1).astype(float),
    "no gradient": lambda x: lax.stop_gradient(x @ W),
    "constant": lambda x: jnp.ones(3),
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_functions_conserve_or_account(name):
    assert not check(FUNCTIONS[name], drawn(4, 6), names=OF_EACH_KIND)


REFUSED = {
    "Fourier transform": lambda x: jnp.fft.irfft(jnp.fft.rfft(jax.nn.relu(x @ W))) @ W,
    "complex absolute": lambda x: jnp.abs((x @ W) + 1j * x),
    "cumulative product": lambda x: jnp.cumprod(x @ W, axis=1),
    "inverse": lambda x: jnp.linalg.inv(x[:4, :4]),
    "determinant": lambda x: jnp.linalg.det(x[:4, :4]),
    "angle": lambda x: jnp.arctan2(x @ W, x),
    "power of two values": lambda x: jnp.abs(x @ W) ** x,
    "two-dimensional convolution of pictures": lambda x: jnp.convolve(x[0], x[1]),
    "multiply at places": lambda x: (x @ W).at[:, 0].multiply(3.0),
    "loop of unknown length": lambda x: lax.while_loop(lambda h: h.sum() < 9, lambda h: 2 * jnp.abs(h), x),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_not_known_is_refused_under_every_composite(name):
    assert check(REFUSED[name], drawn(4, 6)) == [*COMPOSITES]


def test_products_without_a_gate_are_refused_where_one_factor_takes_all():
    bilinear = {
        "mul": lambda x: (x @ W) * (x @ W.T),
        "dot_general": lambda x: (x @ W) @ (x @ W.T).T,
    }
    share = {"half", "attn_lrp", "attn_lrp_gamma"}
    for f in bilinear.values():
        assert {*check(f, drawn(4, 6))} == {*COMPOSITES} - share


R = nnx.Rngs(0)
OPTIONS = {"rngs": R, "param_dtype": jnp.float64}
TOKENS, PICTURES = (2, 5, 8), (2, 8, 8, 4)
LAYERS = {
    "Linear": (lambda: nnx.Linear(8, 6, **OPTIONS), TOKENS),
    "LinearGeneral": (lambda: nnx.LinearGeneral(8, (2, 4), **OPTIONS), TOKENS),
    "LinearGeneral of two axes": (lambda: nnx.LinearGeneral((5, 8), (2, 4), axis=(-2, -1), **OPTIONS), TOKENS),
    "Einsum": (lambda: nnx.Einsum("btc,chd->bthd", (8, 2, 4), (2, 4), **OPTIONS), TOKENS),
    "Conv": (lambda: nnx.Conv(4, 6, (3, 3), **OPTIONS), PICTURES),
    "Conv of patches": (lambda: nnx.Conv(4, 6, (2, 2), strides=2, padding="VALID", **OPTIONS), PICTURES),
    "depthwise Conv": (lambda: nnx.Conv(4, 4, (3, 3), feature_group_count=4, **OPTIONS), PICTURES),
    "ConvTranspose": (lambda: nnx.ConvTranspose(4, 6, (3, 3), strides=(2, 2), **OPTIONS), PICTURES),
    "BatchNorm": (lambda: nnx.BatchNorm(8, use_running_average=True, **OPTIONS), TOKENS),
    "BatchNorm in training": (lambda: nnx.BatchNorm(8, **OPTIONS), TOKENS),
    "LayerNorm": (lambda: nnx.LayerNorm(8, **OPTIONS), TOKENS),
    "RMSNorm": (lambda: nnx.RMSNorm(8, **OPTIONS), TOKENS),
    "GroupNorm": (lambda: nnx.GroupNorm(8, num_groups=2, **OPTIONS), TOKENS),
    "InstanceNorm": (lambda: nnx.InstanceNorm(8, **OPTIONS), TOKENS),
    "MultiHeadAttention": (lambda: nnx.MultiHeadAttention(2, 8, decode=False, **OPTIONS), TOKENS),
    "Dropout": (lambda: nnx.Dropout(0.5, deterministic=False, rngs=R), TOKENS),
    "PReLU": (lambda: nnx.PReLU(), TOKENS),
    "LSTM": (lambda: nnx.RNN(nnx.LSTMCell(8, 6, **OPTIONS)), TOKENS),
    "GRU": (lambda: nnx.RNN(nnx.GRUCell(8, 6, **OPTIONS)), TOKENS),
    "SimpleCell": (lambda: nnx.RNN(nnx.SimpleCell(8, 6, dtype=jnp.float64, **OPTIONS)), TOKENS),
    "Bidirectional": (
        lambda: nnx.Bidirectional(nnx.RNN(nnx.GRUCell(8, 6, **OPTIONS)), nnx.RNN(nnx.GRUCell(8, 6, **OPTIONS)), rngs=R),
        TOKENS,
    ),
    "LoRA": (lambda: nnx.LoRALinear(8, 6, lora_rank=2, **OPTIONS), TOKENS),
    "WeightNorm": (lambda: nnx.WeightNorm(nnx.Linear(8, 6, **OPTIONS), rngs=R), TOKENS),
    "avg_pool": (lambda: lambda x: nnx.avg_pool(x, (2, 2), (2, 2)), PICTURES),
    "avg_pool of what is there": (
        lambda: lambda x: nnx.avg_pool(x, (3, 3), (2, 2), "SAME", count_include_pad=False),
        PICTURES,
    ),
    "max_pool": (lambda: lambda x: nnx.max_pool(x, (2, 2), (2, 2)), PICTURES),
    "min_pool": (lambda: lambda x: nnx.min_pool(x, (2, 2), (2, 2)), PICTURES),
}


def functional(module):
    """Returns a module as a pure function, in float64, with vectors (biases, shifts, factors) drawn anew."""
    if not isinstance(module, nnx.Module):
        return module
    graph, state = nnx.split(module)

    def draw(leaf):
        if not jnp.issubdtype(leaf.dtype, jnp.floating):
            return leaf
        return 1.5 + jnp.sin(3 * jnp.arange(leaf.size)) if leaf.ndim == 1 else leaf.astype(float)

    again = jax.tree.map(draw, state)
    return lambda x: nnx.merge(graph, again, copy=True)(x)


@pytest.mark.parametrize("name", LAYERS)
def test_every_layer_of_flax_conserves_or_accounts(name):
    make, shape = LAYERS[name]
    f = functional(make())
    refused = check(lambda x: f(x), drawn(*shape), tolerance=1e-5 if name == "MultiHeadAttention" else 1e-9)
    # In attention, queries and keys receive something; neither of them is a gate.
    assert not refused or name == "MultiHeadAttention"


def test_integers_among_the_inputs_are_passed_by():
    def model(x):
        return x["values"][x["places"]] @ W

    x = {"values": drawn(4, 6), "places": jnp.array([2, 0])}
    out, pullback = jax.vjp(xr.lrp(model, xr.composites.attn_lrp()), x)
    (relevance,) = pullback(out)
    np.testing.assert_allclose(relevance["values"].sum(), out.sum(), rtol=1e-6)
    np.testing.assert_array_equal(relevance["values"][jnp.array([1, 3])], 0)
    assert abs(account(model, x, xr.composites.attn_lrp())) < 1e-9


def test_outputs_of_integers_take_no_relevance():
    def model(x):
        x = xr.mark(jnp.tanh(x), "here") @ W
        return {"logits": x, "class": x.argmax(1)}

    seed = {"logits": drawn(4, 6), "class": jnp.zeros(4, int)}
    taps = xr.taps(model, xr.composites.attn_lrp(), drawn(4, 6), seed=seed)
    wanted = xr.taps(lambda x: model(x)["logits"], xr.composites.attn_lrp(), drawn(4, 6), seed=seed["logits"])
    np.testing.assert_array_equal(taps.relevances["here"], wanted.relevances["here"])
    np.testing.assert_array_equal(taps.output["class"], model(drawn(4, 6))["class"])


def test_token_ids_are_refused_and_their_embedding_is_explained():
    table = drawn(9, 6)

    def model(ids):
        return jax.nn.gelu(xr.mark(table[ids], "embedding") @ W).sum(0)

    ids = jnp.array([1, 7])
    for transform in (lambda c: xr.lrp(model, c)(ids), lambda c: xr.conservation(model, c, ids, seed=lambda out: out)):
        with pytest.raises(TypeError, match=r"floating-point numbers to be explained, got int64 of shape \(2,\)"):
            transform(xr.composites.attn_lrp())
    taps = xr.taps(model, xr.composites.attn_lrp(), ids, seed=lambda out: out)
    np.testing.assert_allclose(taps.relevances["embedding"].sum(), taps.output.sum(), rtol=1e-6)


@pytest.mark.parametrize("f", [lambda x: (x @ W) * (x @ W.T), lambda x: lax.cumprod(x @ W, axis=1)])
def test_the_derivative_as_a_default_helps_where_there_is_no_rule(f):
    """As the error advises; what lies around keeps its rules."""
    x, r = drawn(4, 6), drawn(4, 6, seed=2)
    composite = replace(xr.composites.epsilon_plus(eps=0), default=xr.rules.Gradient())
    found = jax.vjp(xr.lrp(lambda x: f(jax.nn.gelu(x)), composite), x)[1](r)[0]
    h = jax.nn.gelu(x)
    both = (lambda h: h @ W, lambda h: h @ W.T)
    arriving = jax.vjp(lambda a, b: a * b, *(g(h) for g in both))[1](r)
    if "cumprod" not in str(jax.make_jaxpr(f)(x)):
        parts = [h * jax.vjp(g, h)[1](part / g(h))[0] for g, part in zip(both, arriving, strict=True)]
        np.testing.assert_allclose(found, sum(parts), rtol=1e-6)
    else:
        z = h @ W
        before = jax.vjp(lambda z: lax.cumprod(z, axis=1), z)[1](r)[0]
        np.testing.assert_allclose(found, h * ((before / z) @ W.T), rtol=1e-6)


@pytest.mark.parametrize("name", ["epsilon_plus", "attn_lrp"])
def test_a_bias_is_one_whether_examples_are_mapped_or_batched(name):
    """The rule of vmap for convolutions reshapes between the convolution and its bias."""
    kernel, bias, images = drawn(5, 3, 2, 2, seed=1), drawn(5, 1, 1, seed=2), drawn(2, 3, 6, 6)

    def model(image):
        layers = ("NCHW", "OIHW", "NCHW")
        return lax.conv_general_dilated(image[None], kernel, (1, 1), "SAME", dimension_numbers=layers)[0] + bias

    composite = getattr(xr.composites, name)()
    r = drawn(2, 5, 6, 6, seed=3)
    found = jax.vjp(xr.lrp(jax.vmap(model), composite), images)[1](r)[0]
    each = [jax.vjp(xr.lrp(model, composite), image)[1](part)[0] for image, part in zip(images, r, strict=True)]
    np.testing.assert_allclose(found, jnp.stack(each), rtol=1e-9, atol=1e-12)
    report = xr.conservation(jax.vmap(model), composite, images, seed=r)
    assert [site.kind for site, _ in report.operations] == ["convolution"]


def test_a_bias_may_come_after_heads_are_joined():
    kernel, bias, x = drawn(6, 2, 4, seed=1), drawn(8, seed=2), drawn(3, 5, 6)
    joined = lambda x: jnp.einsum("btc,chd->bthd", x, kernel).reshape(3, 5, 8) + bias  # noqa: E731
    flat = lambda x: x @ kernel.reshape(6, 8) + bias  # noqa: E731
    for composite in (xr.composites.epsilon_plus(), xr.composites.attn_lrp()):
        found, wanted = (jax.vjp(xr.lrp(f, composite), x)[1](drawn(3, 5, 8))[0] for f in (joined, flat))
        np.testing.assert_allclose(found, wanted, rtol=1e-9, atol=1e-12)
        assert [s.kind for s, _ in xr.conservation(joined, composite, x, seed=drawn(3, 5, 8)).operations] == ["dense"]


@pytest.mark.parametrize("name", ["epsilon_plus", "attn_lrp", "cp_lrp"])
def test_the_largest_value_of_a_log_sum_exp_keeps_its_relevance(name):
    """Its maximum is subtracted, which leaves exactly 0 there, and is added again."""
    x, r = drawn(3, 6), drawn(3, seed=2)
    lse = xr.lrp(lambda x: jax.nn.logsumexp(x, axis=1), getattr(xr.composites, name)())
    wanted = np.exp(x) / np.exp(x).sum(1, keepdims=True) * r[:, None]
    np.testing.assert_allclose(jax.vjp(lse, x)[1](r)[0], wanted, rtol=1e-5)


@pytest.mark.parametrize("name", ["epsilon_plus", "attn_lrp"])
def test_what_follows_from_the_input_is_no_bias(name):
    """With one example it has the shape of a bias; only the values of a batch tell it from one."""
    x, r = drawn(1, 6), drawn(1, 6, seed=2)
    shifted = xr.lrp(lambda x: x @ W + lax.stop_gradient(jnp.sin(x)), getattr(xr.composites, name)(eps=0))
    plain = xr.lrp(lambda x: x @ W, getattr(xr.composites, name)(eps=0))
    np.testing.assert_allclose(jax.vjp(shifted, x)[1](r)[0], jax.vjp(plain, x)[1](r)[0], rtol=1e-9)


def test_maxima_over_dilated_windows_are_refused_by_line_wherever_a_derivative_is_wanted():
    """JAX has none, and says neither where nor what to do."""

    def model(x):
        x = xr.mark(x, "before")
        x = lax.reduce_window(x, -jnp.inf, lax.max, (1, 2, 1), (1, 1, 1), "VALID", window_dilation=(1, 3, 1))
        return xr.mark(x, "after").mean(1)

    x = jnp.arange(24.0).reshape(2, 6, 2)
    message = r"no derivative of the primitive 'reduce_window_max' at .*test_any_operation.py:\d+.*\(1, 3, 1\); pool"
    for method in ("gradient", "lrp", "xrelevance_cam", "deep_lift"):
        with pytest.raises(NotImplementedError, match=message):
            xr.attribute(model, x, method, 0, ["before"])
        xr.attribute(model, x, method, 0, ["after"])
    with pytest.raises(NotImplementedError, match=r"reveal_cancel has no rule for .* at .*test_any_operation.py"):
        xr.attribute(model, x, "deep_lift", 0, ["before"], rule="reveal_cancel")
