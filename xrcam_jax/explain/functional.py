"""A model of any kind as a pure function of its parameters and its input."""

from collections.abc import Callable, Hashable, Iterator
from copy import copy
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import flax.linen as nn
from flax import nnx
from jaxtyping import PyTree

from xrcam_jax.explain.adapters import Adapted
from xrcam_jax.runtime.named_modules import name_modules


def as_function(model: Callable) -> tuple[Callable[[PyTree, PyTree], Any], PyTree]:
    """Splits a model into (f, parameters) with f(x, parameters) = model(x) at inference.

    Parameters become arguments because arrays that a function closes over are baked into its executable. They are
    nested in plain dictionaries, which JAX takes apart without running Python.

    Args:
      model: an NNX module (taken in inference mode; it is not changed), a Linen module bound to its variables
        (``module.bind(variables)``), a model from :mod:`xrcam_jax.explain.adapters`, or any function of x,
        which then has no parameters.

    Returns:
      f, which is hashable and the same for models that differ in their parameters only, so that they share an
      executable; and the parameters.

    Raises:
      TypeError: ``model`` cannot be called, or is a Linen module without variables.

    Example:
      >>> import jax.numpy as jnp
      >>> from flax import nnx
      >>> from xrcam_jax.explain.functional import as_function
      >>> f, parameters = as_function(nnx.Linear(3, 2, rngs=nnx.Rngs(0)))
      >>> sorted(parameters), f(jnp.ones((4, 3)), parameters).shape
      (['bias', 'kernel'], (4, 2))
    """
    if isinstance(model, nnx.Module):
        if getattr(model, "labels", None) is not None:
            # What classes are called changes nothing of what is computed, and so no program.
            unnamed: Any = copy(model)
            unnamed.labels = None
            model = unnamed
        definition, state = nnx.split(model)
        return _nnx(definition), nnx.to_pure_dict(state)
    if isinstance(model, nn.Module):
        if model.scope is None:
            raise TypeError("a Linen module has no parameters of its own: give module.bind(variables)")
        module, variables = model.unbind()
        return _Linen(module), variables
    if isinstance(model, Adapted):
        return model.function, model.parameters
    if not callable(model):
        raise TypeError(f"model must be callable, got {type(model).__name__}")
    return (_Plain if isinstance(model, Hashable) else _Unhashable)(model), ()


def as_module(function: Callable, parameters: PyTree) -> nnx.Module | None:
    """Returns the NNX module of a function that :func:`as_function` made, in inference mode; None of other models.

    Args:
      function: of :func:`as_function`.
      parameters: of the model, likewise.

    Example:
      >>> from flax import nnx
      >>> from xrcam_jax.explain.functional import as_function, as_module
      >>> as_module(*as_function(nnx.Linear(3, 2, rngs=nnx.Rngs(0)))).out_features
      2
      >>> as_module(*as_function(abs)) is None
      True
    """
    return function.model(parameters) if isinstance(function, _Nnx) else None


def with_dropout(function: Callable, parameters: PyTree, rate: float | None, *, shared: bool) -> Callable:
    """Returns an NNX module's function with its dropout switched on; all else runs as at inference.

    Args:
      function: of :func:`as_function`.
      parameters: of the model, likewise.
      rate: of all its ``nnx.Dropout`` modules; their own by default.
      shared: whether the pictures of a batch lose the same activations, so that none depends on the others.

    Returns:
      A function like the other, with the parameters ``{"model": parameters, "key": key}``, where the key is that of the
        noise. It is the same for models that differ in their parameters only.

    Raises:
      ValueError: the model has no ``nnx.Dropout``, or none with a rate above 0.

    Example:
      >>> import jax
      >>> import jax.numpy as jnp
      >>> from flax import nnx
      >>> from xrcam_jax.explain.functional import as_function, with_dropout
      >>> f, parameters = as_function(nnx.Dropout(0.5))
      >>> noisy = with_dropout(f, parameters, None, shared=True)
      >>> sorted(set(noisy(jnp.ones((1, 100)), {"model": parameters, "key": jax.random.key(0)}).ravel().tolist()))
      [0.0, 2.0]
    """
    found = list(_dropouts(nnx.merge(function.definition, parameters))) if isinstance(function, _Nnx) else []
    if not found:
        raise ValueError("dropout: the model has no nnx.Dropout to switch on; let passes differ by noise or networks")
    if rate is None and not any(each.rate for each in found):
        raise ValueError("dropout: the model's own rate is 0; give another")
    return _noisy(function, rate, shared)


