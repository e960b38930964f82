"""Networks of other pooling, activation, stride and channels compute what timm's do."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import xrcam_jax as xr
from tests import oracle
from xrcam_jax.checkpoints.convert import flat_state, from_timm, timm_tensors
from xrcam_jax.explain.functional import as_function
from xrcam_jax.explain.outline import layers_of
from xrcam_jax.models.mobile_specs import MobileSpec, MobileStage
from xrcam_jax.models.specs import SPECS, SelectiveKernelSpec, Spec
from xrcam_jax.models.variant import ACTIVATIONS, Variant, stage_strides
from xrcam_jax.pictures.preprocessing import Preprocessing

pytestmark = pytest.mark.long(one_in=3)

STAGES = (
    MobileStage(1, 3, 1, 1, 8),
    MobileStage(2, 3, 2, 2, 8),
    MobileStage(1, 5, 2, 2, 8),
    MobileStage(2, 3, 2, 2, 16),
    MobileStage(1, 5, 1, 2, 16),
    MobileStage(2, 5, 2, 2, 16),
    MobileStage(1, 3, 1, 2, 24),
)
BASIC = Spec((1, 1, 2, 1), False, None, Preprocessing(), planes=8)
KERNEL = SelectiveKernelSpec(reduction=8, divisor=8, split_input=True)
FAMILIES = {
    "basic": BASIC,
    "bottleneck": replace(BASIC, bottleneck=True),
    "selective": replace(BASIC, selective_kernel=KERNEL),
    "mobile": MobileSpec(STAGES, False, "", Preprocessing()),
    "tensorflow": MobileSpec(STAGES, True, "", Preprocessing()),
}
#: The networks of ``tests/references/make_variants.py``.
NETWORKS = {
    "max": ("basic", Variant(global_pool="max")),
    "avgmax": ("basic", Variant(global_pool="avgmax", act_layer="gelu")),
    "catavgmax": ("basic", Variant(global_pool="catavgmax", act_layer="leaky_relu")),
    "silu": ("bottleneck", Variant(act_layer="silu", output_stride=16)),
    "stride8": ("basic", Variant(output_stride=8)),
    "selective": ("selective", Variant(output_stride=8, act_layer="elu")),
    "grey": ("basic", Variant(in_channels=1)),
    "mobile": ("mobile", Variant("catavgmax", "silu", 8, 1)),
    "mobile_tensorflow": ("tensorflow", Variant(global_pool="max", output_stride=16)),
}


def seed_of(out):
    return xr.seeds.one_hot(out, jnp.argmax(out, -1))


@pytest.fixture(scope="module", autouse=True)
def families():
    with pytest.MonkeyPatch.context() as patch:
        for name, spec in FAMILIES.items():
            patch.setitem(SPECS, name, spec)
        yield


@pytest.fixture(scope="module")
def references():
    with np.load(oracle.DATA / "variants.npz") as arrays:
        return dict(arrays)


def drawn(name):
    """One of the networks with drawn weights, and its pictures."""
    family, variant = NETWORKS[name]
    shapes = flat_state(nnx.eval_shape(lambda: xr.create_model(family, num_classes=5, **vars(variant))))
    tensors = timm_tensors(family, {path: np.zeros(leaf.shape, np.float32) for path, leaf in shapes.items()})
    weights = oracle.drawn({key: tensor.shape for key, tensor in tensors.items()})
    return from_timm(family, weights, variant=variant), oracle.seeded_images(3, 2, 64)[..., : variant.in_channels]


@pytest.mark.parametrize("name", NETWORKS)
def test_logits_are_timms(name, references):
    model, images = drawn(name)
    np.testing.assert_allclose(jax.jit(model)(images), references[name], rtol=2e-4, atol=2e-5)


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_activations_are_timms(name, references):
    values = ACTIVATIONS[name](jnp.linspace(-6, 6, 49))
    np.testing.assert_allclose(values, references[f"activation/{name}"], rtol=1e-5, atol=1e-6)


@pytest.mark.long(but=["catavgmax"])
@pytest.mark.parametrize("name", ["catavgmax", "silu"])
def test_relevance_is_conserved(name, mixed):
    """Of a logit's relevance, what is not dropped where z = 0 arrives at the last layer."""
    f, parameters = as_function(drawn(name)[0])
    images = jnp.asarray(oracle.seeded_images(3, 1, 32))
    report = xr.conservation(f, xr.composites.relevance_cam(), images, parameters, seed=seed_of, marks=["layer4"])
    assert report.stages["output"].arrived == pytest.approx(float(report.seed), rel=1e-5)
    assert report.stages["output"].relative_rest < 1e-5
    assert report.stages["output"].passed_on == pytest.approx(float(report.seed), rel=1e-3)


def test_a_maximum_over_all_places_takes_the_relevance_there():
    model, images = drawn("max")
    taps = jax.jit(lambda x: xr.taps(model, xr.composites.relevance_cam(), x, seed=seed_of))(images)
    activation, relevance = (np.asarray(found["layer4"]) for found in (taps.activations, taps.relevances))
    elsewhere = activation < activation.max((1, 2), keepdims=True)
    assert (relevance[elsewhere] == 0).all()
    assert (relevance != 0).any()


@pytest.mark.parametrize(("name", "fits"), [("catavgmax", False), ("max", False), ("stride8", True)])
def test_cam_asks_for_pooling_by_the_mean_alone(name, fits):
    f, parameters = as_function(drawn(name)[0])
    images, kind = jax.ShapeDtypeStruct((1, 32, 32, 3), jnp.float32), xr.METHODS["cam"].kind
    if fits:
        assert layers_of("cam", kind, ["layer4"], f, images, parameters) == ("layer4",)
    else:
        with pytest.raises(ValueError, match="cam is defined for a layer that only global pooling"):
            layers_of("cam", kind, ["layer4"], f, images, parameters)


@pytest.mark.long
def test_methods_explain_grey_networks(mixed):
    model, images = drawn("grey")
    options = {"lime": {"samples": 10}}
    e = xr.Explainer(model, ("xrelevance_cam", "lime"), ("layer4",), options=options)(images[:1, :32, :32])
    for maps in e.maps.values():
        assert all(np.isfinite(found).all() and found.shape == (1, 32, 32) for found in maps.values())


def test_strides_become_dilations():
    assert stage_strides((1, 2, 2, 2), 4, 32) == [(1, 1, 1), (2, 1, 1), (2, 1, 1), (2, 1, 1)]
    assert stage_strides((1, 2, 2, 2), 4, 8) == [(1, 1, 1), (2, 1, 1), (1, 1, 2), (1, 2, 4)]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"global_pool": ""}, "global_pool: '' is none of avg, max, avgmax, catavgmax"),
        ({"act_layer": "prelu"}, "unknown act_layer 'prelu'; did you mean 'relu'"),
        ({"output_stride": 4}, "output_stride: 4 is none of 32, 16, 8"),
        ({"in_channels": True}, "in_channels: True is none of 3, 1"),
        ({"in_channels": 4}, "in_channels: 4 is none of 3, 1"),
    ],
)
def test_other_values_are_refused_by_name(options, message):
    with pytest.raises(ValueError, match=message):
        xr.create_model("basic", **options)


def test_pictures_of_other_channels_are_refused():
    model, images = drawn("grey")
    assert model.preprocessing.channels == 1
    with pytest.raises(ValueError, match=r"\(batch, height, width, 1\), got \(2, 64, 64, 3\)"):
        model(images.repeat(3, axis=-1))
