"""Repeated explanations: how maps spread over dropout, noise and networks, against loops and closed forms."""

import re
from dataclasses import replace
from functools import partial
from itertools import permutations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import xrcam_jax as xr
from xrcam_jax.explain import repeated
from xrcam_jax.explain.adapters import Adapted
from xrcam_jax.explain.repeated import Repeated
from xrcam_jax.explain.spread import Spread

METHODS, PASSES, RATE, LEVEL, SEED = ("grad_cam", "gradient"), 4, 0.4, 0.3, 5
SIZE = (3, 4)


class Thinned(nnx.Module):
    """Two layers of pointwise convolutions with dropout in between, whose masks can also be given."""

    def __init__(self, seed=0, rate=0.0):
        rng = np.random.default_rng(seed)
        self.one, self.two, self.head = (
            nnx.Param(rng.standard_normal(shape).astype(np.float32)) for shape in ((3, 4), (4, 6), (6, 3))
        )
        self.dropout = nnx.Dropout(rate)

    def __call__(self, x, mask=None):
        x = jax.nn.relu(x @ self.one[...])
        x = xr.mark(self.dropout(x) if mask is None else x * mask, "first")
        x = xr.mark(jax.nn.relu(x @ self.two[...]), "last")
        return x.mean((1, 2)) @ self.head[...]


@pytest.fixture(scope="module")
def images():
    return np.random.default_rng(1).standard_normal((3, *SIZE, 3)).astype(np.float32)


@pytest.fixture(scope="module")
def explain():
    return xr.Explainer(Thinned(), METHODS, random_seed=SEED)


def keys():
    return [jax.random.fold_in(jax.random.key(SEED), number) for number in range(PASSES)]


def by_hand(e):
    """Returns all that is followed of an explanation, in NumPy."""
    shares = np.exp(np.asarray(e.logits, np.float64))
    maps = {f"{m}/{layer}": a for m, by in e.maps.items() for layer, a in by.items()}
    return {
        **{f"maps/{name}": np.asarray(a, np.float64) for name, a in maps.items()},
        "maps/grad_cam/aggregate": np.asarray(e.aggregate("grad_cam"), np.float64),
        **{f"raw/{m}/{layer}": np.asarray(a, np.float64) for m, by in e.raw.items() for layer, a in by.items()},
        "value": np.take_along_axis(np.asarray(e.logits, np.float64), np.asarray(e.targets)[:, None], 1)[:, 0],
        "probabilities": shares / shares.sum(1, keepdims=True),
    }


def flat(found):
    """Returns the spreads by the names of :func:`by_hand`."""
    of = {"value": found.value, "probabilities": found.probabilities}
    for part in ("maps", "raw"):
        of |= {f"{part}/{m}/{layer}": s for m, by in getattr(found, part).items() for layer, s in by.items()}
    return of


def assert_spread(found, each, quantiles=()):
    """Compares spreads with a loop over what each pass gives."""
    spreads = flat(found)
    assert set(spreads) == set(each[0])
    for name, spread in spreads.items():
        values = np.stack([one[name] for one in each])
        close = partial(np.testing.assert_allclose, rtol=0, atol=2e-5 * (1 + np.abs(values).max()), err_msg=name)
        close(spread.mean, values.mean(0))
        close(spread.deviation, values.std(0, ddof=1))
        close(spread.low, values.min(0))
        close(spread.high, values.max(0))
        assert tuple(spread.quantiles) == quantiles
        for level, cut in spread.quantiles.items():
            close(cut, np.quantile(values, level, axis=0))
        mean, deviation = np.asarray(spread.mean), np.asarray(spread.deviation)
        ratio = np.divide(deviation, np.abs(mean), out=np.zeros_like(mean), where=mean != 0)
        np.testing.assert_allclose(spread.variation, ratio, rtol=1e-5, err_msg=name)


def test_dropout_is_a_loop_over_networks_with_these_masks(explain, images):
    quantiles = (0.25, 0.5)
    found = Repeated(explain, xr.Dropout(RATE), PASSES, quantiles=quantiles)(images)
    plain = explain(images)
    model = Thinned()
    masked = Adapted(lambda x, mask: model(x, mask), None)
    each = []
    for key in keys():
        # The first number that a stream of this key gives draws the mask, the same for all pictures.
        kept = jax.random.bernoulli(nnx.Rngs(dropout=key).dropout(), 1 - RATE, (1, *SIZE, 4)).astype(np.float32)
        one = xr.Explainer(replace(masked, parameters=kept / (1 - RATE)), METHODS)
        each.append(by_hand(one(images, np.asarray(plain.targets))))
    assert_spread(found, each, quantiles)
    np.testing.assert_array_equal(found.targets, plain.targets)
    np.testing.assert_allclose(found.logits, plain.logits, rtol=1e-5)
    assert float(found.maps["grad_cam"]["last"].deviation.max()) > 0.05
    assert list(found.maps) == list(METHODS)
    assert list(found.maps["grad_cam"]) == ["first", "last", "aggregate"]
    assert list(found.maps["gradient"]) == ["input"]


