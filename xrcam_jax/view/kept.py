"""A bounded memory of what was computed."""

from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Generic, Protocol, TypeVar, runtime_checkable


@runtime_checkable
class Sized(Protocol):
    """Has a size in bytes, as arrays have."""

    @property
    def nbytes(self) -> int: ...


Value = TypeVar("Value", bound=Sized)


class Kept(Generic[Value]):
    """Keeps values, of which those that were asked for longest ago are given up where they would take too much memory.

    Args:
      most_bytes: how much they may take together. A value that is larger is returned, and not kept.

    Example:
      >>> import numpy as np
      >>> from xrcam_jax.view.kept import Kept
      >>> kept = Kept(20)
      >>> for name in ("a", "b", "a", "c"):
      ...     _ = kept.get(name, lambda: np.zeros(1))
      >>> list(kept), kept.nbytes
      (['a', 'c'], 16)
    """

    def __init__(self, most_bytes: int):
        self._most, self._values = most_bytes, OrderedDict[Hashable, Value]()
        self.nbytes = 0

    def __iter__(self):
        return iter(self._values)

    def get(self, key: Hashable, make: Callable[[], Value]) -> Value:
        """Returns the value of a key, which is made if it is not there."""
        if key in self._values:
            self._values.move_to_end(key)
            return self._values[key]
        value = make()
        if value.nbytes > self._most:
            return value
        self._values[key] = value
        self.nbytes += value.nbytes
        while self.nbytes > self._most:
            self.nbytes -= self._values.popitem(last=False)[1].nbytes
        return value
