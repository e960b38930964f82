"""A crop cuts out its square, and files list it beside other fields."""

from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from xrcam_jax.data.frames import Extracted
from xrcam_jax.data.manifest import Frame
from xrcam_jax.pictures.crop import Crop, columns, flattened, gathered


@dataclass(frozen=True)
class Entry:
    name: str
    crop: Crop
    number: int


numbers = st.integers(0, 50)


@given(numbers, numbers, st.integers(1, 20))
def test_the_box_holds_the_pixels_of_the_square(left, top, size):
    height, width = top + size + 3, left + size + 2
    rows, across = np.indices((height, width))
    cut = Crop(left, top, size, width, height).box.slices
    assert rows[cut].tolist() == [[top + row] * size for row in range(size)]
    assert across[cut].tolist() == [[left + column for column in range(size)]] * size


@given(st.text(), numbers, st.tuples(*[numbers] * 5))
def test_an_entry_comes_back(name, number, sides):
    entry = Entry(name, Crop(*sides), number)
    assert list(flattened(entry).items()) == [
        ("name", name),
        *zip(("left", "top", "size", "width", "height"), sides, strict=True),
        ("number", number),
    ]
    assert Entry(**gathered(flattened(entry))) == entry


def test_the_columns_of_files_are_those_that_they_always_had():
    """Files of earlier versions are read; what has come since stands at the end."""
    crop = ["left", "top", "size", "width", "height"]
    assert columns(Frame) == ["file", "label", "patient", "video", "number", *crop]
    assert columns(Extracted) == [
        *("label", "patient", "video", "name", "fingerprint", "numbers", "duplicates"),
        *crop,
        *("total", "squares", "content", "digests", "length"),
    ]


def test_a_missing_field_is_named():
    with pytest.raises(KeyError, match="top"):
        gathered({"left": 1, "size": 2, "width": 3, "height": 4})
