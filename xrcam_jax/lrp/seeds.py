"""Seeds: the relevance that is put at the logits, for the chosen class and against the others.

All take logits of shape (B, N) and targets of shape (B,), and return an array like the logits.

References:
  gu2019: Gu et al., Understanding individual decisions of CNNs via contrastive backpropagation, ACCV 2018.
  iwana2019: Iwana et al., Explaining CNNs using softmax gradient layer-wise relevance propagation, ICCVW 2019.
  lee2021: Lee et al., Relevance-CAM: your model already knows where to look, CVPR 2021.
"""

import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Float, Int


def _at(logits: Float[Array, "b n"], targets: Int[Array, " b"]) -> Float[Array, "b n"]:
    return jax.nn.one_hot(targets, logits.shape[-1], dtype=logits.dtype)


def unit(logits: Float[Array, "b n"], targets: Int[Array, " b"]) -> Float[Array, "b n"]:
    """1 at the target, 0 elsewhere: the seed of a gradient."""
    return _at(logits, targets)


def contrastive(logits: Float[Array, "b n"], targets: Int[Array, " b"]) -> Float[Array, "b n"]:
    """1 at the target, -1/N elsewhere: the seed of the relevance CAMs, whatever the sign of the logit (lee2021)."""
    at = _at(logits, targets)
    return at - (1 - at) / logits.shape[-1]


def one_hot(logits: Float[Array, "b n"], targets: Int[Array, " b"]) -> Float[Array, "b n"]:
    """The logit L_t at the target, 0 elsewhere."""
    return _at(logits, targets) * logits


def clrp(logits: Float[Array, "b n"], targets: Int[Array, " b"]) -> Float[Array, "b n"]:
    """L_t at the target, -L_t / N elsewhere; they sum to L_t / N (lee2021)."""
    return contrastive(logits, targets) * _target_logit(logits, targets)


def clrp_zero_sum(logits: Float[Array, "b n"], targets: Int[Array, " b"]) -> Float[Array, "b n"]:
    """L_t at the target, -L_t / (N - 1) elsewhere; they sum to 0 (gu2019).

    Raises:
      ValueError: there is only one class.
    """
    classes = logits.shape[-1]
    if classes < 2:
        raise ValueError(f"clrp_zero_sum contrasts classes: it needs at least 2, got logits of shape {logits.shape}")
    at = _at(logits, targets)
    return (at - (1 - at) / (classes - 1)) * _target_logit(logits, targets)


def sglrp(logits: Float[Array, "b n"], targets: Int[Array, " b"]) -> Float[Array, "b n"]:
    """The softmax's gradient: p_t (1 - p_t) at the target, -p_t p_i elsewhere (iwana2019)."""
    p = jax.nn.softmax(logits, axis=-1)
    p_t = jnp.take_along_axis(p, targets[..., None], axis=-1)
    return p_t * (_at(logits, targets) - p)


def _target_logit(logits: Float[Array, "b n"], targets: Int[Array, " b"]) -> Float[Array, "b 1"]:
    return jnp.take_along_axis(logits, targets[..., None], axis=-1)
