"""The figure for both faithfulnesses: 0 where either is blind, 1 only where both are perfect, and it never falls."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from xrcam_jax.attribution.case import Case
from xrcam_jax.metrics.both import contrast, joint_faithfulness, mass_over_chance, scores_left
from xrcam_jax.metrics.faithfulness import ordered_scores

SIDE, STEPS = 4, 8
shares = st.lists(st.floats(0, 1, width=32), min_size=3, max_size=3)


def curves(inner, *, start, end):
    """One curve of a picture and a map from ``start`` to ``end``, with these scores between."""
    return jnp.asarray([start, *inner, end], jnp.float32)[None, :, None]


def slow_contrast(deleted, inserted):
    whole, empty = deleted[0], deleted[-1]
    if whole <= empty:
        return np.nan
    p = [min(1.0, max(0.0, (s - empty) / (whole - empty))) for s in inserted]
    q = [min(1.0, max(0.0, (s - empty) / (whole - empty))) for s in deleted]
    differences = [p[k] - q[k] for k in range(1, len(p) - 1)]
    return max(0.0, sum(differences) / len(differences))


@given(shares, shares, st.floats(-3, 3, width=32), st.floats(0.25, 3, width=32))
def test_contrast_is_that_of_a_loop_and_does_not_depend_on_the_scale_of_the_score(kept, hidden, empty, way):
    deleted = [empty + way, *(empty + way * h for h in hidden), empty]
    inserted = [empty, *(empty + way * k for k in kept), empty + way]
    found = contrast(*(jnp.asarray(each, jnp.float32)[None, :, None] for each in (deleted, inserted)))
    np.testing.assert_allclose(found[0, 0], slow_contrast(deleted, inserted), atol=1e-4)


def test_scores_beyond_the_ends_count_as_the_ends():
    deleted, inserted = curves([-5, 0.5], start=1, end=0), curves([9, 0.5], start=0, end=1)
    assert contrast(deleted, inserted).tolist() == [[slow_contrast([1, -5, 0.5, 0], [0, 9, 0.5, 1])]] == [[0.5]]


@pytest.mark.parametrize("whole", [0.0, -1.0])
def test_contrast_is_undefined_where_pixels_speak_for_nothing(whole):
    assert np.isnan(contrast(curves([0.5, 0], start=whole, end=0), curves([0.5, 0], start=0, end=whole)))


@pytest.mark.parametrize("steps", [1, 2])
def test_curves_that_do_not_fit(steps):
    with pytest.raises(ValueError, match=r"two steps or more; got \(1, "):
        contrast(jnp.ones((1, steps, 1)), jnp.ones((1, steps, 1)))


def test_mass_over_chance_in_float64():
    random = np.random.default_rng(0)
    maps, masks = random.standard_normal((3, 4, 5, 6)).astype(np.float32), random.random((4, 5, 6)) < 0.3
    maps[0] += 3 * masks
    masks[2] = False
    masks[3] = True
    positive = np.maximum(maps, 0).astype(np.float64)
    mass = (positive * masks).sum((2, 3)) / positive.sum((2, 3))
    share = masks.mean((1, 2))
    with np.errstate(divide="ignore", invalid="ignore"):
        wanted = np.where((share > 0) & (share < 1), np.maximum(0, (mass - share) / (1 - share)), np.nan)
    assert (wanted[0, :2] > 0.1).all()
    np.testing.assert_allclose(mass_over_chance(maps, masks), wanted, rtol=1e-5, atol=1e-6)


def test_mass_over_chance_of_signals_and_volumes():
    maps = np.random.default_rng(0).random((2, 3, 8)).astype(np.float32)
    masks = np.arange(8) < np.array([[2], [3], [5]])
    line = mass_over_chance(maps, masks)
    np.testing.assert_array_equal(line, mass_over_chance(maps.reshape(2, 3, 2, 2, 2), masks.reshape(3, 2, 2, 2)))


def joint(located, kept, hidden):
    """The figure of a map with this mass in an outline of half of the picture, and these scores."""
    maps = jnp.asarray([[[[located, 1 - located]]]], jnp.float32)
    masks = jnp.array([[[True, False]]])
    return float(joint_faithfulness(curves(hidden, start=1, end=0), curves(kept, start=0, end=1), maps, masks)[0, 0])


@given(st.floats(0.5, 1, width=32), shares, shares)
def test_the_figure_is_the_harmonic_mean(mass, kept, hidden):
    located, needed = 2 * mass - 1, slow_contrast([1, *hidden, 0], [0, *kept, 1])
    wanted = 0 if located == 0 or needed == 0 else 2 / (1 / located + 1 / needed)
    np.testing.assert_allclose(joint(mass, kept, hidden), wanted, atol=1e-5)


def test_one_is_had_by_both_alone():
    perfect = (1.0, [1.0] * 3, [0.0] * 3)
    assert joint(*perfect) == 1
    assert joint(0.99, *perfect[1:]) < 1
    assert joint(1.0, [1.0, 1.0, 0.99], perfect[2]) < 1
    assert joint(1.0, perfect[1], [0.01, 0.0, 0.0]) < 1


def test_a_blind_half_leaves_nothing():
    assert joint(0.5, [1.0] * 3, [0.0] * 3) == 0
    assert joint(0.2, [1.0] * 3, [0.0] * 3) == 0
    assert joint(1.0, [0.4] * 3, [0.4] * 3) == 0
    assert joint(1.0, [0.0] * 3, [1.0] * 3) == 0


@given(st.floats(0, 1, width=32), shares, shares, st.integers(0, 2), st.floats(0, 1, width=32))
def test_it_never_falls_where_a_part_rises(mass, kept, hidden, place, more):
    before = joint(mass, kept, hidden)
    higher = [k + (1 - k) * more if i == place else k for i, k in enumerate(kept)]
    lower = [h * (1 - more) if i == place else h for i, h in enumerate(hidden)]
    for after in (joint(mass + (1 - mass) * more, kept, hidden), joint(mass, higher, hidden), joint(mass, kept, lower)):
        assert after >= before - 1e-6


@pytest.fixture(scope="module")
def reader():
    """A model that reads the upper half for the class of the first picture, and the lower for that of the second."""

    def model(images, parameters):
        upper, lower = images[:, : SIDE // 2, :, 0], images[:, SIDE // 2 :, :, 0]
        return jnp.stack([upper.sum((1, 2)), lower.sum((1, 2))], axis=1) * parameters

    return Case(model, jnp.float32(0.5), jnp.ones((2, SIDE, SIDE, 1)), jnp.array([[0], [1]]))


@pytest.fixture(scope="module")
def read():
    """The pixels that are read of the two pictures."""
    upper = np.arange(SIDE)[:, None] < SIDE // 2
    return np.stack([np.broadcast_to(upper, (SIDE, SIDE)), np.broadcast_to(~upper, (SIDE, SIDE))])


def both_curves(case, maps):
    kept = ordered_scores(case, maps, "insertion", steps=STEPS, score="logit")
    return scores_left(case, maps, steps=STEPS, score="logit"), kept


def test_a_model_that_reads_known_pixels(reader, read):
    """Only a map on pixels that are both read and outlined has a figure above 0, wherever they are in the picture."""
    maps = jnp.stack([jnp.asarray(each, jnp.float32) for each in (read, ~read, np.ones_like(read))])
    curves = both_curves(reader, maps)
    # Of the first k of 8 shares, k / 4 of what is read is kept, up to all of it.
    best = np.mean([2 * min(1, k / 4) - 1 for k in range(1, STEPS)])
    np.testing.assert_allclose(contrast(*curves)[0], best, rtol=1e-5)
    np.testing.assert_array_equal(contrast(*curves)[1:], np.zeros((2, 2)))
    found = joint_faithfulness(*curves, maps, read)
    np.testing.assert_allclose(found, [[2 * best / (1 + best)] * 2, [0] * 2, [0] * 2], rtol=1e-5)
    np.testing.assert_array_equal(joint_faithfulness(*curves, maps, ~read), np.zeros((3, 2)))


def test_where_no_pixels_are_equal_what_is_left_is_that_of_deletion(reader):
    maps = jnp.asarray(
        np.random.default_rng(0).permuted(np.arange(2.0 * SIDE**2).reshape(1, 2, SIDE, SIDE)), jnp.float32
    )
    deletion = ordered_scores(reader, maps, "deletion", steps=STEPS, score="logit")
    np.testing.assert_allclose(scores_left(reader, maps, steps=STEPS, score="logit"), deletion, rtol=1e-6)


def test_random_orders_have_no_contrast_on_average(reader):
    """It is the mean before it is cut off at 0 that vanishes: of each order and of its reverse it is the opposite."""
    maps = jax.random.uniform(jax.random.key(0), (8, 2, SIDE, SIDE))
    found = contrast(*both_curves(reader, jnp.concatenate([maps, 1 - maps]))).reshape(2, 8, 2)
    assert (found.min(0) == 0).all()
    assert (found.max(0) > 0).any()
