"""Networks against what timm computes with the same weights, and what is asked of them besides."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from tests import oracle
from xrcam_jax.checkpoints.convert import from_timm
from xrcam_jax.marks import MARK_PRIMITIVE
from xrcam_jax.models import create_model, resnet

pytestmark = pytest.mark.long(one_in=3)

# Unoptimised code is compiled three times faster, and is as exact.
FAST = {"xla_backend_optimization_level": 0}
STAGES = ["layer1", "layer2", "layer3", "layer4"]
COUNTS = {
    "resnet18": 11_689_512,
    "resnet34": 21_797_672,
    "resnet50": 25_557_032,
    "resnet101": 44_549_160,
    "resnext50_32x4d": 25_028_904,
    "skresnet18": 11_958_056,
    "skresnet34": 22_282_376,
    "skresnext50_32x4d": 27_479_784,
}


@pytest.fixture
def stages(monkeypatch):
    """Catches the stages' outputs by name, from the latest pass of a model."""
    seen = {}

    def catch(x, name):
        seen[name] = x
        return x

    monkeypatch.setattr(resnet, "mark", catch)
    return seen


@pytest.fixture(scope="module")
def small():
    return from_timm("resnet18", oracle.seeded_state("resnet18"))


def normal(*shape):
    return np.random.default_rng(0).standard_normal(shape).astype(np.float32)


def run(model, x, outputs=lambda logits: logits):
    """Computes as users do: compiled, with parameters as arguments."""
    graph, state = nnx.split(model)
    return jax.jit(lambda state, x: outputs(nnx.merge(graph, state)(x)), compiler_options=FAST)(state, x)


def relative(found, expected):
    found = np.asarray(found, np.float64)
    return np.abs(found - expected).max() / np.abs(expected).max()


# Since compilation takes the time, each reference is met in at least one precision, and each precision by some network.
@pytest.mark.parametrize(("name", "num_classes"), oracle.REFERENCES[:3])
def test_float64_equals_timm_at_every_stage(name, num_classes, stages):
    expected = oracle.reference(name, num_classes)
    with jax.enable_x64(True):
        model = from_timm(name, oracle.seeded_state(name, num_classes), dtype=jnp.float64)
        logits, sums, means = run(
            model,
            oracle.images(),
            lambda logits: (
                logits,
                {stage: y.sum(axis=(1, 2, 3)) for stage, y in stages.items()},
                {stage: y.mean(axis=(1, 2)) for stage, y in stages.items()},
            ),
        )
    assert logits.dtype == np.float64
    assert relative(logits, expected["logits_f64"]) < 1e-10
    for stage in STAGES:
        np.testing.assert_allclose(means[stage], expected[f"{stage}_chmean"], rtol=1e-6, atol=1e-7)
        np.testing.assert_allclose(sums[stage], expected[f"{stage}_sum_f64"], rtol=1e-10)


@pytest.mark.parametrize(("name", "num_classes"), oracle.REFERENCES[1:2] + oracle.REFERENCES[3:])
def test_float32_equals_timm(name, num_classes):
    expected = oracle.reference(name, num_classes)
    logits = run(from_timm(name, oracle.seeded_state(name, num_classes)), oracle.images())
    assert logits.dtype == np.float32
    assert relative(logits, expected["logits_f64"]) < 1e-5
    np.testing.assert_array_equal(logits.argmax(axis=-1), expected["argmax"])


