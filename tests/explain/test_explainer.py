"""The Explainer: what it promises of shapes, targets, models and errors."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import xrcam_jax as xr
from tests import oracle
from tests.lrp import networks
from xrcam_jax.checkpoints.convert import from_timm

METHODS = ("xrelevance_cam", "relevance_cam", "grad_cam")


@pytest.fixture(scope="module")
def small():
    """A Flax model of the user's own, marked at two layers, and images for it."""
    return networks.Nnx(), np.asarray(networks.images(4, batch=3))


def leaves_close(a, b, tolerance=1e-4):
    jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, rtol=0, atol=tolerance * (1 + np.abs(y).max())), a, b)


def test_what_comes_out(small):
    model, images = small
    e = xr.Explainer(model, METHODS)(images)
    assert e.logits.shape == (3, 5)
    np.testing.assert_array_equal(e.targets, e.logits.argmax(1))
    assert tuple(e.maps) == tuple(e.raw) == METHODS
    for by_layer in e.maps.values():
        assert list(by_layer) == ["first", "second"]
        for maps in by_layer.values():
            assert maps.shape == (3, 8, 8)
            assert isinstance(maps, jax.Array)
            assert float(maps.min()) >= 0
            assert float(maps.max()) <= 1 + 1e-6
    raw = e.raw["xrelevance_cam"]["second"]
    assert raw.shape == (3, 2, 2)
    # the seed is 1 and -1/5: what conserves sums to 1/5
    np.testing.assert_allclose(raw.sum((1, 2)), 0.2, rtol=1e-3)
    assert e.aggregate("grad_cam", ["second"]).shape == (3, 8, 8)
    leaves_close(e.aggregate("grad_cam", ["second"]), e.maps["grad_cam"]["second"])


def test_several_targets_are_what_one_by_one_gives(small):
    model, images = small
    explain = xr.Explainer(model, METHODS)
    top = explain(images, top_k=3)
    assert top.maps["grad_cam"]["first"].shape == (3, 3, 8, 8)
    np.testing.assert_array_equal(top.targets, np.argsort(-np.asarray(top.logits), axis=1)[:, :3])
    for t in range(3):
        single = explain(images, np.asarray(top.targets)[:, t])
        leaves_close(jax.tree.map(lambda a, t=t: a[:, t], top.raw), single.raw)
    assert top.aggregate("grad_cam").shape == (3, 3, 8, 8)


def test_vmapped_per_image_equals_batched(small):
    model, images = small
    explain = xr.Explainer(model, METHODS)
    batched = explain(images)
    one_by_one = jax.jit(jax.vmap(lambda image: explain(image[None])))(jnp.asarray(images))
    leaves_close(jax.tree.map(lambda a: a[:, 0], one_by_one.raw), batched.raw)
    leaves_close(jax.jit(explain)(jnp.asarray(images)).raw, batched.raw)


def test_compiled_once_per_shape_for_all_models_of_a_kind():
    traces = []

    class Counted(networks.Nnx):
        def __call__(self, x):
            traces.append(x.shape)
            return super().__call__(x)

    images = np.asarray(networks.images(4, batch=3))
    first = xr.Explainer(Counted())(images)
    before = len(traces)
    xr.Explainer(Counted())(images)
    other = xr.Explainer(Counted(nnx.Rngs(1)))(images)
    assert len(traces) == before
    assert float(jnp.abs(first.logits - other.logits).max()) > 1e-3


def test_a_plain_function_is_traced_once_per_shape(small):
    model, images = small
    traces = []

    def network(x):
        traces.append(x.shape)
        return model(x)

    explain = xr.Explainer(network)
    explain(images)
    before = len(traces)
    explain(images + 1)
    xr.Explainer(network)(images)
    assert len(traces) == before
    explain(images[:1])
    assert len(traces) > before
    assert set(traces[before:]) == {(1, 8, 8, 3)}


def test_methods_and_layers_come_in_the_order_in_which_they_were_asked_for(small):
    model, images = small
    methods = ("relevance_cam", "occlusion", "grad_cam", "gradient")
    options = {"occlusion": {"window": 4, "stride": 4}}
    e = xr.Explainer(model, methods, ["second", "input", "first"], options=options)(images)
    for found in (e.maps, e.raw):
        assert tuple(found) == methods
        assert tuple(found["relevance_cam"]) == ("second", "first")
        assert tuple(found["gradient"]) == ("second", "input", "first")


