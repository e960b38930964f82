"""Changes of frames on the device are those of SciPy and NumPy in double precision."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import ndimage

from xrcam_jax.data.augment import Augmentation, augment, normalise, rotate, sheet
from xrcam_jax.data.manifest import Statistics

rng = np.random.default_rng(0)
IMAGES = rng.integers(0, 256, (24, 12, 9, 1), dtype=np.uint8)
OFF = Augmentation(vertical_flip=False, horizontal_flip=False, max_rotation=0.0, contrast=(1.0, 1.0))
KEY = jax.random.key(0)


def only(**on) -> Augmentation:
    return Augmentation(**{**vars(OFF), **on})


def test_normalisation_is_the_closed_form():
    expected = (np.repeat(IMAGES, 3, axis=-1).astype(np.float64) / 255 - 0.3) / 0.17
    for images in (IMAGES, IMAGES.astype(np.float32) / 255):
        result = normalise(images, Statistics(0.3, 0.17))
        assert result.dtype == jnp.float32
        np.testing.assert_allclose(result, expected, atol=1e-6)


def test_nothing_allowed_changes_nothing():
    result = augment(KEY, IMAGES, OFF)
    assert result.dtype == jnp.float32
    np.testing.assert_allclose(result, IMAGES / 255, atol=1e-7)


@pytest.mark.parametrize("shape", [(31, 31), (20, 33)])
@pytest.mark.parametrize("degrees", [0, 7.5, -15, 45, 90, 170])
def test_rotation_is_scipys(shape, degrees):
    image = np.random.default_rng(1).random(shape)
    expected = ndimage.rotate(image, degrees, reshape=False, order=1, mode="reflect")
    result = jax.jit(rotate)(jnp.asarray(image, jnp.float32), jnp.float32(np.deg2rad(degrees)))
    np.testing.assert_allclose(result, expected, atol=2e-5)


def test_rotation_in_double_precision_is_scipys_to_the_last_digits(float64):
    image = np.random.default_rng(1).random((31, 24))
    expected = ndimage.rotate(image, 11, reshape=False, order=1, mode="reflect")
    np.testing.assert_allclose(rotate(jnp.asarray(image), jnp.deg2rad(11.0)), expected, atol=1e-12)


def test_a_quarter_turn_is_counterclockwise():
    image = np.arange(25.0, dtype=np.float32).reshape(5, 5)
    np.testing.assert_allclose(rotate(image, jnp.float32(np.pi / 2)), np.rot90(image), atol=1e-5)


@pytest.mark.parametrize(("flip", "axis"), [("vertical_flip", 1), ("horizontal_flip", 2)])
def test_a_flip_is_of_some_frames_and_its_axis(flip, axis):
    result, before = np.asarray(augment(KEY, IMAGES, only(**{flip: True}))), IMAGES / np.float32(255)
    flipped = [bool(np.allclose(one, other)) for one, other in zip(result, np.flip(before, axis), strict=True)]
    same = [bool(np.allclose(one, other)) for one, other in zip(result, before, strict=True)]
    assert all(a != b for a, b in zip(flipped, same, strict=True))
    # 24 fair coins show fewer than 4 or more than 20 heads 3 times in 10000.
    assert 4 <= sum(flipped) <= 20


def test_flips_are_independent():
    result = np.asarray(augment(KEY, np.repeat(IMAGES[:1], 24, axis=0), only(vertical_flip=True, horizontal_flip=True)))
    assert len({one.tobytes() for one in result}) == 4


def test_angles_stay_within_the_bound_and_use_it():
    """The angle of each frame is found by trying all angles."""
    smooth = ndimage.gaussian_filter(rng.random((24, 21, 21)), (0, 2, 2))[..., None]
    angles = np.linspace(-30, 30, 241)
    turned = np.stack([ndimage.rotate(smooth, a, (2, 1), reshape=False, order=1, mode="reflect") for a in angles])
    result = np.asarray(augment(KEY, smooth, only(max_rotation=15.0)))
    found = angles[np.abs(turned - result).max((2, 3, 4)).argmin(0)]
    assert np.abs(found).max() <= 15.25
    assert found.min() < -8
    assert found.max() > 8
    assert len(set(found)) > 12


def test_contrast_scales_the_distance_to_the_mean():
    dull = (0.4 + 0.2 * rng.random((24, 12, 9, 1))).astype(np.float32)
    result = np.asarray(augment(KEY, dull, only(contrast=(0.8, 1.25))), np.float64)
    centred = dull - dull.mean((1, 2, 3), dtype=np.float64, keepdims=True)
    factors = result.std((1, 2, 3)) / centred.std((1, 2, 3))
    np.testing.assert_allclose(result, dull + (factors.reshape(-1, 1, 1, 1) - 1) * centred, atol=1e-6)
    assert factors.min() >= 0.8 - 1e-5
    assert factors.max() <= 1.25 + 1e-5
    assert factors.min() < 0.9 < 1.15 < factors.max()


def test_all_together_stay_in_range_and_follow_the_key():
    settings = Augmentation(contrast=(0.5, 3.0))
    result = augment(KEY, IMAGES, settings)
    assert result.shape == IMAGES.shape
    assert float(result.min()) == 0
    assert float(result.max()) == 1
    np.testing.assert_array_equal(result, augment(KEY, IMAGES, settings))
    assert not np.array_equal(result, augment(jax.random.key(1), IMAGES, settings))
    alike = np.asarray(augment(KEY, np.repeat(IMAGES[:1], 24, axis=0), settings))
    assert len({one.tobytes() for one in alike}) == 24


def test_a_sheet_shows_before_and_after():
    def shown(settings):
        """The pictures by row and column."""
        figure = sheet(KEY, IMAGES[:3], settings, draws=2)
        found = np.stack([axes.images[0].get_array() for axes in figure.axes])
        return found.reshape(3, 3, *found.shape[1:])

    same, changed = shown(OFF), shown(Augmentation())
    np.testing.assert_allclose(same[:, 0, ..., 0], IMAGES[:3, ..., 0], atol=1)
    # The three columns show the same frames, since nothing may change them.
    np.testing.assert_array_equal(same[:, 1:], same[:, :1].repeat(2, axis=1))
    np.testing.assert_array_equal(changed[:, 0], same[:, 0])
    assert not np.array_equal(changed[:, 1], same[:, 1])
    assert not np.array_equal(changed[:, 1], changed[:, 2])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"max_rotation": -1}, "max_rotation: -1"),
        ({"max_rotation": float("nan")}, "max_rotation"),
        ({"contrast": (1.2, 0.8)}, "contrast: expected"),
        ({"contrast": (-0.1, 0.8)}, "contrast"),
        ({"contrast": [0.8, 1.2]}, "contrast: expected a tuple"),
        ({"contrast": (1.0,)}, "contrast"),
    ],
)
def test_settings_out_of_range_are_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        Augmentation(**arguments)


def test_wrong_images_are_named():
    with pytest.raises(ValueError, match=r"images: expected \(batch, height, width, 1\), got shape \(12, 9, 1\)"):
        augment(KEY, IMAGES[0], OFF)
    with pytest.raises(ValueError, match="images"):
        normalise(np.zeros((1, 4, 4, 3), np.uint8), Statistics(0.5, 0.2))
    with pytest.raises(TypeError, match="images: expected uint8 or floats in \\[0, 1\\], got int32"):
        augment(KEY, IMAGES.astype(np.int32), OFF)
    with pytest.raises(ValueError, match="draws: expected 1 or more, got 0"):
        sheet(KEY, IMAGES, OFF, draws=0)
