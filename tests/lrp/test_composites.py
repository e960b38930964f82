"""Composites against zennit's, on two small networks with biases, with and without batch norm."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

import xrcam_jax as xr
from tests import oracle
from xrcam_jax.lrp.assignments import Assign, Composite, Site
from xrcam_jax.lrp.protocol import KINDS, WEIGHTED_KINDS
from xrcam_jax.lrp.rules import Epsilon, Flat, Gate, Gradient, Pass, ZPlus

pytestmark = pytest.mark.long(one_in=3)


def small_cnn(x, p):
    """conv, conv, max pool, conv, mean, dense; a batch norm after each convolution if ``p`` has some."""

    def conv(x, name, stride):
        w = p[f"conv{name}.weight"].transpose(2, 3, 1, 0)
        z = lax.conv_general_dilated(
            x, w, (stride, stride), ((1, 1), (1, 1)), dimension_numbers=("NHWC", "HWIO", "NHWC")
        )
        z = z + p[f"conv{name}.bias"]
        if f"bn{name}.weight" in p:
            mean, var = p[f"bn{name}.running_mean"], p[f"bn{name}.running_var"]
            z = (z - mean) * (lax.rsqrt(var + 1e-5) * p[f"bn{name}.weight"]) + p[f"bn{name}.bias"]
        return jax.nn.relu(z)

    x = xr.mark(conv(x, 1, 1), "in_conv2")
    x = conv(x, 2, 2)
    x = lax.reduce_window(x, -jnp.inf, lax.max, (1, 2, 2, 1), (1, 2, 2, 1), "VALID")
    x = xr.mark(x, "in_conv3")
    x = conv(x, 3, 1).mean((1, 2))
    return x @ p["fc.weight"].T + p["fc.bias"]


@pytest.fixture(scope="module")
def reference():
    with np.load(oracle.DATA / "zennit_smallcnn.npz") as arrays:
        return dict(arrays)


def composite(name, reference, fold):
    bounds = [tuple(reference[bound].ravel().tolist()) for bound in ("low", "high")]
    make = getattr(xr.composites, name)
    return make(*bounds, fold=fold) if name == "epsilon_gamma_box" else make(fold=fold)


@pytest.mark.long(but=["bn"])
@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize(("net", "fold"), [("plain", False), ("bn", False), ("bn", True)])
@pytest.mark.parametrize("name", ["epsilon_plus", "epsilon_plus_flat", "epsilon_alpha2_beta1", "epsilon_gamma_box"])
def test_composite_equals_zennit(name, net, fold, reference):
    prefix = f"{net}/param/"
    p = {k.removeprefix(prefix): jnp.asarray(v, jnp.float64) for k, v in reference.items() if k.startswith(prefix)}
    x = jnp.asarray(reference["images"].transpose(0, 2, 3, 1), jnp.float64)
    seed = jax.nn.one_hot(reference[f"{net}/target_argmax"], 10, dtype=jnp.float64)
    rules = composite(name, reference, fold)
    logits, pullback = jax.vjp(lambda x: xr.lrp(small_cnn, rules)(x, p), x)
    np.testing.assert_allclose(logits, reference[f"{net}/logits_f64"], rtol=1e-10)
    key = f"{net}/{name}/{'canon' if fold else 'nocanon'}/argmax/"
    # zennit's merged batch norm keeps its own eps, which moves the folded network by 5e-6
    tolerance = 2e-5 if fold else 2e-7
    found = {"R_input": pullback(seed)[0]}
    found["R_in_conv2"] = xr.taps(small_cnn, rules, x, p, seed=seed).relevances["in_conv2"]
    for name_in_file, relevance in found.items():
        wanted = reference[key + name_in_file].transpose(0, 2, 3, 1)
        error = np.linalg.norm(np.asarray(relevance) - wanted) / np.linalg.norm(wanted)
        assert error < tolerance, (name_in_file, error)


SITE = Site("convolution", "conv_general_dilated", "layer1/0/conv2", "layer1", False, False, "model.py:1")


@pytest.mark.parametrize(
    ("assign", "fits"),
    [
        (Assign(Pass()), True),
        (Assign(Pass(), kinds=WEIGHTED_KINDS), True),
        (Assign(Pass(), kinds=("dense",)), False),
        (Assign(Pass(), name="layer1"), True),
        (Assign(Pass(), name="layer[23]"), False),
        (Assign(Pass(), name="*/conv2"), True),
        (Assign(Pass(), first=True), False),
        (Assign(Pass(), last=True), False),
        (Assign(Pass(), primitives=("dot_general", "conv_general_dilated")), True),
        (Assign(Pass(), primitives=("dot_general",)), False),
        (Assign(Pass(), kinds=("convolution",), primitives=("conv_general_dilated",)), True),
        (Assign(Pass(), kinds=("dense",), primitives=("conv_general_dilated",)), False),
    ],
)
def test_assignment_by_kind_name_depth_and_primitive(assign, fits):
    assert assign.fits(SITE) is fits


def test_the_first_assignment_that_fits_wins():
    own = Composite((Assign(Flat(), name="layer1"), Assign(ZPlus(), kinds=WEIGHTED_KINDS)), default=Gradient())
    assert own.rule(SITE) == Flat()
    assert own.rule(Site("dense", "dot_general", "fc", "output", False, True, "")) == ZPlus()
    assert own.rule(Site("add", "add", "", "output", False, True, "")) == Gradient()


def test_a_rule_for_relus_leaves_other_activations_their_derivative():
    """A ReLU's primitive is that of its body, however it is written."""
    own = Composite((Assign(Pass(), kinds=("activation",), primitives=("max",)),), default=Gradient())
    x = jnp.array([-1.0, 0.5])
    for relu in (jax.nn.relu, lambda x: jnp.maximum(x, 0)):
        np.testing.assert_array_equal(jax.vjp(xr.lrp(relu, own), x)[1](jnp.array([2.0, 3.0]))[0], [2, 3])
    slope = jax.vjp(xr.lrp(jnp.tanh, own), x)[1](jnp.ones(2))[0]
    np.testing.assert_allclose(slope, 1 / np.cosh([-1.0, 0.5]) ** 2, rtol=1e-6)


