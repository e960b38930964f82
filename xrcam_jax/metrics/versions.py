"""Maps of many changed versions of a batch: what is measured of them, or their mean; never all of them at once."""

from collections.abc import Callable
from functools import lru_cache
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, PyTree

from xrcam_jax.attribution.case import Case
from xrcam_jax.attribution.chunks import stacked, summed
from xrcam_jax.attribution.scores import Change, Index
from xrcam_jax.attribution.shapes import Shapes, at_least_float32, of_shapes, shapes
from xrcam_jax.metrics.judged import Explain
from xrcam_jax.runtime.compiling import compiled
from xrcam_jax.runtime.memory import peak_bytes


class Versions(NamedTuple):
    """Holds changed versions of a batch with their maps.

    Attributes:
      intact: the pictures as they are.
      numbers: of the versions; that of the last stands in a chunk several times if the chunk is not full.
      images: v versions of each picture, next to each other.
      maps: m of each version.
      targets: the class that is explained of each picture.
      parameters: of the model.
    """

    intact: Float[Array, "b *space c"]
    numbers: Int[Array, " v"]
    images: Float[Array, "b v *space c"]
    maps: Float[Array, "m b v *space"]
    targets: Int[Array, "b 1"]
    parameters: PyTree

    @property
    def changes(self) -> Float[Array, "b v *space c"]:
        """Returns what has been added to the pictures."""
        return self.images - self.intact[:, None]

    @property
    def flat(self) -> Float[Array, "bv *space c"]:
        """Returns all versions as one batch, as the model takes them."""
        return self.images.reshape(-1, *self.images.shape[2:])


#: (versions, state) -> arrays with a leading axis of the versions; hashable, equal where it does the same.
Measure = Callable[[Versions, PyTree], PyTree]


def measured(
    case: Case,
    explain: Explain,
    change: Change,
    measure: Measure,
    count: int,
    state: PyTree = (),
    *,
    name: str = "",
) -> PyTree:
    """Returns what is measured of the maps of changed versions of the images.

    One program explains a chunk of the versions and measures them, so that no map outlives its chunk.

    Args:
      case: the model, the pictures and one target class for each, (b, 1).
      explain: makes the maps.
      change: (images, number of the version, state) -> images; hashable, equal where it does the same.
      measure: what is wanted of a chunk of versions.
      count: how many versions there are.
      state: arrays that ``change`` and ``measure`` need.
      name: of the metric, for the progress bar.

    Returns:
      What ``measure`` gives, with a leading axis of length ``count``.

    Raises:
      ValueError: ``case.chunk_size`` is less than 1, or there is not one target for each picture.

    Example:
      >>> import jax.numpy as jnp
      >>> from xrcam_jax.attribution.case import Case
      >>> from xrcam_jax.metrics.versions import measured
      >>> case = Case(lambda x, p: x.sum((1, 2)), (), jnp.ones((1, 1, 2, 1)), jnp.zeros((1, 1), int))
      >>> def doubled(images, parameters, targets):
      ...   return 2 * images[None, ..., 0]
      >>> def dimmed(images, index, state):
      ...   return images * state[index]
      >>> def brightest(versions, state):
      ...   return jnp.moveaxis(versions.maps.max((-2, -1)), -1, 0)
      >>> measured(case, doubled, dimmed, brightest, 3, jnp.array([1.0, 0.5, 0.0])).ravel().tolist()
      [2.0, 1.0, 0.0]
    """
    check_targets(case)

    def step(indices: Array) -> PyTree:
        given = case.images, case.parameters, case.targets, state, indices
        return _measured(*given, explain=explain, change=change, measure=measure)

    return stacked(step, count, case, bytes_of(case, explain), name)


@compiled(static=("explain", "change", "measure"))
def _measured(
    images: Float[Array, "b *space c"],
    parameters: PyTree,
    targets: Int[Array, "b 1"],
    state: PyTree,
    indices: Int[Array, " v"],
    *,
    explain: Explain,
    change: Change,
    measure: Measure,
) -> PyTree:
    return measure(_explained(images, parameters, targets, state, indices, explain, change), state)


