"""Scores on changed pictures are those of linear models, and of models of one pixel, which are known."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from xrcam_jax.attribution.case import Case
from xrcam_jax.metrics import faithfulness
from xrcam_jax.metrics.faithfulness import Hidden, Kept, Ordered

MAPS, BATCH, HEIGHT, WIDTH, CHANNELS, CLASSES = 3, 2, 4, 5, 2, 3
SHAPE = (BATCH, HEIGHT, WIDTH, CHANNELS)
#: Maps have few levels, so that many pixels are equally salient.
LEVELS = arrays(np.float32, (MAPS, BATCH, HEIGHT, WIDTH), elements=st.integers(0, 4).map(lambda i: np.float32(i / 4)))
STEPS = 5


def linear(images, parameters):
    """Returns logits that are sums over pixels."""
    return images.reshape(len(images), -1) @ parameters


def of_one_pixel(images, parameters):
    """Returns the value of one pixel for one class, and against another."""
    return images[:, 1, 3, :1] * jnp.array([1.0, -1.0]) + 0 * parameters


def linear_case(seed=0, **options):
    random = np.random.default_rng(seed)
    parameters = random.standard_normal((HEIGHT * WIDTH * CHANNELS, CLASSES)).astype(np.float32)
    images = random.standard_normal(SHAPE).astype(np.float32)
    targets = random.integers(0, CLASSES, (BATCH, 1))
    return Case(linear, jnp.asarray(parameters), jnp.asarray(images), jnp.asarray(targets), **options)


def score_of(case, images, score):
    """Computes the targets' scores in float64, picture by picture."""
    found = []
    for image, target in zip(np.asarray(images, np.float64), np.asarray(case.targets)[:, 0], strict=True):
        logits = [float((image.ravel() * w).sum()) for w in np.asarray(case.parameters, np.float64).T]
        shares = np.exp(logits) / np.exp(logits).sum()
        found.append(shares[target] if score == "probability" else logits[target])
    return np.array(found)


@pytest.mark.parametrize(("score", "fill"), [("logit", -1.5), ("probability", 0.0)])
@given(LEVELS)
def test_hidden_and_kept(score, fill, maps):
    case = linear_case()
    images = np.asarray(case.images, np.float64)
    hidden = faithfulness.scores_when(Hidden(fill), case, jnp.asarray(maps), score=score)
    kept = faithfulness.scores_when(Kept(fill), case, jnp.asarray(maps), score=score)
    for i, each in enumerate(maps.astype(np.float64)[..., None]):
        np.testing.assert_allclose(
            hidden[i], score_of(case, images * (1 - each) + fill * each, score), rtol=1e-4, atol=1e-5
        )
        np.testing.assert_allclose(
            kept[i], score_of(case, images * each + fill * (1 - each), score), rtol=1e-4, atol=1e-5
        )


def test_intact():
    case = linear_case()
    for score in ("logit", "probability"):
        np.testing.assert_allclose(
            faithfulness.intact_scores(case, score=score), score_of(case, case.images, score), rtol=1e-4
        )


@given(LEVELS)
def test_ranks_are_a_stable_order(maps):
    for found, one in zip(np.asarray(faithfulness.ranks(maps[0])), maps[0], strict=True):
        order = sorted(np.ndindex(one.shape), key=lambda place, one=one: (-one[place], place))
        np.testing.assert_array_equal([found[place] for place in order], range(one.size))


@given(LEVELS, st.sampled_from(["deletion", "insertion"]))
def test_ordered_scores_of_a_linear_model(maps, order):
    case = linear_case()
    found = faithfulness.ordered_scores(case, jnp.asarray(maps), order, steps=STEPS, fill=0.5, score="logit")
    assert found.shape == (MAPS, STEPS + 1, BATCH)
    for i, step in np.ndindex(MAPS, STEPS + 1):
        images = np.array(case.images)
        for image, one in zip(images, maps[i], strict=True):
            places = sorted(np.ndindex(one.shape), key=lambda place, one=one: (-one[place], place))
            count = step * len(places) // STEPS
            for place in places[:count] if order == "deletion" else places[count:]:
                image[place] = 0.5
        np.testing.assert_allclose(found[i, step], score_of(case, images, "logit"), rtol=1e-4, atol=1e-4)


def test_both_ends_of_the_curves_are_run_once_for_all_maps():
    """With a version at a time, there are as many chunks as versions."""
    told = []

    def counted(items, total, name):
        told.append(total)
        return items

    case = replace(linear_case(), chunk_size=1, progress=counted)
    maps = np.random.default_rng(0).random((MAPS, *SHAPE[:3]), np.float32)
    curves = faithfulness.ordered_scores(case, maps, "deletion", steps=STEPS, score="logit")
    assert told == [2 + MAPS * (STEPS - 1)]
    np.testing.assert_array_equal(curves[0, [0, -1]], curves[1, [0, -1]])


