"""Modules of NNX and Equinox run under named scopes, as those of Linen, Haiku and Keras do by themselves.

A scope has the name of the attribute that holds the module, such as ``encoder`` or ``blocks/0``, and scopes are nested
as the calls are. The modules of a copy get classes whose calls enter the scope; the model itself is left alone.
"""

import sys
from collections.abc import Callable, Iterator
from dataclasses import fields
from functools import lru_cache, wraps
from typing import Any

import jax
from jax.extend import source_info_util

# Its frames are between a module and the user's line that calls it.
source_info_util.register_exclusion(__file__)


def named(model: Callable) -> Callable:
    """Returns a model that computes the same, with each of its modules under a named scope.

    Args:
      model: an NNX or Equinox module. Anything else is returned as it is.

    Returns:
      The copy, for use inside the trace in which it was made.

    Example:
      >>> import jax
      >>> import jax.numpy as jnp
      >>> from flax import nnx
      >>> from xrcam_jax.runtime.named_modules import named
      >>> model = nnx.Sequential(nnx.Linear(3, 2, use_bias=False, rngs=nnx.Rngs(0)))
      >>> (product,) = jax.make_jaxpr(lambda x: named(model)(x))(jnp.ones((1, 3))).eqns
      >>> str(product.source_info.name_stack)
      'layers/0'
    """
    if _is_module(model, "flax.nnx"):
        nnx = sys.modules["flax.nnx"]
        definition, state = nnx.split(model)
        model = nnx.merge(definition, nnx.to_pure_dict(state))
    elif _is_module(model, "equinox"):
        model = jax.tree.map(lambda leaf: leaf, model)
    else:
        return model
    name_modules(model)
    return model


def name_modules(model: Any) -> None:
    """Has all modules inside a model run under named scopes.

    Args:
      model: an NNX or Equinox module, which is changed.

    Example:
      >>> from flax import nnx
      >>> from xrcam_jax.runtime.named_modules import name_modules
      >>> model = nnx.Sequential(nnx.Linear(3, 2, rngs=nnx.Rngs(0)))
      >>> name_modules(model)
      >>> isinstance(model.layers[0], nnx.Linear), type(model.layers[0]) is nnx.Linear
      (True, False)
    """
    for module, name in list(_modules(model, (), set())):
        # Both libraries refuse to have attributes set.
        kind: Any = type(module)
        object.__setattr__(module, "__class__", _scoped(kind, name))


def _is_module(value: Any, library: str) -> bool:
    """Says whether a value is a module of a library; nobody has one who has not imported the library."""
    return library in sys.modules and isinstance(value, sys.modules[library].Module)


def _modules(node: Any, path: tuple[str, ...], seen: set[int]) -> Iterator[tuple[Any, str]]:
    """Yields all modules inside a node that can be called, with their names within the next such module around them."""
    for key, value in _items(node):
        inside = (*path, str(key))
        if id(value) in seen:
            continue
        if not isinstance(value, (list, tuple, dict)):
            seen.add(id(value))
        if callable(value) and (_is_module(value, "flax.nnx") or _is_module(value, "equinox")):
            yield value, "/".join(inside)
            inside = ()
        yield from _modules(value, inside, seen)


def _items(node: Any) -> Iterator[tuple[Any, Any]]:
    if isinstance(node, dict):
        yield from node.items()
    elif isinstance(node, (list, tuple)):
        yield from enumerate(node)
    elif _is_module(node, "flax.nnx"):
        yield from vars(node).items()
    elif _is_module(node, "equinox"):
        yield from ((each.name, getattr(node, each.name)) for each in fields(node) if hasattr(node, each.name))


@lru_cache(maxsize=4096)
def _scoped(kind: type, name: str) -> type:
    """Returns a class of modules that differs from another one in that it runs under a name."""

    @wraps(kind.__call__)
    def call(self: Any, *args: Any, **options: Any) -> Any:
        around = source_info_util.current_name_stack().stack
        # Whoever names scopes by hand names them like this, too.
        if around and getattr(around[-1], "name", None) == name:
            return kind.__call__(self, *args, **options)
        with jax.named_scope(name):
            return kind.__call__(self, *args, **options)

    contents = {"__call__": call, "__module__": kind.__module__, "__qualname__": kind.__qualname__}
    return type(kind)(kind.__name__, (kind,), contents)
