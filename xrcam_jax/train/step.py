"""One step of training and one of evaluation, as pure functions of the state and a batch, on any number of devices.

A batch is laid along the mesh's only axis and the state is on every device. What is computed is what one device
would compute: the loss, its gradient and the statistics of batch norm are those of the whole batch.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from flax import nnx
from jax import lax
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from jaxtyping import Array, Float, Int, Key, PyTree, UInt8

from xrcam_jax.runtime.compiling import compiler_options
from xrcam_jax.runtime.devices import replicate

Batch = Mapping[str, Array]
PrepareTrain = Callable[[Key[Array, ""], UInt8[Array, "b h w 1"]], Float[Array, "b h w 3"]]
PrepareEval = Callable[[UInt8[Array, "b h w 1"]], Float[Array, "b h w 3"]]


class TrainState(NamedTuple):
    """All that training changes.

    Attributes:
      step: int32 scalar, number of steps taken.
      params: the model's parameters, float32 (or float64).
      stats: statistics of its batch norms, likewise.
      optimiser: state of the optax transformation.
    """

    step: Array
    params: PyTree
    stats: PyTree
    optimiser: PyTree


class Sums(NamedTuple):
    """What a step saw, as scalars; sums, so that steps add up.

    Attributes:
      loss: class-weighted cross-entropies.
      weight: class weights. The mean loss is ``loss / weight``.
      correct: examples that were classified correctly.
      gradient: Euclidean norm of the mean loss's gradient. It is not finite if anything went wrong.
    """

    loss: Array
    weight: Array
    correct: Array
    gradient: Array


class Static(NamedTuple):
    """What training leaves alone: the module's structure, and variables that are no parameters or statistics."""

    definition: nnx.GraphDef
    rest: PyTree


def initial_state(model: nnx.Module, optimiser: optax.GradientTransformation, mesh: Mesh) -> tuple[Static, TrainState]:
    """A model taken apart for training, on every device of the mesh; ``model`` itself stays as it is."""
    definition, params, stats, rest = nnx.split(model, nnx.Param, nnx.BatchStat, ...)
    state = TrainState(jnp.zeros((), jnp.int32), params, stats, optimiser.init(params))
    # A copy: steps give their state's buffers away, and the model's own must survive that.
    copy = jax.tree.map(jnp.copy, state)
    return Static(definition, rest), replicate(mesh, copy)


def assemble(static: Static, state: TrainState) -> Any:
    """The model with the parameters and statistics of ``state``, in inference mode."""
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
) -> Callable[[TrainState, Batch], tuple[TrainState, Sums]]:
    """A compiled step: the state (whose buffers it takes over) and a placed batch to the next state.

    All noise (augmentation, dropout) is drawn from ``seed`` and the state's step: the same step of the same
    run is the same whether or not the run was interrupted, and on however many devices.

    Args:
      static: from :func:`initial_state`, of a model that is called as ``model(pictures, rngs=...)``.
      optimiser: what the state was made for.
      prepare: from a key and the batch's ``"image"`` to what the model takes.
      mesh: from :func:`xrcam_jax.runtime.devices.data_mesh`. The batch size has to be a multiple of ``accumulate``
        times its size.
      seed: of the noise.
      class_weights: by class; the loss is the weighted mean, as PyTorch's. None: all 1.
      accumulate: number of microbatches into which a batch is split, to save memory. The gradient is that
        of the whole batch; but batch norm normalises by each microbatch's own statistics, and its running
        averages move once for each microbatch.
    """
    forward = partial(_forward, static, None if class_weights is None else jnp.asarray(class_weights, jnp.float32))

    def step(state: TrainState, batch: Batch) -> tuple[TrainState, Sums]:
        noise, dropout = jax.random.split(jax.random.fold_in(jax.random.key(seed), state.step))
        images, labels = prepare(noise, batch["image"]), batch["label"]
        gradient, stats, sums = _gradient(forward, state, images, labels, dropout, accumulate)
        gradient = jax.tree.map(lambda g: g / sums.weight, gradient)
        updates, moments = optimiser.update(gradient, state.optimiser, state.params)
        params = optax.apply_updates(state.params, updates)
        return TrainState(state.step + 1, params, stats, moments), sums._replace(gradient=_norm(gradient))

    everywhere = NamedSharding(mesh, PartitionSpec())
    return jax.jit(step, donate_argnums=0, out_shardings=everywhere, compiler_options=dict(compiler_options()))


