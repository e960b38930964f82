"""Pictures are prepared as timm prepares them, and the crop can be found again in the picture."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from xrcam_jax.pictures.preprocessing import Box, Preprocessing, crop_box, preprocess

sides = st.integers(1, 300)
configs = st.builds(
    Preprocessing,
    input_size=st.tuples(st.integers(8, 64), st.integers(8, 64)) | st.integers(8, 64).map(lambda s: (s, s)),
    crop_pct=st.floats(0.3, 1.0),
    interpolation=st.sampled_from(["nearest", "bilinear", "bicubic", "lanczos"]),
)


def picture(height: int, width: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def torchvision_reference(image: np.ndarray, config: Preprocessing) -> np.ndarray:
    """Does Resize(floor(size / crop_pct)), CenterCrop(size), ToTensor and Normalize, for square inputs."""
    size = config.input_size[0]
    scale = math.floor(size / config.crop_pct)
    height, width = image.shape[:2]
    short, long = (width, height) if width <= height else (height, width)
    new_short, new_long = scale, int(scale * long / short)
    new = (new_short, new_long) if width <= height else (new_long, new_short)
    resized = Image.fromarray(image).resize(new, getattr(Image.Resampling, config.interpolation.upper()))
    left, top = round((resized.width - size) / 2.0), round((resized.height - size) / 2.0)
    crop = np.asarray(resized.crop((left, top, left + size, top + size)), np.float32) / 255
    return (crop - np.float32(config.mean)) / np.float32(config.std)


@settings(deadline=None, max_examples=60)
@given(sides, sides, configs)
def test_equals_torchvision_for_square_inputs(height, width, config):
    config = Preprocessing(
        input_size=(config.input_size[0],) * 2, crop_pct=config.crop_pct, interpolation=config.interpolation
    )
    image = picture(height, width)
    (prepared,) = preprocess([image], config)
    assert prepared.dtype == np.float32
    np.testing.assert_array_equal(prepared, torchvision_reference(image, config))


@settings(deadline=None, max_examples=60)
@given(sides, sides, configs)
def test_shape_and_box_for_any_picture(height, width, config):
    assert preprocess([picture(height, width)], config).shape == (1, *config.input_size, 3)
    box = crop_box(height, width, config)
    assert 0 <= box.top < box.bottom <= height
    assert 0 <= box.left < box.right <= width


@settings(deadline=None)
@given(st.integers(100, 300), st.integers(100, 300), st.floats(0.5, 1.0))
def test_box_has_the_crops_shape_and_place(height, width, crop_pct):
    box = crop_box(height, width, Preprocessing(input_size=(64, 64), crop_pct=crop_pct))
    shorter = min(height, width) * 64 / math.floor(64 / crop_pct)
    # The longer side is cut to whole resized pixels, and so is the crop's place.
    tolerance = 1 + max(height, width) / 64
    assert abs((box.bottom - box.top) - shorter) <= tolerance
    assert abs((box.right - box.left) - shorter) <= tolerance
    assert abs((box.top + box.bottom - height) / 2) <= tolerance
    assert abs((box.left + box.right - width) / 2) <= tolerance


def test_box_holds_what_the_network_sees():
    """Of a picture that is black in the box and white elsewhere only black is seen, but for the resize's reach."""
    config = Preprocessing(mean=(0, 0, 0), std=(1, 1, 1), input_size=(56, 56), crop_pct=0.7, interpolation="bilinear")
    image = np.full((231, 320, 3), 255, np.uint8)
    box = crop_box(231, 320, config)
    image[box.top : box.bottom, box.left : box.right] = 0
    (prepared,) = preprocess([image], config)
    assert prepared[1:-1, 1:-1].max() == 0
    image[box.top, :] = 255
    assert preprocess([image], config)[0][0].max() > 0


def test_right_size_and_whole_crop_is_only_normalised():
    config = Preprocessing(mean=(0.5, 0.4, 0.3), std=(0.2, 0.3, 0.4), input_size=(40, 48), crop_pct=1.0)
    image = picture(40, 48)
    expected = (image / np.float32(255) - np.float32(config.mean)) / np.float32(config.std)
    np.testing.assert_array_equal(preprocess([image], config)[0], expected)
    assert crop_box(40, 48, config) == Box(0, 0, 40, 48)


def test_an_array_is_as_good_as_a_list():
    images = np.stack([picture(50, 70, seed) for seed in range(3)])
    config = Preprocessing(input_size=(32, 32))
    np.testing.assert_array_equal(preprocess(images, config), preprocess(list(images), config))


@pytest.mark.parametrize(
    ("images", "error", "message"),
    [
        ([], ValueError, "images: there are none"),
        (picture(8, 8), ValueError, r"images: expected \(batch, height, width, 3\), got shape \(8, 8, 3\)"),
        ([picture(8, 8), picture(8, 8)[..., 0]], ValueError, r"images\[1\]: expected .* got shape \(8, 8\)"),
        ([picture(8, 8)[..., :2]], ValueError, r"images\[0\]: expected .* got shape \(8, 8, 2\)"),
        ([picture(8, 8)[:0]], ValueError, r"images\[0\]: expected .* got shape \(0, 8, 3\)"),
        ([picture(8, 8) / 255], TypeError, r"images\[0\]: expected uint8, got float64"),
    ],
)
def test_wrong_pictures_are_named(images, error, message):
    with pytest.raises(error, match=message):
        preprocess(images, Preprocessing())


def test_wrong_configs_are_refused():
    with pytest.raises(ValueError, match=r"crop_pct: 1.5 is not in \(0, 1\]"):
        Preprocessing(crop_pct=1.5)
    with pytest.raises(ValueError, match="interpolation: 'cubic' is none of nearest, bilinear, bicubic, lanczos"):
        Preprocessing(interpolation="cubic")
