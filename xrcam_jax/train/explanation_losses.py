"""Losses on explanations: pure functions of activations, relevances, labels and masks, with a value for each picture.

They are sums and quotients of what they are given, so they can be differentiated wherever the relevance can: through
the rules, with respect to the network's parameters. A picture about which nobody has said anything has the value 0.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Bool, Float, Int

# A GPU's fast products would cost sums their digits.
_EXACT = lax.Precision.HIGHEST


def right_reasons(explanation: Float[Array, "b *space k"], forbidden: Float[Array, "b *space"]) -> Float[Array, " b"]:
    """Returns Σ_d (A_d E_d)², which is 0 where nothing forbidden is marked.

    Ross et al. take the gradient at the input of Σ_k log p_k for the explanation E. It may be any other signed one,
    such as a relevance; then what is measured depends on how large that is put in.

    Args:
      explanation: E, with an element for each channel of each place.
      forbidden: A in [0, 1], how much of each place is forbidden; 0 everywhere in pictures of which nothing is known.

    Returns:
      The sums, 0 or more.

    Example:
      >>> import jax.numpy as jnp
      >>> from xrcam_jax.train.explanation_losses import right_reasons
      >>> explanation = jnp.array([3.0, -2.0]).reshape(1, 1, 2, 1)
      >>> right_reasons(explanation, jnp.array([0.0, 1.0]).reshape(1, 1, 2)).tolist()
      [4.0]

    References:
      ross2017
    """
    return _sums((explanation * forbidden[..., None]) ** 2)


def relevance_on(
    relevance: Float[Array, "b *space k"], forbidden: Float[Array, "b *space"], *, eps: float = 1e-12
) -> Float[Array, " b"]:
    """Returns 1 - Σ_p (1 - A_p) |R_p| / (Σ_p |R_p| + ε): how much of the relevance lies on what is forbidden.

    R_p is the sum over the channels of a place. The share does not depend on how large the relevance is, so it cannot
    be lowered by smaller logits; and it is 1 where there is no relevance, so that to lose it all is no way out.

    Args:
      relevance: R, of either sign.
      forbidden: A in [0, 1], how much of each place is forbidden; 0 everywhere in pictures of which nothing is known.
      eps: ε, more than 0.

    Returns:
      The shares, in [0, 1]; 0 where nothing is forbidden.

    Example:
      >>> import jax.numpy as jnp
      >>> from xrcam_jax.train.explanation_losses import relevance_on
      >>> relevance = jnp.array([3.0, -1.0]).reshape(1, 1, 2, 1)
      >>> relevance_on(relevance, jnp.array([0.0, 1.0]).reshape(1, 1, 2)).tolist()
      [0.25]
    """
    size = jnp.abs(relevance.sum(-1))
    share = 1 - _sums((1 - forbidden) * size) / (_sums(size) + eps)
    return jnp.where(_sums(forbidden) > 0, share, 0)


def inconsistency(one: Float[Array, "b *space k"], other: Float[Array, "b *space k"]) -> Float[Array, " b"]:
    """Returns 1 - cos(M, N) of two maps of each picture, M_p = Σ_k of ``one`` and N_p of ``other``.

    With the map of the changed picture and the changed map of the picture it says how far from equivariant maps are.

    Args:
      one: an explanation, of either sign.
      other: another one of the same pictures, place for place.

    Returns:
      0 where the maps are the same but for a positive factor, 1 where they have nothing in common or one of them is 0,
      and 2 where one is the other's negative.

    Example:
      >>> import jax.numpy as jnp
      >>> from xrcam_jax.train.explanation_losses import inconsistency
      >>> maps = jnp.array([[3.0, 0.0], [2.0, 0.0], [0.0, 5.0]]).reshape(3, 1, 2, 1)
      >>> inconsistency(maps[:2], maps[1:]).tolist()
      [0.0, 1.0]
    """
    m, n = (_unit(each.sum(-1).reshape(len(each), -1)) for each in (one, other))
    return 1 - (m * n).sum(-1)


def supervised_contrastive(
    features: Float[Array, "b k"], labels: Int[Array, " b"], *, temperature: float = 0.1
) -> Float[Array, " b"]:
    """Returns -1/|P(i)| Σ_{p∈P(i)} log(exp(z_i·z_p / τ) / Σ_{a≠i} exp(z_i·z_a / τ)) (khosla2020, eq. 2).

    z are the features, scaled to a length of 1, and P(i) are the others of the same label. The paper has two augmented
    views of each picture in a batch: give both, with the label twice.

    Args:
      features: of any length.
      labels: the classes.
      temperature: τ, more than 0.

    Returns:
      A value for each row, 0 for the only one of its class.

    Example:
      >>> import jax.numpy as jnp
      >>> from xrcam_jax.train.explanation_losses import supervised_contrastive
      >>> features = jnp.array([[1.0, 0.0], [2.0, 0.0], [0.0, 1.0]])
      >>> losses = supervised_contrastive(features, jnp.array([0, 0, 1]), temperature=1.0)
      >>> [round(each, 4) for each in losses.tolist()]  # log(e + 1) - 1, and the only one of its class
      [0.3133, 0.3133, 0.0]

    References:
      khosla2020
    """
    z = _unit(features)
    alike = jnp.einsum("ik,jk->ij", z, z, precision=_EXACT) / temperature
    itself = jnp.eye(len(z), dtype=bool)
    same = (labels[:, None] == labels[None, :]) & ~itself
    logs = jax.nn.log_softmax(jnp.where(itself, -jnp.inf, alike), axis=-1)
    count = same.sum(-1).astype(z.dtype)
    return jnp.where(same, -logs, 0).sum(-1) / jnp.maximum(count, 1)


def consistent_contrastive(
    features: tuple[Float[Array, "b k"], Float[Array, "b k"]],
    maps: tuple[Float[Array, "b *space c"], Float[Array, "b *space c"]],
    labels: Int[Array, " b"],
    *,
    temperature: float = 0.1,
    balance: float = 1.0,
) -> Float[Array, " b"]:
    """Returns the supervised contrastive loss of two views of each picture, plus how little their maps agree.

    That is the mean of :func:`supervised_contrastive` over both views, among all views of the batch, plus
    ``balance`` · :func:`inconsistency` of the maps: features of a class come together, and for the same reasons. This
    sum is of this library, and no paper's.

    Args:
      features: of the views.
      maps: explanations of both views, place for place.
      labels: the classes.
      temperature: of the contrastive loss, more than 0.
      balance: weight of the maps, 0 or more.

    Returns:
      A value for each picture, 0 or more.

    Example:
      >>> import jax.numpy as jnp
      >>> from xrcam_jax.train.explanation_losses import consistent_contrastive
      >>> features, maps = jnp.eye(2), jnp.ones((2, 1, 1, 1))
      >>> losses = consistent_contrastive((features, features), (maps, maps), jnp.array([0, 1]), temperature=1.0)
      >>> [round(each, 4) for each in losses.tolist()]  # log(e + 2) - 1
      [0.5514, 0.5514]
    """
    both = supervised_contrastive(jnp.concatenate(features), jnp.tile(labels, 2), temperature=temperature)
    return both.reshape(2, -1).mean(0) + balance * inconsistency(*maps)


def off_the_outlines(outlines: Float[Array, "b *space"]) -> Float[Array, "b *space"]:
    """Returns what is forbidden where outlines say what counts: all but them, and nothing in pictures without any.

    Args:
      outlines: in [0, 1], how much of each place lies within the outlines.

    Example:
      >>> import jax.numpy as jnp
      >>> from xrcam_jax.train.explanation_losses import off_the_outlines
      >>> off_the_outlines(jnp.array([[[1.0, 0.25]], [[0.0, 0.0]]])).tolist()
      [[[0.0, 0.75]], [[0.0, 0.0]]]
    """
    some = outlines.any(axis=tuple(range(1, outlines.ndim)), keepdims=True)
    return jnp.where(some, 1 - outlines, 0)


def at_layer(masks: Float[Array, "b *pixels"], space: tuple[int, ...]) -> Float[Array, "b *space"]:
    """Returns how much of each place of a layer a mask covers.

    Args:
      masks: in [0, 1], pixel for pixel.
      space: how many places the layer has along each axis, (h, w) of pictures.

    Returns:
      The mean of each mask over the pixels of each place, of which some may belong to several.

    Example:
      >>> import jax.numpy as jnp
      >>> from xrcam_jax.train.explanation_losses import at_layer
      >>> at_layer(jnp.array([[[1.0, 0.0, 0.0, 0.0], [1.0, 1.0, 0.0, 1.0]]]), (1, 2)).tolist()
      [[[0.75, 0.25]]]
    """
    for axis, places in enumerate(space, start=1):
        means = jnp.asarray(_overlaps(masks.shape[axis], places), masks.dtype)
        masks = jnp.moveaxis(jnp.tensordot(means, masks, axes=(1, axis), precision=_EXACT), 0, axis)
    return masks


def _overlaps(pixels: int, places: int) -> Float[np.ndarray, "{places} {pixels}"]:
    """Returns how much of each of the places, which share an axis evenly, is each pixel."""
    edges, pixel = np.arange(places + 1)[:, None] * pixels / places, np.arange(pixels)
    common = np.minimum(edges[1:], pixel + 1) - np.maximum(edges[:-1], pixel)
    return np.maximum(common, 0) * places / pixels


def turned(x: Float[Array, "b h h *k"], how: Bool[Array, "b 3"], *, back: bool = False) -> Float[Array, "b h h *k"]:
    """Turns each square picture or map into one of the eight that flips and quarter turns make of it.

    Args:
      x: squares.
      how: whether to transpose, then to turn upside down, then to mirror; each may be turned its own way.
      back: whether to undo that.

    Returns:
      The turned squares.

    Example:
      >>> import jax.numpy as jnp
      >>> from xrcam_jax.train.explanation_losses import turned
      >>> x, how = jnp.array([[[1.0, 2.0], [3.0, 4.0]]]), jnp.array([[True, False, True]])
      >>> turned(x, how).tolist()
      [[[3.0, 1.0], [4.0, 2.0]]]
      >>> bool((turned(turned(x, how), how, back=True) == x).all())
      True
    """
    steps = (lambda x: x.swapaxes(1, 2), lambda x: x[:, ::-1], lambda x: x[:, :, ::-1])
    for number, step in list(enumerate(steps))[:: -1 if back else 1]:
        chosen = how[:, number].reshape(-1, *[1] * (x.ndim - 1))
        x = jnp.where(chosen, step(x), x)
    return x


def _sums(x: Float[Array, "b *rest"]) -> Float[Array, " b"]:
    return x.reshape(len(x), -1).sum(-1)


def _unit(x: Float[Array, "b k"]) -> Float[Array, "b k"]:
    """Returns rows of length 1; rows of zeros, of which the norm has no derivative, stay."""
    squares = (x * x).sum(-1, keepdims=True)
    zero = squares == 0
    return jnp.where(zero, 0, x / jnp.sqrt(jnp.where(zero, 1, squares)))
