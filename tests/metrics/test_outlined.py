"""Metrics of outlines by the field's names are sums over pixels, and NaN where nothing is outlined."""

import jax.numpy as jnp
import numpy as np
import pytest

from xrcam_jax.metrics.attribution_localisation import attribution_localisation
from xrcam_jax.metrics.focus import focus, mosaics, quadrants
from xrcam_jax.metrics.localisation import pointing_game
from xrcam_jax.metrics.mass import relevance_mass_accuracy, relevance_rank_accuracy
from xrcam_jax.metrics.outlined import rows

SHAPE = (2, 3, 4, 6)
RANDOM = np.random.default_rng(0)
MAPS, MASKS = RANDOM.standard_normal(SHAPE).astype(np.float32), RANDOM.random(SHAPE[1:]) < 0.4
MASKS[2] = False


def expected(figure):
    return [
        [figure(MAPS[m, b].astype(float), MASKS[b]) if MASKS[b].any() else np.nan for b in range(3)] for m in (0, 1)
    ]


def positive_share(one, mask):
    return one[mask & (one > 0)].sum() / one[one > 0].sum()


def test_sums_over_pixels():
    size = MASKS[0].size
    wanted = {
        relevance_mass_accuracy: positive_share,
        attribution_localisation: positive_share,
        focus: positive_share,
        relevance_rank_accuracy: lambda one, mask: mask.ravel()[np.argsort(-one.ravel())[: mask.sum()]].mean(),
        pointing_game: lambda one, mask: float(mask.ravel()[one.argmax()]),
    }
    for metric, figure in wanted.items():
        np.testing.assert_allclose(metric(MAPS, MASKS), expected(figure), rtol=1e-5, err_msg=metric.__name__)
        # Neither the other pictures nor their order count.
        some = np.array([1, 1, 0])
        np.testing.assert_array_equal(metric(MAPS[:, some], MASKS[some]), np.asarray(metric(MAPS, MASKS))[:, some])
    np.testing.assert_allclose(
        attribution_localisation(MAPS, MASKS, weighted=True),
        expected(lambda one, mask: positive_share(one, mask) * size / mask.sum()),
        rtol=1e-5,
    )


def test_perfect_and_constant_maps():
    masks = MASKS[:2]
    perfect, constant = masks[None].astype(np.float32), np.ones((1, 2, 4, 6), np.float32)
    share = masks.mean((1, 2))[None]
    for metric in (relevance_mass_accuracy, relevance_rank_accuracy, focus):
        np.testing.assert_allclose(metric(perfect, masks), 1, rtol=1e-6)
        np.testing.assert_allclose(metric(constant, masks), share, rtol=1e-6)
    np.testing.assert_allclose(attribution_localisation(perfect, masks, weighted=True), 1 / share, rtol=1e-6)
    np.testing.assert_allclose(attribution_localisation(constant, masks, weighted=True), 1, rtol=1e-6)
    np.testing.assert_array_equal(pointing_game(perfect, masks), 1)
    np.testing.assert_array_equal(pointing_game(constant, masks), 0)


def test_mosaics_are_four_pictures_and_quadrants_their_places():
    pictures = RANDOM.standard_normal((3, 4, 2, 3, 2)).astype(np.float32)
    held = np.array([[True, False, False, True], [False, True, False, False], [False] * 4])
    masks = np.asarray(quadrants(held, (4, 6)))
    for mosaic, mask, four, which in zip(
        np.asarray(mosaics(jnp.asarray(pictures))), masks, pictures, held, strict=True
    ):
        np.testing.assert_array_equal(mosaic, np.block([[[four[0]], [four[1]]], [[four[2]], [four[3]]]]))
        for place, inside in enumerate(which):
            top, left = 2 * (place // 2), 3 * (place % 2)
            assert (mask[top : top + 2, left : left + 3] == inside).all()
    assert np.isnan(focus(MAPS, masks)[:, 2]).all()
    with pytest.raises(ValueError, match=r"with even sides; got \(4, 5\)"):
        quadrants(held, (4, 5))


def test_rows_refuse_what_does_not_fit():
    with pytest.raises(ValueError, match=r"got maps of \(3, 4, 6\), masks of \(3, 4, 6\)"):
        rows(MAPS[0], MASKS)
    with pytest.raises(ValueError, match="masks must be of booleans; got float64"):
        rows(MAPS, MASKS.astype(float))


def test_rows_are_of_any_number_of_axes():
    assert rows(MAPS.astype(np.float16), MASKS)[0].dtype == jnp.float32
    for shape in ((24,), (2, 3, 4)):
        flat, inside = rows(MAPS.reshape(2, 3, *shape), MASKS.reshape(3, *shape))
        np.testing.assert_array_equal(flat, MAPS.reshape(2, 3, 24))
        np.testing.assert_array_equal(inside, MASKS.reshape(3, 24))