@pytest.mark.parametrize(("side", "steps", "how"), [(7, 6, jax.jit), (10, 10, jax.jit), (10, 10, lambda f: f)])
def test_each_step_takes_its_share_of_the_pixels(side, steps, how):
    """At step s those are taken whose place in the order is below s / steps of all, to the pixel."""
    change = how(jax.vmap(Ordered(steps, False), (None, 0, None)))
    order = faithfulness.ranks(jnp.arange(side * side, dtype=jnp.float32).reshape(1, side, side))[None]
    numbers = jnp.array([0, *range(2, steps + 1), 1])
    left = np.asarray(change(jnp.ones((1, side, side, 1)), numbers, order)).reshape(steps + 1, -1)
    for step, pixels in enumerate(left):
        taken = -(-step * side * side // steps)
        np.testing.assert_array_equal(pixels, np.arange(side * side) < side * side - taken)


@given(LEVELS)
def test_no_map_is_more_faithful_than_a_perfect_one(maps):
    """One pixel decides the score here. Where it comes first, only the first step counts."""
    case = Case(of_one_pixel, jnp.zeros(()), jnp.ones(SHAPE), jnp.zeros((BATCH, 1), int))
    maps = maps.copy()
    maps[0] = 0
    maps[0, :, 1, 3] = 1
    area = {
        order: np.asarray(
            faithfulness.area_under(
                faithfulness.ordered_scores(case, jnp.asarray(maps), order, steps=STEPS, score="logit")
            )
        )
        for order in ("deletion", "insertion")
    }
    np.testing.assert_allclose(area["deletion"][0], 0.5 / STEPS)
    np.testing.assert_allclose(area["insertion"][0], 1 - 0.5 / STEPS)
    for i, b in np.ndindex(MAPS, BATCH):
        level = maps[i, b, 1, 3]
        before = (maps[i, b] > level).sum() + (maps[i, b].ravel()[: WIDTH + 3] == level).sum()
        step = before * STEPS // (HEIGHT * WIDTH) + 1
        np.testing.assert_allclose(area["deletion"][i, b], (step - 0.5) / STEPS, rtol=1e-6)
        np.testing.assert_allclose(area["insertion"][i, b], 1 - (step - 0.5) / STEPS, rtol=1e-6)


def test_chunks_batches_and_their_order_do_not_matter():
    maps = np.random.default_rng(3).random((MAPS, *SHAPE[:3]), np.float32)

    def everything(case, maps):
        hidden = faithfulness.scores_when(Hidden(0.3), case, maps)
        deleted = faithfulness.ordered_scores(case, maps, "deletion", steps=4)
        return np.concatenate([hidden, np.asarray(deleted).reshape(-1, len(case.images))])

    case = linear_case()
    whole = everything(case, maps)
    assert np.ptp(whole, axis=0).min() > 0.1
    # 2 divides neither the 3 maps nor their 15 pictures on the way.
    np.testing.assert_allclose(everything(replace(case, chunk_size=2), maps), whole, rtol=1e-5)
    for some in ([1, 0], [1]):
        images, targets = case.images[jnp.array(some)], case.targets[jnp.array(some)]
        found = everything(replace(case, images=images, targets=targets), maps[:, some])
        np.testing.assert_allclose(found, whole[:, some], rtol=1e-5)


SCORES = arrays(np.float32, (MAPS, BATCH), elements=st.sampled_from([0.0, 0.25, 0.5, 0.625, 1.0]))


@given(SCORES, SCORES)
def test_figures_of_scores(intact, changed):
    """They are 0 where there was nothing to lose."""
    found = [
        np.asarray(figure(jnp.asarray(intact), jnp.asarray(changed)))
        for figure in (faithfulness.confidence_drop, faithfulness.average_drop, faithfulness.increase)
    ]
    for place in np.ndindex(MAPS, BATCH):
        before, after = float(intact[place]), float(changed[place])
        share = (before - after) / before if before else 0.0
        expected = (share, max(share, 0.0), float(after > before))
        np.testing.assert_allclose([values[place] for values in found], expected, rtol=1e-6)


def test_drop_of_a_negative_score():
    """A logit may be negative: what is lost is a share of it all the same, of the other sign."""
    np.testing.assert_allclose(faithfulness.confidence_drop(jnp.array([-2.0]), jnp.array([-3.0])), [-0.5])


def test_one_intact_score_serves_all_maps():
    hidden = jnp.array([[0.1, 0.2], [0.0, 0.8]])
    np.testing.assert_allclose(
        faithfulness.confidence_drop(jnp.array([0.4, 0.4]), hidden), [[0.75, 0.5], [1, -1]], rtol=1e-6
    )


@given(arrays(np.float32, (MAPS, STEPS + 1, BATCH), elements=st.floats(-10, 10, width=32)))
def test_area_is_the_trapezoids(scores):
    expected = np.trapezoid(scores.astype(np.float64), dx=1 / STEPS, axis=1)
    np.testing.assert_allclose(faithfulness.area_under(jnp.asarray(scores)), expected, rtol=1e-5, atol=1e-5)


def test_wrong_arguments():
    case, maps = linear_case(), jnp.zeros((1, *SHAPE[:3]))
    with pytest.raises(ValueError, match="steps must be at least 1; got 0"):
        faithfulness.ordered_scores(case, maps, "deletion", steps=0)
    with pytest.raises(ValueError, match="order must be deletion or insertion; got 'shuffle'"):
        faithfulness.ordered_scores(case, maps, "shuffle", steps=2)
    with pytest.raises(ValueError, match="score must be logit"):
        faithfulness.intact_scores(case, score="softmax")
