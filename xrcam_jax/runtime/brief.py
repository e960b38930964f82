"""A short repr for what holds arrays: their dtypes and shapes stand there, and not their values."""

from collections.abc import Mapping, Sequence
from dataclasses import fields, is_dataclass
from typing import Any


class Brief:
    """Gives a dataclass, made with ``repr=False``, a repr that is short however large its arrays are.

    Example:
      >>> from dataclasses import dataclass
      >>> import numpy as np
      >>> from xrcam_jax.runtime.brief import Brief
      >>> @dataclass(repr=False)
      ... class Maps(Brief):
      ...     layer: str
      ...     maps: np.ndarray
      >>> Maps("layer3", np.zeros((2, 4, 4)))
      Maps(layer='layer3', maps=float64[2, 4, 4])
    """

    def __repr__(self) -> str:
        assert is_dataclass(self)
        return _called(self, [field.name for field in fields(self)])


def brief(value: Any) -> str:
    """Returns the repr of a value, with dtype and shape in the place of each array in it.

    Args:
      value: an array; mappings, lists and tuples of them; or anything else, which has its own repr, or where that takes
        several lines, as of a network, the name of its type.

    Example:
      >>> import numpy as np
      >>> from xrcam_jax.runtime.brief import brief
      >>> brief({"layer3": np.zeros((2, 4, 4)), "sides": [np.zeros(2, bool), "left"]})
      "{'layer3': float64[2, 4, 4], 'sides': [bool[2], 'left']}"
    """
    if hasattr(value, "shape") and hasattr(value, "dtype"):
        return f"{value.dtype}[{', '.join(map(str, value.shape))}]"
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{key!r}: {brief(each)}" for key, each in value.items()) + "}"
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return _called(value, value._fields)
    if isinstance(value, list):
        return f"[{', '.join(map(brief, value))}]"
    if isinstance(value, tuple):
        return f"({', '.join(map(brief, value))}{',' * (len(value) == 1)})"
    own = repr(value)
    return own if "\n" not in own else f"{type(value).__name__}(...)"


def _called(value: Any, names: Sequence[str]) -> str:
    return f"{type(value).__name__}({', '.join(f'{name}={brief(getattr(value, name))}' for name in names)})"
