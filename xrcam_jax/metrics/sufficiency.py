"""Whether pictures with the same explanation, or one that is alike, are predicted to be of the same class.

References:
  dasgupta2022
"""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, PyTree

from xrcam_jax.attribution.case import Case, Function
from xrcam_jax.attribution.perturbations import PerAxis
from xrcam_jax.attribution.shapes import at_least_float32
from xrcam_jax.classes import class_logits
from xrcam_jax.metrics.faithfulness import ranks
from xrcam_jax.metrics.judged import Figures, Maps
from xrcam_jax.metrics.patches import patch_numbers, patch_sums
from xrcam_jax.metrics.turns import patch_side
from xrcam_jax.runtime.compiling import compiled

#: How many patches a picture has of which the most relevant are its explanation.
PATCHES = 49


def predicted(case: Case) -> Int[Array, " b"]:
    """Returns the class that the model predicts for each picture.

    Args:
      case: the model and the pictures; targets do not matter.

    Raises:
      ValueError: a target function is explained, and no class.

    Example:
      >>> import jax.numpy as jnp
      >>> from xrcam_jax.attribution.case import Case
      >>> from xrcam_jax.metrics.sufficiency import predicted
      >>> model = lambda images, parameters: images.sum((1, 2)) * parameters
      >>> images = jnp.array([3.0, -3.0]).reshape(2, 1, 1, 1)
      >>> case = Case(model, jnp.array([1.0, -1.0]), images, jnp.zeros((2, 1), int))
      >>> predicted(case).tolist()
      [0, 1]
    """
    if case.of_value:
        raise ValueError("sufficiency and consistency compare predicted classes, which a target function has not")
    return _predicted(case.images, case.parameters, function=case.function)


@compiled(static=("function",))
def _predicted(images: Float[Array, "b *space c"], parameters: PyTree, *, function: Function) -> Int[Array, " b"]:
    return jnp.argmax(class_logits(function(images, parameters)), -1)


def agreement(maps: Maps, classes: Int[Array | np.ndarray, " b"], *, threshold: float = 0.6) -> Figures:
    """Returns the share of pictures explained alike that are predicted alike, Pr[f(x') = f(x) | e(x') = e(x)].

    The paper compares explanations that are the same, as sets of features are (dasgupta2022). Maps are not, so two
    count as the same if their distance is at most ``threshold`` times the largest of all pairs, as for Quantus: the
    Euclidean distance of pixels, each divided by its standard deviation over the pictures.

    Args:
      maps: e(x) of all pictures that are compared: the figures depend on which these are, but not on their order.
      classes: f(x), see :func:`predicted`.
      threshold: a share of the largest distance, from 0, where only equal maps are the same.

    Returns:
      The share in [0, 1] of the other pictures explained alike; NaN where there is no other, since the
      probability has no condition that was met then; Quantus gives 0.

    Raises:
      ValueError: a negative threshold, or not one class for each picture.

    Example:
      >>> import jax.numpy as jnp
      >>> from xrcam_jax.metrics.sufficiency import agreement
      >>> maps = jnp.array([0.0, 0.1, 0.2, 9.0]).reshape(1, 4, 1, 1)
      >>> agreement(maps, jnp.array([1, 1, 0, 0])).tolist()
      [[0.5, 0.5, 0.0, nan]]

    References:
      dasgupta2022
    """
    if not threshold >= 0:
        raise ValueError(f"threshold must be a number from 0; got {threshold!r}")
    if classes.shape != maps.shape[1:2]:
        raise ValueError(f"classes must be one for each of {maps.shape[1]} pictures; got {classes.shape}")
    return _agreement(maps, jnp.asarray(classes), jnp.float32(threshold))


