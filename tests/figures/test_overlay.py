"""Overlays show maps where they belong, and leave the picture where a map has nothing."""

import numpy as np
import pytest

from xrcam_jax.figures.overlay import overlay, reduced
from xrcam_jax.figures.style import Style
from xrcam_jax.pictures.preprocessing import Box

rng = np.random.default_rng(0)
IMAGE = rng.integers(0, 256, (30, 40, 3), dtype=np.uint8)
MAP = rng.random((7, 7), dtype=np.float32)
FLAT = Style(look="heat", alpha=1)


def flat(value):
    return np.full((30, 40), value, np.float32)


@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize("look", ["overlay", "contour"])
def test_where_a_map_is_zero_the_picture_stays(look, signed):
    np.testing.assert_array_equal(overlay(IMAGE, flat(0), Style(look=look, alpha=1), signed=signed), IMAGE)


@pytest.mark.parametrize("value", [0.25, 0.5, 1.0, -0.5])
def test_opacity_follows_the_map(value):
    style, signed = Style(alpha=0.6), value < 0
    colour = style.colours(np.array([value]), signed=signed)[0].astype(float)
    opacity = 0.6 * abs(value)
    expected = (1 - opacity) * IMAGE + opacity * colour
    np.testing.assert_allclose(overlay(IMAGE, flat(value), style, signed=signed), expected, atol=0.51)


def test_heat_is_equally_opaque_everywhere():
    np.testing.assert_array_equal(overlay(IMAGE, MAP, Style(look="heat", alpha=0)), IMAGE)
    half = (IMAGE + FLAT.colours(flat(0)).astype(float)) / 2
    np.testing.assert_allclose(overlay(IMAGE, flat(0), Style(look="heat", alpha=0.5)), half, atol=0.51)


def test_contours_lie_where_levels_are_crossed():
    """A ramp from left to right crosses a quarter, half and three quarters at known columns."""
    ramp = np.tile(np.linspace(0, 1, 160, dtype=np.float32), (20, 1))
    drawn = overlay(np.zeros((20, 160, 3), np.uint8), ramp, Style(look="contour", alpha=1))
    changed = np.flatnonzero(drawn[8:12].any(axis=(0, 2)))
    for level in (0.25, 0.5, 0.75):
        assert np.abs(changed - level * 159).min() <= 1
    # Between the lines, and on the side that no level reaches, there is nothing.
    assert not set(range(30)) & set(changed.tolist())
    assert not set(range(50, 70)) & set(changed.tolist())


@pytest.mark.parametrize("share", [0.1, 0.5])
def test_masks_leave_that_share_of_the_picture(share):
    levels = rng.permutation(30 * 40).reshape(30, 40).astype(np.float32) / 1199
    masked = overlay(np.full((30, 40, 3), 200, np.uint8), levels, Style(look="mask", share=share))
    kept = masked[..., 0] == 200
    assert kept.mean() == pytest.approx(share, abs=0.002)
    assert levels[kept].min() > levels[~kept].max()
    assert (masked[~kept] == 50).all()


def test_masks_are_those_of_the_thesis_by_default():
    """What is above the mean plus the standard deviation of the map (eq. 5.1)."""
    levels = rng.random((30, 40), dtype=np.float32)
    kept = overlay(np.full((30, 40, 3), 200, np.uint8), levels, Style(look="mask"))[..., 0] == 200
    np.testing.assert_array_equal(kept, levels > levels.mean() + levels.std())


def test_masks_of_an_empty_map_and_of_evidence_against_are_empty():
    for values, signed in ((flat(0), False), (flat(-1), True)):
        assert (overlay(np.full((30, 40, 3), 200, np.uint8), values, Style(look="mask"), signed=signed) == 50).all()


def test_floats_are_the_same_picture():
    np.testing.assert_array_equal(overlay(IMAGE / 255, MAP), overlay(IMAGE, MAP))


@pytest.mark.parametrize("look", ["overlay", "heat", "contour", "mask"])
def test_nothing_is_laid_outside_the_box(look):
    box = Box(5, 8, 25, 28)
    laid = overlay(IMAGE, np.linspace(0.1, 1, 49, dtype=np.float32).reshape(7, 7), Style(look=look), box=box)
    changed = (laid != IMAGE).any(axis=2)
    assert changed[5:25, 8:28].mean() > 0.1
    changed[5:25, 8:28] = False
    assert not changed.any()


def test_a_box_that_sticks_out_shows_the_part_of_the_map_that_is_inside():
    halves = np.repeat(np.array([[0.0, 1.0]], np.float32), 2, axis=0)
    laid = overlay(np.zeros((30, 40, 3), np.uint8), halves, FLAT, box=Box(0, -40, 30, 40))
    np.testing.assert_array_equal(laid[:, 25:], np.broadcast_to(FLAT.colours(np.array([1.0])), (30, 15, 3)))


def test_the_map_lands_where_it_belongs():
    corner = np.zeros((4, 4), np.float32)
    corner[0, 3] = 1
    laid = overlay(np.zeros((40, 40, 3), np.uint8), corner, Style(colormap="bone", alpha=1)).sum(axis=2)
    assert np.unravel_index(laid.argmax(), laid.shape)[0] < 10
    assert np.unravel_index(laid.argmax(), laid.shape)[1] >= 30


def test_large_pictures_are_reduced_with_their_box():
    shown, box = reduced(np.zeros((400, 800, 3), np.uint8), Box(100, 200, 300, 600), 200)
    assert (shown.shape, box) == ((100, 200, 3), Box(25, 50, 75, 150))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"picture": IMAGE[..., 0]}, r"picture: expected \(height, width, 3\), got shape \(30, 40\)"),
        ({"picture": IMAGE.astype(np.float32)}, r"picture: expected uint8 or floats in \[0, 1\], got float32"),
        ({"picture": IMAGE.astype(int)}, r"picture: expected uint8 or floats in \[0, 1\], got int64"),
        ({"saliency": MAP[None]}, r"saliency: expected \(height, width\), got shape \(1, 7, 7\)"),
        ({"saliency": MAP - 2}, r"saliency: expected \[0, 1\], got \[-"),
        ({"saliency": MAP - 2, "signed": True}, r"saliency: expected \[-1, 1\], got \[-"),
        ({"saliency": MAP * np.nan}, r"saliency: expected \[0, 1\], got \[nan"),
        ({"box": Box(30, 0, 31, 40)}, r"box: \(30, 0, 31, 40\) does not lie in a picture of 30 x 40"),
    ],
)
def test_wrong_arguments_are_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        overlay(**{"picture": IMAGE, "saliency": MAP, **arguments})