def test_noise_is_a_loop_over_noisy_pictures(explain, images):
    found = Repeated(explain, xr.Noise(LEVEL), PASSES)(images)
    spans = np.ptp(images, axis=(1, 2, 3), keepdims=True)
    noise = [np.asarray(jax.random.normal(key, (1, *images.shape[1:]))) for key in keys()]
    targets = np.asarray(explain(images).targets)
    assert_spread(found, [by_hand(explain(images + LEVEL * spans * one, targets)) for one in noise])


def test_an_ensemble_is_a_loop_over_networks(explain, images):
    others = [Thinned(seed) for seed in (1, 2)]
    found = Repeated(explain, xr.Ensemble(others))(images)
    targets = np.asarray(explain(images).targets)
    networks = [explain, *(xr.Explainer(other, METHODS) for other in others)]
    assert found.passes == 3
    assert_spread(found, [by_hand(network(images, targets)) for network in networks])
    with pytest.raises(ValueError, match="passes: an ensemble of 3 networks has as many passes; got 4"):
        Repeated(explain, xr.Ensemble(others), 4)


def test_without_noise_nothing_varies(explain, images):
    found, plain = Repeated(explain, xr.Noise(0), PASSES)(images), explain(images)
    for method, by_layer in plain.maps.items():
        for layer, maps in by_layer.items():
            spread = found.maps[method][layer]
            np.testing.assert_allclose(spread.mean, maps, atol=1e-6)
            assert float(spread.variation.max()) < 1e-5
            np.testing.assert_allclose(spread.high, spread.low, atol=1e-6)


class Linear(nnx.Module):
    """Sums of weighted pixels with dropout in front: of each pixel and channel there is a mask."""

    def __init__(self, weights):
        self.weights, self.dropout = nnx.Param(weights), nnx.Dropout(0.25)

    def __call__(self, x):
        x = xr.mark(self.dropout(x), "thinned")
        return (x[..., None] * self.weights[...]).sum((1, 2, 3))


def linear():
    """Weights (h, w, c, n) and a picture."""
    rng = np.random.default_rng(3)
    return rng.normal(size=(2, 3, 2, 2)).astype(np.float32), rng.normal(size=(1, 2, 3, 2)).astype(np.float32)


def test_dropout_of_a_linear_network_has_a_closed_form():
    """A mask is 1 / (1 - p) with probability 1 - p, else 0: its mean is 1 and its variance p / (1 - p)."""
    weights, picture = linear()
    count, p = 3000, 0.25
    explain = xr.Explainer(Linear(weights), ["gradient_x_input", "hires_cam"])
    found = Repeated(explain, xr.Dropout(), count)(picture, [1])
    each = weights[..., 1].astype(np.float64) * picture
    mean, deviation = each.sum(-1), np.sqrt((each**2).sum(-1) * p / (1 - p))
    for method, layer in (("gradient_x_input", "input"), ("hires_cam", "thinned")):
        raw = found.raw[method][layer]
        assert np.all(np.abs(raw.mean - mean) < 5 * deviation / np.sqrt(count)), method
        np.testing.assert_allclose(raw.deviation, deviation, rtol=0.1)
    total = np.sqrt((each**2).sum() * p / (1 - p))
    assert abs(float(found.value.mean[0]) - each.sum()) < 5 * total / np.sqrt(count)
    assert float(found.value.deviation[0]) == pytest.approx(total, rel=0.1)


def test_pictures_of_their_own_masks_when_asked_for():
    weights, picture = linear()
    same = np.repeat(picture, 2, axis=0)
    explain = xr.Explainer(Linear(weights), "gradient")
    shared, own = (Repeated(explain, xr.Dropout(shared=shared), 2)(same).value.mean for shared in (True, False))
    assert float(shared[0]) == pytest.approx(float(shared[1]), abs=1e-5)
    assert abs(float(own[0]) - float(own[1])) > 1e-3


@pytest.mark.parametrize("by", [xr.Dropout(RATE), xr.Noise(LEVEL)], ids=["dropout", "noise"])
def test_neither_the_batch_nor_the_chunk_counts(by, monkeypatch):
    weights, picture = linear()
    images = np.concatenate([picture, picture[:, ::-1], 2 + picture])
    explain = xr.Explainer(Linear(weights), "hires_cam")
    whole = flat(Repeated(explain, by, PASSES)(images))
    monkeypatch.setattr(repeated, "TOGETHER", 1)
    for name, spread in flat(Repeated(explain, by, PASSES)(images[1:2])).items():
        for part in ("mean", "deviation", "low", "high"):
            a, b = np.asarray(getattr(spread, part)), np.asarray(getattr(whole[name], part))[1:2]
            np.testing.assert_allclose(a, b, atol=1e-4 * (1 + np.abs(b).max()), err_msg=f"{name} {part}")


