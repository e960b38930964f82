"""Seeds are the relevance that is put at the logits, for the chosen class and against the others.

In the descriptions L_t is the logit of the target, N the number of classes, and p their probabilities by softmax.

A network of one output z has two classes, of the logits -z and z. Seeds that contrast classes are for the network that
:func:`xrcam_jax.two_sided` makes of it, which has these as outputs.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Bool, Float, Int

Logits = Float[Array | np.ndarray, "b n"]
Targets = Int[Array | np.ndarray, " b"]


def _at(logits: Logits, targets: Targets) -> Float[Array, "b n"]:
    """Returns by how much the target's logit grows with each output."""
    if logits.shape[-1] == 1:
        return jnp.asarray(2 * targets[..., None] - 1, logits.dtype)
    return jax.nn.one_hot(targets, logits.shape[-1], dtype=logits.dtype)


def unit(logits: Logits, targets: Targets) -> Float[Array, "b n"]:
    """Returns 1 at the target and 0 elsewhere: the seed of a gradient; of one output 1 for class 1 and -1 for class 0.

    Args:
      logits: what the model returns, of shape (B, N).
      targets: the class to explain in each example, 0 to N - 1, of shape (B,); 0 or 1 if there is one output.

    Returns:
      The relevance of the logits, of shape (B, N) and their dtype.

    Example:
      >>> import jax.numpy as jnp
      >>> from xrcam_jax import seeds
      >>> seeds.unit(jnp.array([[2.0, 4.0, -1.0, 0.0]]), jnp.array([1])).tolist()
      [[0.0, 1.0, 0.0, 0.0]]
    """
    return _at(logits, targets)


def contrastive(logits: Logits, targets: Targets) -> Float[Array, "b n"]:
    """Returns 1 at the target and -1/N elsewhere: the seed of the relevance CAMs, whatever the sign of the logit.

    Args:
      logits: what the model returns, of shape (B, N).
      targets: the class to explain in each example, 0 to N - 1, of shape (B,).

    Returns:
      The relevance of the logits, of shape (B, N) and their dtype.

    Raises:
      ValueError: there is only one output.

    Example:
      >>> import jax.numpy as jnp
      >>> from xrcam_jax import seeds
      >>> seeds.contrastive(jnp.array([[2.0, 4.0, -1.0, 0.0]]), jnp.array([1])).tolist()
      [[-0.25, 1.0, -0.25, -0.25]]

    References:
      lee2021
    """
    _check_contrast("contrastive", logits)
    at = _at(logits, targets)
    return at - (1 - at) / logits.shape[-1]


def one_hot(logits: Logits, targets: Targets) -> Float[Array, "b n"]:
    """Returns L_t at the target and 0 elsewhere; of one output z it is z for class 1 and -z for class 0.

    Args:
      logits: what the model returns, of shape (B, N).
      targets: the class to explain in each example, 0 to N - 1, of shape (B,); 0 or 1 if there is one output.

    Returns:
      The relevance of the logits, of shape (B, N) and their dtype.

    Example:
      >>> import jax.numpy as jnp
      >>> from xrcam_jax import seeds
      >>> seeds.one_hot(jnp.array([[2.0, 4.0, 1.0, 0.0]]), jnp.array([1])).tolist()
      [[0.0, 4.0, 0.0, 0.0]]

    References:
      bach2015
    """
    return _at(logits, targets) * logits


def clrp(logits: Logits, targets: Targets) -> Float[Array, "b n"]:
    """Returns L_t at the target and -L_t / N elsewhere, which sum to L_t / N.

    Args:
      logits: what the model returns, of shape (B, N).
      targets: the class to explain in each example, 0 to N - 1, of shape (B,).

    Returns:
      The relevance of the logits, of shape (B, N) and their dtype.

    Raises:
      ValueError: there is only one output.

    Example:
      >>> import jax.numpy as jnp
      >>> from xrcam_jax import seeds
      >>> seeds.clrp(jnp.array([[2.0, 4.0, -1.0, 0.0]]), jnp.array([1])).tolist()
      [[-1.0, 4.0, -1.0, -1.0]]

    References:
      lee2021
    """
    _check_contrast("clrp", logits)
    return contrastive(logits, targets) * _target_logit(logits, targets)


def clrp_zero_sum(logits: Logits, targets: Targets) -> Float[Array, "b n"]:
    """Returns L_t at the target and -L_t / (N - 1) elsewhere, which sum to 0.

    Args:
      logits: what the model returns, of shape (B, N).
      targets: the class to explain in each example, 0 to N - 1, of shape (B,).

    Returns:
      The relevance of the logits, of shape (B, N) and their dtype.

    Raises:
      ValueError: there is only one output.

    Example:
      >>> import jax.numpy as jnp
      >>> from xrcam_jax import seeds
      >>> seeds.clrp_zero_sum(jnp.array([[2.0, 3.0, -1.0]]), jnp.array([1])).tolist()
      [[-1.5, 3.0, -1.5]]

    References:
      gu2019
    """
    _check_contrast("clrp_zero_sum", logits)
    at = _at(logits, targets)
    return (at - (1 - at) / (logits.shape[-1] - 1)) * _target_logit(logits, targets)


