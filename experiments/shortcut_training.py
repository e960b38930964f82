"""Trains a small network on frames with a planted shortcut, with and without a loss on its explanations.

    python -m experiments.shortcut_training     # a quarter of an hour on 2 cores

In every frame for training a faint structure tells the class, and so does a bold logo in a corner
(:func:`xrcam_jax.datasets.planted`, the set "shortcut"). What is measured, on frames that were not trained on, is how
much of the relevance and of the gradient lies on the logo, and how often the network is right where there is no logo.
Weights and frames are drawn anew for each of five seeds; the table goes into ``docs/explanation_losses.md``.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx
from jax.sharding import Mesh
from jaxtyping import Array, Bool, Float, Int, UInt8
from scipy import stats

import xrcam_jax as xr
from xrcam_jax.runtime.devices import data_mesh, place
from xrcam_jax.runtime.files import write_whole
from xrcam_jax.train.explained import INPUT, Explanation
from xrcam_jax.train.step import Static, assemble, initial_state, make_train_step

PAGE = Path(__file__).parent.parent / "docs" / "explanation_losses.md"
BEGIN, END = "<!-- begin: python -m experiments.shortcut_training -->", "<!-- end -->"
SIDE, TRAINED, TESTED = 48, 256, 128
BATCH, STEPS, OPTIMISER = 32, 400, optax.adam(3e-3)
SEEDS = range(5)
#: What is left of the structure's contrast, so that the logo is the easier one to learn.
FAINT = 0.4
SETTINGS = {
    "cross-entropy alone": None,
    "`relevance_outside` at the input, weight 0.3": Explanation("relevance_outside", INPUT, 0.3),
    "`relevance_outside` at the input, weight 3": Explanation("relevance_outside", INPUT, 3.0),
    "`right_reasons` at the input, weight 0.1": Explanation("right_reasons", INPUT, 0.1),
}
FIGURES = (
    "relevance on the logo (%)",
    "gradient on the logo (%)",
    "right with the logo (%)",
    "right without a logo (%)",
    "right with the other class's logo (%)",
)


@dataclass(frozen=True)
class Frames:
    """Holds frames, what they show, and where.

    Attributes:
      images: grey frames.
      labels: what the structure says.
      structure: its pixels.
      logo: those of the logo, if there is one.
    """

    images: UInt8[np.ndarray, "n h w 1"]
    labels: Int[np.ndarray, " n"]
    structure: Bool[np.ndarray, "n h w"]
    logo: Bool[np.ndarray, "n h w"]


class Small(nnx.Module):
    """Has three convolutions, global pooling and a classifier."""

    def __init__(self, seed: int):
        rngs = nnx.Rngs(seed)
        self.convs = nnx.List(
            nnx.Conv(inputs, outputs, (side, side), strides=2, rngs=rngs)
            for inputs, outputs, side in ((3, 12, 4), (12, 16, 3), (16, 16, 3))
        )
        self.fc = nnx.Linear(16, 2, rngs=rngs)

    def __call__(self, x: Float[Array, "b h w 3"], *, rngs: Any = None) -> Float[Array, "b 2"]:
        """Returns the logits."""
        for number, conv in enumerate(self.convs, start=1):
            x = xr.mark(nnx.relu(conv(x)), f"layer{number}")
        return self.fc(x.mean((1, 2)))


def frames(name: str, count: int, seed: int) -> Frames:
    """Draws a planted set, and lets its structure fade."""
    drawn = xr.datasets.planted(name, count, size=SIDE, seed=seed)
    structure, logo = (drawn.decoy, drawn.truth) if name == "shortcut" else (drawn.truth, drawn.decoy)
    grey = drawn.images[..., 0]
    faded = np.where(structure, 0.5 + FAINT * (grey - 0.5), grey)
    return Frames(np.rint(255 * faded).astype(np.uint8)[..., None], drawn.labels, structure, logo)


def swapped(some: Frames) -> Frames:
    """Returns frames with the logo of the other class: each structure is put into the next frame, whose own turns grey.

    Frames of the two classes alternate.
    """
    images, structure, logo = (np.roll(each, -1, axis=0) for each in (some.images, some.structure, some.logo))
    grey = np.where(structure[..., None], np.uint8(127), images)
    put = np.where(some.structure[..., None], some.images, grey)
    return Frames(put, some.labels, some.structure, logo & ~some.structure)


def prepare(images: UInt8[Array, "b h w 1"]) -> Float[Array, "b h w 3"]:
    """Returns what the network takes."""
    return jnp.repeat(images.astype(jnp.float32) / 255 - 0.5, 3, axis=-1)


@cache
def learner(says: str) -> tuple[Mesh, Static, Callable]:
    """Returns where a setting learns, what it leaves alone of a network, and its step, which is compiled once."""
    mesh = data_mesh(jax.devices()[:1])
    static, _ = initial_state(Small(0), OPTIMISER, mesh)

    def prepared(_: Array, images: Array) -> Array:
        return prepare(images)

    return mesh, static, make_train_step(static, OPTIMISER, prepared, mesh, seed=0, explanation=SETTINGS[says])


def trained(seed: int, data: Frames, says: str) -> nnx.Module:
    """Returns a network that has learnt from frames."""
    mesh, static, step = learner(says)
    _, state = initial_state(Small(seed), OPTIMISER, mesh)
    outlines = np.uint8(255) * data.structure[..., None]
    random = np.random.default_rng(seed)
    for _ in range(STEPS):
        some = random.choice(len(data.labels), BATCH, replace=False)
        batch = {"image": data.images[some], "label": data.labels[some], "outline": outlines[some]}
        state, _ = step(state, place(mesh, batch))
    return assemble(static, state)


def shares(model: nnx.Module, data: Frames) -> tuple[float, float]:
    """Returns how much of the relevance and of the gradient of the label lies on the logo, in per cent."""
    definition, variables = nnx.split(model)

    def f(x: Array, variables: Any) -> Array:
        return nnx.merge(definition, variables)(xr.mark(x, INPUT))

    found = []
    for composite in (xr.composites.relevance_cam(), xr.composites.gradient()):
        seed = lambda logits: xr.seeds.contrastive(logits, jnp.asarray(data.labels))  # noqa: E731
        taps = xr.taps(f, composite, prepare(jnp.asarray(data.images)), variables, seed=seed, marks=[INPUT])
        size = np.abs(np.asarray(taps.relevances[INPUT]).sum(-1))
        # Where nothing arrives at the picture, nothing arrives at the logo.
        found.append(100 * float(np.mean((size * data.logo).sum((1, 2)) / np.maximum(size.sum((1, 2)), 1e-12))))
    return found[0], found[1]


def right(model: nnx.Module, data: Frames) -> float:
    """Returns how often the network says what the structure says, in per cent."""
    logits = np.asarray(model(prepare(jnp.asarray(data.images))))
    return 100 * float((logits.argmax(1) == data.labels).mean())


def measured(seed: int) -> Iterator[tuple[str, tuple[float, ...]]]:
    """Yields the figures of each setting, of frames and weights of one seed."""
    data = frames("shortcut", TRAINED, 3 * seed)
    unseen, without = frames("shortcut", TESTED, 3 * seed + 1), frames("pattern", TESTED, 3 * seed + 2)
    for says in SETTINGS:
        model = trained(seed, data, says)
        sights = right(model, unseen), right(model, without), right(model, swapped(unseen))
        yield says, (*shares(model, unseen), *sights)


def cell(values: Float[np.ndarray, " n"]) -> str:
    """Returns the mean over seeds and its interval of 95 % by Student's t."""
    half = stats.t.ppf(0.975, len(values) - 1) * values.std(ddof=1) / np.sqrt(len(values))
    return f"{values.mean():.1f} ± {half:.1f}"


def main() -> int:
    """Writes the table into the page; returns the exit status."""
    found: dict[str, list[tuple[float, ...]]] = {says: [] for says in SETTINGS}
    for seed in SEEDS:
        for says, figures in measured(seed):
            found[says].append(figures)
            print(seed, says, " ".join(f"{each:.1f}" for each in figures), flush=True)
    lines = [f"| learnt from | {' | '.join(FIGURES)} |", "|---|" + "---:|" * len(FIGURES)]
    lines += [f"| {says} | {' | '.join(map(cell, np.array(rows).T))} |" for says, rows in found.items()]
    print("\n".join(lines))
    text = PAGE.read_text(encoding="utf-8")
    before, after = text[: text.index(BEGIN) + len(BEGIN)], text[text.index(END) :]
    write_whole(PAGE, "\n".join([before, "", *lines, "", after]).encode())
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
