"""Checks of the package's annotations at run time: shapes and dtypes by jaxtyping, the rest by beartype."""

from collections.abc import Callable

from beartype import BeartypeConf, beartype

# An int is a float, as everywhere else in Python.
_CONFIGURED = beartype(conf=BeartypeConf(is_pep484_tower=True))


def check(function: Callable) -> Callable:
    """Returns ``function`` with its arguments and results checked at every call."""
    return _CONFIGURED(function)
