"""An Explainer as a function: its maps in order, equal where it does the same, and usable inside other programs."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import xrcam_jax as xr
from xrcam_jax.attribution.case import Case
from xrcam_jax.explain.again import explain_again, stacked_maps
from xrcam_jax.metrics.sensitivity import max_sensitivity

RANDOM = np.random.default_rng(0)
KERNELS = [RANDOM.normal(size=size).astype(np.float32) for size in ((2, 4), (4, 5), (5, 3))]
METHODS = ("grad_cam", "gradient_x_input", "occlusion+window=2+stride=2")


def model(images):
    first = xr.mark(jnp.maximum(images @ KERNELS[0], 0), "first")
    half = first.reshape(len(images), 3, 2, 3, 2, 4).mean((2, 4))
    return xr.mark(jnp.maximum(half @ KERNELS[1], 0), "second").mean((1, 2)) @ KERNELS[2]


@pytest.fixture(scope="module")
def images():
    return jnp.asarray(RANDOM.normal(size=(2, 6, 6, 2)), jnp.float32)


@pytest.fixture(scope="module")
def explainer():
    return xr.Explainer(model, METHODS, ["first", "second"])


@pytest.fixture(scope="module")
def e(explainer, images):
    return explainer(images, [0, 2])


def test_maps_come_method_by_method_and_layer_by_layer(explainer, e, images):
    found = explain_again(explainer)(images, explainer.parameters, jnp.array([[0], [2]]))
    wanted = [(method, layer) for method in METHODS for layer in e.maps[method]]
    assert len(wanted) > len(METHODS)
    np.testing.assert_allclose(found, np.stack([e.maps[method][layer] for method, layer in wanted]), atol=1e-6)
    np.testing.assert_array_equal(stacked_maps(e), np.stack([e.maps[m][layer] for m, layer in wanted]))
    few = explain_again(explainer, "grad_cam", "second")(images, explainer.parameters, jnp.array([[0], [2]]))
    np.testing.assert_allclose(few, e.maps["grad_cam"]["second"][None], atol=1e-6)


def test_raw_maps_are_signed_and_of_the_size_of_the_pictures(e):
    found = stacked_maps(e, ["gradient_x_input"], raw=True)
    np.testing.assert_array_equal(found[0], next(iter(e.raw["gradient_x_input"].values())))
    assert found.min() < 0
    assert stacked_maps(e, ["grad_cam"], ["second"], raw=True).shape == (1, 2, 6, 6)


def test_those_that_do_the_same_are_equal(explainer):
    def again(methods=METHODS, **options):
        return explain_again(xr.Explainer(model, methods, ["first", "second"], **options))

    assert again() == explain_again(explainer)
    assert hash(again()) == hash(explain_again(explainer))
    assert again() != again(METHODS[:2])
    assert again() != again((*METHODS[:2], "occlusion+window=3+stride=2"))
    assert again() != again(relu=False)
    assert again() != again(random_seed=1)
    assert again() != explain_again(explainer, layers="first")
    assert again() != explain_again(explainer, raw=True)
    assert again() != explain_again(explainer, shift=1.0)
    assert explain_again(explainer).explainer.parameters == ()


def test_metrics_explain_with_methods_of_one_pass_and_of_many(explainer, e, images):
    """The noise is drawn by hand, and each noisy version explained by itself."""
    case = Case(explainer._function, explainer.parameters, images, jnp.array([[0], [2]]), chunk_size=3)
    maps = stacked_maps(e)
    found = max_sensitivity(case, explain_again(explainer), maps, radius=0.1, nr_samples=3, relative_to="nothing")
    noisy = with_noise(images, 0.1, 3)
    distances = [np.asarray(stacked_maps(explainer(version, [0, 2])) - maps) for version in noisy]
    norms = np.sqrt((np.array(distances) ** 2).sum((-2, -1))).max(0)
    np.testing.assert_allclose(found, norms, rtol=1e-3, atol=1e-4)


def with_noise(images, radius, count):
    keys = [jax.random.fold_in(jax.random.key(0), i) for i in range(count)]
    return [images + radius * jax.random.uniform(key, images.shape[1:], minval=-1, maxval=1) for key in keys]


def test_wrong_arguments(explainer, images):
    with pytest.raises(ValueError, match="unknown method 'lrp'"):
        explain_again(explainer, ["lrp"])
    with pytest.raises(ValueError, match="needs an Explainer of classes; got one with a target of its own"):
        explain_again(xr.Explainer(model, "gradient", target=lambda logits: logits[:, 0]))
    with pytest.raises(ValueError, match="must be of one target for each picture; got 2"):
        stacked_maps(explainer(images, top_k=2))
