"""Common targets: functions of a model's output that give the number which is explained of each picture.

Any function will do as ``target=``; these are for what is asked most. Two that are made alike are equal, so that
nothing is compiled again, and the arrays that they hold are arguments of the compiled program.
"""

from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass

import jax.numpy as jnp
import numpy as np
from jax.tree_util import Partial
from jax.typing import ArrayLike
from jaxtyping import Array, Float, PyTree, Shaped

from xrcam_jax.errors import unknown

#: Where in a tree of outputs the array is: a key, keys one inside another, or () for an output that is an array.
Key = Hashable | tuple[Hashable, ...]


def _at(output: PyTree, key: Key) -> Array:
    """Returns the array at a key, or says what there is."""
    for each in key if isinstance(key, tuple) else (key,):
        if isinstance(output, Mapping) and each not in output:
            raise unknown("key", str(each), list(map(str, output)))
        output = output[each]
    if not hasattr(output, "shape"):
        raise ValueError(f"key {key!r} leads to no array, but to {type(output).__name__}; name it by key=")
    return output


def _check_index(index: int, count: int, what: str) -> None:
    """Refuses what JAX would take for the nearest number that there is."""
    if not -count <= index < count:
        raise ValueError(f"{what} {index} is none of the {count} that there are, 0 to {count - 1}")


@dataclass(frozen=True)
class _Output:
    index: int | tuple[int, ...]
    key: Key

    def __call__(self, output: PyTree) -> Float[Array, " b"]:
        index = self.index if isinstance(self.index, tuple) else (self.index,)
        found = _at(output, self.key)
        if len(index) != found.ndim - 1:
            raise ValueError(f"index {self.index} must have {found.ndim - 1} numbers for an output {found.shape}")
        for each, count in zip(index, found.shape[1:], strict=True):
            _check_index(each, count, "index")
        return found[(slice(None), *index)]


@dataclass(frozen=True)
class _Contrast:
    a: int
    b: int
    key: Key

    def __call__(self, output: PyTree) -> Float[Array, " b"]:
        logits = _at(output, self.key)
        for each in (self.a, self.b):
            _check_index(each, logits.shape[1], "class")
        return logits[:, self.a] - logits[:, self.b]


@dataclass(frozen=True)
class _Similarity:
    key: Key

    def __call__(self, embedding: Float[Array | np.ndarray, "..."], output: PyTree) -> Float[Array, " b"]:
        found = _at(output, self.key)
        if embedding.ndim != 2 or embedding.shape[1] != found.shape[-1] or len(embedding) not in (1, len(found)):
            raise ValueError(f"embedding {embedding.shape} is not of the model's {found.shape}")
        length = jnp.linalg.norm(found, axis=1, keepdims=True)
        # The model's side is divided as a vector, so that its length is a norm to the rules.
        return (found / length * _unit(embedding).astype(found.dtype)).sum(1)


@dataclass(frozen=True)
class _Region:
    channel: int | None
    key: Key

    def __call__(self, mask: Shaped[Array | np.ndarray, "..."], output: PyTree) -> Float[Array, " b"]:
        found = _at(output, self.key)
        if self.channel is not None:
            _check_index(self.channel, found.shape[-1], "channel")
            found = found[..., self.channel]
        if mask.ndim != found.ndim or mask.shape[1:] != found.shape[1:] or len(mask) not in (1, len(found)):
            raise ValueError(f"mask {mask.shape} must be (b or 1, {', '.join(map(str, found.shape[1:]))})")
        return (found * mask.astype(found.dtype)).sum(tuple(range(1, found.ndim)))


def _unit(embedding: Array | np.ndarray) -> Array | np.ndarray:
    """Returns vectors of length 1, and zeros as they are."""
    length = jnp.linalg.norm(embedding, axis=-1, keepdims=True)
    return embedding / jnp.where(length == 0, 1, length)


def output(index: int | tuple[int, ...], *, key: Key = ()) -> Callable[[PyTree], Float[Array, " b"]]:
    """Asks for one number of the output: a logit, a regressed value, the score of a box.

    Args:
      index: of the number, behind the axis of the pictures.
      key: where the array is, if the model returns a dictionary or a tuple: ``"score"``, or ``("boxes", 0)``.

    Returns:
      The target.

    Example:
      >>> import jax.numpy as jnp
      >>> from xrcam_jax.explain import targets
      >>> targets.output(1, key="age")({"age": jnp.array([[50.0, 61.0]])}).tolist()
      [61.0]
    """
    return _Output(index, key)


def contrast(a: int, b: int, *, key: Key = ()) -> Callable[[PyTree], Float[Array, " b"]]:
    """Asks why class ``a`` and not class ``b``: for the difference of their logits.

    Args:
      a: the class in question.
      b: the class against which it is set.
      key: where the logits are, see :func:`output`.

    Returns:
      The target.

    Example:
      >>> import jax.numpy as jnp
      >>> from xrcam_jax.explain import targets
      >>> targets.contrast(2, 0)(jnp.array([[1.0, 0.0, 5.0]])).tolist()
      [4.0]
    """
    return _Contrast(a, b, key)


def similarity(embedding: Float[ArrayLike, "..."], *, key: Key = ()) -> Callable[[PyTree], Float[Array, " b"]]:
    """Asks why an embedding is like another one: for the cosine of the angle between them.

    Args:
      embedding: the other one, of shape (b, k), or (1, k) or (k,) for all pictures.
      key: where the model's own is, of shape (b, k), see :func:`output`.

    Returns:
      The target.

    Example:
      >>> import jax.numpy as jnp
      >>> from xrcam_jax.explain import targets
      >>> alike = targets.similarity(jnp.array([[2.0, 0.0]]))
      >>> [round(float(v), 3) for v in alike(jnp.array([[3.0, 4.0]]))]
      [0.6]
    """
    # A single vector must not be taken for a row of each picture.
    return Partial(_Similarity(key), jnp.atleast_2d(embedding))


def region(
    mask: Shaped[ArrayLike, "..."], *, channel: int | None = None, key: Key = ()
) -> Callable[[PyTree], Float[Array, " b"]]:
    """Asks for the sum of a dense output over a region, such as the logits of a class in an outline.

    Args:
      mask: weight of each place, of shape (b, h, w), or (1, h, w) for all pictures: 1 inside, 0 outside.
      channel: the class, if the output has classes as its last axis.
      key: where the dense output is, see :func:`output`.

    Returns:
      The target.

    Example:
      >>> import jax.numpy as jnp
      >>> from xrcam_jax.explain import targets
      >>> inside = targets.region(jnp.array([[[1.0, 0.0], [1.0, 0.0]]]), channel=1, key="mask")
      >>> inside({"mask": jnp.arange(8.0).reshape(1, 2, 2, 2)}).tolist()
      [6.0]
    """
    return Partial(_Region(channel, key), mask)
