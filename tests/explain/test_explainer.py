"""The Explainer: against pytorch-grad-cam, and what it promises of shapes, targets, models and errors."""

import jax
import jax.numpy as jnp
import networks
import numpy as np
import oracle
import pytest

import xrcam_jax as xr
from weights_convert.convert import from_timm

METHODS = ("xrelevance_cam", "relevance_cam", "grad_cam")


def reference(name, classes):
    with np.load(oracle.DATA / f"cam_{name}_nc{classes}.npz") as arrays:
        return dict(arrays)


@pytest.mark.parametrize(("name", "classes"), [("resnet50", 1000), ("skresnext50_32x4d", 2)])
def test_grad_cam_is_that_of_pytorch_grad_cam(name, classes, float64):
    model = from_timm(name, oracle.seeded_state(name, classes), dtype=jnp.float64)
    wanted = reference(name, classes)
    explain = xr.Explainer(model, "grad_cam")
    images = oracle.images().astype(np.float64)
    both = explain(images, np.stack([wanted["argmax"], wanted["other"]], axis=1))
    for t, target in enumerate(("argmax", "other")):
        for layer, maps in both.maps["grad_cam"].items():
            np.testing.assert_allclose(maps[:, t], wanted[f"gradcam_{layer}_{target}_final"], atol=1e-5)
            raw = wanted[f"gradcam_{layer}_{target}_raw"]
            np.testing.assert_allclose(both.raw["grad_cam"][layer][:, t], raw, atol=1e-6 * np.abs(raw).max())
    np.testing.assert_array_equal(both.logits.argmax(1), wanted["argmax"])
    if "gradcam_all4_argmax_final" in wanted:
        # The library divides by max + 1e-7, which weighs layers of small values down a little.
        np.testing.assert_allclose(both.aggregate("grad_cam")[:, 0], wanted["gradcam_all4_argmax_final"], atol=5e-4)


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
    assert list(e.maps) == sorted(METHODS)
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
    one_by_one = jax.vmap(lambda image: explain(image[None]))(jnp.asarray(images))
    leaves_close(jax.tree.map(lambda a: a[:, 0], one_by_one.raw), batched.raw)
    leaves_close(jax.jit(explain)(jnp.asarray(images)).raw, batched.raw)


def test_compiled_once_per_shape(small):
    model, images = small
    explain = xr.Explainer(model)
    explain(images)
    explain(images + 1)
    assert explain._compiled._cache_size() == 1


def test_a_linen_model_and_a_function_go_in_too():
    f, (variables,), x = networks.functions()["linen"]
    bound = networks.Linen().bind(variables)
    leaves_close(xr.Explainer(bound, METHODS)(x).raw, xr.Explainer(lambda x: f(x, variables), METHODS)(x).raw)
    with pytest.raises(TypeError, match=r"give module\.bind\(variables\)"):
        xr.Explainer(networks.Linen())


def test_a_model_in_training_mode_is_explained_at_inference_and_left_alone():
    model = xr.create_model("resnet18", num_classes=3, dropout_rate=0.5)
    images = oracle.seeded_images(0, 1, 32)
    wanted = xr.Explainer(model, layers=["layer4"])(images)
    model.train()
    leaves_close(xr.Explainer(model, layers=["layer4"])(images).raw, wanted.raw)
    assert not model.dropout.deterministic


@pytest.mark.parametrize("picture", ["black", "constant", "saturated", "noise"])
def test_nothing_is_nan(picture, small):
    shape = (2, 8, 8, 3)
    images = {
        "black": np.zeros(shape),
        "constant": np.full(shape, 0.3),
        "saturated": np.full(shape, 1e4),
        "noise": np.random.default_rng(0).standard_normal(shape),
    }[picture].astype(np.float32)
    e = xr.Explainer(small[0], METHODS)(images)
    assert all(bool(jnp.isfinite(leaf).all()) for leaf in jax.tree.leaves((e.maps, e.raw)))


def test_bfloat16_maps_resemble_those_in_float32():
    state = oracle.seeded_state("resnet18")
    images = oracle.seeded_images(0, 2, 64)
    targets = np.array([1, 2])
    full, half = (
        xr.Explainer(from_timm("resnet18", state, dtype=dtype), ("xrelevance_cam", "grad_cam"))(images, targets)
        for dtype in (jnp.float32, jnp.bfloat16)
    )
    for method, layer in (("grad_cam", "layer3"), ("xrelevance_cam", "layer3")):
        a, b = (np.asarray(e.raw[method][layer], np.float64).ravel() for e in (full, half))
        assert np.corrcoef(a, b)[0, 1] > 0.9, (method, layer)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"images": np.zeros((8, 8, 3), np.float32)}, r"images must be a floating-point batch \(b, h, w, c\)"),
        ({"images": np.zeros((1, 8, 8, 3), np.uint8)}, "got uint8"),
        ({"images": np.full((2, 8, 8, 3), np.nan, np.float32)}, r"found NaN or infinity in images \[0, 1\]"),
        ({"targets": [0, 1]}, r"targets must be integers of shape \(3,\)"),
        ({"targets": [0, 1, 5]}, "targets must be classes 0 to 4, found 5"),
        ({"targets": [0, -1, 2]}, "found -1"),
        ({"targets": [0.0, 1.0, 2.0]}, "got float64"),
        ({"top_k": 6}, "top_k must be between 1 and the number of classes, 5; got 6"),
        ({"targets": [0, 1, 2], "top_k": 2}, "not both"),
        ({"methods": ["grad_cm"]}, "unknown method 'grad_cm'; did you mean 'grad_cam'"),
        ({"layers": ["frist"]}, "unknown mark 'frist'; did you mean 'first'"),
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
