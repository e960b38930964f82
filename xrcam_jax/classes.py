"""What logits say of classes, which is the same for all networks but those of one output.

A network of n > 1 outputs decides between n classes, whose probabilities are the softmax. A network of one output z
decides between two, class 1 against class 0. Its probability of class 1 is the sigmoid of z, and -z speaks for class 0
as z does for class 1. So the logit of its class t is (2t - 1) z, and the softmax of -z/2 and z/2 has its probabilities.
"""

from typing import TypeVar

import numpy as np

#: An array of NumPy or JAX, whose last axis is that of the outputs or classes.
Logits = TypeVar("Logits")


def class_count(outputs: int) -> int:
    """Returns how many classes a network of so many outputs decides between: as many, but two if it has one output.

    Args:
      outputs: the length of the last axis of what the network returns, from 1.

    Example:
      >>> from xrcam_jax.classes import class_count
      >>> class_count(1), class_count(5)
      (2, 5)
    """
    return max(2, outputs)


def class_logits(logits: Logits) -> Logits:
    """Returns the logit of each class: what the network returns, or (-z, z) if that is one output z.

    Args:
      logits: what the network returns, of shape (..., n).

    Returns:
      An array of shape (..., 2) if n is 1; else the same one.

    Example:
      >>> import numpy as np
      >>> from xrcam_jax.classes import class_logits
      >>> class_logits(np.array([[3.0], [-1.0]])).tolist(), class_logits(np.array([[3.0, 4.0, 5.0]])).tolist()
      ([[-3.0, 3.0], [1.0, -1.0]], [[3.0, 4.0, 5.0]])
    """
    return _of_two_classes(logits, 1.0)


def softmax_logits(logits: Logits) -> Logits:
    """Returns logits whose softmax are the probabilities of the classes.

    Args:
      logits: what the network returns, of shape (..., n).

    Returns:
      (-z/2, z/2), of shape (..., 2), if n is 1; else the same array.

    Example:
      >>> import numpy as np
      >>> from xrcam_jax.classes import softmax_logits
      >>> shares = np.exp(softmax_logits(np.array([[np.log(3.0)]])))
      >>> (shares / shares.sum()).round(6).tolist()
      [[0.25, 0.75]]
    """
    return _of_two_classes(logits, 0.5)


def _of_two_classes(logits: Logits, size: float) -> Logits:
    if logits.shape[-1] != 1:  # type: ignore[attr-defined]
        return logits
    return logits * np.array([-size, size], logits.dtype)  # type: ignore[attr-defined]
