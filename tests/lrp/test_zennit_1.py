"""Rules and composites against zennit 1.0's, on single layers and on networks with smooth activations."""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

import xrcam_jax as xr
from tests.lrp.transformers import parameters, reference
from xrcam_jax.lrp import rules
from xrcam_jax.lrp.assignments import Assign, Composite
from xrcam_jax.lrp.protocol import WEIGHTED_KINDS

pytestmark = [pytest.mark.usefixtures("float64"), pytest.mark.long(one_in=5)]

LOW, HIGH = (float(reference("zennit_1_rules")[bound][0]) for bound in ("low", "high"))
NCHW = ("NCHW", "OIHW", "NCHW")


def close(found, wanted):
    """To 1e-8 of the largest value."""
    np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-8 * np.abs(wanted).max())


def relevance(f, composite, x, seed):
    @jax.jit
    def run(x, seed):
        out, pullback = jax.vjp(xr.lrp(f, composite), x)
        return out, pullback(seed)[0]

    return run(jnp.asarray(x), jnp.asarray(seed))


def convolution(x, p, name="", stride=1, padding=0, **options):
    z = lax.conv_general_dilated(
        x, p[f"{name}weight"], (stride, stride), [(padding, padding)] * 2, dimension_numbers=NCHW, **options
    )
    return z + p[f"{name}bias"][:, None, None]


def transposed(x, p):
    """The transpose of a convolution with stride 2 and padding 1; one more row and column at the end."""
    kernel = jnp.flip(p["weight"], (2, 3)).swapaxes(0, 1)
    options = {"lhs_dilation": (2, 2), "dimension_numbers": NCHW}
    return lax.conv_general_dilated(x, kernel, (1, 1), [(1, 2), (1, 2)], **options) + p["bias"][:, None, None]


LAYERS = {
    "linear": lambda x, p: x @ p["weight"].T + p["bias"],
    "convolution": lambda x, p: convolution(x, p, stride=2, padding=1),
    "depthwise": lambda x, p: convolution(x, p, padding=1, feature_group_count=4),
    "grouped": lambda x, p: convolution(x, p, padding=2, rhs_dilation=(2, 2), feature_group_count=2),
    "transposed": transposed,
}


@dataclass(frozen=True)
class GammaBySignOfOutput:
    """zennit's γ rule without the bias: of the layer's two sums, the output with its bias says which one shares."""

    bias = True

    def relevance(self, op, r):
        z = op.apply(op.x, op.w) + op.b
        (x_plus, x_minus), w = ((jnp.maximum(a, 0), jnp.minimum(a, 0)) for a in (op.x[0], op.w))
        favoured = [op.w + 0.25 * part for part in w]

        def share(more, less, r):
            total, transpose = jax.vjp(lambda a, b: op.apply((a,), more) + op.apply((b,), less), x_plus, x_minus)
            c_plus, c_minus = transpose(jnp.where(total == 0, 0, r / jnp.where(total == 0, 1, total)))
            return x_plus * c_plus + x_minus * c_minus

        up, down = favoured
        shared = share(up, down, jnp.where(z > 0, r, 0)) + share(down, up, jnp.where(z < 0, r, 0))
        return (shared,), rules.no_loss(r)


@dataclass(frozen=True)
class WSquareWithBias:
    """zennit's w² rule: b² takes its share beside the squares of the weights."""

    bias = True

    def relevance(self, op, r):
        z, transpose = jax.vjp(lambda x: op.apply(x, jnp.square(op.w)), jax.tree.map(jnp.ones_like, op.x))
        return transpose(r / (z + jnp.square(op.b)))[0], rules.no_loss(r)


#: By zennit's name: the rule with the bias, and without.
RULES = {
    "epsilon": (rules.Epsilon(0, bias=True), rules.Epsilon(0)),
    "gamma": (rules.Gamma(0.25, 0, bias=True), GammaBySignOfOutput()),
    "zplus": (rules.ZPlus(0, bias=True), rules.ZPlus(0)),
    "alpha2_beta1": (rules.AlphaBeta(2, 1, 0, bias=True), rules.AlphaBeta(2, 1, 0)),
    # These have no bias: zennit's z-box subtracts what it added, and its flat rule never has one.
    "zbox": (rules.ZBox(LOW, HIGH, 0), rules.ZBox(LOW, HIGH, 0)),
    "flat": (rules.Flat(0), rules.Flat(0)),
    "wsquare": (WSquareWithBias(), rules.WSquare(0)),
}


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("layer", LAYERS)
def test_rule_on_a_layer(layer, rule):
    stored = parameters(reference("zennit_1_rules"), f"{layer}/")
    for own, key in zip(RULES[rule], (f"{rule}/R_x", f"{rule}/no_bias/R_x"), strict=True):
        composite = Composite((Assign(own, kinds=WEIGHTED_KINDS), Assign(rules.Pass(), kinds=("shift",))))
        out, found = relevance(lambda x: LAYERS[layer](x, stored), composite, stored["x"], stored["seed"])
        close(out, stored["z"])
        close(found, stored[key])