@compiled()
def _agreement(maps: Maps, classes: Int[Array, " b"], threshold: Float[Array, ""]) -> Figures:
    same_class = classes[:, None] == classes

    def of_method(one: Float[Array, "b n"]) -> Float[Array, " b"]:
        spread = one.std(0)
        scaled = jnp.where(spread > 0, one / jnp.where(spread > 0, spread, 1), 0)
        # Row by row of differences, since products of matrices would round equal maps apart.
        distances = jax.lax.map(lambda each: jnp.sqrt(jnp.square(scaled - each).sum(-1)), scaled)
        alike = distances <= threshold.astype(distances.dtype) * distances.max()
        alike = alike & ~jnp.eye(len(one), dtype=bool)
        return (alike & same_class).sum(-1, dtype=one.dtype) / alike.sum(-1, dtype=one.dtype)

    return jax.lax.map(of_method, at_least_float32(jnp.asarray(maps)).reshape(*maps.shape[:2], -1))


def sufficiency(case: Case, maps: Maps, *, threshold: float = 0.6) -> Figures:
    """Returns the share of the case's pictures explained alike that are predicted alike (dasgupta2022).

    See :func:`agreement`. It is a figure of a set of pictures: of a set that is judged in batches, collect the maps
    and :func:`predicted` classes of all batches, and call :func:`agreement` once.

    Args:
      case: the model and the pictures; targets do not matter.
      maps: of these pictures.
      threshold: the share of the largest distance up to which two maps are the same explanation.

    Returns:
      The share in [0, 1]; NaN where no other picture is explained alike.

    Raises:
      ValueError: a negative threshold, or a target function is explained.

    Example:
      >>> import jax.numpy as jnp
      >>> from xrcam_jax.attribution.case import Case
      >>> from xrcam_jax.metrics.sufficiency import sufficiency
      >>> model = lambda images, parameters: images.sum((1, 2)) * parameters
      >>> images = jnp.array([1.0, 1.0, -1.0]).reshape(3, 1, 1, 1)
      >>> case = Case(model, jnp.array([1.0, -1.0]), images, jnp.zeros((3, 1), int))
      >>> sufficiency(case, images[None, ..., 0]).tolist()
      [[1.0, 1.0, nan]]

    References:
      dasgupta2022
    """
    return agreement(maps, predicted(case), threshold=threshold)


def consistency(case: Case, maps: Maps, *, patch: PerAxis | None = None, top: int = 1) -> Figures:
    """Returns the share of the case's pictures with the same explanation that are predicted alike (dasgupta2022).

    It is Pr[f(x') = f(x) | e(x') = e(x)], which asks for explanations that can be the same: here, which patches of a
    grid are the most relevant ones. Quantus takes the signs of the first five values of a map, which in maps from 0 on
    are those of a corner. It is a figure of a set of pictures, as :func:`sufficiency` is, whose maps may be alike only.

    Args:
      case: the model and the pictures; targets do not matter.
      maps: of these pictures.
      patch: side of the patches, or one number for each axis; by default a seventh of each side of pictures.
      top: how many patches are the explanation, as a set.

    Returns:
      The share in [0, 1]; NaN where no other picture has the same explanation.

    Raises:
      ValueError: less than one patch or more than there are, or a target function is explained.

    Example:
      >>> import jax.numpy as jnp
      >>> from xrcam_jax.attribution.case import Case
      >>> from xrcam_jax.metrics.sufficiency import consistency
      >>> model = lambda images, parameters: images.sum((1, 2)) * parameters
      >>> images = jnp.array([[1.0, 0.5], [1.0, -3.0], [3.0, 1.0], [0.0, 1.0]]).reshape(4, 1, 2, 1)
      >>> case = Case(model, jnp.array([1.0, -1.0]), images, jnp.zeros((4, 1), int))
      >>> consistency(case, images[None, ..., 0]).tolist()
      [[0.5, 0.0, 0.5, nan]]

    References:
      dasgupta2022
    """
    maps = jnp.asarray(maps)
    numbers, count = patch_numbers(maps.shape[2:], patch_side(maps.shape[2:], PATCHES) if patch is None else patch)
    if not 1 <= top <= count:
        raise ValueError(f"top must be from 1 to the number of patches, {count}; got {top}")
    explanations = jax.lax.map(ranks, patch_sums(maps, numbers, count)) < top
    return agreement(explanations.astype(maps.dtype), predicted(case), threshold=0.0)