def _explained(
    images: Array, parameters: PyTree, targets: Array, state: PyTree, indices: Array, explain: Explain, change: Change
) -> Versions:
    versions = jax.vmap(lambda index: change(images, index, state), out_axes=1)(indices)
    # With a picture's versions side by side, a batch that is laid across devices stays where it is.
    flat = versions.reshape(-1, *images.shape[1:])
    maps = explain(flat, parameters, jnp.repeat(targets, len(indices), axis=0))
    maps = maps.reshape(len(maps), *versions.shape[:2], *maps.shape[2:])
    return Versions(images, indices, versions, maps, targets, parameters)


def mean_maps(
    case: Case, explain: Explain, change: Change, count: int, state: PyTree = (), *, name: str = ""
) -> Float[Array, "m b *space"]:
    """Returns the mean over changed versions of the images of their maps.

    Args:
      case: the model, the pictures and one target class for each, (b, 1).
      explain: makes the maps.
      change: (images, number of the version, state) -> images; hashable, equal where it does the same.
      count: how many versions there are.
      state: arrays that ``change`` needs.
      name: of the metric, for the progress bar.

    Raises:
      ValueError: ``case.chunk_size`` is less than 1, or there is not one target for each picture.

    Example:
      >>> import jax.numpy as jnp
      >>> from xrcam_jax.attribution.case import Case
      >>> from xrcam_jax.metrics.versions import mean_maps
      >>> case = Case(lambda x, p: x.sum((1, 2)), (), jnp.ones((1, 1, 2, 1)), jnp.zeros((1, 1), int))
      >>> def doubled(images, parameters, targets):
      ...   return 2 * images[None, ..., 0]
      >>> def dimmed(images, index, state):
      ...   return images * state[index]
      >>> mean_maps(case, doubled, dimmed, 3, jnp.array([1.0, 0.5, 0.0])).tolist()
      [[[[1.0, 1.0]]]]
    """
    check_targets(case)

    def step(indices: Array, real: Array) -> Array:
        given = case.images, case.parameters, case.targets, state, indices, real / count
        return _summed_maps(*given, explain=explain, change=change)

    return summed(step, count, case, bytes_of(case, explain), name)


@compiled(static=("explain", "change"))
def _summed_maps(
    images: Float[Array, "b *space c"],
    parameters: PyTree,
    targets: Int[Array, "b 1"],
    state: PyTree,
    indices: Int[Array, " v"],
    weights: Float[Array, " v"],
    *,
    explain: Explain,
    change: Change,
) -> Float[Array, "m b *space"]:
    maps = _explained(images, parameters, targets, state, indices, explain, change).maps
    return jnp.tensordot(maps, weights.astype(maps.dtype), axes=(2, 0), precision=jax.lax.Precision.HIGHEST)


def check_targets(case: Case) -> None:
    """Refuses a case that has not one target class for each picture, before anything is compiled.

    Args:
      case: what is explained.

    Raises:
      ValueError: ``case.targets`` are not of shape (b, 1).

    Example:
      >>> import jax.numpy as jnp
      >>> from xrcam_jax.attribution.case import Case
      >>> from xrcam_jax.metrics.versions import check_targets
      >>> check_targets(Case(lambda x, p: x.sum((1, 2)), (), jnp.ones((2, 4, 4, 3)), jnp.zeros((2, 1), int)))
    """
    wanted, found = (len(case.images), 1), tuple(case.targets.shape)
    if found != wanted:
        raise ValueError(f"targets must be one class for each picture, of shape {wanted}; got {found}")


def bytes_of(case: Case, explain: Explain) -> int:
    """Returns an estimate of the memory that it takes to explain the batch once.

    Args:
      case: the model, the pictures and one target class for each, (b, 1).
      explain: makes the maps.

    Returns:
      An upper bound in bytes; 1 where the case says how large chunks are, so that nothing is traced for it.

    Example:
      >>> import jax.numpy as jnp
      >>> from xrcam_jax.attribution.case import Case
      >>> from xrcam_jax.metrics.versions import bytes_of
      >>> case = Case(lambda x, p: x.sum((1, 2)), (), jnp.ones((1, 8, 8, 1)), jnp.zeros((1, 1), int))
      >>> bytes_of(case, lambda images, parameters, targets: images[None].sum(-1))
      512
    """
    if case.chunk_size is not None:
        return 1
    return _bytes(explain, shapes((case.images, case.parameters, case.targets)))


