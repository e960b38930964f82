"""Whether maps depend on what the model has learnt, and on the class: weights or the class are drawn anew.

References:
  adebayo2018, hedstrom2023, sixt2020
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Literal, get_args

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, PyTree

from xrcam_jax.attribution.case import Case
from xrcam_jax.attribution.shapes import at_least_float32
from xrcam_jax.errors import unknown
from xrcam_jax.metrics.cascade import Order, layers_in_order, steps_of
from xrcam_jax.metrics.correlation import mean_ranks, pearson, ssim
from xrcam_jax.metrics.judged import Explain, Figures, Maps
from xrcam_jax.metrics.sanity import exchanged, randomised
from xrcam_jax.metrics.versions import check_samples, check_targets, checked_draws, mean_maps
from xrcam_jax.runtime.compiling import compiled

#: How kernels are drawn, see :func:`xrcam_jax.metrics.sanity.randomised`.
Draw = Literal["normal", "own"]
Similarity = Literal["spearman", "pearson", "ssim"]


def mprt_curve(
    case: Case,
    explain: Explain,
    maps: Maps,
    *,
    order: Order = "top_down",
    parts: Sequence[str] | None = None,
    similarity: Similarity = "spearman",
    draw: Draw = "own",
    drawn: PyTree | None = None,
) -> Float[Array, "l m b"]:
    """Returns how alike the maps of networks with weights drawn anew are to those of the trained one (adebayo2018).

    All networks run by one program, whose argument the weights are. What is drawn for a layer is the same in each.

    Args:
      case: the model, the pictures and one target class for each, (b, 1).
      explain: makes the maps.
      maps: those of the trained network.
      order: ``"top_down"`` draws the output layer's weights, then those of the layer before it too, and so on to the
        input; ``"bottom_up"`` goes the other way, and ``"independent"`` draws one layer's at a time, from the input on.
      parts: names or paths of the model's parts, from the input to the output; all :func:`layers_in_order` by default.
      similarity: ``"spearman"`` and ``"pearson"`` correlate the pixels, ``"ssim"`` looks at windows of 7 x 7.
      draw: ``"own"`` for the spread that training starts from, ``"normal"`` for N(0, 1), see
        :func:`xrcam_jax.metrics.sanity.randomised`.
      drawn: parameters that were drawn elsewhere, with biases or other initialisations; then ``draw`` does not count.

    Returns:
      The similarity after each of l steps; NaN where correlated maps are constant or not finite.

    Raises:
      ValueError: an unknown ``order``, ``similarity``, ``draw`` or part, a model without kernels, or maps too small.

    Example:
      >>> import jax.numpy as jnp
      >>> from xrcam_jax.attribution.case import Case
      >>> from xrcam_jax.metrics.randomisation import mprt_curve
      >>> model = lambda images, parameters: images.mean((1, 2)) @ parameters["head"]["kernel"]
      >>> case = Case(model, {"head": {"kernel": jnp.eye(2)}}, jnp.ones((1, 2, 2, 2)), jnp.zeros((1, 1), int))
      >>> def edges(images, parameters, targets):
      ...   return jnp.arange(4.0).reshape(1, 1, 2, 2)
      >>> curve = mprt_curve(case, edges, jnp.arange(4.0).reshape(1, 1, 2, 2))
      >>> curve.shape, round(float(curve[0, 0, 0]), 3)
      ((1, 1, 1), 1.0)

    References:
      adebayo2018
    """
    check_targets(case)

    def explained(parameters: PyTree) -> Maps:
        return _maps(case.images, parameters, case.targets, explain=explain)

    return _curve(case, explained, maps, order, parts, similarity, draw, drawn, "mprt")


@compiled(static=("explain",))
def _maps(
    images: Float[Array, "b *space c"], parameters: PyTree, targets: Int[Array, "b 1"], *, explain: Explain
) -> Float[Array, "m b *space"]:
    return explain(images, parameters, targets)


def _curve(
    case: Case,
    explained: Callable[[PyTree], Maps],
    maps: Maps,
    order: Order,
    parts: Sequence[str] | None,
    similarity: Similarity,
    draw: Draw,
    drawn: PyTree | None,
    name: str,
) -> Float[Array, "l m b"]:
    if order not in get_args(Order):
        raise unknown("order", order, get_args(Order))
    _check_similarity(similarity, maps)
    parts = layers_in_order(case) if parts is None else tuple(parts)
    drawn = _drawn(case, parts, draw) if drawn is None else drawn
    # Maps of the trained network are ranked once, not at each step.
    known, found = _compared(jnp.asarray(maps), similarity=similarity), []
    for chosen in case.progress(steps_of(parts, order), len(parts), name):
        maps_of_drawn = explained(exchanged(case.parameters, drawn, chosen))
        found.append(_alike(known, maps_of_drawn, similarity=similarity))
    return jnp.stack(found)


def _drawn(case: Case, parts: Sequence[str], draw: Draw) -> PyTree:
    return randomised(case.parameters, parts, jax.random.key(case.random_seed), draw=draw)


@compiled(static=("similarity",))
def _compared(maps: Float[Array, "m b *space"], *, similarity: str) -> Float[Array, "m b *_space"]:
    """Returns what of a map is compared with what of another."""
    if similarity == "ssim":
        return maps
    # Correlations do not ask where a pixel lies.
    flat = maps.reshape(*maps.shape[:2], 1, -1)
    return mean_ranks(flat) if similarity == "spearman" else flat


@compiled(static=("similarity",))
def _alike(compared: Float[Array, "m b *_space"], maps: Float[Array, "m b *space"], *, similarity: str) -> Figures:
    measure = ssim if similarity == "ssim" else pearson
    return measure(compared, _compared(maps, similarity=similarity))


def mprt(
    case: Case,
    explain: Explain,
    maps: Maps,
    *,
    order: Order = "top_down",
    parts: Sequence[str] | None = None,
    similarity: Similarity = "spearman",
    draw: Draw = "own",
    drawn: PyTree | None = None,
) -> Figures:
    """Returns how alike maps stay while weights are drawn anew: the mean over the layers of :func:`mprt_curve`.

    It is the model parameter randomisation test of adebayo2018, who show the curve; the mean is one figure of it.

    Args:
      case: the model, the pictures and one target class for each, (b, 1).
      explain: makes the maps.
      maps: those of the trained network.
      order: ``"top_down"``, ``"bottom_up"`` or ``"independent"``, see :func:`mprt_curve`.
      parts: see :func:`mprt_curve`.
      similarity: ``"spearman"``, ``"pearson"`` or ``"ssim"``.
      draw: ``"own"`` or ``"normal"``.
      drawn: parameters that were drawn elsewhere, with biases or other initialisations; then ``draw`` does not count.

    Returns:
      At most 1, which it is for maps that do not depend on the weights; the lower, the more they depend on them. NaN
      where a map of the curve is constant or not finite.

    Raises:
      ValueError: as :func:`mprt_curve` does.

    Example:
      >>> import jax.numpy as jnp
      >>> from xrcam_jax.attribution.case import Case
      >>> from xrcam_jax.metrics.randomisation import mprt
      >>> model = lambda images, parameters: images.mean((1, 2)) @ parameters["head"]["kernel"]
      >>> case = Case(model, {"head": {"kernel": jnp.eye(2)}}, jnp.ones((1, 2, 2, 2)), jnp.zeros((1, 1), int))
      >>> def edges(images, parameters, targets):
      ...   return jnp.arange(4.0).reshape(1, 1, 2, 2)
      >>> round(float(mprt(case, edges, jnp.arange(4.0).reshape(1, 1, 2, 2))[0, 0]), 3)
      1.0

    References:
      adebayo2018
    """
    curve = mprt_curve(case, explain, maps, order=order, parts=parts, similarity=similarity, draw=draw, drawn=drawn)
    return curve.mean(0)


def smooth_mprt(
    case: Case,
    explain: Explain,
    maps: Maps,
    *,
    order: Order = "top_down",
    parts: Sequence[str] | None = None,
    similarity: Similarity = "spearman",
    draw: Draw = "own",
    drawn: PyTree | None = None,
    noise: float = 0.1,
    nr_samples: int = 50,
    draws: Float[Array | np.ndarray, "n *space c"] | None = None,
) -> Figures:
    """Returns :func:`mprt` of maps that are means over noisy versions of each picture (hedstrom2023).

    The noise that gradients have by themselves makes maps differ, and the mean takes it out of them. What is added to
    the pictures is normal, and the same for all networks and pictures, up to their range.

    Args:
      case: the model, the pictures and one target class for each, (b, 1).
      explain: makes the maps.
      maps: are not looked at, since their means over noise take their place; all metrics that explain again get them.
      order: ``"top_down"``, ``"bottom_up"`` or ``"independent"``, see :func:`mprt_curve`.
      parts: see :func:`mprt_curve`.
      similarity: ``"spearman"``, ``"pearson"`` or ``"ssim"``.
      draw: ``"own"`` or ``"normal"``.
      drawn: parameters that were drawn elsewhere, with biases or other initialisations; then ``draw`` does not count.
      noise: its standard deviation, as a share of the range of a picture.
      nr_samples: how many noisy versions there are of each picture.
      draws: standard normal noise that was drawn elsewhere; then the number of samples does not count.

    Returns:
      As :func:`mprt` does.

    Raises:
      ValueError: as :func:`mprt_curve` does; negative noise, or less than one sample.

    Example:
      >>> import jax.numpy as jnp
      >>> from xrcam_jax.attribution.case import Case
      >>> from xrcam_jax.metrics.randomisation import smooth_mprt
      >>> model = lambda images, parameters: images.mean((1, 2)) @ parameters["head"]["kernel"]
      >>> case = Case(model, {"head": {"kernel": jnp.eye(2)}}, jnp.ones((1, 2, 2, 2)), jnp.zeros((1, 1), int))
      >>> def edges(images, parameters, targets):
      ...   return jnp.broadcast_to(jnp.arange(4.0).reshape(1, 1, 2, 2), (1, *images.shape[:3]))
      >>> round(float(smooth_mprt(case, edges, jnp.arange(4.0).reshape(1, 1, 2, 2), nr_samples=2)[0, 0]), 3)
      1.0

    References:
      hedstrom2023
    """
    if not noise >= 0:
        raise ValueError(f"noise must be a number from 0; got {noise!r}")
    check_samples(nr_samples)
    source = jax.random.key(case.random_seed) if draws is None else checked_draws(case, draws)
    level, count = jnp.asarray(noise, case.images.dtype), nr_samples if draws is None else len(source)
    change = _noisy if draws is None else _noisy_as_given

    def explained(parameters: PyTree) -> Maps:
        of_network = replace(case, parameters=parameters)
        return mean_maps(of_network, explain, change, count, (source, level), name="smooth mprt")

    return _curve(
        case, explained, explained(case.parameters), order, parts, similarity, draw, drawn, "smooth mprt"
    ).mean(0)


def _noisy(images: Float[Array, "b *space c"], index: Array, state: PyTree) -> Float[Array, "b *space c"]:
    key, level = state
    # Not the key of the weights, which would be drawn from the same numbers.
    key = jax.random.fold_in(jax.random.fold_in(key, 1), index)
    return images + level * _spans(images) * jax.random.normal(key, images.shape[1:], images.dtype)


def _noisy_as_given(images: Float[Array, "b *space c"], index: Array, state: PyTree) -> Float[Array, "b *space c"]:
    draws, level = state
    return images + level * _spans(images) * draws[index]


def _spans(images: Float[Array, "b *space c"]) -> Float[Array, "b *one"]:
    of_picture = tuple(range(1, images.ndim))
    return images.max(of_picture, keepdims=True) - images.min(of_picture, keepdims=True)


def efficient_mprt(
    case: Case, explain: Explain, maps: Maps, *, bins: int = 100, draw: Draw = "own", drawn: PyTree | None = None
) -> Figures:
    """Returns (H(R') - H(R)) / H(R), the rise in complexity when all weights are drawn anew (hedstrom2023).

    H is the entropy of a map's values, in a histogram of equal bins between the smallest and the largest of them. R' is
    the map of the network with all kernels drawn anew. The test needs one network, and no similarity of maps.

    Args:
      case: the model, the pictures and one target class for each, (b, 1).
      explain: makes the maps.
      maps: R, those of the trained network.
      bins: how many bins a histogram has.
      draw: ``"own"`` or ``"normal"``, see :func:`mprt_curve`.
      drawn: parameters that were drawn elsewhere, with biases or other initialisations; then ``draw`` does not count.

    Returns:
      The rise, from -1; 0 for maps that do not depend on the weights, and the higher, the more they depend on them. NaN
      where R is constant.

    Raises:
      ValueError: less than 2 bins, an unknown ``draw``, or a model without kernels.

    Example:
      >>> import jax.numpy as jnp
      >>> from xrcam_jax.attribution.case import Case
      >>> from xrcam_jax.metrics.randomisation import efficient_mprt
      >>> model = lambda images, parameters: images.mean((1, 2)) @ parameters["head"]["kernel"]
      >>> case = Case(model, {"head": {"kernel": jnp.eye(2)}}, jnp.ones((1, 2, 2, 2)), jnp.zeros((1, 1), int))
      >>> def edges(images, parameters, targets):
      ...   return jnp.arange(4.0).reshape(1, 1, 2, 2)
      >>> efficient_mprt(case, edges, jnp.arange(4.0).reshape(1, 1, 2, 2)).tolist()
      [[0.0]]

    References:
      hedstrom2023
    """
    check_targets(case)
    if bins < 2:
        raise ValueError(f"bins must be at least 2; got {bins}")
    if drawn is None:
        drawn = _drawn(case, layers_in_order(case), draw)
    of_drawn = _maps(case.images, drawn, case.targets, explain=explain)
    before, after = (_entropies(jnp.asarray(each), bins=bins) for each in (maps, of_drawn))
    # Any rise over an entropy of 0 would be infinite.
    return jnp.where(before == 0, jnp.nan, (after - before) / before)


@compiled(static=("bins",))
def _entropies(maps: Float[Array, "m b *space"], *, bins: int) -> Figures:
    return jax.vmap(jax.vmap(partial(_entropy, bins=bins)))(maps)


def _entropy(values: Float[Array, "*space"], bins: int) -> Float[Array, ""]:
    flat = at_least_float32(values).ravel()
    low, high = flat.min(), flat.max()
    # The largest value belongs to the last bin.
    places = jnp.minimum((flat - low) / jnp.where(high > low, high - low, 1) * bins, bins - 1).astype(jnp.int32)
    shares = jnp.zeros(bins, flat.dtype).at[places].add(1) / flat.size
    entropy = -jnp.sum(jnp.where(shares > 0, shares * jnp.log(jnp.where(shares > 0, shares, 1)), 0))
    return jnp.where(jnp.isfinite(high - low), entropy, jnp.nan)


def random_logit(
    case: Case,
    explain: Explain,
    maps: Maps,
    *,
    similarity: Similarity = "ssim",
    others: Int[Array | np.ndarray, "b 1"] | None = None,
) -> Figures:
    """Returns how alike the maps of the target and of another class, drawn at random, are (sixt2020).

    The other class is as many numbers away from the target for all pictures, so that no figure depends on the batch.

    Args:
      case: the model, the pictures and one target class for each, (b, 1).
      explain: makes the maps.
      maps: those of the targets.
      similarity: ``"ssim"``, as in the paper, ``"spearman"`` or ``"pearson"``, see :func:`mprt_curve`. Quantus has
        the structural similarity of rows laid end to end; the paper, and the measure, that of squares of pixels.
      others: the other class of each picture, in the place of a draw.

    Returns:
      At most 1, which it is for maps that do not depend on the class.

    Raises:
      ValueError: an unknown ``similarity``, maps that are too small for it, or a model of a value that has no classes.

    Example:
      >>> import jax.numpy as jnp
      >>> from xrcam_jax.attribution.case import Case
      >>> from xrcam_jax.metrics.randomisation import random_logit
      >>> model = lambda images, parameters: images.mean((1, 2))
      >>> images = jnp.stack([jnp.arange(4.0), -jnp.arange(4.0)], axis=-1).reshape(1, 2, 2, 2)
      >>> case = Case(model, (), images, jnp.zeros((1, 1), int))
      >>> def channel(images, parameters, targets):
      ...   return jnp.take_along_axis(images, targets[:, None, None], axis=-1)[None, ..., 0]
      >>> round(float(random_logit(case, channel, images[None, ..., 0], similarity="spearman")[0, 0]), 3)
      -1.0

    References:
      sixt2020
    """
    _check_similarity(similarity, maps)
    check_targets(case)
    if case.of_value:
        raise ValueError("random_logit needs a model of classes; got a target function's value")
    if others is None:
        # A model of one output has two classes.
        classes = max(2, case.outputs)
        others = (case.targets + 1 + int(np.random.default_rng(case.random_seed).integers(classes - 1))) % classes
    found = _maps(case.images, case.parameters, jnp.asarray(others, case.targets.dtype), explain=explain)
    return _alike(_compared(jnp.asarray(maps), similarity=similarity), found, similarity=similarity)


def _check_similarity(similarity: str, maps: Maps) -> None:
    if similarity not in get_args(Similarity):
        raise unknown("similarity", similarity, get_args(Similarity))
    if similarity == "ssim" and maps.ndim != 4:
        expected = "maps of height and width; take similarity='spearman' or 'pearson' for others"
        raise ValueError(f"similarity='ssim' compares {expected}; got maps of {maps.shape[2:]}")
