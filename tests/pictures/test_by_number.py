"""Pictures by number are those of the stream, in whatever order they are asked for."""

import random

import numpy as np
import pytest
from PIL import Image

from tests.recordings import disc, levels, textured, write_video
from xrcam_jax.pictures.by_number import PicturesByNumber
from xrcam_jax.pictures.read import stream


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Pictures of two sizes, a file of three pages, and two videos; one name stands for three files."""
    folder = tmp_path_factory.mktemp("pictures")
    for number, level in enumerate((90, 120, 150), 8):
        Image.fromarray(disc(level)).save(folder / f"a_{number}.png")
    Image.fromarray(disc(200, height=120, width=140, centre=(70, 60), radius=50)).save(folder / "b.png")
    Image.fromarray(disc(100)).save(folder / "clip.png")
    pages = [Image.fromarray(frame) for frame in levels(3, first=100)]
    pages[0].save(folder / "clip.tif", save_all=True, append_images=pages[1:])
    write_video(folder / "clip.avi", levels(5))
    write_video(folder / "other.avi", levels(4, first=120))
    return folder


@pytest.mark.parametrize("field_of_view", ["none", "auto", (10, 5, 60)])
def test_they_are_those_of_the_stream(folder, field_of_view):
    expected = list(stream([folder], field_of_view=field_of_view))
    pictures = PicturesByNumber(folder, field_of_view=field_of_view)
    assert len(pictures) == len(expected) == 5 + 3 + 5 + 4
    assert [entry.name for entry in pictures.entries] == [picture.name for picture in expected]
    order = list(range(len(expected)))
    random.Random(0).shuffle(order)
    for number in (*order, 12, 11, 11, 12):
        found, wanted = pictures.read(number), expected[number]
        np.testing.assert_array_equal(found.pixels, wanted.pixels)
        names = ("source", "name", "number", "facts", "view", "time")
        assert {name: getattr(found, name) for name in names} == {name: getattr(wanted, name) for name in names}


def test_a_file_that_cannot_be_read_has_its_number_and_is_named(folder, tmp_path):
    (tmp_path / "a_8.png").write_bytes((folder / "a_8.png").read_bytes())
    (tmp_path / "b.png").write_bytes(b"nothing")
    whole = write_video(tmp_path / "other.avi", textured(12)).read_bytes()
    (tmp_path / "other.avi").write_bytes(whole[: len(whole) * 6 // 10])
    pictures = PicturesByNumber(tmp_path)
    assert pictures.read(0).name == "a_8"
    with pytest.raises(ValueError, match=r"b\.png"):
        pictures.read(1)
    with pytest.raises(ValueError, match=r"other\.avi"):
        pictures.read(len(pictures) - 1)
    assert pictures.read(2).name == "other_000000"


def test_a_single_file_is_a_list_of_its_own(folder):
    assert [entry.name for entry in PicturesByNumber(folder / "clip.tif").entries] == ["clip#1", "clip#2", "clip#3"]
