"""ShapleyCAM: Grad-CAM's weights, less what the gradient itself owes to the activation.

References:
  cai2025
"""

from typing import Literal

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, PyTree, Shaped

from xrcam_jax.attribution.case import Case, Function, onwards
from xrcam_jax.attribution.shapes import at_least_float32
from xrcam_jax.attribution.targets import over_targets, target_scores
from xrcam_jax.cam.saliency import over_space, places
from xrcam_jax.classes import softmax_logits
from xrcam_jax.runtime.compiling import compiled

Utility = Literal["rest", "logit", "probability"]


def shapley_cam(case: Case, layer: str, *, utility: Utility = "rest") -> Float[Array, "b t *one k"]:
    """Returns w_k = mean_p (G - H A / 2)_k, with G the gradient of the utility u and H its Hessian (cai2025).

    Shapley values say what each element of A adds to u, taken in any order; of the expansion of u to the second order,
    they are A (G - H A / 2). H A is computed by one more derivative of G, in the direction of A.

    A logit of a network that is piecewise linear from the layer on has no Hessian there: with it ShapleyCAM is
    Grad-CAM. The residual softmax target class (ReST), which the paper proposes, has one.

    Args:
      case: what is explained.
      layer: a mark.
      utility: u, with L_t the target's logit and p_t its probability: L_t + log p_t (``"rest"``), L_t (``"logit"``) or
        p_t (``"probability"``). The value of a target function is u itself.

    Raises:
      ValueError: there is no such mark, or ``utility`` is none of these.
      NotImplementedError: the mark is inside remat, scan or cond.

    Example:
      >>> import jax.numpy as jnp
      >>> import xrcam_jax as xr
      >>> from xrcam_jax.attribution.case import Case
      >>> from xrcam_jax.cam.shapley_cam import shapley_cam
      >>> model = lambda images, parameters: (xr.mark(images, "layer") ** 2).sum((1, 2))
      >>> case = Case(model, (), jnp.array([3.0, 1.0]).reshape(1, 1, 1, 2), jnp.array([[0]]))
      >>> shapley_cam(case, "layer", utility="logit").ravel().tolist()  # the square of 3 is 3 times 3
      [3.0, 0.0]

    References:
      cai2025, gildenblat2021
    """
    if utility not in ("rest", "logit", "probability"):
        raise ValueError(f"utility must be rest, logit or probability; got {utility!r}")
    a, rest = case.at(layer)
    given = case.images, case.parameters, case.targets, a, rest
    return _weights(*given, function=case.function, layer=layer, utility="logit" if case.of_value else utility)


@compiled(static=("function", "layer", "utility"))
def _weights(
    images: Shaped[Array, "b ..."],
    parameters: PyTree,
    targets: Int[Array, "b t"],
    a: Float[Array, "b *layer k"],
    rest: list[Array],
    *,
    function: Function,
    layer: str,
    utility: Utility,
) -> Float[Array, "b t *one k"]:
    tail = onwards(function, layer, images, parameters)

    def find(target: Int[Array, " b"]) -> Float[Array, "b *one k"]:
        gradient = jax.grad(lambda a: _utility(tail(a, rest), target, utility).sum())
        g, ha = map(at_least_float32, jax.jvp(gradient, (a,), (a,)))
        return over_space(g - ha / 2) / places(a)

    return over_targets(find, targets, axis=1)


def _utility(logits: Float[Array, "b n"], target: Int[Array, " b"], utility: Utility) -> Float[Array, " b"]:
    logit = target_scores(logits, target[:, None], "logit")[:, 0]
    if utility == "logit":
        return logit
    log_p = jnp.take_along_axis(jax.nn.log_softmax(softmax_logits(logits)), target[:, None], 1)[:, 0]
    return jnp.exp(log_p) if utility == "probability" else logit + log_p
