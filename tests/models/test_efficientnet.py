"""EfficientNet-Lite against what timm computes with the same weights, with either padding."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from tests import oracle
from xrcam_jax.checkpoints.convert import from_timm
from xrcam_jax.marks import MARK_PRIMITIVE
from xrcam_jax.models import EfficientNet, ResNet, create_model, efficientnet

pytestmark = pytest.mark.long(one_in=3)

# Unoptimised code is compiled three times faster, and is as exact.
FAST = {"xla_backend_optimization_level": 0}
LAYERS = ["layer1", "layer2", "layer3", "layer4"]
EITHER = pytest.mark.parametrize("name", oracle.MOBILE)


@pytest.fixture
def layers(monkeypatch):
    """Catches the marked values by name, from the latest pass of a model."""
    seen = {}

    def catch(x, name):
        seen[name] = x
        return x

    monkeypatch.setattr(efficientnet, "mark", catch)
    return seen


def relative(found, expected):
    found = np.asarray(found, np.float64)
    return np.abs(found - expected).max() / np.abs(expected).max()


def run(model, x, outputs=lambda logits: logits):
    graph, state = nnx.split(model)
    return jax.jit(lambda state, x: outputs(nnx.merge(graph, state)(x)), compiler_options=FAST)(state, x)


@EITHER
def test_float64_equals_timm_at_every_layer(name, layers):
    expected = oracle.reference(name)
    with jax.enable_x64(True):
        model = from_timm(name, oracle.seeded_state("efficientnet_lite0"), dtype=jnp.float64)
        logits, sums, means = run(
            model,
            oracle.images(),
            lambda logits: (
                logits,
                {layer: y.sum(axis=(1, 2, 3)) for layer, y in layers.items()},
                {layer: y.mean(axis=(1, 2)) for layer, y in layers.items()},
            ),
        )
    assert relative(logits, expected["logits_f64"]) < 1e-10
    assert list(layers) == LAYERS
    for layer in LAYERS:
        np.testing.assert_allclose(means[layer], expected[f"{layer}_chmean"], rtol=1e-6, atol=1e-7)
        np.testing.assert_allclose(sums[layer], expected[f"{layer}_sum_f64"], rtol=1e-10)


@EITHER
def test_float32_equals_timm(name):
    logits = run(from_timm(name, oracle.seeded_state("efficientnet_lite0")), oracle.images())
    assert logits.dtype == np.float32
    assert relative(logits, oracle.reference(name)["logits_f64"]) < 1e-5


def test_the_two_differ_though_their_tensors_do_not():
    one, other = (oracle.reference(name)["logits_f64"] for name in oracle.MOBILE)
    assert relative(one, other) > 0.1


@EITHER
def test_parameter_counts(name):
    parameters = nnx.state(nnx.eval_shape(lambda: create_model(name)), nnx.Param)
    assert sum(leaf.size for leaf in jax.tree.leaves(parameters)) == 4_652_008


@EITHER
@pytest.mark.parametrize(("size", "sides"), [(224, (56, 28, 14, 7)), (33, (9, 5, 3, 2))])
def test_sides_and_channels_of_the_layers(name, size, sides, layers):
    graph, state = nnx.split(nnx.eval_shape(lambda: create_model(name, num_classes=7)))
    x = jax.ShapeDtypeStruct((2, size, size, 3), jnp.float32)
    logits = jax.eval_shape(lambda state, x: nnx.merge(graph, state)(x), state, x)
    assert logits.shape == (2, 7)
    assert [layers[layer].shape for layer in LAYERS] == [
        (2, side, side, features) for side, features in zip(sides, (24, 40, 112, 1280), strict=True)
    ]


def test_layers_are_marked_once_and_named_in_profiles():
    graph, state = nnx.split(nnx.eval_shape(lambda: create_model("tf_efficientnet_lite0")))
    x = jax.ShapeDtypeStruct((1, 32, 32, 3), jnp.float32)
    equations = jax.make_jaxpr(lambda state, x: nnx.merge(graph, state)(x))(state, x).eqns
    marks = [equation.params["name"] for equation in equations if equation.primitive.name == MARK_PRIMITIVE]
    assert marks == LAYERS
    text = jax.jit(lambda state, x: nnx.merge(graph, state)(x)).lower(state, x).as_text(debug_info=True)
    for name in ("stem", "blocks/0/0/depthwise", "blocks/5/3/expand", "blocks/6/0/project", "head", "fc"):
        assert f"/{name}/" in text, name


@pytest.mark.parametrize(("active", "draws"), [(True, 16), (False, 0)])
def test_dropout_is_after_each_block_and_off_at_inference(active, draws):
    model = nnx.eval_shape(lambda: create_model("efficientnet_lite0", dropout_rate=0.1))
    if active:
        model.set_attributes(deterministic=False)
    graph, state = nnx.split(model)
    equations = jax.make_jaxpr(lambda state, x, key: nnx.merge(graph, state)(x, rngs=nnx.Rngs(dropout=key)))(
        state, jnp.ones((1, 32, 32, 3)), jax.random.key(0)
    ).eqns
    assert sum(equation.params.get("name") == "_bernoulli" for equation in equations) == draws


@pytest.mark.long
def test_kernels_start_with_the_variance_of_their_groups_outputs():
    block = create_model("efficientnet_lite0", num_classes=2).blocks[5][3]
    for unit, outputs in (("expand", 1152), ("depthwise", 5 * 5), ("project", 192)):
        kernel = np.asarray(getattr(block, unit).conv.kernel[...])
        np.testing.assert_allclose(kernel.var() * outputs, 2, rtol=0.05)


@pytest.mark.parametrize(("network", "name"), [(ResNet, "efficientnet_lite0"), (EfficientNet, "resnet18")])
def test_a_name_of_the_other_family_is_refused(network, name):
    with pytest.raises(ValueError, match=f"{name} is described by a .*Spec, and a .*Spec is needed"):
        network(name, num_classes=2, dropout_rate=0.0, dtype=jnp.float32, rngs=nnx.Rngs(0))


def test_wrong_pictures_are_refused():
    model = nnx.eval_shape(lambda: create_model("efficientnet_lite0"))
    with pytest.raises(
        ValueError, match=r"efficientnet_lite0 takes .* \(batch, height, width, 3\), got \(2, 3, 32, 32\)"
    ):
        model(jnp.ones((2, 3, 32, 32)))
