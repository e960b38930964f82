"""EfficientNet, MobileNetV3, DenseNet and VGG against what timm computes with the same weights."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import xrcam_jax as xr
from tests import oracle
from tests.models import narrow as stand_ins
from tests.models.narrow import narrow  # noqa: F401
from xrcam_jax.checkpoints.convert import from_timm, to_timm
from xrcam_jax.checkpoints.load import load_model
from xrcam_jax.checkpoints.save import save_orbax, save_timm
from xrcam_jax.checkpoints.unwrap import unwrapped
from xrcam_jax.checkpoints.verify import digest
from xrcam_jax.marks import MARK_PRIMITIVE
from xrcam_jax.models import create_model
from xrcam_jax.models.mobile_specs import MobileSpec
from xrcam_jax.models.specs import find_spec
from xrcam_jax.models.variant import PLAIN, Variant

pytestmark = pytest.mark.long(one_in=3)

# Unoptimised code is compiled three times faster, and is as exact.
FAST = {"xla_backend_optimization_level": 0}
#: Networks of ``tests/references/make_convnets.py`` that do not repeat another: stand-in, side of pictures, variant.
NARROW = {
    "vgg_large": ("vgg_narrow", 256, Variant("avgmax")),
    "vgg_bn": ("vgg_bn_narrow", 72, Variant("catavgmax", in_channels=1)),
    "densenet_variant": ("densenet_narrow", 64, Variant("max", "silu", in_channels=1)),
    "efficientnet_variant": ("efficientnet_narrow", 64, Variant("catavgmax", "gelu", 16)),
    "mobilenetv3_variant": ("mobilenetv3_narrow", 64, Variant("catavgmax", "silu", in_channels=1)),
    "mobilenetv3_tensorflow": ("mobilenetv3_tensorflow", 64, PLAIN),
}
PLAIN_ONES = ("vgg_bn_narrow", "densenet_narrow", "efficientnet_narrow", "mobilenetv3_narrow")
LAYERS = ["layer1", "layer2", "layer3", "layer4"]
#: Methods of one pass, of each kind; all of them are asked of one network.
FEW = ("xrelevance_cam", "relevance_cam", "grad_cam", "lrp")
ALL = tuple(name for name, method in xr.METHODS.items() if method.kind.single_pass and not method.kind.needs_attention)


def relative(found, expected):
    return np.abs(np.asarray(found, np.float64) - expected).max() / np.abs(expected).max()


def logits(model, images):
    graph, state = nnx.split(model)
    return jax.jit(lambda state, x: nnx.merge(graph, state)(x), compiler_options=FAST)(state, images)


def traced(name, side):
    """The equations of a network's forward pass."""
    graph, state = nnx.split(nnx.eval_shape(lambda: create_model(name)))
    x = jax.ShapeDtypeStruct((1, side, side, 3), jnp.float32)
    return jax.make_jaxpr(lambda state, x: nnx.merge(graph, state)(x))(state, x).eqns


# The weights of VGG would take longer to draw than all other tests here to run: a narrow one stands for it below.
@pytest.mark.long(but=["mobilenetv3"])
@pytest.mark.parametrize("name", ["efficientnet_b0", "mobilenetv3_small_100", "densenet121"])
def test_float32_equals_timm(name):
    found = logits(from_timm(name, oracle.model_state(name, 1000)), oracle.images())
    assert found.dtype == jnp.float32
    assert relative(found, oracle.reference(name)["logits_f64"]) < 1e-5


def test_float64_equals_timm():
    name = "mobilenetv3_large_100"
    with jax.enable_x64(True):
        found = logits(from_timm(name, oracle.model_state(name, 1000), dtype=jnp.float64), oracle.images())
    assert relative(found, oracle.reference(name)["logits_f64"]) < 1e-10


@pytest.mark.parametrize("name", NARROW)
def test_narrow_networks_and_their_variants_equal_timms(name):
    stand_in, side, variant = NARROW[name]
    with np.load(oracle.DATA / "convnets.npz") as arrays, jax.enable_x64(True):
        images = oracle.seeded_images(3, 2, side)[..., : variant.in_channels].astype(np.float64)
        found = logits(stand_ins.model(stand_in, variant, dtype=jnp.float64), images)
        assert relative(found, arrays[name]) < 1e-10


# Those of the networks above are: nothing else would load.
@pytest.mark.parametrize("name", ["vgg16", "vgg16_bn"])
def test_keys_and_shapes_are_timms(name):
    assert stand_ins.shapes(name, 1000) == oracle.manifest(name)


@pytest.mark.parametrize(
    ("name", "stem", "head", "features", "blocks"),
    [
        ("efficientnet_b1", 32, 1280, (16, 24, 40, 80, 112, 192, 320), (2, 3, 3, 4, 4, 5, 2)),
        ("efficientnet_b3", 40, 1536, (24, 32, 48, 96, 136, 232, 384), (2, 3, 3, 5, 5, 6, 2)),
        ("tf_efficientnet_b7", 64, 2560, (32, 48, 80, 160, 224, 384, 640), (4, 7, 7, 10, 10, 13, 4)),
    ],
)
def test_larger_ones_are_scaled_as_timms(name, stem, head, features, blocks):
    spec = find_spec(name)
    assert isinstance(spec, MobileSpec)
    assert (spec.stem, spec.head) == (stem, head)
    assert tuple(stage.features for stage in spec.stages) == features
    assert tuple(stage.blocks for stage in spec.stages) == blocks


