"""Functions that stay one equation of a jaxpr and are known there by a name of the package's own."""

from collections.abc import Callable
from functools import wraps
from typing import Any

import jax

from xrcam_jax.marks import PREFIX


def operation(f: Callable[..., Any], **options: Any) -> Callable[..., Any]:
    """Returns ``jax.jit(f, **options)``, whose equation is named ``xrcam_jax.NAME`` after the function.

    A transformation that finds the name can treat the call as the one operation that it is.

    Args:
      f: the function.
      options: of ``jax.jit``.

    Returns:
      The jitted function.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> @operation
      ... def doubled(x):
      ...     return x + x
      >>> (equation,) = jax.make_jaxpr(doubled)(1.0).eqns
      >>> equation.params["name"]
      'xrcam_jax.doubled'
    """

    @wraps(f)
    def named(*args: Any, **kwargs: Any) -> Any:
        return f(*args, **kwargs)

    named.__name__ = PREFIX + f.__name__
    return wraps(f)(jax.jit(named, **options))