def test_options_in_the_place_of_methods_are_not_lost():
    with pytest.raises(TypeError, match="methods: expected names, got a mapping of grad_cam; see options="):
        xr.Explainer(lambda images: images.sum((1, 2)), {"grad_cam": {"seed": xr.seeds.one_hot}})


def test_a_linen_model_and_a_function_go_in_too():
    f, (variables,), x = networks.functions()["linen"]
    bound = networks.Linen().bind(variables)
    leaves_close(xr.Explainer(bound, METHODS)(x).raw, xr.Explainer(lambda x: f(x, variables), METHODS)(x).raw)
    with pytest.raises(TypeError, match=r"give module\.bind\(variables\)"):
        xr.Explainer(networks.Linen())


def test_a_model_in_training_mode_is_explained_at_inference_and_left_alone():
    model = xr.create_model("resnet18_narrow", num_classes=3, dropout_rate=0.5)
    images = oracle.seeded_images(0, 1, 32)
    wanted = xr.Explainer(model, layers=["layer4"])(images)
    model.train()
    leaves_close(xr.Explainer(model, layers=["layer4"])(images).raw, wanted.raw)
    assert not model.dropout.deterministic


@pytest.mark.long
def test_bfloat16_maps_resemble_those_in_float32():
    state = oracle.seeded_state("resnet18")
    images = oracle.seeded_images(0, 2, 64)
    targets = np.array([1, 2])

    def explained(dtype):
        explain = xr.Explainer(from_timm("resnet18", state, dtype=dtype), ("xrelevance_cam", "grad_cam"), "layer3")
        # Unlike most networks here this one takes longer to run than to optimise.
        run = jax.jit(explain.explain, compiler_options={"xla_backend_optimization_level": 2})
        return run(explain.parameters, images, targets)

    full, half = explained(jnp.float32), explained(jnp.bfloat16)
    for method, layer in (("grad_cam", "layer3"), ("xrelevance_cam", "layer3")):
        a, b = (np.asarray(e.raw[method][layer], np.float64).ravel() for e in (full, half))
        assert np.corrcoef(a, b)[0, 1] > 0.9, (method, layer)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"images": np.zeros((8, 8, 3), np.float32)}, r"does not take images of shape \(8, 8, 3\), but images\[None\]"),
        ({"images": np.zeros((1, 8, 8, 3), np.uint8)}, "got uint8"),
        ({"images": np.full((2, 8, 8, 3), np.nan, np.float32)}, r"found NaN or infinity in images \[0, 1\]"),
        ({"targets": [0, 1]}, r"targets must be integers of shape \(3,\)"),
        ({"targets": [0, 1, 5]}, "targets must be classes 0 to 4, found 5"),
        ({"targets": [0, -1, 2]}, "found -1"),
        ({"targets": [0.0, 1.0, 2.0]}, "got float64"),
        ({"top_k": 6}, "top_k must be a whole number between 1 and the number of classes, 5; got 6"),
        ({"targets": [0, 1, 2], "top_k": 2}, "not both"),
        ({"methods": ["grad_cm"]}, "unknown method 'grad_cm'; did you mean 'grad_cam'"),
        ({"layers": ["frist"]}, "unknown layer 'frist'; did you mean 'first'"),
    ],
)
def test_bad_arguments_are_named_before_anything_is_compiled(change, message, small):
    call = {"images": small[1], **change}
    made = {key: call.pop(key) for key in ("methods", "layers") if key in call}
    with pytest.raises(ValueError, match=message):
        xr.Explainer(small[0], **made)(**call)


def test_what_was_not_computed_is_named(small):
    e = xr.Explainer(small[0])(small[1])
    with pytest.raises(ValueError, match="unknown method 'grad_cam'; known: xrelevance_cam"):
        e.aggregate("grad_cam")
    with pytest.raises(ValueError, match="unknown layer 'third'"):
        e.aggregate("xrelevance_cam", ["first", "third"])
    with pytest.raises(ValueError, match=r"layer 'flat' must be \(b, h, w, k\)"):
        xr.Explainer(lambda x: xr.mark(x.mean((1, 2)), "flat") @ jnp.ones((3, 2)))(small[1])
    with pytest.raises(ValueError, match="no marked layers"):
        xr.Explainer(lambda x: x.mean((1, 2)))(small[1])