def test_two_linear_networks_have_a_closed_form():
    weights, picture = linear()
    one, two = (np.asarray(w)[..., 1].astype(np.float64) * picture for w in (weights, 2 - weights))
    one, two = one.sum(-1), two.sum(-1)
    explain = xr.Explainer(Linear(weights), "gradient_x_input")
    for other in (Linear(2 - weights), {"weights": 2 - weights}):
        raw = Repeated(explain, xr.Ensemble([other]))(picture, [1]).raw["gradient_x_input"]["input"]
        np.testing.assert_allclose(raw.mean, (one + two) / 2, atol=1e-5)
        np.testing.assert_allclose(raw.deviation, np.abs(one - two) / np.sqrt(2), atol=1e-5)
        np.testing.assert_allclose(raw.low, np.minimum(one, two), atol=1e-5)
        np.testing.assert_allclose(raw.high, np.maximum(one, two), atol=1e-5)


def test_methods_that_run_the_model_again_are_repeated_too(images):
    methods, options = ("occlusion", "grad_cam"), {"occlusion": {"window": 2, "stride": 2}}
    explain = xr.Explainer(Thinned(), methods, ["last", "input"], options=options, random_seed=SEED)
    found = Repeated(explain, xr.Noise(LEVEL), 2, quantiles=[0.5])(images)
    spans = np.ptp(images, axis=(1, 2, 3), keepdims=True)
    noise = [np.asarray(jax.random.normal(key, (1, *images.shape[1:]))) for key in keys()[:2]]
    targets = np.asarray(explain(images).targets)
    assert_spread(found, [by_hand(explain(images + LEVEL * spans * one, targets)) for one in noise], (0.5,))
    assert list(found.maps) == list(methods)


def test_a_target_function_of_several_inputs_of_any_function(images):
    """Ages are no pictures, and get no noise."""
    inputs = {"age": np.float32([[1.0], [2.0], [3.0]]), "image": images}
    model = Adapted(lambda x, w: x["image"].mean((1, 2)) * w + x["age"], jnp.ones(3))
    explain = xr.Explainer(model, "gradient", target=jax.tree_util.Partial(lambda s, out: s * out.sum(-1), -2.0))

    def target(out):
        return -2 * out.sum(-1)

    found = Repeated(explain, xr.Noise(0), 2)(inputs)
    np.testing.assert_allclose(found.value.mean, target(images.mean((1, 2)) + inputs["age"]), rtol=1e-4)
    assert found.probabilities is None
    three = Repeated(explain, xr.Ensemble([jnp.full(3, 2.0), jnp.full(3, 6.0)]))(inputs)
    np.testing.assert_allclose(three.value.mean, target(3 * images.mean((1, 2)) + inputs["age"]), rtol=1e-4)
    ages = xr.Explainer(lambda x: x @ jnp.ones((1, 2)), "gradient", layers="input")
    with pytest.raises(ValueError, match="noise: there are no pictures among the inputs"):
        Repeated(ages, xr.Noise(0.1), 2)._in_one_program(1, None, None, ((), jnp.zeros(2), inputs["age"], None, None))


def test_several_targets_and_devices(images):
    explain = xr.Explainer(Thinned(), "gradient")
    found = Repeated(explain, xr.Noise(LEVEL), 2)(images, top_k=2)
    across = xr.Explainer(Thinned(), "gradient", devices=jax.devices()[:2])
    laid = Repeated(across, xr.Noise(LEVEL), 2)(images, top_k=2)
    assert laid.value.mean.shape == found.value.mean.shape == (3, 2)
    for name, spread in flat(laid).items():
        np.testing.assert_allclose(spread.mean, flat(found)[name].mean, atol=1e-4, err_msg=name)


def test_an_ensemble_across_devices():
    images = np.random.default_rng(0).random((3, 4, 4, 3), np.float32)
    found, laid = (
        Repeated(xr.Explainer(Thinned(), "gradient", devices=devices), xr.Ensemble([Thinned(1)]))(images)
        for devices in (None, jax.devices()[:2])
    )
    for name, spread in flat(laid).items():
        np.testing.assert_allclose(spread.mean, flat(found)[name].mean, atol=1e-4, err_msg=name)


