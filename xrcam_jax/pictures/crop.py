"""The square that is cut out of a recording's frames, and how files list it beside other fields."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

from xrcam_jax.pictures.preprocessing import Box


@dataclass(frozen=True)
class Crop:
    """A square of a recording's frames, and the size of those frames, in pixels.

    Attributes:
      left: first column of the square.
      top: first row of the square.
      size: side of the square.
      width: of the frames.
      height: of the frames.
    """

    left: int
    top: int
    size: int
    width: int
    height: int

    @property
    def box(self) -> Box:
        """The square's rows and columns."""
        return Box(self.top, self.left, self.top + self.size, self.left + self.size)


def columns(kind: type) -> list[str]:
    """Lists the names of a dataclass's fields, with those of a crop in the place of its field ``crop``.

    Args:
      kind: a dataclass.

    Returns:
      The names, as files have them.

    Example:
      >>> from dataclasses import dataclass
      >>> from xrcam_jax.pictures.crop import Crop, columns
      >>> @dataclass
      ... class Entry:
      ...     name: str
      ...     crop: Crop
      >>> columns(Entry)
      ['name', 'left', 'top', 'size', 'width', 'height']
    """
    crop = [field.name for field in fields(Crop)]
    return [name for field in fields(kind) for name in (crop if field.name == "crop" else [field.name])]


def flattened(entry: Any) -> dict[str, Any]:
    """Writes the fields of an entry and those of its crop side by side.

    Args:
      entry: an instance of a dataclass with a field ``crop``.

    Returns:
      The values by the names of :func:`columns`, in their order.

    Example:
      >>> from dataclasses import dataclass
      >>> from xrcam_jax.pictures.crop import Crop, flattened
      >>> @dataclass
      ... class Entry:
      ...     name: str
      ...     crop: Crop
      >>> flattened(Entry("a", Crop(2, 1, 3, 8, 6)))
      {'name': 'a', 'left': 2, 'top': 1, 'size': 3, 'width': 8, 'height': 6}
    """
    values = asdict(entry)
    values |= values["crop"]
    return {name: values[name] for name in columns(type(entry))}


def gathered(values: Mapping[str, Any]) -> dict[str, Any]:
    """Puts what :func:`flattened` wrote together again.

    Args:
      values: by the names of :func:`columns`.

    Returns:
      The arguments of the dataclass.

    Raises:
      KeyError: a field of the crop is missing.

    Example:
      >>> from xrcam_jax.pictures.crop import gathered
      >>> gathered({"name": "a", "left": 2, "top": 1, "size": 3, "width": 8, "height": 6})
      {'name': 'a', 'crop': Crop(left=2, top=1, size=3, width=8, height=6)}
    """
    crop = {field.name: values[field.name] for field in fields(Crop)}
    return {**{name: value for name, value in values.items() if name not in crop}, "crop": Crop(**crop)}
