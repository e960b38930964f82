"""Pictures of explanations show maps and pictures where they belong."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from xrcam_jax.pictures.plot import COLORMAPS, colour, contact_sheet, overlay, save_picture

from xrcam_jax.pictures.preprocessing import Box

rng = np.random.default_rng(0)
IMAGE = rng.integers(0, 256, (30, 40, 3), dtype=np.uint8)
MAP = rng.random((7, 7), dtype=np.float32)


def test_alpha_weighs_picture_and_map():
    np.testing.assert_array_equal(overlay(IMAGE, MAP, alpha=0), IMAGE)
    flat = np.full((30, 40), 0.25, np.float32)
    np.testing.assert_array_equal(overlay(IMAGE, flat, alpha=1), colour(flat))
    half = (IMAGE.astype(float) + colour(flat)) / 2
    np.testing.assert_allclose(overlay(IMAGE, flat), half, atol=0.5)


def test_floats_are_the_same_picture():
    np.testing.assert_array_equal(overlay(IMAGE / 255, MAP), overlay(IMAGE, MAP))


def test_nothing_is_laid_outside_the_box():
    box = Box(5, 8, 25, 28)
    laid = overlay(IMAGE, np.ones((7, 7), np.float32), box=box)
    changed = (laid != IMAGE).any(axis=2)
    assert changed[5:25, 8:28].mean() > 0.9
    changed[5:25, 8:28] = False
    assert not changed.any()


def test_the_map_lands_where_it_belongs():
    corner = np.zeros((4, 4), np.float32)
    corner[0, 3] = 1
    laid = overlay(np.zeros((40, 40, 3), np.uint8), corner, alpha=1, colormap="bone").sum(axis=2)
    assert np.unravel_index(laid.argmax(), laid.shape)[0] < 10
    assert np.unravel_index(laid.argmax(), laid.shape)[1] >= 30


@pytest.mark.parametrize("colormap", COLORMAPS)
def test_colormaps(colormap):
    levels = np.linspace(0, 1, 256, dtype=np.float32)[None]
    assert colour(levels, colormap).shape == (1, 256, 3)
    assert len(np.unique(colour(levels, colormap)[0], axis=0)) > 100


def test_turbo_is_blue_below_and_red_above():
    low, high = colour(np.float32([[0.1, 0.95]]), "turbo")[0].astype(int)
    assert low[2] > low[0]
    assert high[0] > high[2]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"image": IMAGE[..., 0]}, r"image: expected \(height, width, 3\), got shape \(30, 40\)"),
        ({"image": IMAGE.astype(np.float32)}, r"image: expected uint8 or floats in \[0, 1\], got float32"),
        ({"image": IMAGE.astype(int)}, r"image: expected uint8 or floats in \[0, 1\], got int64"),
        ({"saliency": MAP[None]}, r"saliency: expected \(height, width\), got shape \(1, 7, 7\)"),
        ({"saliency": MAP - 2}, r"saliency: expected \[0, 1\], got \[-"),
        ({"saliency": MAP * np.nan}, r"saliency: expected \[0, 1\], got \[nan"),
        ({"alpha": 1.5}, r"alpha: 1.5 is not in \[0, 1\]"),
        ({"colormap": "rainbow"}, "colormap: 'rainbow' is none of turbo, jet"),
        ({"box": Box(30, 0, 31, 40)}, r"box: \(30, 0, 31, 40\) does not lie in a picture of 30 x 40"),
    ],
)
def test_wrong_arguments_are_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        overlay(**{"image": IMAGE, "saliency": MAP, **arguments})


@settings(deadline=None, max_examples=25)
@given(st.integers(1, 3), st.integers(1, 4), st.integers(1, 500), st.integers(1, 500), st.integers(40, 80))
def test_a_sheet_has_room_for_all(rows, columns, height, width, cell):
    pictures = [[np.zeros((height, width, 3), np.uint8)] * columns] * rows
    sheet = contact_sheet(
        pictures, columns=["layer"] * columns, row_labels=["method"] * rows, title="a title " * 9, cell=cell
    )
    drawn = round(height * cell / max(height, width)), round(width * cell / max(height, width))
    black = (sheet == 0).all(axis=2).sum()
    assert black == rows * columns * max(1, drawn[0]) * max(1, drawn[1])
    assert (sheet[:8] == 255).all()
    assert (sheet[-8:] == 255).all()
    assert (sheet[:, -8:] == 255).all()


def test_a_sheet_of_different_sizes_centres_them():
    white, black = np.full((50, 50, 3), 200, np.uint8), np.zeros((50, 100, 3), np.uint8)
    sheet = contact_sheet([[white, black]], cell=50)
    assert sheet.shape == (16 + 50 + 16, 16 + 50 + 8 + 50 + 16, 3)
    assert (sheet[16 + 12 : 16 + 37, 16 + 58 : 16 + 108] == 0).all()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"rows": []}, "rows: expected rows of equal length"),
        ({"rows": [[IMAGE], [IMAGE, IMAGE]]}, r"rows: expected rows of equal length, got lengths \[1, 2\]"),
        ({"columns": ["a"]}, "columns: 1 labels for 2 columns"),
        ({"row_labels": ["a", "b"]}, "row_labels: 2 labels for 1 rows"),
    ],
)
def test_wrong_sheets_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        contact_sheet(**{"rows": [[IMAGE, IMAGE]], **arguments})


def test_saved_whole_or_not_at_all(tmp_path, monkeypatch):
    path = tmp_path / "deep" / "a.png"
    save_picture(path, IMAGE)
    with Image.open(path) as image:
        np.testing.assert_array_equal(np.asarray(image), IMAGE)

    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("pathlib.Path.replace", interrupted)
    with pytest.raises(KeyboardInterrupt):
        save_picture(path, IMAGE[::2])
    assert [each.name for each in path.parent.iterdir()] == ["a.png"]
    with Image.open(path) as image:
        assert image.size == (40, 30)