def test_one_more_pass_lies_between_the_others_as_often_as_is_said():
    found = xr.RepeatedExplanation(
        jnp.zeros((1, 2)), jnp.zeros(1, int), {}, {}, Spread(*[jnp.zeros(1)] * 4, {}), None, 3
    )
    orders = list(permutations(range(4)))
    assert found.coverage == np.mean([min(one[:3]) < one[3] < max(one[:3]) for one in orders])
    shapes = jax.tree.map(lambda a: a.shape, found)
    assert (shapes.passes, shapes.logits) == (3, (1, 2))


@pytest.mark.parametrize(
    ("make", "line"),
    [
        (lambda e: xr.Dropout(1.0), "dropout: the rate must be a number between 0 and 1; got 1.0"),
        (lambda e: xr.Noise(-0.1), "noise: the level must be a number from 0; got -0.1"),
        (lambda e: xr.Noise(np.nan), "noise: the level must be a number from 0; got nan"),
        (lambda e: xr.Ensemble([]), "ensemble: give at least one network beside the Explainer's"),
        (
            lambda e: Repeated(e, xr.Noise(0.1), 1),
            "passes must be a whole number of at least 2 and at most 100000; got 1",
        ),
        (lambda e: Repeated(e, xr.Noise(0.1), 2.5), "at most 100000; got 2.5"),
        (lambda e: Repeated(e, xr.Noise(0.1), 10**9), "at most 100000; got 1000000000"),
        (lambda e: Repeated(e, xr.Noise(0.1), quantiles=[1.5]), "quantiles must be numbers in [0, 1]; got 1.5"),
        (lambda e: Repeated(e, xr.Dropout()), "dropout: the model's own rate is 0; give another"),
        (
            lambda e: Repeated(xr.Explainer(lambda x: x.mean((1, 2))), xr.Dropout(0.1)),
            "dropout: the model has no nnx.Dropout to switch on; let passes differ by noise or networks",
        ),
        (
            lambda e: Repeated(e, xr.Ensemble([{"one": np.zeros(3)}])),
            "ensemble: network 2 is not like the first: head is missing and not (6, 3)",
        ),
        (
            lambda e: Repeated(e, xr.Ensemble([Thinned(1), Thinned(1, rate=0.1)])),
            "ensemble: network 3 computes something else than the first",
        ),
        (
            lambda e: Repeated(xr.Explainer(lambda x: x.mean((1, 2))), xr.Ensemble([lambda x: x.mean((1, 2))])),
            "ensemble: the Explainer's model is a function without parameters",
        ),
    ],
)
def test_what_cannot_be_is_named(explain, make, line):
    with pytest.raises(ValueError, match=re.escape(line)):
        make(explain)


@pytest.mark.parametrize(
    ("given", "line"),
    [
        ((abs, xr.Noise(0.1)), "explain must be an Explainer; got <built-in function abs>"),
        ((None, "dropout"), "by must be xr.Dropout, xr.Noise or xr.Ensemble, with what they take; got 'dropout'"),
    ],
)
def test_what_is_no_explainer_or_disturbance_is_named(explain, given, line):
    with pytest.raises(TypeError, match=re.escape(line)):
        Repeated(given[0] or explain, given[1])


@pytest.mark.parametrize(
    ("make", "line"),
    [
        (lambda e: xr.Dropout("a"), "dropout: the rate must be a number between 0 and 1; got 'a'"),
        (lambda e: xr.Noise("a"), "noise: the level must be a number from 0; got 'a'"),
        (lambda e: Repeated(e, xr.Noise(0.1), quantiles=0.5), "quantiles must be several levels, such as [0.05, 0.95]"),
        (lambda e: Repeated(e, xr.Noise(0.1), quantiles=["a"]), "quantiles must be numbers in [0, 1]; got 'a'"),
        (lambda e: e(np.ones((1, 2, 2, 3), np.float32), top_k=1.5), "top_k must be a whole number between 1 and"),
        (
            lambda e: e(np.ones((0, 2, 2, 3), np.float32)),
            "images must be a batch of at least one; got none, of",
        ),
    ],
)
def test_what_is_of_another_type_is_named(explain, make, line):
    with pytest.raises((TypeError, ValueError), match=re.escape(line)):
        make(explain)


def test_networks_of_an_ensemble_may_be_in_training_mode():
    """What is not used at inference makes no difference."""
    other = Thinned(1)
    other.train()
    first = Thinned(0)
    first.eval()
    passes = xr.Ensemble([other]).passes(xr.Explainer(first), None)
    assert [one["parameters"]["head"].shape for one in passes] == [(6, 3), (6, 3)]


def test_parameters_of_an_ensemble_are_not_copied():
    """They may be most of the memory; copies for each pass were half of the cost of one picture."""
    explain, other = xr.Explainer(Thinned(0)), Thinned(1)
    passes = xr.Ensemble([other]).passes(explain, None)
    first, second = (one["parameters"]["head"] for one in passes)
    assert first is explain.parameters["head"]
    assert second is other.head.get_value()
