"""What explanations of a batch have in common: they say what they hold, and methods, layers and pictures are chosen."""

from collections.abc import Iterator, Sequence
from typing import Any, Generic, TypeVar, overload

import jax
import numpy as np
from jaxtyping import Array, Int, PyTree

from xrcam_jax.errors import unknown
from xrcam_jax.explain import drawing, showing
from xrcam_jax.pictures.preprocessing import Preprocessing

#: What there is of a method at a layer: an array, or how it spreads.
M = TypeVar("M")
E = TypeVar("E", bound="Explained")
Rows = int | np.integer | slice | Sequence[int] | Sequence[bool] | np.ndarray


class Explained(Generic[M]):
    """Is what is known of a batch by methods and layers. It has the attributes of :class:`xrcam_jax.Explanation`."""

    logits: Any
    targets: Any
    maps: dict[str, dict[str, M]]
    images: PyTree
    labels: tuple[str, ...] | None
    preprocessing: Preprocessing | None

    def __len__(self) -> int:
        """Returns how many pictures there are."""
        return len(self.targets)

    def __iter__(self: E) -> Iterator[E]:
        return (self[place] for place in range(len(self)))

    @overload
    def __getitem__(self, chosen: str) -> dict[str, M]: ...
    @overload
    def __getitem__(self, chosen: tuple[str, str]) -> M: ...
    @overload
    def __getitem__(self: E, chosen: Rows) -> E: ...
    def __getitem__(self, chosen: Any) -> Any:
        """Returns the maps of a method by layer, its map at a layer, or the same of some of the pictures.

        Args:
          chosen: a method; a method and a layer; or pictures by number, slice, list of numbers or mask.

        Raises:
          ValueError: the method or layer was not asked for.
          IndexError: there is no such picture.
        """
        if isinstance(chosen, str):
            return self._of(chosen)
        if isinstance(chosen, tuple) and len(chosen) == 2 and all(isinstance(name, str) for name in chosen):
            method, layer = chosen
            by_layer = self._of(method)
            if layer not in by_layer:
                raise unknown("layer", layer, by_layer)
            return by_layer[layer]
        return taken(self, _places(chosen, len(self)), len(self))

    def _of(self, method: str) -> dict[str, M]:
        if method not in self.maps:
            raise unknown("method", method, self.maps)
        return self.maps[method]

    def __repr__(self) -> str:
        return "\n  ".join(self._lines())

    def _repr_html_(self) -> str:
        """Returns what a notebook shows: thumbnails of the first pictures, or words where none can be drawn."""
        try:
            return drawing.page_part(repr(self), self[: drawing.ROWS]._drawn("notebook"))
        except (ValueError, ImportError):
            return drawing.preformatted(repr(self))

    def _drawn(self, what: str) -> showing.Drawable:
        """Returns the pictures with all their maps, ready to be drawn."""
        raise NotImplementedError

    def _drawable(self, what: str, maps: dict[str, dict[str, Any]], signed: tuple[str, ...] = ()) -> showing.Drawable:
        """Returns the pictures with some maps, ready to be drawn."""
        titles = showing.captions(np.asarray(self.logits), np.asarray(self.targets), self.labels)
        return showing.drawable(self.images, maps, titles, self.preprocessing, what, signed)

    def _lines(self) -> list[str]:
        """Returns what it holds, a line each."""
        targets = showing.targets_in_words(self.logits, self.targets, self.labels)
        return [self._headline(), *showing.maps_in_words(self.maps), *targets]

    def _headline(self) -> str:
        try:
            count = len(self)
        except TypeError:
            # Where JAX works on trees, the leaves may be other things than arrays.
            return type(self).__name__
        return f"{type(self).__name__} of {count} picture{'' if count == 1 else 's'}"


def _places(chosen: Any, count: int) -> Int[np.ndarray, " n"]:
    """Returns the numbers of the chosen pictures."""
    places = np.atleast_1d(np.arange(count)[chosen])
    if places.ndim != 1 or not len(places):
        raise IndexError(f"pictures are chosen by number, slice, list or mask of the {count} that there are")
    return places


def taken(e: E, places: Int[np.ndarray, " n"], count: int) -> E:
    """Returns an explanation of some of the pictures.

    Args:
      e: of all of them.
      places: the numbers of those that are wanted.
      count: how many there are.

    Example:
      >>> import jax.numpy as jnp
      >>> import numpy as np
      >>> import xrcam_jax as xr
      >>> from xrcam_jax.explain.explained import taken
      >>> e = xr.Explanation(jnp.eye(3), jnp.arange(3), {}, {})
      >>> taken(e, np.array([2, 0]), 3).targets.tolist()
      [2, 0]
    """
    # The images may lie in the host's memory, and inputs of several may be the same for all pictures.
    images = jax.tree.map(lambda a: a[places] if np.ndim(a) and len(a) == count else a, e.images)
    plain = with_images(e, None)
    return with_images(in_order(plain, _rows(plain, places)), images)


def in_order(e: E, found: E) -> E:
    """Returns an explanation whose methods and layers come as those of another do; JAX sorts them by name.

    Args:
      e: the one that has the order.
      found: another one of the same methods and layers.

    Example:
      >>> import jax
      >>> import jax.numpy as jnp
      >>> import xrcam_jax as xr
      >>> from xrcam_jax.explain.explained import in_order
      >>> e = xr.Explanation(jnp.eye(1), jnp.zeros(1, int), {"b": {}, "a": {}}, {})
      >>> doubled = jax.tree.map(lambda a: 2 * a, e)
      >>> list(doubled.maps), list(in_order(e, doubled).maps)
      (['a', 'b'], ['b', 'a'])
    """

    def ordered(like: Any, value: Any) -> Any:
        return {k: ordered(like[k], value[k]) for k in like} if isinstance(like, dict) else value

    return _of(type(found), {name: ordered(like, getattr(found, name)) for name, like in vars(e).items()})


def with_images(e: E, images: PyTree) -> E:
    """Returns an explanation that refers to images.

    Args:
      e: the explanation.
      images: what it explains, or None.

    Example:
      >>> import jax.numpy as jnp
      >>> import numpy as np
      >>> import xrcam_jax as xr
      >>> from xrcam_jax.explain.explained import with_images
      >>> e = xr.Explanation(jnp.eye(3), jnp.arange(3), {}, {})
      >>> with_images(e, np.zeros((3, 4, 4, 3))).images.shape
      (3, 4, 4, 3)
    """
    return _of(type(e), {**vars(e), "images": images})


def _of(kind: type[E], parts: dict[str, Any]) -> E:
    e: Any = object.__new__(kind)
    for name, value in parts.items():
        object.__setattr__(e, name, value)
    return e


@jax.jit
def _rows(tree: PyTree, places: Int[Array, " n"]) -> PyTree:
    return jax.tree.map(lambda a: a[places], tree)
