"""A network and data small enough to train in a test; run as a program, it trains and can be killed on the way."""

import functools
import os
import signal
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx

from xrcam_jax.runtime.devices import data_mesh
from xrcam_jax.train.checkpoint import Checkpoints
from xrcam_jax.train.loop import Run, Schedule, fit, predict
from xrcam_jax.train.step import initial_state, make_eval_step, make_train_step

CLASSES, SIDE = 3, 16


class Tiny(nnx.Module):
    """Has a convolution, batch norm, dropout and a linear layer; it is called as the package's networks are."""

    def __init__(self, *, norm=True, dropout=0.0, dtype=jnp.float32):
        rngs = nnx.Rngs(0)
        self.conv = nnx.Conv(3, 4, (3, 3), strides=2, use_bias=False, dtype=dtype, rngs=rngs)
        self.norm = nnx.BatchNorm(4, rngs=rngs) if norm else None
        self.dropout = nnx.Dropout(dropout, rngs=rngs)
        self.fc = nnx.Linear(4, CLASSES, dtype=dtype, rngs=rngs)
        self.dtype = dtype
        self.eval()

    def __call__(self, x, *, rngs=None):
        x = self.conv(x.astype(self.dtype))
        if self.norm is not None:
            # Flax promotes the dtypes of input and statistics here.
            with jax.numpy_dtype_promotion("standard"):
                x = self.norm(x).astype(self.dtype)
        # Dropout comes after the mean, since random bits of four axes take XLA seconds to compile.
        return self.fc(self.dropout(nnx.relu(x).mean((1, 2)), rngs=rngs))


def examples(count, seed=0):
    """Draws pictures whose class is how bright they are, with much noise."""
    random = np.random.default_rng(seed)
    label = random.integers(0, CLASSES, count).astype(np.int32)
    image = 60 * label[:, None, None, None] + random.integers(0, 130, (count, SIDE, SIDE, 1))
    return {"image": image.astype(np.uint8), "label": label}


def prepare_eval(images):
    return jnp.repeat(images.astype(jnp.float32) / 128.0 - 1.0, 3, axis=-1)


def prepare_eval_only(_, images):
    return prepare_eval(images)


def prepare_train(key, images):
    return prepare_eval(images) + 0.1 * jax.random.uniform(key, images.shape[:1])[:, None, None, None]


class Endless:
    """Yields this process's share of batches, in an order that follows from the number of those seen."""

    def __init__(self, data, batch_size):
        self.data, self.batch_size, self.seen = data, batch_size, 0

    def __next__(self):
        chosen = np.random.default_rng(self.seen).permutation(len(self.data["label"]))[: self.batch_size]
        chosen = chosen[jax.process_index() :: jax.process_count()]
        self.seen += 1
        return {name: values[chosen] for name, values in self.data.items()}

    def get_state(self):
        return {"seen": self.seen}

    def set_state(self, state):
        self.seen = state["seen"]


def evaluation(data, batch_size):
    """Yields this process's share of each batch, the last one padded."""
    count = len(data["label"])
    places = np.concatenate([np.arange(count), np.full(-count % batch_size, -1)]).reshape(-1, batch_size)
    for index in places.astype(np.int32)[:, jax.process_index() :: jax.process_count()]:
        yield {name: values[index] for name, values in data.items()} | {
            "index": index,
            "weight": (index >= 0).astype(np.float32),
        }


def learner(model, *, devices=1, rate=1e-2, prepare=prepare_eval_only, **step):
    """Returns mesh, fresh state, train step and eval step; without noise, which takes XLA seconds more to compile."""
    mesh, optimiser = data_mesh(jax.devices()[:devices]), optax.adamax(rate)
    static, state = initial_state(model, optimiser, mesh)
    return (
        mesh,
        state,
        make_train_step(static, optimiser, prepare, mesh, seed=7, **step),
        make_eval_step(static, prepare_eval, mesh),
    )


@functools.cache
def _default():
    """Returns a learner that is compiled once for all tests."""
    return learner(Tiny())


def make_run(folder, model=None, *, devices=1, prepare=None, batches=None, evaluate=None, observer=None, **schedule):
    """Returns a fresh state and a run in ``folder``, of 5 steps an epoch and 16 examples a step."""
    mesh, state, train_step, eval_step = (
        _default() if model is None else learner(model, devices=devices, prepare=prepare or prepare_eval_only)
    )
    state = jax.tree.map(jnp.copy, state)
    data = examples(21, seed=2)
    run = Run(
        train_step=train_step,
        evaluate=evaluate or (lambda state: predict(eval_step, state, evaluation(data, 8), mesh)),
        batches=batches or Endless(examples(64), 16),
        mesh=mesh,
        schedule=Schedule(**{"steps_per_epoch": 5, "epochs": 4, "checkpoint_every": 2, **schedule}),
        checkpoints=Checkpoints(folder),
        **({"observer": observer} if observer else {}),
    )
    return state, run


def join(folder, port, process):
    """Trains as one of two processes with two devices each."""
    jax.config.update("jax_num_cpu_devices", 2)
    jax.distributed.initialize(f"localhost:{port}", 2, int(process))
    state, run = make_run(folder, Tiny(), devices=4, epochs=2)
    fit(state, run)
    run.checkpoints.close()


def die_at(event, folder):
    """Kills this process, as kill -9 does, before its given change of a file in the folder."""
    left = event
    changes = ("open", "os.mkdir", "os.rename", "os.remove", "os.rmdir", "os.link", "shutil.rmtree")

    def hook(name, arguments):
        nonlocal left
        if name not in changes:
            return
        inside = any(str(folder) in os.fsdecode(path) for path in arguments if isinstance(path, str | bytes))
        # Whole trees are removed by names relative to an open folder.
        if inside or (name in ("os.remove", "os.rmdir") and arguments[1] != -1):
            left -= 1
            if left < 0:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(hook)


def kill(folder, cache, *events):
    """Starts for each event a child that trains and is killed there, and at the end one that is left alone."""
    jax.config.update("jax_compilation_cache_dir", cache)
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
    for event in [*map(int, events), None]:
        child = os.fork()
        if not child:
            if event is not None:
                die_at(event, folder)
            state, run = make_run(folder, Tiny(dropout=0.1), prepare=prepare_train)
            fit(state, run)
            os._exit(0)
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        last = sorted(path.name for path in Path(folder, "last").glob("*"))
        print(f"event {event}: status {status}, in last/ {last}", flush=True)
        if event is None:
            sys.exit(status)


if __name__ == "__main__":
    {"join": join, "kill": kill}[sys.argv[1]](*sys.argv[2:])