def test_first_and_last_layer():
    def net(x, a, b, c):
        return jax.nn.relu(jax.nn.relu(x @ a) @ b) @ c

    keys = jax.random.split(jax.random.key(0), 4)
    x, *weights = (jax.random.normal(k, s) for k, s in zip(keys, [(2, 3), (3, 4), (4, 5), (5, 2)], strict=True))
    own = Composite(
        (
            Assign(Flat(), kinds=WEIGHTED_KINDS, first=True),
            Assign(Epsilon(), kinds=WEIGHTED_KINDS, last=True),
            Assign(ZPlus(), kinds=WEIGHTED_KINDS),
            Assign(Pass(), kinds=("activation",)),
        )
    )
    report = xr.conservation(net, own, x, *weights, seed=jnp.ones((2, 2)))
    assert [(s.first, s.last) for s, _ in report.operations if s.kind == "dense"] == [
        (False, True),
        (False, False),
        (True, False),
    ]
    # flat: what reaches the inputs of an example is the same for each of them
    relevance = jax.vjp(lambda x: xr.lrp(net, own)(x, *weights), x)[1](jnp.ones((2, 2)))[0]
    np.testing.assert_allclose(relevance, np.broadcast_to(np.asarray(relevance)[:, :1], (2, 3)), rtol=1e-6)


def test_unknown_options_are_refused():
    with pytest.raises(ValueError, match="gate must be one of signal, published, half; got 'other'"):
        xr.composites.relevance_cam(gate="other")
    with pytest.raises(ValueError, match="batch_norm must be one of pass, alpha_beta, fold; got 'other'"):
        xr.composites.relevance_cam(batch_norm="other")
    with pytest.raises(ValueError, match=f"kinds must be among {KINDS[0]}"):
        Assign(Pass(), kinds=("convolutions",))
    with pytest.raises(TypeError, match=r"assignments must be a tuple of Assign, got Assign\(rule=Pass\(\)"):
        Composite(Assign(Pass()))


def test_a_rule_that_does_not_fit_is_refused():
    own = Composite((Assign(Gate(), kinds=("activation",)),), default=Gradient())
    with pytest.raises(ValueError, match=r"Gate.*cannot be used for kind 'activation'"):
        xr.lrp(jax.nn.relu, own)(jnp.ones(3))


def test_a_list_of_assignments_is_refused_because_no_program_could_be_kept_by_it():
    with pytest.raises(TypeError, match="assignments must be a tuple of Assign, got \\["):
        Composite([Assign(xr.rules.Pass())])


def test_kinds_in_one_text_are_refused():
    with pytest.raises(ValueError, match=r"kinds must be several kinds, such as \('dense',\); got the text 'dense'"):
        Assign(xr.rules.Pass(), kinds="dense")