def _dropouts(model: nnx.Module) -> Iterator[nnx.Dropout]:
    return (module for _, module in nnx.iter_modules(model) if isinstance(module, nnx.Dropout))


# JAX prints what it traces if it has no name, and a deep network's definition has 300,000 characters: no repr.
@dataclass(frozen=True, eq=False, repr=False)
class _Nnx:
    definition: Any

    def __call__(self, x: PyTree, parameters: PyTree) -> Any:
        return self.model(parameters)(x)

    def model(self, parameters: PyTree) -> Any:
        """Returns the module in inference mode, with its parts under named scopes."""
        model = nnx.merge(self.definition, parameters)
        model.eval()
        name_modules(model)
        return model


def alike_at_inference(first: Callable, second: Callable, parameters: PyTree) -> bool:
    """Tells whether the functions of two models compute the same at inference.

    Args:
      first: of :func:`as_function`.
      second: likewise.
      parameters: of either of them.

    Returns:
      True if they are one function, or those of NNX modules that are the same in inference mode but for parameters.

    Example:
      >>> from flax import nnx
      >>> from xrcam_jax.explain.functional import alike_at_inference, as_function
      >>> trained, used = nnx.Dropout(0.5), nnx.Dropout(0.5)
      >>> used.eval()
      >>> (first, parameters), (second, _) = as_function(trained), as_function(used)
      >>> first is second, alike_at_inference(first, second, parameters)
      (False, True)
    """
    if first is second or not (isinstance(first, _Nnx) and isinstance(second, _Nnx)):
        return first is second
    return nnx.graphdef(first.model(parameters)) == nnx.graphdef(second.model(parameters))


@lru_cache(maxsize=256)
def _nnx(definition: Any) -> _Nnx:
    """Returns the same function for equal definitions."""
    # The functions are then compared by identity: comparing definitions would take milliseconds in every call.
    return _Nnx(definition)


@dataclass(frozen=True, eq=False, repr=False)
class _Noisy:
    function: _Nnx
    rate: float | None
    shared: bool

    def __call__(self, x: PyTree, parameters: PyTree) -> Any:
        model = self.function.model(parameters["model"])
        stream = nnx.Rngs(dropout=parameters["key"]).dropout
        for each in _dropouts(model):
            each.deterministic, each.rngs = False, stream
            each.rate = each.rate if self.rate is None else self.rate
            each.broadcast_dims = (0, *each.broadcast_dims) if self.shared else each.broadcast_dims
        return model(x)


@lru_cache(maxsize=256)
def _noisy(function: _Nnx, rate: float | None, shared: bool) -> _Noisy:
    """Returns the same function for equal arguments, as :func:`_nnx` does."""
    return _Noisy(function, rate, shared)


@dataclass(frozen=True)
class _Linen:
    module: nn.Module

    def __call__(self, x: PyTree, variables: PyTree) -> Any:
        return self.module.apply(variables, x)


@dataclass(frozen=True)
class _Plain:
    function: Callable

    def __call__(self, x: PyTree, parameters: PyTree) -> Any:
        return self.function(x)


@dataclass(frozen=True, eq=False)
class _Unhashable(_Plain):
    """Is equal only to itself, since the function cannot be hashed."""
