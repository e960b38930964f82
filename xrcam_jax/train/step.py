"""One step of training and one of evaluation, as pure functions of the state and a batch, on any number of devices.

A batch is laid along the mesh's only axis, and the state is on every device. Loss, gradient and statistics of batch
norm are those of the whole batch, as one device would compute them.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx
from jax import lax
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from jaxtyping import Array, Float, Key, PyTree, UInt8

from xrcam_jax.classes import softmax_logits
from xrcam_jax.runtime.compiling import compiler_options
from xrcam_jax.runtime.devices import replicate
from xrcam_jax.train.explained import Explanation, explanation_values

#: A batch that lies along a mesh: arrays by name, ``"image"`` and ``"label"`` among them.
PlacedBatch = Mapping[str, Array]
PrepareTrain = Callable[[Key[Array, ""], UInt8[Array, "b h w 1"]], Float[Array, "b h w 3"]]
PrepareOutlines = Callable[[Key[Array, ""], UInt8[Array, "b h w 1"]], Float[Array, "b h w 1"]]
PrepareEval = Callable[[UInt8[Array, "b h w 1"]], Float[Array, "b h w 3"]]


class TrainState(NamedTuple):
    """Holds all that training changes.

    Attributes:
      step: number of steps taken, an int32 scalar.
      params: parameters of the model, float32 (or float64).
      stats: statistics of its batch norms, likewise.
      optimiser: state of the optax transformation.
    """

    step: Array
    params: PyTree
    stats: PyTree
    optimiser: PyTree


class Sums(NamedTuple):
    """Holds what a step saw, as scalars; they are sums, so that steps can be added up.

    Attributes:
      loss: sum of the class-weighted cross-entropies.
      weight: sum of the class weights; the mean loss is ``loss / weight``.
      correct: number of examples that were classified correctly.
      gradient: Euclidean norm of the gradient of all that is learnt from. It is not finite if anything went wrong.
      explanation: sum of the class-weighted losses on explanations, None if there are none.
    """

    loss: Array
    weight: Array
    correct: Array
    gradient: Array
    explanation: Array | None = None


class Examples(NamedTuple):
    """Holds a batch as the model takes it.

    Attributes:
      images: the prepared pictures.
      labels: their classes.
      outlines: how much of each pixel lies within what counts; None if nobody says.
    """

    images: Array
    labels: Array
    outlines: Array | None


class Static(NamedTuple):
    """Holds what training leaves alone of a model.

    Attributes:
      definition: the module's structure.
      rest: variables that are neither parameters nor statistics.
    """

    definition: nnx.GraphDef
    rest: PyTree


def initial_state(model: nnx.Module, optimiser: optax.GradientTransformation, mesh: Mesh) -> tuple[Static, TrainState]:
    """Takes a model apart for training; the model itself stays as it is.

    Args:
      model: a Flax module.
      optimiser: the optax transformation that trains it.
      mesh: from :func:`xrcam_jax.runtime.devices.data_mesh`.

    Returns:
      What training leaves alone, and the state before the first step, on every device of the mesh.

    Example:
      >>> import jax, optax
      >>> from flax import nnx
      >>> from xrcam_jax.runtime.devices import data_mesh
      >>> model = nnx.Linear(3, 2, rngs=nnx.Rngs(0))
      >>> static, state = initial_state(model, optax.sgd(0.1), data_mesh(jax.devices()[:1]))
      >>> int(state.step), state.params["kernel"][...].shape
      (0, (3, 2))
    """
    definition, params, stats, rest = nnx.split(model, nnx.Param, nnx.BatchStat, ...)
    state = TrainState(jnp.zeros((), jnp.int32), params, stats, optimiser.init(params))
    # A copy, since steps give their state's buffers away, and the model's own must survive that.
    copy = jax.tree.map(jnp.copy, state)
    return Static(definition, rest), replicate(mesh, copy)


def assemble(static: Static, state: TrainState) -> Any:
    """Puts a model together again, in inference mode.

    Args:
      static: from :func:`initial_state`.
      state: parameters and statistics.

    Returns:
      The model.

    Example:
      >>> import jax, jax.numpy as jnp, optax
      >>> from flax import nnx
      >>> from xrcam_jax.runtime.devices import data_mesh
      >>> model = nnx.Linear(3, 2, rngs=nnx.Rngs(0))
      >>> static, state = initial_state(model, optax.sgd(0.1), data_mesh(jax.devices()[:1]))
      >>> assemble(static, state)(jnp.ones((1, 3))).tolist() == model(jnp.ones((1, 3))).tolist()
      True
    """
    model = nnx.merge(static.definition, state.params, state.stats, static.rest)
    model.eval()
    return model


def make_train_step(
    static: Static,
    optimiser: optax.GradientTransformation,
    prepare: PrepareTrain,
    mesh: Mesh,
    *,
    seed: int,
    class_weights: Sequence[float] | None = None,
    accumulate: int = 1,
    explanation: Explanation | None = None,
    prepare_outlines: PrepareOutlines = lambda key, outlines: outlines.astype(jnp.float32) / 255,
) -> Callable[[TrainState, PlacedBatch], tuple[TrainState, Sums]]:
    """Makes a compiled step, from a state and a batch to the next state.

    All noise (augmentation, dropout) is drawn from ``seed`` and the state's step. So the same step of the same run is
    the same whether or not the run was interrupted, and on however many devices.

    Args:
      static: from :func:`initial_state`, of a model that is called as ``model(pictures, rngs=...)``. One that returns a
        single logit learns two classes, 1 against 0.
      optimiser: the optax transformation that the state was made for.
      prepare: from a key and the batch's ``"image"`` to what the model takes.
      mesh: from :func:`xrcam_jax.runtime.devices.data_mesh`. The batch size has to be a multiple of ``accumulate``
        times its size.
      seed: seed of the noise.
      class_weights: weight of the examples of each class; the loss is the weighted mean, as PyTorch's. None: all 1.
      accumulate: number of microbatches into which a batch is split, to save memory. The gradient is that
        of the whole batch; but batch norm normalises by each microbatch's own statistics, and its running
        averages move once for each microbatch.
      explanation: the loss on explanations that is added to each example's cross-entropy, weighted as that is. One that
        compares examples compares those of a microbatch.
      prepare_outlines: from the key of ``prepare`` and the batch's ``"outline"``, if it has one, to how much of each
        pixel lies within the outlines: as the pictures are changed, so are they.

    Returns:
      The step. It takes over the buffers of the state that it is given.

    Example:
      >>> import jax, jax.numpy as jnp, optax
      >>> from flax import nnx
      >>> from xrcam_jax.runtime.devices import data_mesh
      >>> class Small(nnx.Module):
      ...     def __init__(self):
      ...         self.fc = nnx.Linear(3, 2, rngs=nnx.Rngs(0))
      ...     def __call__(self, x, *, rngs=None):
      ...         return self.fc(x.mean((1, 2)))
      >>> mesh, optimiser = data_mesh(jax.devices()[:1]), optax.sgd(0.1)
      >>> static, state = initial_state(Small(), optimiser, mesh)
      >>> step = make_train_step(static, optimiser, lambda key, images: jnp.tile(images / 255, 3), mesh, seed=0)
      >>> batch = {"image": jnp.zeros((2, 4, 4, 1), jnp.uint8), "label": jnp.array([0, 1])}
      >>> state, sums = step(state, batch)
      >>> int(state.step), round(float(sums.loss / sums.weight), 4)
      (1, 0.6931)
    """
    weights = None if class_weights is None else jnp.asarray(class_weights, jnp.float32)
    forward = partial(_forward, static, weights, explanation)

    def step(state: TrainState, batch: PlacedBatch) -> tuple[TrainState, Sums]:
        noise, dropout = jax.random.split(jax.random.fold_in(jax.random.key(seed), state.step))
        outlines = prepare_outlines(noise, batch["outline"])[..., 0] if "outline" in batch else None
        examples = Examples(prepare(noise, batch["image"]), batch["label"], outlines)
        gradient, stats, sums = _gradient(forward, state, examples, dropout, accumulate)
        gradient = jax.tree.map(lambda g: g / sums.weight, gradient)
        # Optax multiplies numbers by counters, which strict promotion refuses.
        with jax.numpy_dtype_promotion("standard"):
            updates, moments = optimiser.update(gradient, state.optimiser, state.params)
        params = optax.apply_updates(state.params, updates)
        return TrainState(state.step + 1, params, stats, moments), sums._replace(gradient=_norm(gradient))

    everywhere = NamedSharding(mesh, PartitionSpec())
    return jax.jit(step, donate_argnums=0, out_shardings=everywhere, compiler_options=dict(compiler_options()))


def make_eval_step(
    static: Static, prepare: PrepareEval, mesh: Mesh
) -> Callable[[TrainState, PlacedBatch], tuple[Float[Array, "b n"], dict[str, Array]]]:
    """Makes a compiled pass without noise.

    Args:
      static: from :func:`initial_state`.
      prepare: from the batch's ``"image"`` to what the model takes.
      mesh: from :func:`xrcam_jax.runtime.devices.data_mesh`.

    Returns:
      A function from a state and a batch to float32 logits and the batch's other entries. Both are whole in every
      process.

    Example:
      >>> import jax, jax.numpy as jnp, optax
      >>> from flax import nnx
      >>> from xrcam_jax.runtime.devices import data_mesh
      >>> class Mean(nnx.Module):
      ...     def __call__(self, x):
      ...         return x.mean((1, 2))
      >>> mesh = data_mesh(jax.devices()[:1])
      >>> static, state = initial_state(Mean(), optax.sgd(0.1), mesh)
      >>> step = make_eval_step(static, lambda images: jnp.tile(images / 255, 3), mesh)
      >>> logits, rest = step(state, {"image": jnp.full((1, 2, 2, 1), 255, jnp.uint8), "label": jnp.array([2])})
      >>> logits.tolist(), rest["label"].tolist()
      ([[1.0, 1.0, 1.0]], [2])
    """

    def step(state: TrainState, batch: PlacedBatch) -> tuple[Float[Array, "b n"], dict[str, Array]]:
        logits = assemble(static, state)(prepare(batch["image"]))
        return logits.astype(jnp.float32), {name: value for name, value in batch.items() if name != "image"}

    everywhere = NamedSharding(mesh, PartitionSpec())
    return jax.jit(step, out_shardings=everywhere, compiler_options=dict(compiler_options()))


def _norm(tree: PyTree) -> Array:
    # As products, which on CPU take a fraction of the time of a sum over all axes.
    return jnp.sqrt(sum(jnp.vdot(leaf, leaf, precision=lax.Precision.HIGHEST) for leaf in jax.tree.leaves(tree)))


def _forward(
    static: Static,
    class_weights: Float[Array, " n"] | None,
    explanation: Explanation | None,
    params: PyTree,
    stats: PyTree,
    examples: Examples,
    key: Key[Array, ""],
) -> tuple[Array, tuple[PyTree, Sums]]:
    """Returns the weighted sum of the losses, the batch norms' next statistics and what else was seen."""
    model = nnx.merge(static.definition, params, stats, static.rest, copy=True)
    model.train()
    logits = model(examples.images, rngs=nnx.Rngs(dropout=key))
    # The softmax of bfloat16 logits is taken in float32, where it is exact enough to learn from.
    # Of one logit it is that of the two classes, so that the loss is the binary cross-entropy of the sigmoid.
    logits = softmax_logits(logits.astype(np.promote_types(logits.dtype, np.float32)))
    losses = optax.softmax_cross_entropy_with_integer_labels(logits, examples.labels)
    weights = jnp.ones_like(losses) if class_weights is None else class_weights[examples.labels]
    correct = (logits.argmax(axis=-1) == examples.labels).sum()
    loss, weight, explained = (weights * losses).sum(), weights.sum(), None
    total = loss
    if explanation is not None:
        values = _explanation_values(static, explanation, params, stats, examples, key)
        explained = (weights * values).sum()
        total = loss + explanation.weight * explained
    sums = Sums(loss, weight, correct, jnp.zeros_like(loss), explained)
    return total, (nnx.state(model, nnx.BatchStat), sums)


