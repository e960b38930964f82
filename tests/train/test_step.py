"""The step against itself on other devices and in other portions, and against loops in NumPy."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx

from tests.train.tiny import Tiny, evaluation, examples, learner, prepare_eval, prepare_train
from xrcam_jax.runtime.devices import place
from xrcam_jax.train.loop import predict

BATCH = examples(32)


def train(model, *, steps=3, batch=BATCH, **options):
    """Returns the losses of some steps, the state after them and the last sums."""
    mesh, state, step, _ = learner(model, **options)
    losses = []
    for _ in range(steps):
        state, sums = step(state, place(mesh, batch))
        losses.append(float(sums.loss / sums.weight))
    return losses, state, sums


def assert_close(one, other, atol):
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=atol, rtol=0), one, other)


def test_eight_devices_learn_what_one_does_batch_norm_and_noise_included():
    options = {"class_weights": (1.0, 2.0, 0.5), "accumulate": 2, "prepare": prepare_train}
    one, state, sums = train(Tiny(dropout=0.2), devices=1, **options)
    many, sharded, sums_of_many = train(Tiny(dropout=0.2), devices=8, **options)

    np.testing.assert_allclose(many, one, atol=1e-5, rtol=0)
    assert_close(sharded.stats, state.stats, 1e-5)
    assert int(sums_of_many.correct) == int(sums.correct)
    assert sharded.params["fc"]["kernel"][...].sharding.is_fully_replicated
    assert int(state.step) == 3


def test_microbatches_give_the_gradient_of_the_whole_batch():
    options = {"class_weights": (1.0, 2.0, 0.5)}
    whole, state, sums = train(Tiny(norm=False), steps=2, **options)
    parts, same, sums_of_parts = train(Tiny(norm=False), steps=2, accumulate=4, **options)

    np.testing.assert_allclose(parts, whole, atol=1e-6)
    assert_close(same.params, state.params, 1e-5)
    np.testing.assert_allclose(sums_of_parts.gradient, sums.gradient, rtol=1e-5)


def test_the_loss_is_the_weighted_mean_and_the_update_is_adamax():
    weights = (0.5, 1.0, 3.0)
    model = Tiny(norm=False)
    losses, state, sums = train(model, steps=1, class_weights=weights)

    logits = np.asarray(model(prepare_eval(BATCH["image"])), np.float64)
    total, weight, correct = 0.0, 0.0, 0
    for row, label in zip(logits, BATCH["label"], strict=True):
        total += weights[label] * (np.log(np.exp(row).sum()) - row[label])
        weight += weights[label]
        correct += row.argmax() == label
    assert losses[0] == pytest.approx(total / weight, rel=1e-5)
    assert sums.correct == correct

    def loss(kernel):
        copy = nnx.clone(model)
        copy.fc.kernel = nnx.Param(kernel)
        chosen = jnp.asarray(weights)[BATCH["label"]]
        each = optax.softmax_cross_entropy_with_integer_labels(copy(prepare_eval(BATCH["image"])), BATCH["label"])
        return (chosen * each).sum() / chosen.sum()

    # The first step of AdaMax goes by the learning rate against the sign of the gradient.
    before = model.fc.kernel[...]
    expected = before - 1e-2 * np.sign(jax.grad(loss)(before))
    np.testing.assert_allclose(state.params["fc"]["kernel"][...], expected, atol=1e-4)


def test_of_one_logit_the_loss_is_the_binary_cross_entropy():
    model, batch = Tiny(norm=False), {**BATCH, "label": BATCH["label"] % 2}
    model.fc = nnx.Linear(4, 1, rngs=nnx.Rngs(1))
    mesh, state, step, _ = learner(model, class_weights=(1.0, 3.0))
    _, sums = step(state, place(mesh, batch))
    z, one = np.asarray(model(prepare_eval(BATCH["image"])), np.float64)[:, 0], batch["label"] == 1
    weights = np.where(one, 3, 1)
    assert float(sums.loss / sums.weight) == pytest.approx(
        np.average(np.log1p(np.exp(np.where(one, -z, z))), weights=weights), rel=1e-5
    )
    assert int(sums.correct) == ((z > 0) == one).sum()


def test_statistics_are_those_of_the_whole_batch_and_move_as_in_the_model_itself():
    _, state, _ = train(Tiny(), steps=1, devices=8)

    model = Tiny()
    model.train()
    model(prepare_eval(jnp.asarray(BATCH["image"])))
    assert_close(state.stats["norm"]["mean"][...], model.norm.mean[...], 1e-6)
    assert_close(state.stats["norm"]["var"][...], model.norm.var[...], 1e-6)


def test_noise_follows_from_the_step_alone():
    mesh, state, step, _ = learner(Tiny(dropout=0.5), prepare=prepare_train)
    batch = place(mesh, BATCH)
    later = state._replace(step=jnp.asarray(5, jnp.int32))
    first, second = (float(step(jax.tree.map(jnp.copy, s), batch)[1].loss) for s in (state, later))
    again = float(step(state, batch)[1].loss)
    assert first == again != second


def test_bfloat16_computes_but_parameters_statistics_and_loss_stay_float32():
    losses, state, sums = train(Tiny(dtype=jnp.bfloat16), steps=2)
    exact, _, _ = train(Tiny(), steps=2)
    kept = (state.params, state.stats, state.optimiser)
    assert {leaf.dtype for leaf in jax.tree.leaves(kept) if jnp.issubdtype(leaf.dtype, jnp.floating)} == {
        jnp.dtype("float32")
    }
    assert sums.loss.dtype == jnp.float32
    np.testing.assert_allclose(losses, exact, rtol=2e-2)
    assert losses != exact


def test_the_model_given_survives_and_comes_back_trained():
    model = Tiny()
    before = np.asarray(model.fc.kernel[...])
    mesh, state, step, eval_step = learner(model, devices=8)
    state, _ = step(state, place(mesh, BATCH))
    np.testing.assert_array_equal(model.fc.kernel[...], before)

    data = examples(21, seed=3)
    found = predict(eval_step, state, evaluation(data, 8), mesh)
    np.testing.assert_array_equal(found.index, np.arange(21))
    np.testing.assert_array_equal(found.label, data["label"])

    def value(name):
        module, leaf = name.split(".")
        return (state.stats if module == "norm" and leaf in ("mean", "var") else state.params)[module][leaf][...]

    for name in ("conv.kernel", "norm.scale", "norm.bias", "norm.mean", "norm.var", "fc.kernel", "fc.bias"):
        module, leaf = name.split(".")
        getattr(getattr(model, module), leaf)[...] = jax.device_get(value(name))
    np.testing.assert_allclose(found.logits, model(prepare_eval(data["image"])), atol=1e-5)