def test_gamma_without_bias_asks_for_the_sign_of_other_sums():
    """By hand: 2 - 1 = 1, and -2 with the bias of -3. Ours shares for a positive sum, zennit's for a negative one."""
    x, w, r = jnp.ones((1, 2)), jnp.array([[2.0], [-1.0]]), jnp.array([[1.0]])
    found = []
    for rule in (rules.Gamma(0.25, 0), GammaBySignOfOutput()):
        composite = Composite((Assign(rule, kinds=("dense",)), Assign(rules.Pass(), kinds=("shift",))))
        found.append(relevance(lambda x: x @ w + jnp.array([-3.0]), composite, x, r)[1][0])
    np.testing.assert_allclose(found[0], [2.5 / 1.5, -1 / 1.5], rtol=1e-12)
    np.testing.assert_allclose(found[1], [2 / 0.75, -1.25 / 0.75], rtol=1e-12)


# Networks.


def batch_norm(x, p, number):
    name = f"bn{number}"
    if f"{name}.weight" not in p:
        return x
    mean, var, w, b = (p[f"{name}.{key}"][:, None, None] for key in ("running_mean", "running_var", "weight", "bias"))
    return (x - mean) * (lax.rsqrt(var + 1e-5) * w) + b


def relu(x, p):
    """conv, conv, max pool, conv, mean, dense."""
    x = jax.nn.relu(batch_norm(convolution(x, p, "conv1.", padding=1), p, 1))
    x = jax.nn.relu(batch_norm(convolution(x, p, "conv2.", 2, 1), p, 2))
    x = lax.reduce_window(x, -jnp.inf, lax.max, (1, 1, 2, 2), (1, 1, 2, 2), "VALID")
    x = jax.nn.relu(batch_norm(convolution(x, p, "conv3.", padding=1), p, 3))
    return x.mean((2, 3)) @ p["fc.weight"].T + p["fc.bias"]


def gelu(x, p):
    """A convolution, a depthwise one and a pointwise one, with exact GELU, SiLU and exact GELU; mean, dense."""
    x = jax.nn.gelu(batch_norm(convolution(x, p, "conv0.", 2, 1), p, 0), approximate=False)
    x = jax.nn.silu(batch_norm(convolution(x, p, "conv1.", padding=1, feature_group_count=8), p, 1))
    x = jax.nn.gelu(batch_norm(convolution(x, p, "conv2."), p, 2), approximate=False)
    return x.mean((2, 3)) @ p["fc.weight"].T + p["fc.bias"]


@pytest.mark.long(but=["gelu_bn-True", "relu-False"])
@pytest.mark.parametrize("name", ["epsilon_plus", "epsilon_plus_flat", "epsilon_alpha2_beta1", "epsilon_gamma_box"])
@pytest.mark.parametrize(
    ("net", "fold"),
    [("relu", False), ("relu_bn", False), ("relu_bn", True), ("gelu", False), ("gelu_bn", False), ("gelu_bn", True)],
)
def test_composite_on_a_network(net, fold, name):
    stored = reference("zennit_1_networks")
    p = parameters(stored, f"{net}/param/")
    bounds = (LOW, HIGH) if name == "epsilon_gamma_box" else ()
    composite = getattr(xr.composites, name)(*bounds, eps=0, fold=fold)
    f = relu if net.startswith("relu") else gelu
    seed = jax.nn.one_hot(stored[f"{net}/target"], 10, dtype=jnp.float64)
    out, found = relevance(lambda x: f(x, p), composite, stored["x"], seed)
    close(out, stored[f"{net}/z"])
    close(found, stored[f"{net}/{name}/{'canonized/' if fold else ''}R_x"])