def _explanation_values(
    static: Static, explanation: Explanation, params: PyTree, stats: PyTree, examples: Examples, key: Key[Array, ""]
) -> Float[Array, " b"]:
    """Returns the loss on explanations for each example, of the model in inference mode."""

    def model(images: Array, variables: tuple[PyTree, PyTree]) -> Array:
        network = nnx.merge(static.definition, *variables, static.rest, copy=True)
        network.eval()
        return network(images)

    # Dropout has drawn from the key itself.
    key = jax.random.fold_in(key, 1)
    return explanation_values(explanation, model, (params, stats), *examples, key)


def _gradient(
    forward: Callable, state: TrainState, examples: Examples, key: Key[Array, ""], accumulate: int
) -> tuple[PyTree, PyTree, Sums]:
    """Returns the gradient of the summed loss, the next statistics, and the sums of the batch."""
    differentiate = jax.grad(forward, has_aux=True)
    if accumulate == 1:
        gradient, (stats, sums) = differentiate(state.params, state.stats, examples, key)
        return gradient, stats, sums

    def microbatch(carry: tuple, part: tuple) -> tuple[tuple, None]:
        gradient, stats, sums = carry
        some, index = part
        more, (stats, seen) = differentiate(state.params, stats, some, jax.random.fold_in(key, index))
        return (jax.tree.map(jnp.add, gradient, more), stats, jax.tree.map(jnp.add, sums, seen)), None

    def split(x: Array) -> Array:
        # Each microbatch takes every nth example, which leaves the examples on the devices where they are.
        return jnp.moveaxis(x.reshape(-1, accumulate, *x.shape[1:]), 1, 0)

    parts = (jax.tree.map(split, examples), jnp.arange(accumulate))
    _, (_, seen) = jax.eval_shape(forward, state.params, state.stats, examples, key)
    start = (jax.tree.map(jnp.zeros_like, state.params), state.stats, jax.tree.map(jnp.zeros_like, seen))
    end, _ = lax.scan(microbatch, start, parts)
    return end
