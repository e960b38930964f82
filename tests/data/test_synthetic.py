"""The drawn tissue keeps what is promised of it."""

from dataclasses import replace

import cv2
import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from xrcam_jax.data.cohort import Cohort, draw_frames, scans, views
from xrcam_jax.data.synthetic import LABELS, frame_shape, view_circle
from xrcam_jax.pictures.field_of_view import find_view

TINY = Cohort(gbm=1, meningioma=2, videos=1, frames=6, side=48, annotate_every=2, seed=3)


def test_round_view_on_black_with_a_logo_and_repeated_neighbours():
    side = 96
    seen = list(views(replace(TINY, side=side), scans(TINY)[0]))
    column, row, radius = view_circle(side)
    height, width = frame_shape(side)
    rows, columns = np.ogrid[:height, :width]
    outside = (rows - row) ** 2 + (columns - column) ** 2 > (radius + 1) ** 2
    logo = np.zeros((height, width), bool)
    logo[-height // 8 :, : width // 6] = logo[: height // 8, -width // 8 :] = True
    for view in seen:
        assert not view.picture[outside & ~logo].any()
        assert view.picture[outside & logo].max() > 100
        assert view.picture[~outside].mean() > 20
    pictures = [view.picture for view in seen]
    assert all((a == b).all() for a, b in zip(pictures[::2], pictures[1::2], strict=True))
    assert not any((a == b).all() for a, b in zip(pictures[1:-1:2], pictures[2::2], strict=True))


@pytest.mark.parametrize("side", [48, 97, 230])
def test_preparing_finds_the_square_that_was_drawn(side):
    for scan in scans(TINY):
        pictures = [view.picture for view in views(replace(TINY, side=side), scan)]
        height, width = pictures[0].shape
        square = find_view(pictures)
        assert abs(square.left - (width - side) / 2) <= 1
        assert abs(square.top - (height - side) / 2) <= 1
        assert abs(square.size - side) <= side % 2


def test_structures_are_darker_than_what_surrounds_them_and_of_several_scales():
    frames = draw_frames(Cohort(gbm=1, meningioma=4, videos=1, frames=8, side=128, seed=5))
    meningioma = frames.labels == LABELS.index("Meningioma")
    assert not frames.structures[~meningioma].any()
    areas = []
    for picture, mask in zip(frames.pictures[meningioma], frames.structures[meningioma], strict=True):
        assert picture[mask].mean() < 0.8 * picture[~mask].mean()
        areas += list(cv2.connectedComponentsWithStats(mask.astype(np.uint8))[2][1:, cv2.CC_STAT_AREA])
    diameters = 2 * np.sqrt(np.array(areas) / np.pi) / 128
    for low, high in ((0.06, 0.125), (0.13, 0.22), (0.23, 0.5)):
        assert ((low < diameters) & (diameters < high)).any()


def global_statistics(picture):
    values = picture.astype(float) / 255
    mean, deviation = values.mean(), values.std()
    z = (values - mean) / deviation
    shares = np.histogram(values, 32, (0, 1))[0] / values.size
    entropy = -(shares[shares > 0] * np.log(shares[shares > 0])).sum()
    slopes = np.hypot(*np.gradient(cv2.GaussianBlur(values, (0, 0), 1.5)))
    quantiles = np.percentile(values, [1, 5, 25, 50, 75, 95, 99])
    return [mean, deviation, (z**3).mean(), (z**4).mean(), entropy, *quantiles, slopes.mean(), slopes.std()]


def test_no_global_statistics_tell_the_classes_apart():
    frames = draw_frames(Cohort(gbm=24, meningioma=24, videos=1, frames=16, side=96, seed=8))
    x = np.array([global_statistics(picture) for picture in frames.pictures])
    patient = np.array([int(name.split("_")[1][1:]) for name in frames.names])
    right = []
    for fold in range(6):
        held_out = patient % 6 == fold
        model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=5000))
        model.fit(x[~held_out], frames.labels[~held_out])
        right.append(model.score(x[held_out], frames.labels[held_out]))
    assert np.mean(right) < 0.65
