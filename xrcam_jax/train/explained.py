"""What a network is explained by while it learns: the losses that a step of training can add to the cross-entropy.

A network is explained as it will be when it is trained: in inference mode, without dropout and by the running averages
of its batch norms. So the relevance of a picture does not depend on the others of its batch.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Literal, NamedTuple

import jax
import numpy as np
from jaxtyping import Array, Float, Int, Key, PyTree

from xrcam_jax.classes import softmax_logits
from xrcam_jax.errors import unknown
from xrcam_jax.lrp import composites, seeds
from xrcam_jax.lrp.assignments import Composite
from xrcam_jax.lrp.sides import two_sided
from xrcam_jax.lrp.transform import taps
from xrcam_jax.marks import mark
from xrcam_jax.train.explanation_losses import (
    at_layer,
    consistent_contrastive,
    inconsistency,
    off_the_outlines,
    relevance_on,
    right_reasons,
    supervised_contrastive,
    turned,
)

#: The picture itself as a layer.
INPUT = "input"
#: Larger than for maps, since the derivative of R / (z + ε) has its square in the denominator.
EPS = 1e-6


class Seen(NamedTuple):
    """Holds what a loss looks at in a batch.

    Attributes:
      activations: of the layer.
      relevances: at the layer, of the labelled class.
      labels: the classes.
      forbidden: how much of each place of the layer is off the outlines, 0 in pictures that have none.
      again: activations and relevances of the same pictures turned, and turned back.
    """

    activations: Float[Array, "b *space k"]
    relevances: Float[Array, "b *space k"]
    labels: Int[Array, " b"]
    forbidden: Float[Array, "b *space"] | None
    again: tuple[Float[Array, "b *space k"], Float[Array, "b *space k"]] | None


@dataclass(frozen=True)
class ExplanationLoss:
    """Is a loss that can be added by name.

    Attributes:
      about: what it asks of the network, in a line.
      value: from what is seen to a value for each picture.
      signal: what is propagated to the layer: the relevance of XRelevance-CAM, with the seed 1 at the label and -1/N
        elsewhere, or the gradient of Σ_k log p_k.
      outlines: whether it needs outlines.
      views: whether it compares with the pictures turned.
    """

    about: str
    value: Callable[[Seen], Float[Array, " b"]]
    signal: Literal["relevance", "gradient"] = "relevance"
    outlines: bool = False
    views: bool = False


def _off_outlines(loss: Callable[[Array, Array], Array]) -> Callable[[Seen], Float[Array, " b"]]:
    return lambda seen: loss(seen.relevances, seen.forbidden)  # type: ignore[arg-type]


def _consistency(seen: Seen) -> Float[Array, " b"]:
    return inconsistency(seen.relevances, seen.again[1])  # type: ignore[index]


def _contrastive(seen: Seen) -> Float[Array, " b"]:
    return supervised_contrastive(_pooled(seen.activations), seen.labels)


def _consistent_contrastive(seen: Seen) -> Float[Array, " b"]:
    activations, relevances = seen.again  # type: ignore[misc]
    features = _pooled(seen.activations), _pooled(activations)
    return consistent_contrastive(features, (seen.relevances, relevances), seen.labels)


def _pooled(activations: Float[Array, "b *space k"]) -> Float[Array, "b k"]:
    return activations.reshape(len(activations), -1, activations.shape[-1]).mean(1)


#: The losses by name.
EXPLANATION_LOSSES: Mapping[str, ExplanationLoss] = {
    "right_reasons": ExplanationLoss(
        "no gradient off the outlines (Ross et al. 2017)",
        _off_outlines(right_reasons),
        signal="gradient",
        outlines=True,
    ),
    "right_relevance": ExplanationLoss(
        "the same with relevance in the place of gradients", _off_outlines(right_reasons), outlines=True
    ),
    "relevance_outside": ExplanationLoss(
        "a small share of the relevance off the outlines", _off_outlines(relevance_on), outlines=True
    ),
    "consistency": ExplanationLoss("maps turn as the pictures do", _consistency, views=True),
    "contrastive": ExplanationLoss(
        "features of a class lie together, apart from others (Khosla et al. 2020)", _contrastive
    ),
    "consistent_contrastive": ExplanationLoss(
        "both of the last two, of two views", _consistent_contrastive, views=True
    ),
}


@dataclass(frozen=True)
class Explanation:
    """Says which loss is added to the cross-entropy, with which weight, and where the network is explained.

    Attributes:
      loss: its name, a key of :data:`EXPLANATION_LOSSES`.
      layer: a layer of the model by name, or ``"input"``.
      weight: factor of the loss, more than 0.

    Raises:
      ValueError: there is no such loss, or the weight is not a positive number.
    """

    loss: str
    layer: str
    weight: float = 1.0

    def __post_init__(self) -> None:
        if self.loss not in EXPLANATION_LOSSES:
            raise unknown("explanation loss", self.loss, EXPLANATION_LOSSES)
        if not 0 < self.weight < float("inf"):
            raise ValueError(f"weight: {self.weight} is not a positive number")

    @property
    def kind(self) -> ExplanationLoss:
        """The loss itself."""
        return EXPLANATION_LOSSES[self.loss]


def explanation_values(
    explanation: Explanation,
    model: Callable[[Float[Array, "b h w c"], PyTree], Float[Array, "b n"]],
    parameters: PyTree,
    images: Float[Array, "b h w c"],
    labels: Int[Array, " b"],
    outlines: Float[Array, "b h w"] | None,
    key: Key[Array, ""],
) -> Float[Array, " b"]:
    """Returns the value of an explanation loss for each picture; it can be differentiated by the parameters.

    Args:
      explanation: which loss, and where.
      model: a function of pictures and parameters that returns logits.
      parameters: of the model.
      images: the batch, square if the loss compares views.
      labels: the classes, which are explained.
      outlines: in [0, 1], how much of each pixel lies within what counts; nothing does where nobody has said.
      key: for how pictures are turned.

    Returns:
      The values, 0 in pictures that the loss says nothing about.

    Raises:
      ValueError: the loss needs outlines and there are none; or the layer is none of the model's, or several, or has
        no places where the loss compares some.

    Example:
      >>> import jax
      >>> import jax.numpy as jnp
      >>> from xrcam_jax.train.explained import Explanation, explanation_values
      >>> def model(x, w):
      ...     return x.mean(-1).reshape(len(x), -1) @ w
      >>> images, w = jnp.ones((1, 1, 2, 1)), jnp.array([[3.0, 0.0], [1.0, 0.0]])
      >>> outlines, key = jnp.array([[[1.0, 0.0]]]), jax.random.key(0)
      >>> outside = Explanation("relevance_outside", "input")
      >>> explanation_values(outside, model, w, images, jnp.array([0]), outlines, key).round(4).tolist()
      [0.25]
    """
    kind = explanation.kind
    if kind.outlines and outlines is None:
        raise ValueError(f"the loss {explanation.loss!r} needs outlines")
    see = partial(_seen, explanation, model, parameters, labels=labels)
    activations, relevances = see(images)
    if (kind.outlines or kind.views) and activations.ndim != images.ndim:
        line = f"compares places, and needs a layer of {images.ndim} axes"
        raise ValueError(f"{explanation.loss!r} {line}; {explanation.layer!r} has shape {activations.shape}")
    space, again, forbidden = activations.shape[1:-1], None, None
    if kind.outlines and outlines is not None:
        forbidden = at_layer(off_the_outlines(outlines), space)
    if kind.views:
        how = jax.random.bernoulli(key, shape=(len(images), 3))
        activations_again, relevances_again = (turned(each, how, back=True) for each in see(turned(images, how)))
        again = activations_again, relevances_again
    return kind.value(Seen(activations, relevances, labels, forbidden, again))


def _seen(
    explanation: Explanation,
    model: Callable[[Array, PyTree], Array],
    parameters: PyTree,
    images: Float[Array, "b h w c"],
    *,
    labels: Int[Array, " b"],
) -> tuple[Float[Array, "b *space k"], Float[Array, "b *space k"]]:
    """Returns the activation of the layer and what is propagated to it."""

    def f(images: Array, parameters: PyTree) -> Array:
        return model(mark(images, INPUT), parameters)

    gradient = explanation.kind.signal == "gradient"
    if not gradient and jax.eval_shape(f, images, parameters).shape[-1] == 1:
        f = two_sided(f)
    composite: Composite = composites.gradient() if gradient else composites.relevance_cam(eps=EPS)
    seed = _all_classes if gradient else partial(seeds.contrastive, targets=labels)
    found = taps(f, composite, images, parameters, seed=seed, marks=[explanation.layer])
    if len(found.activations) != 1:
        raise ValueError(f"layer: {explanation.layer!r} stands for {', '.join(found.activations)}; one is needed")
    ((activation,), (relevance,)) = found.activations.values(), found.relevances.values()
    # Sums over places need more digits than bfloat16 has.
    wide = np.promote_types(activation.dtype, np.float32)
    return activation.astype(wide), relevance.astype(wide)


def _all_classes(logits: Float[Array, "b n"]) -> Float[Array, "b n"]:
    """Returns the derivative of Σ_k log p_k by each logit: 1 - N p."""
    return jax.grad(lambda logits: jax.nn.log_softmax(softmax_logits(logits)).sum())(logits)
