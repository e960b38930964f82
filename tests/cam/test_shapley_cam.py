"""ShapleyCAM against Hessians written out, and against Grad-CAM where there is none."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import xrcam_jax as xr
from xrcam_jax.attribution.case import Case
from xrcam_jax.cam.shapley_cam import shapley_cam

pytestmark = pytest.mark.usefixtures("float64")
TARGETS = np.array([[0, 2], [1, 0]])


def tail(a, head):
    return jnp.tanh(a.mean((1, 2))) @ head


def setting(outputs=3):
    rng = np.random.default_rng(0)
    head = jnp.asarray(rng.standard_normal((4, outputs)))
    return (lambda x, head: tail(xr.mark(x, "here"), head)), head, jnp.asarray(rng.standard_normal((2, 2, 3, 4)))


def utility_by_hand(logits, target, utility):
    if len(logits) == 1:
        logit, p = (2 * target - 1) * logits[0], jax.nn.sigmoid((2 * target - 1) * logits[0])
    else:
        logit, p = logits[target], jax.nn.softmax(logits)[target]
    return {"logit": logit, "probability": p, "rest": logit + jnp.log(p)}[utility]


@pytest.mark.parametrize(("utility", "outputs"), [("rest", 3), ("logit", 3), ("probability", 3), ("rest", 1)])
def test_weights_are_the_mean_gradient_less_half_the_hessian_times_the_activation(utility, outputs):
    model, head, a = setting(outputs)
    targets = np.minimum(TARGETS, outputs)
    found = shapley_cam(Case(model, head, a, jnp.asarray(targets)), "here", utility=utility)

    @jax.jit
    def by_hand(flat, target):
        u = lambda flat: utility_by_hand(tail(flat.reshape(1, 2, 3, 4), head)[0], target, utility)  # noqa: E731
        return (jax.grad(u)(flat) - jax.hessian(u)(flat) @ flat / 2).reshape(6, 4).mean(0)

    for i, t in np.ndindex(2, 2):
        wanted = by_hand(a[i].ravel(), int(targets[i, t]))
        np.testing.assert_allclose(found[i, t, 0, 0], wanted, rtol=1e-10, atol=1e-14)


def test_the_logit_of_a_piecewise_linear_network_gives_grad_cam():
    _, head, a = setting()
    model = lambda x: jax.nn.relu(xr.mark(x, "here") - 0.1).max((1, 2)) @ head  # noqa: E731
    e = xr.Explainer(model, ("grad_cam", "shapley_cam"), options={"shapley_cam": {"utility": "logit"}})(a)
    np.testing.assert_allclose(e.raw["shapley_cam"]["here"], e.raw["grad_cam"]["here"], rtol=1e-12)


def test_the_value_of_a_target_function_is_the_utility():
    model, head, a = setting()
    found = xr.attribute(lambda x: model(x, head), a, "shapley_cam", target=lambda y: y[:, 1] ** 2).raw["shapley_cam"]
    squared = lambda x, head: jnp.stack([model(x, head)[:, 1] ** 2] * 2, axis=1)  # noqa: E731
    wanted = shapley_cam(Case(squared, head, a, jnp.zeros((2, 1), jnp.int32)), "here", utility="logit")
    np.testing.assert_allclose(found["here"], (a * wanted[:, 0]).sum(-1), rtol=1e-10)