@pytest.mark.long
def test_bfloat16_is_close_and_keeps_exact_parameters():
    weights = oracle.seeded_state("skresnet18")
    exact, coarse = from_timm("skresnet18", weights), from_timm("skresnet18", weights, dtype=jnp.bfloat16)
    logits = run(coarse, oracle.images())
    assert logits.dtype == jnp.bfloat16
    assert relative(logits, np.asarray(run(exact, oracle.images()))) < 0.02
    for one, other in zip(*(jax.tree.leaves(nnx.state(model)) for model in (exact, coarse)), strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.long(but=["resnet18", "resnet50]", "skresnext50"])
@pytest.mark.parametrize("name", COUNTS)
def test_parameter_counts(name):
    parameters = nnx.state(nnx.eval_shape(lambda: create_model(name)), nnx.Param)
    assert sum(leaf.size for leaf in jax.tree.leaves(parameters)) == COUNTS[name]


@pytest.mark.parametrize(
    ("name", "size", "sides", "channels"),
    [
        ("skresnext50_32x4d", 230, (58, 29, 15, 8), (256, 512, 1024, 2048)),
        ("resnet50", 224, (56, 28, 14, 7), (256, 512, 1024, 2048)),
        ("skresnet18", 33, (9, 5, 3, 2), (64, 128, 256, 512)),
        ("resnet18", 32, (8, 4, 2, 1), (64, 128, 256, 512)),
    ],
)
def test_sides_and_channels_of_the_stages(name, size, sides, channels, stages):
    graph, state = nnx.split(nnx.eval_shape(lambda: create_model(name, num_classes=7)))
    x = jax.ShapeDtypeStruct((2, size, size, 3), jnp.float32)
    logits = jax.eval_shape(lambda state, x: nnx.merge(graph, state)(x), state, x)
    assert logits.shape == (2, 7)
    assert [stages[stage].shape for stage in STAGES] == [
        (2, side, side, features) for side, features in zip(sides, channels, strict=True)
    ]


def test_odd_and_oblong_pictures_run(small):
    logits = run(small, normal(1, 33, 47, 3))
    assert logits.shape == (1, 1000)
    assert np.isfinite(logits).all()


def test_pictures_do_not_see_each_other(small):
    x = normal(3, 32, 32, 3)
    np.testing.assert_allclose(run(small, x)[1:2], run(small, x[1:2]), atol=1e-5)


def test_every_stage_is_marked_once_after_a_relu(small):
    jaxpr = jax.make_jaxpr(lambda x: small(x))(jnp.ones((1, 32, 32, 3))).jaxpr
    marks = [equation for equation in jaxpr.eqns if equation.primitive.name == MARK_PRIMITIVE]
    assert [equation.params["name"] for equation in marks] == STAGES
    made_by = {equation.outvars[0]: equation for equation in jaxpr.eqns}
    for equation in marks:
        kept = made_by[equation.invars[0]]
        assert kept.params["name"] == "xrcam_jax.materialised"
        assert "relu" in str(made_by[kept.invars[0]])


def test_layers_are_named_in_profiles():
    graph, state = nnx.split(nnx.eval_shape(lambda: create_model("skresnet18")))
    x = jax.ShapeDtypeStruct((1, 32, 32, 3), jnp.float32)
    text = jax.jit(lambda state, x: nnx.merge(graph, state)(x)).lower(state, x).as_text(debug_info=True)
    for name in (
        "conv1/jit(xrcam_jax.grouped_conv)",
        "layer1/0/conv1/paths/1/jit(xrcam_jax.grouped_conv)",
        "layer2/0/downsample/jit(xrcam_jax.pointwise_conv)",
        "layer4/1/conv1/attn/fc_select/jit(xrcam_jax.pointwise_conv)",
        "layer4/1/conv2/jit(xrcam_jax.grouped_conv)",
        "fc/dot_general",
    ):
        assert f"/{name}" in text, name


def test_parameters_can_be_arguments():
    graph, state = nnx.split(nnx.eval_shape(lambda: create_model("skresnet18")))
    x = jax.ShapeDtypeStruct((1, 32, 32, 3), jnp.float32)
    closed = jax.make_jaxpr(lambda state, x: nnx.merge(graph, state)(x))(state, x)
    assert sum(np.size(constant) for constant in closed.consts) == 0


@pytest.mark.parametrize(("active", "draws"), [(True, 2 + 2 + 2 + 2), (False, 0)])
def test_dropout_is_after_each_block_and_off_at_inference(active, draws):
    model = nnx.eval_shape(lambda: create_model("resnet18", dropout_rate=0.1))
    if active:
        model.set_attributes(deterministic=False)
    graph, state = nnx.split(model)
    equations = jax.make_jaxpr(lambda state, x, key: nnx.merge(graph, state)(x, rngs=nnx.Rngs(dropout=key)))(
        state, jnp.ones((1, 32, 32, 3)), jax.random.key(0)
    ).eqns
    assert sum(equation.params.get("name") == "_bernoulli" for equation in equations) == draws


def test_dropout_passes_differ_and_can_be_repeated():
    model = from_timm("resnet18", oracle.seeded_state("resnet18"), dropout_rate=0.1)
    model.set_attributes(deterministic=False)
    graph, state = nnx.split(model)
    x = normal(1, 32, 32, 3)
    f = jax.jit(lambda key: nnx.merge(graph, state)(x, rngs=nnx.Rngs(dropout=key)), compiler_options=FAST)
    first, second = f(jax.random.key(1)), f(jax.random.key(2))
    assert not np.allclose(first, second)
    np.testing.assert_array_equal(first, f(jax.random.key(1)))
    # Norms still use their statistics, so a picture's logits do not depend on the rest of the batch.
    assert not any(norm.use_running_average is False for _, norm in nnx.iter_modules(model) if hasattr(norm, "var"))


def test_without_dropout_there_is_no_random_state(small):
    assert not jax.tree.leaves(nnx.state(small, nnx.RngState))


@pytest.mark.parametrize("training", [True, False])
def test_statistics_move_in_training_only(small, training):
    model = nnx.clone(small)
    model.set_attributes(use_running_average=not training)
    graph, state = nnx.split(model)

    @jax.jit
    def statistics(state, x):
        model = nnx.merge(graph, state)
        model(x)
        return nnx.state(model, nnx.BatchStat)

    moved = jax.tree.map(
        lambda old, new: bool((old != new).any()),
        nnx.state(model, nnx.BatchStat),
        statistics(state, normal(2, 32, 32, 3)),
    )
    assert set(jax.tree.leaves(moved)) == {training}


def test_seed_decides_the_weights():
    default, same, other = (
        create_model("resnet18_narrow", num_classes=5, **seed).layer3[1].conv2.conv.kernel[...]
        for seed in ({}, {"rngs": nnx.Rngs(0)}, {"rngs": nnx.Rngs(1)})
    )
    np.testing.assert_array_equal(default, same)
    assert not np.allclose(default, other)


def test_attributes_survive_split_and_merge(small):
    again = nnx.merge(*nnx.split(small))
    assert (again.name, again.num_classes, again.dtype) == ("resnet18", 1000, jnp.dtype("float32"))
    assert again.preprocessing.crop_pct == 0.95


@pytest.mark.parametrize("shape", [(32, 32, 3), (2, 3, 32, 32), (2, 32, 32, 1), (2, 32, 32, 3, 1), ()])
def test_wrong_pictures_are_refused(small, shape):
    with pytest.raises(ValueError, match=r"resnet18 takes .* \(batch, height, width, 3\), got \("):
        small(jnp.ones(shape))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"name": "resnet51"}, "did you mean 'resnet50'"),
        ({"num_classes": 0}, "num_classes has to be at least 1, got 0"),
        ({"dtype": jnp.int32}, "floating-point type, got int32"),
        ({"dtype": jnp.float64}, "float64 needs .*jax_enable_x64"),
    ],
)
def test_wrong_arguments_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        create_model(**{"name": "resnet18", **arguments})