def make_eval_step(
    static: Static, prepare: PrepareEval, mesh: Mesh
) -> Callable[[TrainState, Batch], tuple[Float[Array, "b n"], dict[str, Array]]]:
    """A compiled pass without noise: the state and a placed batch to float32 logits and the batch's other entries.

    Both are whole in every process.
    """

    def step(state: TrainState, batch: Batch) -> tuple[Float[Array, "b n"], dict[str, Array]]:
        logits = assemble(static, state)(prepare(batch["image"]))
        return logits.astype(jnp.float32), {name: value for name, value in batch.items() if name != "image"}

    everywhere = NamedSharding(mesh, PartitionSpec())
    return jax.jit(step, out_shardings=everywhere, compiler_options=dict(compiler_options()))


def _norm(tree: PyTree) -> Array:
    # On CPU a product takes a fraction of the time of a sum over all axes.
    return jnp.sqrt(sum(jnp.vdot(leaf, leaf, precision=lax.Precision.HIGHEST) for leaf in jax.tree.leaves(tree)))


def _forward(
    static: Static,
    class_weights: Float[Array, " n"] | None,
    params: PyTree,
    stats: PyTree,
    images: Float[Array, "b h w 3"],
    labels: Int[Array, " b"],
    key: Key[Array, ""],
) -> tuple[Array, tuple[PyTree, Sums]]:
    """The weighted sum of the losses, the batch norms' next statistics and what else was seen."""
    model = nnx.merge(static.definition, params, stats, static.rest, copy=True)
    model.train()
    logits = model(images, rngs=nnx.Rngs(dropout=key))
    # The softmax of bfloat16 logits in float32, where it is exact enough to learn from.
    logits = logits.astype(jnp.promote_types(logits.dtype, jnp.float32))
    losses = optax.softmax_cross_entropy_with_integer_labels(logits, labels)
    weights = jnp.ones_like(losses) if class_weights is None else class_weights[labels]
    correct = (logits.argmax(axis=-1) == labels).sum()
    loss, weight = (weights * losses).sum(), weights.sum()
    return loss, (nnx.state(model, nnx.BatchStat), Sums(loss, weight, correct, jnp.zeros_like(loss)))


def _gradient(
    forward: Callable, state: TrainState, images: Array, labels: Array, key: Key[Array, ""], accumulate: int
) -> tuple[PyTree, PyTree, Sums]:
    """The gradient of the summed loss, the next statistics, and the sums of the batch."""
    differentiate = jax.grad(forward, has_aux=True)
    if accumulate == 1:
        gradient, (stats, sums) = differentiate(state.params, state.stats, images, labels, key)
        return gradient, stats, sums

    def microbatch(carry: tuple, part: tuple) -> tuple[tuple, None]:
        gradient, stats, sums = carry
        images, labels, index = part
        more, (stats, seen) = differentiate(state.params, stats, images, labels, jax.random.fold_in(key, index))
        return (jax.tree.map(jnp.add, gradient, more), stats, jax.tree.map(jnp.add, sums, seen)), None

    def split(x: Array) -> Array:
        # Each takes every nth example, which leaves the examples on the devices where they are.
        return jnp.moveaxis(x.reshape(-1, accumulate, *x.shape[1:]), 1, 0)

    parts = (split(images), split(labels), jnp.arange(accumulate))
    _, (_, seen) = jax.eval_shape(forward, state.params, state.stats, images, labels, key)
    start = (jax.tree.map(jnp.zeros_like, state.params), state.stats, jax.tree.map(jnp.zeros_like, seen))
    end, _ = lax.scan(microbatch, start, parts)
    return end
