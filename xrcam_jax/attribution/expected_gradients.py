"""Expected gradients: integrated gradients whose baselines are pictures, so that no single one has to be chosen.

References:
  erion2021
"""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, PyTree, Shaped

from xrcam_jax.attribution.asked import is_ids
from xrcam_jax.attribution.case import Case, Function, activation_at, versions_onwards
from xrcam_jax.attribution.chunks import bytes_of_gradient, summed
from xrcam_jax.attribution.gradients import Contributions, gradients_at, with_error
from xrcam_jax.attribution.scores import Index, changed_scores, intact_scores
from xrcam_jax.runtime.compiling import compiled


def expected_gradients(
    case: Case,
    layer: str,
    *,
    samples: int = 200,
    reference: Shaped[Array | np.ndarray, "n ..."] | None = None,
) -> Contributions:
    """Returns the mean of (x - x⁰) ∇f(x⁰ + α (x - x⁰)) over pictures x⁰ and α in [0, 1] (erion2021, eq. 3).

    Contributions sum to f(x) less its mean over the pictures that were drawn; the error says by how much they miss
    that. All images get the same draws. They are stratified, which changes no mean and makes it surer: each picture is
    drawn as often as any other, give or take once, and its α come from as many equal parts of [0, 1], one from each.

    Args:
      case: what is explained.
      layer: a mark, or ``"input"``. At a mark, x and x⁰ are its activations, and f is the model from there on.
      samples: draws, at least 1.
      reference: preprocessed pictures like the images, from which x⁰ is drawn. By default those that are explained
        together, itself among them; of one alone x⁰ is 0, as of integrated gradients.

    Raises:
      ValueError: no samples, or a reference of none or of other pictures than the images.

    Example:
      >>> import jax.numpy as jnp
      >>> from xrcam_jax.attribution.case import Case
      >>> from xrcam_jax.attribution.expected_gradients import expected_gradients
      >>> model = lambda images, parameters: images.sum((1, 2, 3))[:, None]
      >>> case = Case(model, (), jnp.array([1.0, 2.0]).reshape(1, 1, 2, 1), jnp.array([[1]]))
      >>> known = jnp.array([[0.0, 2.0], [2.0, -2.0]]).reshape(2, 1, 2, 1)
      >>> expected_gradients(case, "input", samples=4, reference=known).values.ravel().tolist()
      [0.0, 2.0]

    References:
      erion2021
    """
    if samples < 1:
        raise ValueError(f"samples must be at least 1; got {samples}")
    known = _known(case, reference)
    drawn = min(samples, len(known))
    pictures, alphas = _draws(case.random_seed, samples, len(known))
    known = known[pictures[:drawn]]
    x, rest = case.at(layer)
    given = case.images, case.parameters, case.targets
    step = partial(_drawn_gradients, *given, known, alphas, x, rest, function=case.function, layer=layer)
    each = bytes_of_gradient(case.function, layer, case.images, case.parameters)
    values = jnp.moveaxis(summed(step, samples, case, each, "expected gradients"), 0, 1) / samples
    of_known = changed_scores(case, _replaced, drawn, known, score="logit", name="expected gradients")
    often = jnp.asarray(np.bincount(np.arange(samples) % drawn) / samples, of_known.dtype)
    return with_error(values, intact_scores(case, "logit") - jnp.tensordot(often, of_known, axes=1))


def _known(case: Case, reference: Shaped[Array | np.ndarray, "n ..."] | None) -> Shaped[Array, "n ..."]:
    """Returns the pictures from which baselines are drawn."""
    if reference is None:
        return case.images if len(case.images) > 1 else jnp.zeros_like(case.images)
    if not len(reference) or reference.shape[1:] != case.images.shape[1:]:
        like = ("n", *case.images.shape[1:])
        raise ValueError(
            f"reference must be pictures like the images, ({', '.join(map(str, like))}); got {reference.shape}"
        )
    if is_ids(case.images) and not is_ids(reference):
        raise ValueError(f"reference must hold token ids, as the inputs do; got {reference.dtype}")
    return jnp.asarray(reference, case.images.dtype)


def _draws(seed: int, samples: int, count: int) -> tuple[Int[Array, " count"], Float[Array, " samples"]]:
    """Returns the order in which pictures are drawn, again and again, and the place on the way for each sample."""
    order, key = jax.random.split(jax.random.key(seed))
    numbers = np.arange(samples)
    parts = np.bincount(numbers % count)[numbers % count]
    alphas = (jnp.asarray(numbers // count, float) + jax.random.uniform(key, (samples,))) / jnp.asarray(parts, float)
    return jax.random.permutation(order, count), alphas


def _replaced(images: Shaped[Array, "b ..."], index: Index, known: Shaped[Array, "n ..."]) -> Shaped[Array, "b ..."]:
    return jnp.broadcast_to(known[index], images.shape)


@compiled(static=("function", "layer"))
def _drawn_gradients(
    images: Shaped[Array, "b ..."],
    parameters: PyTree,
    targets: Int[Array, "b t"],
    known: Shaped[Array, "n ..."],
    alphas: Float[Array, " samples"],
    x: Float[Array, "b *layer"],
    rest: list[Array],
    indices: Int[Array, " v"],
    real: Float[Array, " v"],
    *,
    function: Function,
    layer: str,
) -> Float[Array, "t b *layer"]:
    """Returns the sum of what some draws give."""
    count = len(indices)
    baselines = jax.vmap(lambda index: _replaced(images, index % len(known), known), out_axes=1)(indices)
    x0, _ = activation_at(baselines.reshape(-1, *images.shape[1:]), parameters, function=function, layer=layer)
    x0 = x0.reshape(len(x), count, *x.shape[1:])
    between, alpha = x[:, None] - x0, alphas[indices].astype(x.dtype).reshape(count, *(1,) * (x.ndim - 1))
    tail = versions_onwards(function, layer, images, parameters, rest, count)
    each = gradients_at(tail, x0 + alpha * between, targets) * between
    return jnp.tensordot(each, real.astype(x.dtype), axes=(2, 0))
