"""Checks of the package's annotations at run time: shapes and dtypes by jaxtyping, the rest by beartype."""

import functools
from collections.abc import Callable
from types import FunctionType
from typing import Any

import jaxtyping
from beartype import BeartypeConf, beartype

# An int is a float, as everywhere else in Python.
_CONFIGURED = beartype(conf=BeartypeConf(is_pep484_tower=True))


def check(function: Callable) -> Callable:
    """Returns ``function`` with its arguments and results checked at every call."""
    return _CONFIGURED(function)


def install() -> None:
    """Has every annotation of the package checked that is imported from here on."""
    jaxtyping.jaxtyped = functools.partial(_jaxtyped, jaxtyping.jaxtyped)
    jaxtyping.install_import_hook("xrcam_jax", f"{__name__}.{check.__name__}")


def _jaxtyped(by_jaxtyping: Callable, *, typechecker: Callable) -> Callable:
    """Stands in for ``jaxtyping.jaxtyped``, which takes a tenth of the suite's time for functions without arrays."""

    def decorate(thing: Any) -> Any:
        if not isinstance(thing, FunctionType) or not _is_plain(thing):
            return by_jaxtyping(thing, typechecker=typechecker)
        checked = typechecker(thing)

        @functools.wraps(thing)
        def wrapper(*args: Any, **kwargs: Any) -> Any:
            return (thing if jaxtyping.config.jaxtyping_disable else checked)(*args, **kwargs)

        return wrapper

    return decorate


def _is_plain(function: FunctionType) -> bool:
    """Returns whether no annotation names the axes of an array, or a class that is not imported at run time."""
    said = [repr(annotation) for annotation in function.__annotations__.values()]
    return not any("jaxtyping." in each or "'" in each for each in said)
