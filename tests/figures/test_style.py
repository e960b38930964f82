"""Styles choose colours by value, with zero in the middle of signed ones, and refuse what they cannot draw."""

import colorsys

import numpy as np
import pytest
from matplotlib import colormaps

from xrcam_jax.figures.style import Style


@pytest.mark.parametrize("name", ["plasma", "viridis", "gray"])
def test_colours_are_those_of_matplotlib(name):
    levels = np.linspace(0, 1, 256)
    np.testing.assert_array_equal(Style(colormap=name).colours(levels), colormaps[name](levels, bytes=True)[:, :3])


def test_beyond_the_ends_are_the_last_colours():
    style = Style()
    np.testing.assert_array_equal(style.colours(np.array([-3.0, 5.0])), style.colours(np.array([0.0, 1.0])))


@pytest.mark.parametrize("name", ["RdBu_r", "coolwarm", "bwr"])
def test_zero_is_the_colour_in_the_middle(name):
    style = Style(signed_colormap=name)
    (zero,) = style.colours(np.array([0.0]), signed=True)
    np.testing.assert_array_equal(zero, colormaps[name](0.5, bytes=True)[:3])
    # Values of either sign move away from it by the same share of the scale.
    for value in (0.25, 0.5, 1.0):
        found = style.colours(np.array([-value, value]), signed=True).astype(int)
        expected = colormaps[name](np.array([0.5 - value / 2, 0.5 + value / 2]), bytes=True)[:, :3].astype(int)
        assert abs(found - expected).max() <= 6


def test_against_is_blue_and_for_is_red():
    against, for_ = Style().colours(np.array([-0.7, 0.7]), signed=True) / 255
    assert colorsys.rgb_to_hsv(*against)[0] == pytest.approx(2 / 3, abs=0.15)
    assert min(abs(colorsys.rgb_to_hsv(*for_)[0] - hue) for hue in (0, 1)) < 0.1


def test_the_standard_colours_have_equal_steps_of_lightness():
    """Luminance by ITU-R BT.709 grows all the way, so that no edge is seen where a map has none."""
    colours = Style().colours(np.linspace(0, 1, 64)) / 255
    linear = np.where(colours <= 0.04045, colours / 12.92, ((colours + 0.055) / 1.055) ** 2.4)
    lightness = 116 * np.cbrt(linear @ [0.2126, 0.7152, 0.0722]) - 16
    steps = np.diff(lightness)
    assert (steps > 0).all()
    assert steps.max() < 3 * steps.mean()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"colormap": "virids"}, "colormap: unknown name 'virids'; did you mean 'viridis'"),
        ({"signed_colormap": "red"}, "colormap: unknown name 'red'"),
        ({"look": "glow"}, "look: unknown name 'glow'; known: overlay, heat, contour, mask"),
        ({"alpha": 1.5}, r"alpha: expected a number in \[0, 1\], found 1.5"),
        ({"alpha": float("nan")}, "alpha: expected a number"),
        ({"share": 0.0}, r"share: expected a number in \(0, 1\], found 0.0"),
    ],
)
def test_wrong_arguments_are_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        Style(**arguments)