class Unmarked(nnx.Module):
    """Two convolutions, of which nobody has marked anything."""

    def __init__(self):
        rngs = nnx.Rngs(0)
        self.stem = nnx.Conv(3, 4, (3, 3), rngs=rngs)
        self.blocks = nnx.List([nnx.Conv(4, 4, (3, 3), rngs=rngs) for _ in range(2)])
        self.head = nnx.Linear(4, 5, rngs=rngs)

    def __call__(self, x, mark=lambda x, name: x):
        x = mark(nnx.relu(self.stem(x)), "max")
        x = nnx.max_pool(x, (2, 2), (2, 2))
        for i, each in enumerate(self.blocks):
            x = mark(each(x), f"blocks/{i}")
        x = mark(nnx.relu(x), "max:2")
        return self.head(x.mean((1, 2)))


@pytest.fixture(scope="module")
def unmarked():
    """A network without marks, the same with marks at some places, and images."""
    model = Unmarked()
    return model, lambda x: model(x, mark=xr.mark), np.asarray(networks.images(5, batch=2))


MANY = ("xrelevance_cam", "grad_cam", "ablation_cam", "integrated_gradients")
FEW = {"integrated_gradients": {"steps": 2}}


def test_a_model_without_marks_is_explained_at_layers_by_name(unmarked):
    model, marked, images = unmarked
    names = ["max", "blocks/0", "blocks/1"]
    wanted = xr.Explainer(marked, MANY, names, options=FEW)(images)
    found = xr.Explainer(model, MANY, ["max", "blocks/*"], options=FEW)(images)
    assert [list(found.raw[method]) for method in MANY] == [names] * len(MANY)
    leaves_close(found.raw, wanted.raw, 1e-5)
    leaves_close(found.maps, wanted.maps, 1e-4)


def test_a_model_without_marks_is_explained_at_the_last_layer_of_each_size_and_says_so(unmarked):
    model, marked, images = unmarked
    said = r"the last one of each size is taken: 'max' \(2, 8, 8, 4\), 'max:2' \(2, 4, 4, 4\); give layers="
    with pytest.warns(UserWarning, match=said):
        e = xr.Explainer(model, ("grad_cam", "lrp"))(images)
    assert list(e.raw["grad_cam"]) == ["max", "max:2"]
    leaves_close(e.raw["grad_cam"], xr.Explainer(marked, "grad_cam", ["max", "max:2"])(images).raw["grad_cam"])
    # A method that works at the input works there.
    assert list(e.raw["lrp"]) == ["input"]


def test_layers_that_are_not_there_are_named(unmarked):
    model, _, images = unmarked
    with pytest.raises(ValueError, match="unknown layer 'block/0'; did you mean 'blocks/0'"):
        xr.Explainer(model, "grad_cam", ["block/0"])(images)
    with pytest.raises(ValueError, match=r"layer 'head' must be \(b, h, w, k\) for a class activation map"):
        xr.Explainer(model, "grad_cam", ["head"])(images)
    with pytest.raises(ValueError, match="grad_cam needs a layer of activations, not the input"):
        xr.Explainer(model, "grad_cam", ["input"])(images)
    with pytest.raises(ValueError, match="cam is defined for a layer that only global pooling"):
        xr.Explainer(model, "cam", ["blocks/*"])(images)
    assert list(xr.Explainer(model, "cam", ["max:2", "max"])(images).raw["cam"]) == ["max:2"]


@pytest.mark.long
def test_marks_in_a_scan_are_layers():
    kernels = jax.random.normal(jax.random.key(0), (3, 3, 3, 3, 3)) / 5

    def convolve(x, w):
        return jax.lax.conv_general_dilated(x, w, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC"))

    def scanned(x):
        x, _ = jax.lax.scan(lambda x, w: (xr.mark(jax.nn.relu(convolve(x, w)), "block"), None), x, kernels)
        return x.mean((1, 2))

    def written_out(x):
        for i, w in enumerate(kernels):
            x = xr.mark(jax.nn.relu(convolve(x, w)), f"block/{i}")
        return x.mean((1, 2))

    images = np.asarray(networks.images(6))
    methods = ("xrelevance_cam", "ablation_cam")
    found = xr.Explainer(scanned, methods)(images)
    assert list(found.raw["ablation_cam"]) == ["block/0", "block/1", "block/2"]
    leaves_close(found.raw, xr.Explainer(written_out, methods)(images).raw)
    one = xr.Explainer(scanned, methods, "block/1")(images)
    leaves_close(one.raw["xrelevance_cam"], {"block/1": found.raw["xrelevance_cam"]["block/1"]})


@pytest.mark.parametrize("none", [[], ()])
def test_at_least_one_layer_is_named(none):
    with pytest.raises(ValueError, match="layers: expected at least one name, got none"):
        xr.Explainer(lambda x: x.mean((1, 2)), layers=none)