@lru_cache(maxsize=64)
def _bytes(explain: Explain, known: Shapes) -> int:
    return peak_bytes(jax.make_jaxpr(explain)(*of_shapes(*known)))


def check_samples(nr_samples: int) -> None:
    """Refuses less than one sample.

    Args:
      nr_samples: how many there are to be.

    Raises:
      ValueError: there would be none.

    Example:
      >>> from xrcam_jax.metrics.versions import check_samples
      >>> check_samples(1)
    """
    if nr_samples < 1:
        raise ValueError(f"nr_samples must be at least 1; got {nr_samples}")


def checked_draws(case: Case, draws: Float[Array | np.ndarray, "n ..."]) -> Float[Array, "n *space c"]:
    """Returns noise that was drawn elsewhere, of the dtype of the pictures.

    Args:
      case: what is explained.
      draws: n of them.

    Raises:
      ValueError: there are none, or they are of another shape than the pictures.

    Example:
      >>> import jax.numpy as jnp
      >>> from xrcam_jax.attribution.case import Case
      >>> from xrcam_jax.metrics.versions import checked_draws
      >>> case = Case(lambda x, p: x.sum((1, 2)), (), jnp.ones((2, 4, 4, 3)), jnp.zeros((2, 1), int))
      >>> checked_draws(case, jnp.zeros((5, 4, 4, 3))).shape
      (5, 4, 4, 3)
    """
    shape = np.shape(draws)
    if not shape or not shape[0] or shape[1:] != case.images.shape[1:]:
        found = f"shape {shape}" if shape else repr(draws)
        raise ValueError(f"draws must be of shape (n, {str(case.images.shape[1:])[1:]}; got {found}")
    return jnp.asarray(draws, case.images.dtype)


def given_noise(images: Float[Array, "b *space c"], index: Index, state: PyTree) -> Float[Array, "b *space c"]:
    """Returns the pictures with noise that was drawn elsewhere, as :func:`measured` asks for them.

    Args:
      images: the pictures.
      index: the number of the version.
      state: the noise of each version, and anything else.

    Example:
      >>> import jax.numpy as jnp
      >>> from xrcam_jax.metrics.versions import given_noise
      >>> given_noise(jnp.zeros((1, 1, 1, 1)), 1, (jnp.arange(3.0).reshape(3, 1, 1, 1),)).ravel().tolist()
      [1.0]
    """
    return images + state[0][index]


def norms(a: Float[Array, "..."], axes: int) -> Float[Array, "..."]:
    """Returns the Euclidean norms over all but the first axes.

    Args:
      a: of any shape.
      axes: how many of its axes are left.

    Example:
      >>> import jax.numpy as jnp
      >>> from xrcam_jax.metrics.versions import norms
      >>> norms(jnp.array([[[3.0], [4.0]], [[0.0], [1.0]]]), 1).tolist()
      [5.0, 1.0]
    """
    return jnp.linalg.norm(at_least_float32(a).reshape(*a.shape[:axes], -1), axis=-1)


def of_versions(a: Float[Array, "... v"]) -> Float[Array, "v ..."]:
    """Returns an array with its last axis, that of the versions, for the first, as a measure gives it.

    Args:
      a: of any shape.

    Example:
      >>> import jax.numpy as jnp
      >>> from xrcam_jax.metrics.versions import of_versions
      >>> of_versions(jnp.zeros((2, 3, 5))).shape
      (5, 2, 3)
    """
    return jnp.moveaxis(a, -1, 0)


def distances_from(versions: Versions, state: PyTree) -> Float[Array, "v m b"]:
    """Returns how far the maps of each version are from others, as :func:`measured` asks for it.

    Args:
      versions: a chunk of them.
      state: anything, and the other maps (m, b, *space) at last.

    Example:
      >>> import jax.numpy as jnp
      >>> from xrcam_jax.metrics.versions import Versions, distances_from
      >>> images, maps = jnp.zeros((1, 1, 2, 1)), jnp.array([3.0, 4.0]).reshape(1, 1, 1, 1, 2)
      >>> versions = Versions(images, jnp.zeros(1, int), images[:, None], maps, jnp.zeros((1, 1), int), ())
      >>> distances_from(versions, (jnp.zeros((1, 1, 1, 2)),)).tolist()
      [[[5.0]]]
    """
    return of_versions(norms(versions.maps - state[-1][:, :, None], 3))
