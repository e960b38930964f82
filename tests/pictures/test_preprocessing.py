"""Pictures are prepared as timm prepares them, and the crop can be found again in the picture."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from tests import oracle
from xrcam_jax.figures.overlay import overlay
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


#: What ``tests/references/make_variants.py`` has timm prepare: crop mode, size, share, interpolation, channels.
TIMMS = [
    ("center", (32, 32), 0.875, "box", 3),
    ("center", (32, 32), 0.875, "hamming", 1),
    ("squash", (32, 32), 0.875, "bicubic", 3),
    ("squash", (24, 40), 1.0, "bilinear", 1),
    ("border", (32, 32), 1.0, "bilinear", 3),
    ("border", (32, 32), 0.9, "bicubic", 3),
    ("border", (24, 40), 0.875, "lanczos", 1),
]


@pytest.mark.parametrize("case", TIMMS)
def test_every_crop_mode_is_timms(case):
    mode, size, share, interpolation, channels = case
    mean, std = (Preprocessing.mean, Preprocessing.std) if channels == 3 else ((0.3,), (0.2,))
    config = Preprocessing(mean, std, size, share, interpolation, mode)
    with np.load(oracle.DATA / "variants.npz") as references:
        for height, width in [(40, 90), (120, 50), (64, 64), (37, 131)]:
            expected = references[f"{mode}/{height}x{width}/{interpolation}/{channels}"].transpose(1, 2, 0)
            (found,) = preprocess([oracle.picture(height, width)], config)
            np.testing.assert_allclose(found, expected, atol=1e-6)


@pytest.mark.parametrize("mode", ["center", "squash", "border"])
@pytest.mark.parametrize("shape", [(231, 320), (320, 231), (64, 500)])
def test_the_box_lies_where_the_network_looks(mode, shape):
    """Of a picture that is black in the box and white elsewhere only black is seen, and black borders around it."""
    config = Preprocessing((0, 0, 0), (1, 1, 1), (56, 56), 0.7, "bilinear", mode)
    image = np.full((*shape, 3), 255, np.uint8)
    box = crop_box(*shape, config)
    image[box.within(*shape).slices] = 0
    (seen,) = preprocess([image], config)
    reach = 2
    assert (seen[reach:-reach, reach:-reach] == 0).all()
    # The next pixels around the box are seen at the edges of the crop, where there are any.
    image[box.within(*shape).slices] = 255
    (seen,) = preprocess([image], config)
    assert (seen[28, 28] == 1).all()


def test_of_a_border_all_is_seen_and_the_map_is_cut_to_the_picture():
    config = Preprocessing(input_size=(64, 64), crop_pct=1.0, crop_mode="border")
    assert crop_box(100, 200, config) == Box(-50, 0, 150, 200)
    saliency = np.zeros((4, 4), np.float32)
    saliency[1, 3] = 1  # the second quarter from above, which is the picture's upper half, at the right
    picture = np.full((100, 200, 3), 128, np.uint8)
    laid, without = (overlay(picture, found, box=crop_box(100, 200, config)) for found in (saliency, 0 * saliency))
    changed = np.abs(laid.astype(int) - without).sum(-1)
    rows, columns = np.argwhere(changed > 0.9 * changed.max()).mean(0)
    assert 15 < rows < 35
    assert columns > 165
    assert (changed[75:] == 0).all()


def test_a_box_is_cut_with_its_border():
    array = np.arange(6).reshape(2, 3)
    assert Box(-1, 1, 2, 5).cut(array, 9).tolist() == [[9, 9, 9, 9], [1, 2, 9, 9], [4, 5, 9, 9]]


def test_channels_are_averaged_and_repeated():
    one = Preprocessing(mean=(0.2, 0.3, 0.4), std=(0.1, 0.2, 0.3)).for_channels(1)
    assert one.channels == 1
    assert one.mean == pytest.approx((0.3,))
    assert one.for_channels(3).std == pytest.approx((0.2,) * 3)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"mean": (0.5,)}, "mean and std"),
        ({"mean": (0.5,) * 2, "std": (0.5,) * 2}, "mean and std"),
        ({"crop_mode": "rrc"}, "crop_mode: 'rrc' is none of center, squash, border"),
        ({"interpolation": "random"}, "interpolation: 'random' is none of"),
    ],
)
def test_other_fields_are_refused(fields, message):
    with pytest.raises(ValueError, match=message):
        Preprocessing(**fields)
