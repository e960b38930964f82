"""Integrated Grad-CAM, Smooth Grad-CAM++ and LIFT-CAM against loops over the same network in two halves."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

import xrcam_jax as xr
from xrcam_jax.attribution.case import Case
from xrcam_jax.cam import weights
from xrcam_jax.cam.path_cams import integrated_grad_cam, lift_cam, smooth_grad_cam_pp

pytestmark = pytest.mark.long(one_in=3)

TARGETS = np.array([[2, 0], [1, 1]])
METHODS = [integrated_grad_cam, smooth_grad_cam_pp, lift_cam]


def normal(seed, *shape):
    return np.random.default_rng(seed).standard_normal(shape)


def head(images, p):
    z = lax.conv_general_dilated(images, p["kernel"], (2, 2), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC"))
    return jax.nn.relu(z + p["bias"])


def tail(a, p):
    """Three dense layers behind unequal weights for the places."""
    pooled = (a * p["places"][:, :, None]).sum((1, 2))
    return jax.nn.relu(pooled @ p["first"] + p["shift"]) @ p["second"]


def network(images, p):
    return tail(xr.mark(head(images, p), "layer"), p)


def pooling_network(images, p):
    return xr.mark(head(images, p), "layer").mean((1, 2)) @ p["linear"] + 1


def parameters():
    shapes = {"kernel": (3, 3, 3, 4), "bias": (4,), "places": (3, 4), "first": (4, 6), "shift": (6,), "second": (6, 3)}
    return {name: normal(i, *shape) for i, (name, shape) in enumerate(shapes.items())} | {"linear": normal(9, 4, 3)}


def case(images, function=network, targets=TARGETS, p=None, **options):
    p = parameters() if p is None else p
    return Case(function, jax.tree.map(jnp.asarray, p), jnp.asarray(images), jnp.asarray(targets), **options)


def images():
    return normal(20, 2, 6, 8, 3)


def halves(image, target):
    """Activation and gradient of one image."""
    p = parameters()
    a = head(jnp.asarray(image)[None], p)[0]
    return np.asarray(a), np.asarray(jax.grad(lambda a: tail(a[None], p)[0, target])(a))


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("baseline", [0.0, normal(21, 2, 6, 8, 3)])
@pytest.mark.parametrize("steps", [1, 5])
def test_integrated_grad_cam_is_the_loop_over_the_path(steps, baseline):
    x, start = images(), np.broadcast_to(baseline, (2, 6, 8, 3))
    found = integrated_grad_cam(case(x, chunk_size=2), "layer", baseline=baseline, steps=steps)
    for b, t in np.ndindex(2, 2):
        a0, _ = halves(start[b], TARGETS[b, t])
        wanted = np.zeros((3, 4))
        for i in range(1, steps + 1):
            a, g = halves(start[b] + i / steps * (x[b] - start[b]), TARGETS[b, t])
            wanted += np.maximum((g.mean((0, 1)) * (a - a0)).sum(-1), 0) / steps
        np.testing.assert_allclose(found[b, t], wanted, atol=1e-12)
    assert np.abs(found).max() > 0.1


@pytest.mark.usefixtures("float64")
def test_without_noise_smooth_grad_cam_pp_is_grad_cam_pp():
    found = smooth_grad_cam_pp(case(images(), chunk_size=2), "layer", samples=3, noise=0.0)
    for b, t in np.ndindex(2, 2):
        a, g = (jnp.asarray(each)[None] for each in halves(images()[b], TARGETS[b, t]))
        wanted = (np.asarray(weights.grad_cam_pp(a, g)) * a).sum(-1)[0]
        np.testing.assert_allclose(found[b, t], wanted, atol=1e-12)
    assert np.abs(found).max() > 0.1


@pytest.mark.usefixtures("float64")
def test_smooth_grad_cam_pp_averages_the_powers_of_the_gradient_over_noise():
    x, samples, noise, eps = images(), 4, 0.3, 1e-3
    found = smooth_grad_cam_pp(case(x, random_seed=5), "layer", samples=samples, noise=noise, eps=eps)
    draws = [jax.random.normal(jax.random.fold_in(jax.random.key(5), i), x.shape, x.dtype) for i in range(samples)]
    for b, t in np.ndindex(2, 2):
        spread = noise * (x[b].max() - x[b].min())
        each = np.stack([halves(x[b] + spread * np.asarray(d)[b], TARGETS[b, t])[1] for d in draws])
        g, g2, g3 = ((each**power).mean(0) for power in (1, 2, 3))
        a, _ = halves(x[b], TARGETS[b, t])
        wanted = np.zeros((3, 4))
        for k in range(4):
            alpha = g2[..., k] / (2 * g2[..., k] + a[..., k].sum() * g3[..., k] + eps) * (g[..., k] != 0)
            wanted += (alpha * np.maximum(g[..., k], 0)).sum() * a[..., k]
        np.testing.assert_allclose(found[b, t], wanted, atol=1e-11)
    other = smooth_grad_cam_pp(case(x, random_seed=6), "layer", samples=samples, noise=noise, eps=eps)
    assert np.abs(other - found).max() > 1e-4


@pytest.mark.usefixtures("float64")
def test_behind_pooling_and_a_linear_layer_lift_cam_weighs_by_gradient_times_activation():
    found = lift_cam(case(images(), pooling_network), "layer")
    p = parameters()
    a = np.asarray(head(jnp.asarray(images()), p))
    for b, t in np.ndindex(2, 2):
        weight = p["linear"][:, TARGETS[b, t]] / 12 * a[b].sum((0, 1))
        np.testing.assert_allclose(found[b, t], a[b] @ weight, atol=1e-12)


@pytest.mark.usefixtures("float64")
def test_lift_cam_weighs_by_the_rescale_rule_from_zero_on():
    found = lift_cam(case(images()), "layer")
    p = parameters()
    a = np.asarray(head(jnp.asarray(images()), p))
    for b, t in np.ndindex(2, 2):
        z = (a[b] * p["places"][:, :, None]).sum((0, 1)) @ p["first"] + p["shift"]
        slopes = (np.maximum(z, 0) - np.maximum(p["shift"], 0)) / (z - p["shift"])
        by_pooled = p["first"] @ (slopes * p["second"][:, TARGETS[b, t]])
        weight = (a[b] * p["places"][:, :, None] * by_pooled).sum((0, 1))
        np.testing.assert_allclose(
            weight.sum(),
            np.maximum(z, 0) @ p["second"][:, TARGETS[b, t]]
            - np.maximum(p["shift"], 0) @ p["second"][:, TARGETS[b, t]],
            atol=1e-11,
        )
        np.testing.assert_allclose(found[b, t], a[b] @ weight, atol=1e-11)


@pytest.mark.parametrize(("method", "option"), [(integrated_grad_cam, "steps"), (smooth_grad_cam_pp, "samples")])
def test_none_of_them_is_refused(method, option):
    with pytest.raises(ValueError, match=f"{option} must be at least 1; got 0"):
        method(case(np.zeros((2, 6, 8, 3))), "layer", **{option: 0})


def test_a_baseline_of_another_shape_is_refused():
    with pytest.raises(ValueError, match=r"baseline must be .* shape \(5,\) does not fit images \(2, 6, 8, 3\)"):
        integrated_grad_cam(case(np.zeros((2, 6, 8, 3))), "layer", baseline=np.zeros(5))


def test_lift_cam_knows_its_rules_for_max_pooling():
    with pytest.raises(ValueError, match="max_pool must be rescale or gradient; got 'max'"):
        lift_cam(case(np.zeros((2, 6, 8, 3))), "layer", max_pool="max")


@pytest.mark.parametrize("method", METHODS)
def test_extreme_images_have_finite_maps(method):
    some = np.where(normal(30, 6, 8, 3) > 0, 1e4, 0)
    x = np.stack([np.full((6, 8, 3), v) for v in (0, 0.3, 1e4)] + [some]).astype(np.float32)
    p = jax.tree.map(np.float32, parameters())
    for bias in (p["bias"], p["bias"] - 1e6):
        # with a dead layer too
        found = method(case(x, targets=np.tile([0, 2], (4, 1)), p=p | {"bias": bias}), "layer")
        assert found.shape == (4, 2, 3, 4)
        assert found.dtype == np.float32
        assert np.isfinite(found).all()
    np.testing.assert_array_equal(found, 0)


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("method", METHODS)
def test_inside_jit_it_is_the_same(method):
    inside = jax.jit(lambda p, x, t: method(Case(network, p, x, t), "layer"))(parameters(), images(), TARGETS)
    np.testing.assert_allclose(inside, method(case(images()), "layer"), atol=1e-11)


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("method", [partial(integrated_grad_cam, steps=5), partial(smooth_grad_cam_pp, samples=5)])
def test_chunks_change_nothing(method):
    found = [np.asarray(method(case(images(), chunk_size=size), "layer")) for size in (1, 2, 5)]
    np.testing.assert_allclose(found[1], found[0], atol=1e-12)
    np.testing.assert_allclose(found[2], found[0], atol=1e-12)
