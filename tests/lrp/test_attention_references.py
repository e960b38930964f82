"""Attention against LXT and autoLRP: single operations, a block, a ViT, a decoder and a Swin block."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import xrcam_jax as xr
from tests.lrp import transformers
from tests.lrp.autolrp_rules import AUTOLRP
from tests.lrp.transformers import parameters, reference
from tests.test_house import ROOT
from xrcam_jax.lrp.assignments import Assign, Composite
from xrcam_jax.lrp.rules import Epsilon

pytestmark = [pytest.mark.usefixtures("float64"), pytest.mark.long(one_in=5)]

OURS = {"lxt_attn": xr.composites.attn_lrp(eps=0), "lxt_cp": xr.composites.cp_lrp(eps=0)}
PEERS = OURS | {f"autolrp_{recipe}": rules for recipe, rules in AUTOLRP.items()}


def close(found, wanted):
    """To 1e-8 of the largest value."""
    np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-8 * np.abs(wanted).max())


def relevance(f, composite, x, seed):
    """The value of f and the relevance of x, compiled."""

    @jax.jit
    def run(x, seed):
        out, pullback = jax.vjp(xr.lrp(f, composite), x)
        return out, pullback(seed)[0]

    return run(x, jnp.asarray(seed))


# Single operations. Those of one input are functions of x.


def softmax_of(x, masked):
    return jax.nn.softmax(jnp.where(masked, -jnp.inf, x), -1)


def layer_norm(x, w, b):
    return transformers.layer_norm(x, {"norm.weight": w, "norm.bias": b}, "norm", 1e-5)


OPERATIONS = {
    "softmax": lambda x: jax.nn.softmax(x, -1),
    "masked_softmax": softmax_of,
    "query_key": lambda q, k: q @ jnp.swapaxes(k, -1, -2) * q.shape[-1] ** -0.5,
    # Weights are known as such by the softmax that makes them.
    "attention_values": lambda a, v: xr.mark(jax.nn.softmax(jnp.log(a), -1), "a") @ xr.mark(v, "v"),
    "layer_norm": layer_norm,
    "layer_norm_no_shift": layer_norm,
    "rms_norm": lambda x, w: transformers.rms_norm(x, {"norm.weight": w}, "norm", 1e-5),
    "gelu": lambda x: jax.nn.gelu(x, approximate=False),
    "gated_silu": lambda a, b: jax.nn.silu(a) * b,
    "linear": lambda x, w, b: x @ w.T + b,
    "residual": lambda a, b: a + b,
    "constant": lambda x, c: x + c,
    "mean": lambda x: x.mean(1),
}
#: The operands of each that are explained; the others are constants.
EXPLAINED = {"query_key": ("q", "k"), "attention_values": ("a", "v"), "gated_silu": ("a", "b"), "residual": ("a", "b")}
STORED = {tuple(key.split("/")[:2]) for key in reference("attention_operations") if "/R_" in key}


def test_every_stored_operation_is_compared():
    assert {name for name, _ in STORED} == set(OPERATIONS)
    assert {peer for _, peer in STORED} == set(PEERS)


@pytest.mark.parametrize(("name", "peer"), sorted(STORED))
def test_operation(name, peer):
    given = parameters(reference("attention_operations"), f"{name}/")
    explained = EXPLAINED.get(name, ("x",))
    constants = [given[key] for key in ("masked", "w", "b", "c") if key in given and key not in explained]

    def f(x):
        return OPERATIONS[name](*(x[key] for key in explained), *constants)

    x = {key: given[key] for key in explained}
    out, found = relevance(f, PEERS[peer], x, given["seed"])
    close(out, given["z"])
    if name == "attention_values":
        found = xr.taps(f, PEERS[peer], x, seed=given["seed"]).relevances
    for key in explained:
        close(found[key], given[f"{peer}/R_{key}"])


# Whole networks: their value, the relevance of their input and that at their marks.


def network(name):
    """A network as a function of x alone, and its reference."""
    arrays = reference(f"attention_{name}")
    p = parameters(arrays)
    functions = {"block": transformers.marked_block, "swin": transformers.swin_block}
    tables = [jnp.asarray(arrays[key]) for key in ("cos", "sin", "masks", "position_index") if key in arrays]
    f = functions.get(name) or getattr(transformers, name)
    return (lambda x: f(x, p, *tables)), arrays


def peers(name):
    keys = {key.partition("/")[0] for key in reference(f"attention_{name}")}
    return [(name, peer) for peer in sorted(keys & set(PEERS))]


NETWORKS = ("block", "vit", "decoder", "swin")


@pytest.mark.long(but=["block", "vit"])
@pytest.mark.parametrize(("name", "peer"), [pair for name in NETWORKS for pair in peers(name)])
def test_network(name, peer):
    """LXT's relevances come from our composites, autoLRP's from its rules, which are written out."""
    f, arrays = network(name)
    out, found = relevance(f, PEERS[peer], jnp.asarray(arrays["x"]), arrays["seed"])
    close(out, arrays["z"])
    close(found, arrays[f"{peer}/R_x"])
    marks = [key.partition("/R_")[2] for key in arrays if key.startswith(f"{peer}/R_") and not key.endswith("/R_x")]
    if marks:
        tap = jax.jit(lambda x: xr.taps(f, PEERS[peer], x, seed=jnp.asarray(arrays["seed"]), marks=marks).relevances)
        for mark, relevances in tap(jnp.asarray(arrays["x"])).items():
            close(relevances, arrays[f"{peer}/R_{mark}"])


def test_shifts_of_the_block_are_not_zero():
    arrays = reference("attention_block")
    assert all(np.abs(arrays[f"param/norm{number}.bias"]).min() > 0 for number in (1, 2))


def test_lxts_explicit_functions_give_the_same_on_the_block():
    f, arrays = network("block")
    _, found = relevance(f, OURS["lxt_attn"], jnp.asarray(arrays["x"]), arrays["seed"])
    close(found, arrays["lxt_explicit/R_x"])


@pytest.mark.parametrize("kind", ["attn", "cp"])
def test_vit_with_gamma(kind):
    f, arrays = network("vit")
    rules = getattr(xr.composites, f"{kind}_lrp")(eps=0, gamma=0.1, conv_gamma=0.25)
    _, found = relevance(f, rules, jnp.asarray(arrays["x"]), arrays["seed"])
    close(found, arrays[f"lxt_{kind}_timm_gamma/R_x"])


def test_vit_with_gamma_but_in_the_projections_of_attention():
    """torchvision's projections are no modules, so that LXT's gamma does not reach them."""
    f, arrays = network("vit")
    rules = xr.composites.cp_lrp(eps=0, gamma=0.1, conv_gamma=0.25)
    own = Composite((Assign(Epsilon(0, bias=True), kinds=("dense",), name="attn.*"), *rules.assignments))
    _, found = relevance(f, own, jnp.asarray(arrays["x"]), arrays["seed"])
    close(found, arrays["lxt_cp_torchvision_gamma/R_x"])


# The tables of docs/rules.md.


def row_normed(x, shift):
    return transformers.layer_norm(x, {"norm.weight": jnp.ones(2), "norm.bias": jnp.array([shift, 0.0])}, "norm", 0)


#: The functions of the first table, of x (1, n), by the first column.
BY_HAND = {
    "q k": lambda x: x[:, None, :2] @ x[:, 2:, None],
    "2x₀ - x₁": lambda x: x @ jnp.array([[2.0], [-1.0]]),
    "3x, with the bias -1": lambda x: x @ jnp.array([[3.0]]) + jnp.array([-1.0]),
    "x + c, with the constant c = -1": lambda x: x + jnp.array([[-1.0]]),
    "x₀ + x₁": lambda x: x[:, 0] + x[:, 1],
    "mean of x": lambda x: x.mean(1),
    "x₀ x₁": lambda x: x[:, 0] * x[:, 1],
    "layer norm, β = 0": lambda x: row_normed(x, 0.0),
    "layer norm, β = 3": lambda x: row_normed(x, 3.0),
    "RMS norm": lambda x: transformers.rms_norm(x, {"norm.weight": jnp.ones(2)}, "norm", 0),
    "softmax": lambda x: jax.nn.softmax(x, 1),
    "SiLU": jax.nn.silu,
}


def table(title):
    """The rows of the table in docs/rules.md whose first column has this title."""
    _, _, rest = (ROOT / "docs" / "rules.md").read_text().partition(f"| {title} |")
    rows = [line.strip()[1:-1].split("|") for line in rest.partition("\n\n")[0].splitlines()[2:]]
    return {name.strip(): [column.strip() for column in columns] for name, *columns in rows}


def test_the_hand_computed_cases_of_the_documentation():
    rows = table("operation")
    assert list(rows) == list(BY_HAND)
    for name, columns in rows.items():
        x, r, *wanted = (np.array([[float(number) for number in column.split(",")]]) for column in columns)
        seed = r.reshape(jax.eval_shape(BY_HAND[name], x).shape)
        for peer, expected in zip(("lxt_attn", "autolrp_default", "autolrp_attnlrp"), wanted, strict=True):
            _, found = relevance(BY_HAND[name], PEERS[peer], jnp.asarray(x), seed)
            np.testing.assert_allclose(found, expected, atol=2e-4, err_msg=f"{name}, {peer}")


@pytest.mark.long
def test_the_correlations_of_the_documentation():
    pairs = [("lxt_attn", "lxt_attn"), ("lxt_cp", "lxt_cp"), ("lxt_attn", "autolrp_default")]
    pairs += [("lxt_attn", "autolrp_attnlrp"), ("lxt_cp", "autolrp_cplrp")]
    rows = table("network")
    assert sorted(rows) == sorted(NETWORKS)
    for name, columns in rows.items():
        f, arrays = network(name)
        for (ours, peer), figure in zip(pairs, columns, strict=True):
            assert (f"{peer}/R_x" in arrays) is bool(figure)
            if figure:
                _, found = relevance(f, OURS[ours], jnp.asarray(arrays["x"]), arrays["seed"])
                correlation = np.corrcoef(np.ravel(found), arrays[f"{peer}/R_x"].ravel())[0, 1]
                assert f"{correlation:.3f}" == figure, (name, ours, peer)
