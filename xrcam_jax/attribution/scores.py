"""The targets' scores on a batch and on many changed versions of it."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PyTree

from xrcam_jax.attribution.case import INPUT, Case, Function
from xrcam_jax.attribution.chunks import bytes_of_forward, stacked
from xrcam_jax.attribution.targets import Score, target_scores
from xrcam_jax.runtime.compiling import compiled


def intact_scores(case: Case, score: Score) -> Float[Array, "b t"]:
    """The targets' scores on the images themselves."""
    return _intact_scores(case.images, case.parameters, case.targets, function=case.function, score=score)


@compiled(static=("function", "score"))
def _intact_scores(images: Array, parameters: PyTree, targets: Array, *, function: Function, score: Score) -> Array:
    return target_scores(function(images, parameters), targets, score)


def changed_scores(
    case: Case,
    change: Callable[[Array, Array, PyTree], Array],
    count: int,
    state: PyTree = (),
    *,
    score: Score,
    name: str = "",
) -> Float[Array, "n b t"]:
    """The targets' scores on ``count`` changed versions of the images.

    Args:
      case: what is explained.
      change: (images, index of the version, state) -> images; hashable, equal where it does the same.
      count: n, how many versions there are.
      state: arrays that ``change`` needs.
      score: see :func:`target_scores`.
      name: of the method, for the progress bar.
    """

    def step(indices: Array) -> Array:
        return _changed_scores(
            case.images, case.parameters, case.targets, state, indices,
            function=case.function, change=change, score=score,
        )  # fmt: skip

    each = bytes_of_forward(case.function, INPUT, case.images, case.parameters)
    return stacked(step, count, case, each, name)


@compiled(static=("function", "change", "score"))
def _changed_scores(
    images: Array, parameters: PyTree, targets: Array, state: PyTree, indices: Array,
    *, function: Function, change: Callable, score: Score,
) -> Array:  # fmt: skip
    versions = jax.vmap(lambda index: change(images, index, state), out_axes=1)(indices)
    logits = function(versions.reshape(-1, *images.shape[1:]), parameters)
    return target_scores(jnp.moveaxis(logits.reshape(len(images), len(indices), -1), 1, 0), targets, score)
