"""Running a model on many changed versions of a batch: chunks, memory, progress."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import xrcam_jax as xr
from xrcam_jax import case as case_module
from xrcam_jax.case import (
    Case,
    bytes_of_forward,
    bytes_of_gradient,
    changed_scores,
    chunk_size,
    onwards,
    peak_bytes,
    stacked,
    summed,
    target_scores,
)
from xrcam_jax.compiling import compiled
from xrcam_jax.devices import data_mesh, lay

TRACES = []


def model(images, parameters):
    TRACES.append(images.shape)
    return images.mean((1, 2)) @ parameters


def brighter(images, index, state):
    return images * state + index


def case(**options):
    rng = np.random.default_rng(0)
    images, parameters = rng.standard_normal((2, 4, 4, 3)), rng.standard_normal((3, 5))
    return Case(model, jnp.asarray(parameters), jnp.asarray(images), jnp.array([[0, 3], [4, 1]]), **options)


def brightened(of, count, state):
    logits = np.stack([model(np.asarray(of.images) * state + i, np.asarray(of.parameters)) for i in range(count)])
    return np.stack([logits[:, b, np.asarray(of.targets)[b]] for b in range(2)], axis=1)


@pytest.mark.parametrize("size", [None, 1, 2, 3, 7, 20])
def test_scores_are_those_of_a_loop_for_every_chunk_size(size):
    of = case(chunk_size=size)
    found = changed_scores(of, brighter, 7, 2.0, score="logit")
    np.testing.assert_allclose(found, brightened(of, 7, 2.0), rtol=2e-5)


def test_one_program_serves_all_chunks_and_batches():
    changed_scores(case(chunk_size=2), brighter, 5, 2.0, score="logit")
    before = len(TRACES)
    changed_scores(case(chunk_size=2), brighter, 5, 3.0, score="logit")
    assert len(TRACES) == before


@pytest.mark.parametrize("size", [1, 3, 5])
def test_sums_leave_out_what_fills_the_last_chunk(size):
    found = summed(lambda i, real: jnp.sum(i * real), 5, case(chunk_size=size), 1)
    assert int(found) == 10
    np.testing.assert_array_equal(stacked(lambda i: i**2, 5, case(chunk_size=size), 1), np.arange(5) ** 2)


def test_chunks_are_of_equal_size_and_fit_into_memory(monkeypatch):
    monkeypatch.setattr(case_module, "MEMORY", 1000)
    assert chunk_size(100, case(), 10) == 100
    assert chunk_size(100, case(), 15) == 50
    assert chunk_size(100, case(), 5000) == 1
    assert chunk_size(100, case(chunk_size=30), 5000) == 25
    with pytest.raises(ValueError, match="chunk_size must be at least 1; got 0"):
        chunk_size(100, case(chunk_size=0), 1)


def test_progress_is_told_of_every_chunk():
    seen = []

    def progress(items, total, name):
        for item in items:
            seen.append((total, name))
            yield item

    changed_scores(case(chunk_size=2, progress=progress), brighter, 5, 2.0, score="logit", name="test")
    assert seen == [(3, "test")] * 3


def test_it_works_inside_jit():
    of = case(chunk_size=2)

    @jax.jit
    def scores(images):
        return changed_scores(Case(model, of.parameters, images, of.targets, 2), brighter, 5, 2.0, score="probability")

    found = scores(of.images)
    wanted = changed_scores(of, brighter, 5, 2.0, score="probability")
    np.testing.assert_allclose(found, wanted, rtol=1e-5)


def test_scores_are_logits_or_probabilities():
    logits, targets = jnp.array([[0.0, 1.0, 2.0]]), jnp.array([[2, 0]])
    np.testing.assert_array_equal(target_scores(logits, targets, "logit"), [[2, 0]])
    np.testing.assert_allclose(target_scores(logits, targets, "probability"), [[0.665241, 0.090031]], rtol=1e-5)
    p = np.array([0.665241, 0.090031])
    np.testing.assert_allclose(target_scores(logits, targets, "log_odds"), [np.log(p / (1 - p))], rtol=1e-4)
    with pytest.raises(ValueError, match="score must be logit, probability or log_odds; got 'odds'"):
        target_scores(logits, targets, "odds")


def test_peak_of_a_chain_is_two_values_and_of_a_fan_all():
    x = jax.ShapeDtypeStruct((10,), jnp.float32)
    assert peak_bytes(jax.make_jaxpr(lambda x: jnp.cos(jnp.sin(jnp.exp(x))))(x)) == 80
    assert peak_bytes(jax.make_jaxpr(lambda x: (jnp.cos(x), jnp.sin(x), jnp.exp(x)))(x)) == 120


def test_programs_do_not_depend_on_how_many_chunks_there_are():
    def fresh(images, parameters):
        return model(images, parameters)

    of = case(chunk_size=2)
    before = len(TRACES)
    # 14 versions in 7 chunks
    changed_scores(Case(fresh, of.parameters, of.images, of.targets, 2), brighter, 14, 2.0, score="logit")
    versions = [shape[0] for shape in TRACES[before:] if shape[0] != 2]
    assert versions == [4]


def test_the_chunk_is_what_the_memory_holds(monkeypatch):
    def fresh(images, parameters):
        return model(images, parameters)

    of = case()
    each = bytes_of_forward(fresh, "input", of.images, of.parameters)
    monkeypatch.setattr(case_module, "MEMORY", int(3.5 * each))
    before = len(TRACES)
    changed_scores(Case(fresh, of.parameters, of.images, of.targets), brighter, 9, 2.0, score="logit")
    assert max(shape[0] for shape in TRACES[before:]) == 3 * 2


def test_of_a_batch_across_devices_each_holds_a_share(monkeypatch):
    monkeypatch.setattr(case_module, "MEMORY", 1000)
    one = case()
    images = lay(data_mesh(jax.devices()[:2]), one.images)
    assert chunk_size(100, one, 100) == 10
    assert chunk_size(100, replace(one, images=images), 100) == 20


def test_versions_of_a_layer_that_is_not_all_that_counts():
    """The model goes on from a mark with what came before it too: something of each image, and parameters."""

    def skipping(images, parameters):
        early = jnp.sin(images)
        marked = xr.mark(jnp.cos(images) * parameters[0, 0], "layer")
        together = marked * parameters[1, 1] + early + jnp.arange(3.0)
        return together.mean((1, 2)) @ parameters

    of = case()
    a, rest = replace(of, function=skipping).at("layer")
    versions = jnp.stack([a, 2 * a, a + 1], axis=1)
    tail = case_module.versions_onwards(skipping, "layer", of.images, of.parameters, rest, 3)
    found = tail(versions.reshape(-1, *a.shape[1:])).reshape(2, 3, -1)
    for i in range(3):
        expected = onwards(skipping, "layer", of.images, of.parameters)(versions[:, i], rest)
        np.testing.assert_allclose(found[:, i], expected, rtol=1e-6)


def wide(x):
    for _ in range(2):
        x = jnp.sin(jnp.broadcast_to(x[..., None], (10, 30))).sum(-1)
    return x


def looped(x):
    return jax.lax.fori_loop(0, 2, lambda _, x: jnp.sin(jnp.broadcast_to(x[..., None], (10, 30))).sum(-1), x)


def awaited(x):
    return jax.lax.while_loop(lambda x: wide(x).sum() < 0, jnp.sin, x)


@pytest.mark.parametrize("function", [wide, jax.jit(wide), jax.checkpoint(wide), looped, jax.jit(looped), awaited])
def test_what_a_model_wraps_in_a_call_or_a_loop_takes_memory_all_the_same(function):
    x = jax.ShapeDtypeStruct((10,), jnp.float32)
    # two arrays of 10 x 30, and at most one of 10
    assert 2400 <= peak_bytes(jax.make_jaxpr(function)(x)) <= 2440


def test_a_branch_takes_what_its_largest_does():
    x = jax.ShapeDtypeStruct((10,), jnp.float32)
    branches = jax.make_jaxpr(lambda x: jax.lax.cond(x[0] > 0, wide, jnp.cos, x))(x)
    assert 2400 <= peak_bytes(branches) <= 2480


def marked(images, parameters):
    return jnp.tanh(xr.mark(jnp.sin(images), "layer") @ parameters).sum((1, 2))


def test_a_gradient_keeps_what_the_way_back_needs():
    of = case()
    forward, back = (
        estimate(marked, "input", of.images, of.parameters) for estimate in (bytes_of_forward, bytes_of_gradient)
    )
    # sin (2, 4, 4, 3), its product with the weights and tanh of that (2, 4, 4, 5), in float32
    assert forward >= 2 * 2 * 4 * 4 * 5 * 4
    assert back >= forward + 2 * 4 * 4 * 3 * 4
    assert bytes_of_forward(marked, "layer", of.images, of.parameters) <= forward


def test_the_model_is_cut_at_a_layer_and_goes_on_from_there():
    of = case()
    activation, rest = Case(marked, of.parameters, of.images, of.targets).at("layer")
    np.testing.assert_allclose(activation, np.sin(of.images), rtol=1e-6)
    found = onwards(marked, "layer", of.images, of.parameters)(2 * activation, rest)
    np.testing.assert_allclose(found, np.tanh(2 * np.sin(of.images) @ of.parameters).sum((1, 2)), rtol=1e-4, atol=1e-5)
    activation, rest = of.at("input", 3 * of.images)
    np.testing.assert_array_equal(activation, 3 * of.images)
    assert rest == []
    with pytest.raises(ValueError, match="layer"):
        Case(marked, of.parameters, of.images, of.targets).at("layers")


def test_progress_may_be_a_bar_that_ends_early_or_an_error():
    def interrupted(items, total, name):
        yield from list(items)[:2]
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        changed_scores(case(chunk_size=1, progress=interrupted), brighter, 5, 2.0, score="logit")


def test_compiled_functions_are_traced_once_a_shape_and_once_a_static_value():
    seen = []

    @compiled(static=("power",))
    def raised(x, *, power, offset=0.0):
        """Of x."""
        seen.append((x.shape, power))
        return x**power + offset

    x = jnp.arange(3.0)
    for _ in range(2):
        np.testing.assert_array_equal(raised(x, power=2, offset=1.0), [1, 2, 5])
    assert seen == [((3,), 2)]
    np.testing.assert_array_equal(raised(x + 1, power=3), [1, 8, 27])
    raised(x[:2], power=2, offset=1.0)
    assert seen[1:] == [((3,), 3), ((2,), 2)]
    assert raised.__name__ == "raised"
    assert raised.__doc__ == "Of x."


@pytest.mark.parametrize("traced", ["x", "offset"])
def test_inside_another_transformation_a_compiled_function_is_part_of_it(traced):
    @compiled(static=("power",))
    def raised(x, *, power, offset):
        return x**power + offset

    values = {"x": jnp.float32(2), "offset": jnp.float32(3)}

    def outer(value):
        a = values | {traced: value}
        return raised(a["x"], power=2, offset=a["offset"])

    assert "jit" not in str(jax.make_jaxpr(outer)(values[traced]))
    assert jax.jit(outer)(values[traced]) == 7
    assert jax.grad(outer)(values[traced]) == {"x": 4, "offset": 1}[traced]
    np.testing.assert_array_equal(jax.vmap(outer)(jnp.float32([0, 1])), {"x": [3, 4], "offset": [4, 5]}[traced])
