"""XRelevance-CAM's weights as the thesis derives them: each solves one of the two axioms (eq. 4.3 to 4.13).

With R the relevance that arrives at a layer of what the contrastive seed puts at the logits, and L_t the logit of the
target, the score that is explained is what is left of L_t,

    S(A) = L_t (sum R + what the seed takes away at the other logits) / what it puts at the target.

It is L_t itself wherever relevance is conserved.

References:
  you2024, fu2020
"""

from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, PyTree, Shaped

from xrcam_jax.attribution.asked import explained_flags, is_value
from xrcam_jax.attribution.case import Case, Function, Images, rest_of_versions, versions_of
from xrcam_jax.attribution.chunks import bytes_of_gradient, stacked
from xrcam_jax.attribution.shapes import at_least_float32
from xrcam_jax.attribution.targets import over_targets
from xrcam_jax.cam.channel_cams import without_channels
from xrcam_jax.cam.saliency import over_space
from xrcam_jax.cam.weights import phi
from xrcam_jax.lrp import seeds
from xrcam_jax.lrp.assignments import Composite
from xrcam_jax.lrp.cut import Cut, cut_relevance
from xrcam_jax.lrp.protocol import Rule
from xrcam_jax.lrp.sides import seed_of_sides
from xrcam_jax.runtime.compiling import compiled

Weights = Float[Array, "b t *one k"]


def conserving_weights(case: Case, layer: str, *, composite: Composite, eps: float = 1e-9) -> Weights:
    """Returns w_k = |φ| sum_p R_k / (ε + sum_p A_k), whose claims sum to S / L_t (the thesis's eq. 4.8).

    It is XRelevance-CAM times one number for each image and target, so that maps in [0, 1] are the same. A negative φ
    would turn all evidence into its opposite, and says only that next to nothing is left of the relevance; hence |φ|.

    Args:
      case: what is explained.
      layer: a mark.
      composite: the rules of relevance.
      eps: ε.

    Raises:
      ValueError: there is no such mark.
      NotImplementedError: the mark is inside remat, scan or cond.

    Example:
      >>> import jax.numpy as jnp
      >>> import xrcam_jax as xr
      >>> from xrcam_jax.attribution.case import Case
      >>> from xrcam_jax.cam.axiom_cams import conserving_weights
      >>> head = jnp.array([[1.0, 2.0], [3.0, 1.0]])
      >>> model = lambda images, parameters: xr.mark(images, "layer").sum((1, 2)) @ head
      >>> case = Case(model, (), jnp.array([2.0, 1.0]).reshape(1, 1, 1, 2), jnp.array([[0]]))
      >>> w = conserving_weights(case, "layer", composite=xr.composites.relevance_cam())
      >>> round(float(w.ravel() @ jnp.array([2.0, 1.0])), 6)
      1.0

    References:
      you2024
    """
    way = _Way(case.function, layer, composite)
    activation, rest = _head(case.images, case.parameters, way=way)
    return _conserving(case.images, case.parameters, case.targets, activation, rest, way=way, eps=eps)


def sensitive_weights(case: Case, layer: str, *, composite: Composite, eps: float = 1e-9) -> Weights:
    """Returns w_k = (S(A) - S(A without channel k)) / (ε + sum_p A_k), as Ψ makes it (the thesis's eq. 4.13).

    The numerator is ρ_k + φ sum R_k of eq. 4.11. Forward and relevance pass are run again without each channel, from
    the layer on only.

    Args:
      case: what is explained.
      layer: a mark.
      composite: the rules of relevance.
      eps: ε.

    Raises:
      ValueError: there is no such mark.
      NotImplementedError: the mark is inside remat, scan or cond.

    Example:
      >>> import jax.numpy as jnp
      >>> import xrcam_jax as xr
      >>> from xrcam_jax.attribution.case import Case
      >>> from xrcam_jax.cam.axiom_cams import sensitive_weights
      >>> head = jnp.array([[1.0, 2.0], [3.0, 1.0]])
      >>> model = lambda images, parameters: xr.mark(images, "layer").sum((1, 2)) @ head
      >>> case = Case(model, (), jnp.array([2.0, 1.0]).reshape(1, 1, 1, 2), jnp.array([[0]]))
      >>> w = sensitive_weights(case, "layer", composite=xr.composites.relevance_cam())
      >>> [round(float(v), 6) for v in w.ravel()]
      [1.0, 3.0]

    References:
      you2024, fu2020
    """
    way = _Way(case.function, layer, composite)
    activation, rest = _head(case.images, case.parameters, way=way)
    # One more version, with nothing ablated, gives the score of the whole.
    channels = activation.shape[-1]
    step = partial(_scores, case.images, case.parameters, case.targets, activation, rest, way=way)
    each = activation.nbytes + bytes_of_gradient(case.function, layer, case.images, case.parameters)
    scores = stacked(step, channels + 1, case, each, f"XRelevance-CAM {layer}")
    drops = jnp.moveaxis(scores[-1] - scores[:-1], 0, -1)
    return jnp.expand_dims(drops, range(2, activation.ndim)) / _total(activation, eps)


