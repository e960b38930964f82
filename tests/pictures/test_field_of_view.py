"""The view is found where it was drawn, whatever else the frames show."""

from functools import partial

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.recordings import disc
from xrcam_jax.pictures.crop import Crop
from xrcam_jax.pictures.field_of_view import Circle, find_view, fit_circle, inscribed_square, spread

SHAPE, CENTRE, RADIUS = (120, 160), (78, 61), 50
# The square has pixels -35 to 35 about the centre: its corners are 49.5 away, and the next would be 50.9.
SQUARE = Crop(78 - 35, 61 - 35, 71, 160, 120)


def frames(count=12, seed=0, low=30, high=220, **place):
    """Draws blobs of light in the circle, at other places in each frame."""
    random = np.random.default_rng(seed)
    place = {"height": SHAPE[0], "width": SHAPE[1], "centre": CENTRE, "radius": RADIUS, **place}
    drawn = []
    for _ in range(count):
        blobs = cv2.GaussianBlur(random.random((place["height"], place["width"])).astype(np.float32), (0, 0), 3)
        drawn.append(disc(cv2.normalize(blobs, None, low, high, cv2.NORM_MINMAX), **place))
    return drawn


def assert_near(square, wanted, pixels):
    found = np.array([square.left, square.top, square.left + square.size, square.top + square.size])
    expected = np.array([wanted.left, wanted.top, wanted.left + wanted.size, wanted.top + wanted.size])
    assert np.abs(found - expected).max() <= pixels, f"{square}, but drawn was {wanted}"


def test_exactly_where_it_was_drawn():
    assert find_view(frames()) == SQUARE
    assert find_view(frames(logo=False)) == SQUARE


@pytest.mark.parametrize("seed", range(3))
def test_dim_noisy_and_compressed(seed):
    random = np.random.default_rng(seed)
    noisy = [np.clip(frame + np.abs(random.normal(0, 3, SHAPE)), 0, 255) for frame in frames(high=70, seed=seed)]
    packed = [cv2.imencode(".jpg", frame.astype(np.uint8), [cv2.IMWRITE_JPEG_QUALITY, 60])[1] for frame in noisy]
    assert_near(find_view([cv2.imdecode(frame, cv2.IMREAD_GRAYSCALE) for frame in packed]), SQUARE, 1)


@pytest.mark.parametrize("dark", [6, 11])
def test_dark_frames(dark):
    assert find_view([disc(0, height=120, width=160)] * dark + frames(12 - dark)) == SQUARE


def test_white_frames():
    assert find_view(frames(9) + [np.full(SHAPE, 255, np.uint8)] * 3) == SQUARE


def test_a_part_of_the_rim_stays_dark():
    lit = frames(high=200)
    for frame in lit:
        cv2.circle(frame, (CENTRE[0] + 45, CENTRE[1]), 25, 0, -1)
    assert_near(find_view(lit), SQUARE, 1)


def test_a_logo_that_touches_the_view():
    lit = frames()
    for frame in lit:
        frame[80:118, 100:158] = 255
    assert_near(find_view(lit), SQUARE, 1)


@pytest.mark.parametrize("ratio", [0.75, 1.1, 1.2, 4 / 3])
def test_an_oval_view_is_refused(ratio):
    """A circle that fits one side of it would be off the middle, with black in its square."""
    wide = [cv2.resize(frame, None, fx=ratio, fy=1, interpolation=cv2.INTER_AREA) for frame in frames()]
    with pytest.raises(ValueError, match="found no round view"):
        find_view(wide)


def test_a_view_cut_off_by_the_frame():
    # Corners are at most 66 from the centre and rows at most 58: the frame has one row more above than below.
    assert_near(find_view(frames(radius=66, centre=(80, 60))), Crop(80 - 46, 60 - 46, 93, 160, 120), 1)
    # This one is cut off to the left, where the frame ends 30 from the centre.
    assert_near(find_view(frames(centre=(30, 60))), Crop(0, 30, 61, 160, 120), 1)


def test_frames_without_black_give_their_middle():
    random = np.random.default_rng(0)
    assert find_view([random.integers(90, 255, (61, 99), dtype=np.uint8) for _ in range(5)]) == Crop(19, 0, 61, 99, 61)
    assert find_view([np.full((64, 40), 128, np.uint8)]) == Crop(0, 12, 40, 40, 64)


def test_black_bars_are_not_view():
    bars = np.zeros((100, 100), np.uint8)
    bars[20:80] = 150
    assert find_view([bars]) == Crop(20, 20, 60, 100, 100)


@pytest.mark.parametrize(
    ("frame", "message"),
    [
        (disc(0, height=120, width=160), "found no view: no bright piece has 8% of the frame"),
        (np.zeros(SHAPE, np.uint8), "found no view"),
        (np.triu(np.full((120, 120), 200, np.uint8)), "found no round view.* 50% of a box of 120x120"),
        (disc(200, height=26, width=28, centre=(13, 12), radius=10, logo=False), r"a square of 1[34] pixels; expected"),
    ],
)
def test_no_view_is_an_error(frame, message):
    with pytest.raises(ValueError, match=message):
        find_view([frame] * 3)


@given(st.floats(30, 130), st.floats(30, 90), st.floats(18, 80), st.integers(0, 9))
def test_circles_are_fitted_to_points_of_which_some_are_wrong(x, y, radius, seed):
    random = np.random.default_rng(seed)
    angles = np.linspace(0, 2 * np.pi, 200, endpoint=False)
    points = np.stack([x + radius * np.cos(angles), y + radius * np.sin(angles)], axis=1)
    points[:70] = random.uniform((0, 0), (160, 120), (70, 2))
    circle = fit_circle(points, (120, 160))
    inside = ((points[70:] >= 0) & (points[70:] <= (159, 119))).all(axis=1).mean()
    if inside == 1:
        np.testing.assert_allclose([circle.x, circle.y, circle.radius], [x, y, radius], atol=0.5)


@given(st.floats(0, 60), st.floats(0, 50), st.floats(1, 60))
def test_no_larger_square_is_in_circle_and_frame(x, y, radius):
    """None of the squares whose middle is within half a pixel of the centre is larger."""
    shape, circle = (50, 60), Circle(x, y, radius)
    rows, columns = np.ogrid[:50, :60]
    inside = np.hypot(columns - x, rows - y) <= radius
    square = inscribed_square(circle, shape)
    assert inside[square.box.slices].all()
    assert square.left + square.size <= 60
    assert square.top + square.size <= 50
    larger = square.size + 2
    left, top = round(x - (larger - 1) / 2), round(y - (larger - 1) / 2)
    within = left >= 0 and top >= 0 and left + larger <= 60 and top + larger <= 50
    assert not (within and inside[top : top + larger, left : left + larger].all())


@pytest.mark.parametrize("count", [1, 7, 24, 25, 100, 1001])
def test_samples_are_spread_over_all_frames(count):
    read = []
    taken = spread((partial(lambda n: read.append(n) or n, n) for n in range(count)), at_most=24)
    steps = np.diff(taken)
    assert taken[0] == 0
    assert len(set(steps)) <= 1
    assert min(count, 12) <= len(taken) <= 24
    assert count - taken[-1] <= (steps[0] if len(steps) else 1)
    # Of each doubling of the length, twelve frames more are read, and no others.
    assert len(read) <= 25 + 12 * max(0, np.ceil(np.log2(count / 25)))


def test_frames_of_several_sizes_are_named():
    with pytest.raises(ValueError, match="frames of several sizes, 10x12, 10x14; expected one"):
        find_view([np.ones((12, 10), np.uint8), np.ones((14, 10), np.uint8)])
