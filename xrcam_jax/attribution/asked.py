"""What is asked of a model: of which of its inputs, and what number of its output is to be explained.

A model of one array that returns logits needs nothing of this. Any other becomes a function of one of its inputs and of
what lies :class:`Beside` it. If a target function says what is to be explained, that function's value is the one output
z of the network, and the methods explain it as they explain class 1 of a network of one output
(:mod:`xrcam_jax.classes`).
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float, PyTree, Shaped

from xrcam_jax.marks import mark

#: The name under which the images themselves are a layer; of several inputs the names begin with it.
INPUT = "input"


class Beside(NamedTuple):
    """Holds what a model gets beside the input that it is a function of.

    Attributes:
      explained: other inputs that are explained too, by name.
      others: inputs that are passed on.
      asked: the arrays that the target function holds.
      parameters: of the model.
    """

    explained: dict[str, Array]
    others: dict[str, Array]
    asked: list[Array]
    parameters: PyTree


@dataclass(frozen=True)
class Asked:
    """Is the function (input, :class:`Beside`) -> logits (b, n), or -> (b, 1) if there is a target function.

    Attributes:
      model: (inputs, parameters) -> the model's output.
      batch: how many pictures there are. Arrays beside with as many rows have one for each picture.
      inputs: the structure of the model's inputs.
      names: the name of each of them, a layer if it is explained.
      changed: the name of the one that this is a function of.
      target: the target function if it holds no arrays, or else its structure; None explains classes.
    """

    model: Callable[[Any, PyTree], Any]
    batch: int
    inputs: Any
    names: tuple[str, ...]
    changed: str
    target: Any = None

    def __call__(self, x: Shaped[Array, "b *rest"], beside: Beside) -> Array:
        """Returns the logits, or the value of the target function as one logit.

        Raises:
          ValueError: the target function returns anything else than one number for each picture.
        """
        rows = len(x)
        explained = {self.changed: x} | {name: self.for_versions(a, rows) for name, a in beside.explained.items()}
        given = {name: self.for_versions(a, rows) for name, a in beside.others.items()}
        # The only input of a model is marked where its maps are asked for.
        named = self.names != (INPUT,)
        given |= {name: mark(a, name) if named else a for name, a in explained.items()}
        output = self.model(jax.tree.unflatten(self.inputs, [given[name] for name in self.names]), beside.parameters)
        if self.target is None:
            return output
        return self.value(output, [self.for_versions(a, rows) for a in beside.asked], rows)[:, None]

    def value(self, output: PyTree, held: list[Array], rows: int) -> Float[Array, " b"]:
        """Returns what the target function says of an output."""
        target = self.target if callable(self.target) else jax.tree.unflatten(self.target, held)
        try:
            _check_places(target, output)
            value = target(output)
        # A function of a user may fail in any way, and JAX's errors have many lines.
        except Exception as error:
            line = next(iter(str(error).splitlines()), "")
            raise ValueError(
                f"target fails for the model's output {described(output)}: {type(error).__name__}: {line}"
            ) from error
        if getattr(value, "shape", None) != (rows,) or not jnp.issubdtype(value.dtype, jnp.floating):
            raise ValueError(
                "target must return one floating-point number for each picture, of shape "
                f"({rows},); got {described(value)} for the model's output {described(output)}"
            )
        return value

    def for_versions(self, a: Array, rows: int) -> Array:
        """Returns an array for a batch in which the versions of each picture lie side by side."""
        if a.ndim == 0 or len(a) != self.batch:
            return a
        # These two equations are there for a single version too, so that the model can be cut at a layer the same way.
        count = rows // self.batch
        each = lax.broadcast_in_dim(a, (self.batch, count, *a.shape[1:]), (0, *range(2, a.ndim + 1)))
        return lax.reshape(each, (rows, *a.shape[1:]))


def twice(function: Any, beside: PyTree) -> tuple[Any, PyTree]:
    """Returns a model and what is beside its input for a batch that is followed by one more of the same pictures.

    Args:
      function: the model.
      beside: its parameters, or a :class:`Beside`.

    Example:
      >>> import jax
      >>> import jax.numpy as jnp
      >>> from xrcam_jax.attribution.asked import Asked, Beside, twice
      >>> add = lambda inputs, parameters: inputs[0] + inputs[1]
      >>> model = Asked(add, 2, jax.tree.structure((0, 0)), ("a", "b"), "a")
      >>> both, beside = twice(model, Beside({}, {"b": jnp.array([[1.0], [2.0]])}, [], ()))
      >>> both(jnp.zeros((4, 1)), beside).ravel().tolist()
      [1.0, 2.0, 1.0, 2.0]
    """
    if not isinstance(function, Asked):
        return function, beside

    def rows(a: Array) -> Array:
        return a if a.ndim == 0 or len(a) != function.batch else jnp.concatenate([a, a])

    explained, others, asked = jax.tree.map(rows, beside[:3])
    return replace(function, batch=2 * function.batch), Beside(explained, others, asked, beside.parameters)


def explained_flags(images: Any, beside: PyTree) -> list[bool]:
    """Returns for each leaf of (images, beside) whether it is explained.

    Args:
      images: the input that a model is a function of.
      beside: its parameters, or a :class:`Beside`.

    Example:
      >>> from xrcam_jax.attribution.asked import Beside, explained_flags
      >>> explained_flags(0.0, {"w": 1.0}), explained_flags(0.0, Beside({"b": 1.0}, {"c": 2.0}, [], 3.0))
      ([True, False], [True, True, False, False])
    """
    also = len(jax.tree.leaves(beside.explained)) if isinstance(beside, Beside) else 0
    count = len(jax.tree.leaves(beside))
    return [True] * (1 + also) + [False] * (count - also)


def explained_inputs(images: Any, beside: PyTree, function: Any) -> dict[str, Any]:
    """Returns the inputs that are explained by their names, the one that the model is a function of first.

    Args:
      images: the input that the model is a function of.
      beside: its parameters, or a :class:`Beside`.
      function: the model.

    Example:
      >>> from xrcam_jax.attribution.asked import explained_inputs
      >>> explained_inputs(0.0, {"w": 1.0}, lambda images, parameters: images)
      {'input': 0.0}
    """
    if not isinstance(function, Asked):
        return {INPUT: images}
    return {function.changed: images, **beside.explained}


def is_value(function: Any) -> bool:
    """Returns whether a function's one output is the value of a target function, rather than the logit of a class.

    Args:
      function: a model.

    Example:
      >>> from xrcam_jax.attribution.asked import is_value
      >>> is_value(lambda images, parameters: images.mean((1, 2)))
      False
    """
    return isinstance(function, Asked) and function.target is not None


def is_ids(a: Any) -> bool:
    """Returns whether an input holds token ids: integers, which have no channels and no relevance.

    Args:
      a: an array.

    Example:
      >>> import numpy as np
      >>> from xrcam_jax.attribution.asked import is_ids
      >>> is_ids(np.zeros((2, 5), int)), is_ids(np.zeros((2, 8, 8, 3)))
      (True, False)
    """
    return jnp.issubdtype(a.dtype, jnp.integer)


def described(tree: PyTree) -> str:
    """Returns in words what a tree of arrays is made of.

    Args:
      tree: of arrays, or of :class:`jax.ShapeDtypeStruct`.

    Example:
      >>> import jax.numpy as jnp
      >>> from xrcam_jax.attribution.asked import described
      >>> described(jnp.ones((2, 3))), described({"mask": jnp.ones(2), "ids": [jnp.arange(4)]})
      ('float32 of shape (2, 3)', "['ids'][0]: int32 of shape (4,), ['mask']: float32 of shape (2,)")
    """

    def leaf(a: Any) -> str:
        return f"{a.dtype} of shape {a.shape}" if hasattr(a, "dtype") else f"{type(a).__name__} {a!r}"

    if jax.tree_util.all_leaves([tree]) or not jax.tree.leaves(tree):
        return leaf(tree)
    return ", ".join(f"{jax.tree_util.keystr(path)}: {leaf(a)}" for path, a in jax.tree.leaves_with_path(tree))


def _check_places(target: Callable, output: PyTree) -> None:
    """Refuses places that an output does not have, for which JAX would take the last one.

    Raises:
      IndexError: NumPy says so of zeros of the same shapes.
    """
    zeros = jax.tree.map(lambda a: np.broadcast_to(np.zeros((), a.dtype), a.shape), output)
    try:
        with np.errstate(all="ignore"):
            jax.eval_shape(lambda: target(zeros))
    except Exception as error:
        # NumPy's arrays lack things that JAX's have, and what else is wrong the target itself will say.
        if isinstance(error, IndexError) and "out of bounds" in str(error):
            raise