def sglrp(logits: Logits, targets: Targets) -> Float[Array, "b n"]:
    """Returns the gradient of the softmax: p_t (1 - p_t) at the target and -p_t p_i elsewhere.

    Where the network is sure of a class these are all but zero, and zero in float32 from a gap of 17 between logits on;
    :func:`sglrp_unit` is the same one in another scale, which has no such end.

    Args:
      logits: what the model returns, of shape (B, N).
      targets: the class to explain in each example, 0 to N - 1, of shape (B,).

    Returns:
      The relevance of the logits, of shape (B, N) and their dtype.

    Raises:
      ValueError: there is only one output.

    Example:
      >>> import jax.numpy as jnp
      >>> from xrcam_jax import seeds
      >>> seeds.sglrp(jnp.array([[2.0, 2.0]]), jnp.array([1])).tolist()
      [[-0.25, 0.25]]

    References:
      iwana2019
    """
    _check_contrast("sglrp", logits)
    p = jax.nn.softmax(logits, axis=-1)
    p_t = jnp.take_along_axis(p, targets[..., None], axis=-1)
    return p_t * (_at(logits, targets) - p)


def sglrp_unit(logits: Logits, targets: Targets) -> Float[Array, "b n"]:
    """Returns 1 at the target and -p_i / (1 - p_t) elsewhere, which is :func:`sglrp` over p_t (1 - p_t).

    What is elsewhere is the softmax of the other logits alone, so that it is exact however sure the network is.

    Args:
      logits: what the model returns, of shape (B, N).
      targets: the class to explain in each example, 0 to N - 1, of shape (B,).

    Returns:
      The relevance of the logits, which sums to 0, of shape (B, N) and their dtype.

    Raises:
      ValueError: there is only one output.

    Example:
      >>> import jax.numpy as jnp
      >>> from xrcam_jax import seeds
      >>> seeds.sglrp_unit(jnp.array([[500.0, 0.0, 0.0]]), jnp.array([0])).tolist()
      [[1.0, -0.5, -0.5]]

    References:
      iwana2019
    """
    _check_contrast("sglrp_unit", logits)
    at = _at(logits, targets)
    return at - jax.nn.softmax(jnp.where(at == 1, -jnp.inf, logits), axis=-1)


def finer(
    logits: Logits, targets: Targets, *, alpha: float = 1.0, comparison: int | tuple[int, ...] = 3
) -> Float[Array, "b n"]:
    """Returns the gradient of by how much the target's logit is above those of similar classes d (zhang2025).

    That is of s = sum_d q_d (L_t - α L_d), with q the softmax of the L_d alone: 1 at the target and
    -α q_d (1 + L_d - sum_i q_i L_i) at each of them. Of one class d it is the gradient of L_t - α L_d.

    Args:
      logits: what the model returns, of shape (B, N).
      targets: the class to explain in each example, 0 to N - 1, of shape (B,).
      alpha: α, how strongly it is compared; 0 is :func:`unit`.
      comparison: how many similar classes there are, or which, by number. Similar are those of the nearest logits, up
        to all other classes; equally near ones are all among them. The target is never compared with itself.

    Returns:
      The relevance of the logits, of shape (B, N) and their dtype.

    Raises:
      ValueError: there is only one output; or ``comparison`` is less than 1, no class at all, or no class of these.

    Example:
      >>> import jax.numpy as jnp
      >>> from xrcam_jax import seeds
      >>> logits, targets = jnp.array([[2.0, 4.0, -1.0, 0.0]]), jnp.array([1])
      >>> seeds.finer(logits, targets, comparison=1).tolist()
      [[-1.0, 1.0, 0.0, 0.0]]
      >>> seeds.finer(logits, targets, alpha=0.5, comparison=(2,)).tolist()
      [[0.0, 1.0, -0.5, 0.0]]

    References:
      zhang2025, gildenblat2021
    """
    _check_contrast("finer", logits)
    at = _at(logits, targets)
    similar = _similar(logits, targets, comparison) & (at == 0)
    # Where the target alone was named, nothing is compared.
    q = jnp.where(similar, jax.nn.softmax(jnp.where(similar, logits, -jnp.inf), axis=-1), 0)
    mean = jnp.sum(jnp.where(similar, q * logits, 0), axis=-1, keepdims=True)
    return at - alpha * q * (1 + logits - mean)


def _similar(logits: Logits, targets: Targets, comparison: int | tuple[int, ...]) -> Bool[Array, "#b n"]:
    """Returns which classes are compared with the target."""
    classes = logits.shape[-1]
    if isinstance(comparison, tuple):
        if not comparison or not all(0 <= each < classes for each in comparison):
            raise ValueError(f"comparison must name classes from 0 to {classes - 1}; got {comparison}")
        return jnp.isin(jnp.arange(classes), jnp.array(comparison))[None]
    if comparison < 1:
        raise ValueError(f"comparison must be at least 1, or name classes; got {comparison}")
    apart = jnp.where(_at(logits, targets) == 1, jnp.inf, jnp.abs(logits - _target_logit(logits, targets)))
    # Sorting leaves a batch that is laid across devices where it is, and top_k would not.
    farthest = jnp.sort(apart, axis=-1)[..., min(comparison, classes - 1) - 1]
    return apart <= farthest[..., None]


def _target_logit(logits: Logits, targets: Targets) -> Float[Array, "b 1"]:
    return jnp.take_along_axis(logits, targets[..., None], axis=-1)


def _check_contrast(name: str, logits: Logits) -> None:
    if logits.shape[-1] < 2:
        raise ValueError(
            f"{name} contrasts classes: it needs at least 2, got logits of shape {logits.shape}; explain "
            "xr.two_sided(model) in the place of a model of one output"
        )
