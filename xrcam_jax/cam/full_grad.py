"""FullGrad: what the input and all biases of a model contribute to a logit.

References:
  srinivas2019
"""

from itertools import compress
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, PyTree, Shaped

from xrcam_jax.attribution.asked import explained_flags
from xrcam_jax.attribution.case import Case, Function
from xrcam_jax.attribution.shapes import at_least_float32
from xrcam_jax.attribution.targets import over_targets, target_scores
from xrcam_jax.cam.saliency import Size, min_max, upsample
from xrcam_jax.lrp import seeds
from xrcam_jax.lrp.biases import Biased, tap_biases
from xrcam_jax.lrp.program import trace
from xrcam_jax.lrp.transform import is_floating
from xrcam_jax.runtime.compiling import compiled


class FullGradients(NamedTuple):
    """Holds what each element of the input and of each bias contributes to the targets' logits.

    Attributes:
      inputs: of the images, and of other inputs that are explained with them, the gradient times the value.
      biases: of each operation with a bias, the gradient at its output times the bias, from the input up.
      error: completeness error, the logit minus the sum of all of these.
    """

    inputs: tuple[Float[Array, "b t *_input"], ...]
    biases: tuple[Float[Array, "b t *_layer"], ...]
    error: Float[Array, "b t"]


class FullGrad(NamedTuple):
    """Holds FullGrad's maps, and what they leave out.

    Attributes:
      maps: at least 0, as large as the images.
      error: completeness error of the :class:`FullGradients` that they are made of.
    """

    maps: Float[Array, "b t *space"]
    error: Float[Array, "b t"]


def full_gradients(case: Case) -> FullGradients:
    """Returns ∇_x f ⊙ x and ∇_b f ⊙ b for all biases b, which sum to the logit f (srinivas2019).

    Batch norm at inference has the bias β - μ γ / σ, and any other operation the one that is implicit in it, see
    :mod:`xrcam_jax.lrp.biases`: so the sum holds whatever the model is made of.

    Args:
      case: what is explained.

    Example:
      >>> import jax
      >>> import jax.numpy as jnp
      >>> from xrcam_jax.attribution.case import Case
      >>> from xrcam_jax.cam.full_grad import full_gradients
      >>> model = lambda images, b: jax.nn.relu(3 * images + b).sum((1, 2))
      >>> image = jnp.array([1.0, -2.0]).reshape(1, 1, 2, 1)
      >>> found = full_gradients(Case(model, jnp.float32(4), image, jnp.array([[1]])))
      >>> found.inputs[0].ravel().tolist(), found.biases[0].ravel().tolist(), found.error.tolist()
      ([3.0, -0.0], [4.0, 0.0], [[0.0]])

    References:
      srinivas2019
    """
    return _full_gradients(case.images, case.parameters, case.targets, function=case.function)


def full_grad(case: Case, *, rescale: Literal["channel", "layer"] = "channel") -> FullGrad:
    """Returns ψ(∇_x f ⊙ x) + sum_b ψ(∇_b f ⊙ b), over the channels and layers of the biases (srinivas2019).

    ψ takes the absolute value, scales it to [0, 1] and enlarges it to the size of the images. Of
    :func:`full_gradients` those terms count that have places, as the biases of convolutions and of batch norm have and
    those of dense layers have not. Where they lie is found by following the convolutions, whatever the order of axes.

    The paper has ψ of each channel c of a layer, and so has gildenblat2021; the authors' code scales all channels of a
    layer together. gildenblat2021 leaves implicit biases of other functions than batch norm out, of which ReLU
    networks have none.

    Args:
      case: what is explained.
      rescale: what is scaled to [0, 1] together: each ``"channel"``, or all channels of a ``"layer"``.

    Returns:
      Maps >= 0, and by how much the terms miss the logit.

    Raises:
      ValueError: ``rescale`` is none of these.

    Example:
      >>> import jax
      >>> import jax.numpy as jnp
      >>> from xrcam_jax.attribution.case import Case
      >>> from xrcam_jax.cam.full_grad import full_grad
      >>> model = lambda images, b: jax.nn.relu(3 * images + b).sum((1, 2))
      >>> case = Case(model, jnp.float32(4), jnp.array([1.0, 2.0, -2.0]).reshape(1, 1, 3, 1), jnp.array([[1]]))
      >>> full_grad(case).maps.ravel().tolist()  # the input's 1/2, 1 and 0, and the bias's 1, 1 and 0
      [1.5, 2.0, 0.0]

    References:
      srinivas2019, gildenblat2021
    """
    if rescale not in ("channel", "layer"):
        raise ValueError(f"rescale must be channel or layer; got {rescale!r}")
    return _full_grad(case.images, case.parameters, case.targets, function=case.function, together=rescale == "layer")


@compiled(static=("function",))
def _full_gradients(
    images: Shaped[Array, "b ..."], parameters: PyTree, targets: Int[Array, "b t"], *, function: Function
) -> FullGradients:
    found, inputs = _biased(images, parameters, function)
    return over_targets(lambda target: _terms(found, inputs, target), targets, axis=1)


@compiled(static=("function", "together"))
def _full_grad(
    images: Shaped[Array, "b ..."],
    parameters: PyTree,
    targets: Int[Array, "b t"],
    *,
    function: Function,
    together: bool,
) -> FullGrad:
    found, inputs = _biased(images, parameters, function)
    size = images.shape[1:-1]

    def find(target: Int[Array, " b"]) -> FullGrad:
        terms = _terms(found, inputs, target)
        pairs = zip(terms.biases, found.orders, strict=True)
        with_places = [a.transpose(order) for a, order in pairs if order and len(order) == a.ndim == images.ndim]
        shown = [_shown(a, size, together) for a in (terms.inputs[0], *with_places)]
        return FullGrad(sum(shown[1:], start=shown[0]), terms.error)

    return over_targets(find, targets, axis=1)


def _biased(images: Shaped[Array, "b ..."], parameters: PyTree, function: Function) -> tuple[Biased, list[Array]]:
    """Returns the model with its biases, and the inputs that are explained."""
    closed, _ = trace(function, images, parameters)
    explained, values = explained_flags(images, parameters), jax.tree.leaves((images, parameters))
    inputs = [value for value in compress(values, explained) if is_floating(value)]
    return tap_biases(closed, explained, values), inputs


def _terms(found: Biased, inputs: list[Array], target: Int[Array, " b"]) -> FullGradients:
    logits = found.outputs[0]
    at_inputs, at_biases = found.pullback([seeds.unit(logits, target)])
    of_inputs, of_biases = (
        tuple(at_least_float32(g) * at_least_float32(a) for g, a in zip(gradients, values, strict=True))
        for gradients, values in ((at_inputs, inputs), (at_biases, found.biases))
    )
    total = sum(a.sum(range(1, a.ndim)) for a in (*of_inputs, *of_biases))
    score = at_least_float32(target_scores(logits, target[:, None], "logit")[:, 0])
    return FullGradients(of_inputs, of_biases, score - total)


def _shown(term: Float[Array, "b *layer c"], size: Size, together: bool) -> Float[Array, "b *space"]:
    """Returns the sum of ψ over the channels."""
    strength, dimensions = jnp.abs(term), term.ndim - 2
    if together:
        scaled = min_max(strength, dimensions + 1).sum(-1)
    else:
        scaled = min_max(jnp.moveaxis(strength, -1, 1), dimensions).sum(1)
    return upsample(scaled, size)
