"""The targets' scores on a batch, and on many changed versions of it."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, PyTree

from xrcam_jax.attribution.case import INPUT, Case, Function
from xrcam_jax.attribution.chunks import bytes_of_forward, stacked
from xrcam_jax.attribution.targets import Score, target_scores
from xrcam_jax.runtime.compiling import compiled

#: The number of a version.
Index = int | Int[Array, ""]
#: (images, number of the version, state) -> images.
Change = Callable[[Array, Array, PyTree], Array]


def intact_scores(case: Case, score: Score) -> Float[Array, "b t"]:
    """Returns the targets' scores on the images as they are.

    Args:
      case: what is explained.
      score: ``"logit"``, ``"probability"`` or ``"log_odds"``.

    Raises:
      ValueError: ``score`` is none of these.

    Example:
      >>> import jax.numpy as jnp
      >>> from xrcam_jax.attribution.case import Case
      >>> from xrcam_jax.attribution.scores import intact_scores
      >>> model = lambda images, parameters: images.sum((1, 2)) * parameters
      >>> case = Case(model, jnp.array([1.0, 5.0]), jnp.ones((1, 2, 2, 1)), jnp.array([[1, 0]]))
      >>> intact_scores(case, "logit").tolist()
      [[20.0, 4.0]]
    """
    return _intact_scores(case.images, case.parameters, case.targets, function=case.function, score=score)


@compiled(static=("function", "score"))
def _intact_scores(
    images: Float[Array, "b *space c"],
    parameters: PyTree,
    targets: Int[Array, "b t"],
    *,
    function: Function,
    score: Score,
) -> Float[Array, "b t"]:
    return target_scores(function(images, parameters), targets, score)


def default_score(case: Case) -> Score:
    """Returns what methods of probability look at: that of a class, and of a target function the value itself.

    Args:
      case: what is explained.

    Example:
      >>> import jax.numpy as jnp
      >>> from xrcam_jax.attribution.case import Case
      >>> from xrcam_jax.attribution.scores import default_score
      >>> model = lambda images, parameters: images.sum((1, 2))
      >>> default_score(Case(model, (), jnp.ones((1, 2, 2, 1)), jnp.array([[0]])))
      'probability'
    """
    return "logit" if case.of_value else "probability"


def changed_scores(
    case: Case, change: Change, count: int, state: PyTree = (), *, score: Score, name: str = ""
) -> Float[Array, "v b t"]:
    """Returns the targets' scores on changed versions of the images.

    Args:
      case: what is explained.
      change: (images, number of the version, state) -> images; hashable, equal where it does the same.
      count: v, how many versions there are.
      state: arrays that ``change`` needs.
      score: ``"logit"``, ``"probability"`` or ``"log_odds"``.
      name: of the method, for the progress bar.

    Raises:
      ValueError: ``score`` is none of these, or ``case.chunk_size`` is less than 1.

    Example:
      >>> import jax.numpy as jnp
      >>> from xrcam_jax.attribution.case import Case
      >>> from xrcam_jax.attribution.scores import changed_scores
      >>> model = lambda images, parameters: images.sum((1, 2)) * parameters
      >>> case = Case(model, jnp.array([1.0, 5.0]), jnp.ones((1, 2, 2, 1)), jnp.array([[1]]))
      >>> def dimmed(images, index, state):
      ...   return images * state[index]
      >>> changed_scores(case, dimmed, 3, jnp.array([1.0, 0.5, 0.0]), score="logit").ravel().tolist()
      [20.0, 10.0, 0.0]
    """

    def step(indices: Array) -> Array:
        return _changed_scores(
            case.images,
            case.parameters,
            case.targets,
            state,
            indices,
            function=case.function,
            change=change,
            score=score,
        )

    each = bytes_of_forward(case.function, INPUT, case.images, case.parameters)
    return stacked(step, count, case, each, name)


@compiled(static=("function", "change", "score"))
def _changed_scores(
    images: Float[Array, "b *space c"],
    parameters: PyTree,
    targets: Int[Array, "b t"],
    state: PyTree,
    indices: Int[Array, " v"],
    *,
    function: Function,
    change: Change,
    score: Score,
) -> Float[Array, "v b t"]:
    versions = jax.vmap(lambda index: change(images, index, state), out_axes=1)(indices)
    logits = function(versions.reshape(-1, *images.shape[1:]), parameters)
    return target_scores(jnp.moveaxis(logits.reshape(len(images), len(indices), -1), 1, 0), targets, score)