@dataclass(frozen=True)
class _Way:
    """Is the way of relevance from the logits to a layer.

    Attributes:
      function: the model.
      layer: where the way ends.
      composite: the rules.
    """

    function: Function
    layer: str
    composite: Composite

    def has_one_output(self, images: Images, parameters: PyTree) -> bool:
        return jax.eval_shape(self.function, images, parameters).shape[1] == 1

    def cut(self, images: Images, parameters: PyTree) -> tuple[Cut, Rule | None]:
        return cut_relevance(
            self.function,
            self.composite,
            self.layer,
            images,
            parameters,
            explained=explained_flags(images, parameters),
            sides=self.has_one_output(images, parameters),
            of_value=is_value(self.function),
        )


@compiled(static=("way",))
def _head(images: Shaped[Array, "b ..."], parameters: PyTree, *, way: _Way) -> tuple[Array, list[Array]]:
    return way.cut(images, parameters)[0].head(images, parameters)


class _Arrived(NamedTuple):
    """Holds what arrives at a layer, by image and target.

    Attributes:
      score: S.
      factor: φ.
      relevance: sum_p R_k.
    """

    score: Float[Array, "b t"]
    factor: Float[Array, "b t"]
    relevance: Float[Array, "b t *one k"]


def _arrived(
    images: Shaped[Array, "b ..."],
    parameters: PyTree,
    targets: Int[Array, "b t"],
    versions: Float[Array, "bn *layer k"],
    rest: list[Array],
    count: int,
    way: _Way,
) -> _Arrived:
    """Returns what arrives of each image's targets with ``count`` versions of its activation, side by side."""
    many = versions_of(images, count)
    halves, rule = way.cut(many, parameters)
    _, wanted = jax.eval_shape(halves.head, many, parameters)
    repeated = rest_of_versions(rest, wanted, count)
    logits, pullback = jax.vjp(lambda a: halves.tail(a, repeated), versions)
    sides = way.has_one_output(images, parameters)

    def seed_at(target: Int[Array, " bn"]) -> Array:
        if sides:
            return seed_of_sides(seeds.contrastive, way.composite, logits[:, 1:], target, rule)
        return seeds.contrastive(logits, target)

    def find(target: Int[Array, " bn"]) -> _Arrived:
        seed = seed_at(target)
        (r,) = pullback(seed)
        of_target, seed_of_target = (jnp.take_along_axis(a, target[:, None], 1)[:, 0] for a in (logits, seed))
        relevance = over_space(at_least_float32(r))
        contrast = seed_of_target - seed.sum(1)
        score = (contrast + relevance.sum(range(1, relevance.ndim))) * of_target / seed_of_target
        return _Arrived(score, phi(relevance, contrast), relevance)

    return over_targets(find, jnp.repeat(targets, count, axis=0), axis=1)


@compiled(static=("way", "eps"))
def _conserving(
    images: Shaped[Array, "b ..."],
    parameters: PyTree,
    targets: Int[Array, "b t"],
    activation: Float[Array, "b *layer k"],
    rest: list[Array],
    *,
    way: _Way,
    eps: float,
) -> Weights:
    arrived = _arrived(images, parameters, targets, activation, rest, 1, way)
    factor = jnp.expand_dims(jnp.abs(arrived.factor), range(2, arrived.relevance.ndim))
    return factor * arrived.relevance / _total(activation, eps)


@compiled(static=("way",))
def _scores(
    images: Shaped[Array, "b ..."],
    parameters: PyTree,
    targets: Int[Array, "b t"],
    activation: Float[Array, "b *layer k"],
    rest: list[Array],
    indices: Int[Array, " n"],
    *,
    way: _Way,
) -> Float[Array, "n b t"]:
    """Returns S without each of some channels; a number beyond the last one leaves out nothing."""
    count = len(indices)
    versions = without_channels(activation, indices)
    scores = _arrived(images, parameters, targets, versions, rest, count, way).score
    return jnp.moveaxis(scores.reshape(len(images), count, -1), 1, 0)


def _total(activation: Float[Array, "b *layer k"], eps: float) -> Float[Array, "b 1 *one k"]:
    """Returns ε + sum_p A_k, or infinity where that is 0."""
    total = eps + over_space(at_least_float32(activation))[:, None]
    return jnp.where(total == 0, jnp.inf, total)
