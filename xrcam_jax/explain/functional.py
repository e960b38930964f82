"""A model of any kind as a pure function of its parameters and its input."""

from collections.abc import Callable, Hashable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import flax.linen as nn
from flax import nnx
from jax import Array
from jaxtyping import PyTree


def as_function(model: Callable) -> tuple[Callable[[Array, PyTree], Any], PyTree]:
    """Split ``model`` into (f, parameters) with f(x, parameters) = model(x) at inference.

    Parameters become arguments because arrays that a function closes over are baked into its executable. They are
    nested in plain dictionaries, which JAX takes apart without running Python. f is hashable, and the same for models
    that differ in their parameters only, so that they share an executable.

    Args:
      model: an NNX module (taken in inference mode; it is not changed), a Linen module bound to its
        variables (``module.bind(variables)``), or any function of x, whose parameters are then none.

    Raises:
      TypeError: ``model`` cannot be called, or is a Linen module without variables.
    """
    if isinstance(model, nnx.Module):
        definition, state = nnx.split(model)
        return _nnx(definition), nnx.to_pure_dict(state)
    if isinstance(model, nn.Module):
        if model.scope is None:
            raise TypeError("a Linen module has no parameters of its own: give module.bind(variables)")
        module, variables = model.unbind()
        return _Linen(module), variables
    if not callable(model):
        raise TypeError(f"model must be callable, got {type(model).__name__}")
    return (_Plain if isinstance(model, Hashable) else _Unhashable)(model), ()


# JAX prints what it traces and has no name: of a deep network's definition, that is 300,000 characters.
@dataclass(frozen=True, eq=False, repr=False)
class _Nnx:
    definition: Any

    def __call__(self, x: Array, parameters: PyTree) -> Any:
        model = nnx.merge(self.definition, parameters)
        model.eval()
        return model(x)


@lru_cache(maxsize=256)
def _nnx(definition: Any) -> _Nnx:
    """The same function for equal definitions: to compare these takes milliseconds, in every call."""
    return _Nnx(definition)


@dataclass(frozen=True)
class _Linen:
    module: nn.Module

    def __call__(self, x: Array, variables: PyTree) -> Any:
        return self.module.apply(variables, x)


@dataclass(frozen=True)
class _Plain:
    function: Callable

    def __call__(self, x: Array, parameters: PyTree) -> Any:
        return self.function(x)


@dataclass(frozen=True, eq=False)
class _Unhashable(_Plain):
    """Equal only to itself."""