@pytest.mark.parametrize("name", PLAIN_ONES)
@pytest.mark.parametrize("save", [save_timm, save_orbax])
def test_checkpoints_come_back_to_the_bit(name, save, tmp_path):
    variant = Variant("catavgmax", in_channels=1)
    weights = stand_ins.weights(name, variant)
    path = tmp_path / ("model.safetensors" if save is save_timm else "model")
    save(from_timm(name, weights, variant=variant), path)
    back = load_model(name, path)
    assert digest(to_timm(back)) == digest(weights)
    assert (back.variant, back.preprocessing.channels) == (variant, 1)


@pytest.mark.parametrize("name", PLAIN_ONES)
def test_a_network_is_found_among_what_a_script_saved(name):
    weights = stand_ins.weights(name)
    saved = {f"model.module.{key}": tensor for key, tensor in weights.items()} | {"loss.scale": np.ones(1, np.float32)}
    found, notes = unwrapped(saved)
    assert digest(found) == digest(weights)
    assert notes == ["'model.module.' was taken off the names", "left out: loss"]


@pytest.mark.parametrize("name", PLAIN_ONES)
def test_layers_have_the_sides_that_their_names_say(name):
    equations = [equation for equation in traced(name, 224) if equation.primitive.name == MARK_PRIMITIVE]
    assert [equation.params["name"] for equation in equations] == LAYERS
    assert [equation.outvars[0].aval.shape[1] for equation in equations] == [56, 28, 14, 7]


def test_what_is_before_vggs_last_maximum_has_timms_name():
    layers = xr.layers(stand_ins.model("vgg_narrow"), jax.ShapeDtypeStruct((1, 64, 64, 3), jnp.float32))
    # Two numbers for each of the six convolutions, one for each of the four maxima before.
    assert [turn.layer.shape for turn in layers.select("features/15").values()] == [(1, 4, 4, 16)]


@pytest.mark.parametrize(
    ("name", "draws"),
    [("vgg_narrow", 2), ("densenet_narrow", 7), ("efficientnet_narrow", 6), ("mobilenetv3_narrow", 6)],
)
def test_dropout_is_where_the_class_says(name, draws):
    model = nnx.eval_shape(lambda: create_model(name, dropout_rate=0.1))
    model.set_attributes(deterministic=False)
    graph, state = nnx.split(model)
    equations = jax.make_jaxpr(lambda state, x, key: nnx.merge(graph, state)(x, rngs=nnx.Rngs(dropout=key)))(
        state, jnp.ones((1, 32, 32, 3)), jax.random.key(0)
    ).eqns
    assert str(equations).count("name=_bernoulli") == draws


def seed_of(out):
    return xr.seeds.one_hot(out, jnp.argmax(out, -1))


@pytest.mark.parametrize("name", ["vgg_bn_narrow", "mobilenetv3_narrow"])
def test_relevance_is_conserved(name):
    """With the rule "flat" all that is put at the logit arrives at each layer."""
    model, images = stand_ins.model(name), oracle.seeded_images(3, 1, 32)
    taps = jax.jit(lambda x: xr.taps(model, xr.composites.relevance_cam(zero="flat"), x, seed=seed_of))(images)
    sums = [np.asarray(taps.relevances[layer], np.float64).sum() for layer in LAYERS]
    np.testing.assert_allclose(sums, np.asarray(taps.output).max(), rtol=1e-5)


@pytest.mark.parametrize("name", ["densenet_narrow", "mobilenetv3_narrow"])
def test_methods_of_one_pass_explain_it(name, mixed):
    wanted = ALL if name == "densenet_narrow" else FEW
    layers = ("layer4",) if "cam" in wanted else LAYERS
    e = xr.Explainer(stand_ins.model(name), wanted, layers)(oracle.seeded_images(3, 1, 64))
    for method in wanted:
        for layer, maps in e.maps[method].items():
            assert maps.shape == (1, 64, 64)
            assert np.isfinite(maps).all()
            assert 0 <= float(maps.min()) <= float(maps.max()) <= 1
            # A map of four places may have no positive one.
            assert np.abs(e.raw[method][layer]).max() > 0


@pytest.mark.parametrize("name", ["vgg_narrow", "mobilenetv3_narrow"])
def test_cam_is_refused_where_a_head_follows_the_pooling(name):
    with pytest.raises(ValueError, match="cam is defined for a layer that only global pooling"):
        xr.attribute(stand_ins.model(name), oracle.seeded_images(3, 1, 32), "cam", layers=["layer4"])


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("vgg16", {"output_stride": 16}, "output_stride: vgg16 comes with 32 only, got 16"),
        ("vgg16", {"act_layer": "silu"}, "act_layer: vgg16 comes with None only, got 'silu'"),
        ("densenet121", {"output_stride": 8}, "output_stride: densenet121 comes with 32 only, got 8"),
        ("mobilenetv3_large_100", {"output_stride": 8}, "output_stride: mobilenetv3_large_100 comes with 32 only"),
    ],
)
def test_what_timm_does_not_vary_is_refused_by_name(name, options, message):
    with pytest.raises(ValueError, match=message):
        create_model(name, **options)


def test_pictures_that_vanish_are_refused():
    with pytest.raises(ValueError, match="vgg16 takes pictures of 32 x 32 pixels or more"):
        nnx.eval_shape(lambda: create_model("vgg16"))(jnp.ones((1, 31, 64, 3)))
