"""How well does a network segment that is not sure of its weights (Tables 5.5 and 5.6)?

    xrcam train prepared --model skresnext50_32x4d --dropout 0.1 --out with_dropout
    xrcam evaluate dropout --data prepared --annotations annotations.json --weights with_dropout/ --part all

Dropout is switched on after each block (batch norm stays as it is), and each picture is explained --passes times, each
time with other noise. The study writes the mean and the standard deviation of the pooled IoU of the passes (Table 5.5),
and the figures without dropout (5.6). Frames count that the network classifies correctly without dropout.

Ten passes take ten times as long as one: 72 frames of 96 x 96 take the demo's network three minutes on 2 cores.
"""

from collections.abc import Callable, Mapping
from functools import partial
from itertools import product

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

import xrcam_jax as xr
from xrcam_jax.arguments.checks import check_at_least_one
from xrcam_jax.arguments.parser import Options
from xrcam_jax.errors import CommandError
from xrcam_jax.explain.repeated import at_a_time
from xrcam_jax.metrics.uncertainty import Estimate
from xrcam_jax.runtime.devices import first_alone
from xrcam_jax.studies.batches import Arrays, Batch, each_batch
from xrcam_jax.studies.layers import all_maps, columns, described
from xrcam_jax.studies.networks import Network
from xrcam_jax.studies.per_picture import counted, pooled_iou, write_figures
from xrcam_jax.studies.segmentation import counts_by_place, measured
from xrcam_jax.studies.study import Study, open_study
from xrcam_jax.studies.tables import Table, scaled, write_contents

NAME = "dropout"


def run(options: Options) -> int:
    """Runs the study; returns the exit status."""
    check_at_least_one("--passes", options.passes)
    if not 0 < options.rate < 1:
        raise CommandError(f"--rate: {options.rate} is not between 0 and 1")
    chosen = {"rate": options.rate, "passes": options.passes, "aggregate": options.aggregate}
    with open_study(NAME, options, annotated=True, **chosen) as study:
        found = {network.label: each_batch(study, network, partial(figures, study)) for network in study.networks}
        first_alone(lambda: write(study, found))
    return 0


def figures(study: Study, network: Network) -> Callable[[Batch], Mapping[str, Array]]:
    """Returns a function that measures a batch: logits, and each figure by ``FIGURE/METHOD/COLUMN``.

    The figures of the third pass are called ``FIGURE/METHOD/COLUMN pass 3``.
    """
    explain = xr.Explainer(network.model, study.methods, study.layers)
    # Each picture loses other activations, as in the thesis: not all of them are shown one thinned network.
    dropout = xr.Dropout(study.settings["rate"], shared=False)
    explain_noisily = dropout.explainer(explain)
    keys = jax.random.split(jax.random.key(study.seed), study.settings["passes"])
    how = study.settings["aggregate"]

    @partial(jax.jit, static_argnames="together")
    def passes(parameters, batch: Batch, keys: Array, together: int):
        def one(key: Array):
            e = explain_noisily.explain(*dropout.disturbed(parameters, batch.images, key), batch.labels)
            return counts_by_place(measured(all_maps(e, how), batch.masks))

        return jax.lax.map(one, keys, batch_size=None if together == 1 else together)

    def compute(batch: Batch) -> Mapping[str, Array]:
        e = explain(batch.images, targets=batch.labels)
        found = {"logits": e.logits, **counts_by_place(measured(all_maps(e, how), batch.masks))}
        batch = jax.tree.map(jnp.asarray, batch)
        # The noise differs between batches, and is the same whenever a batch is done.
        mine = jax.vmap(lambda key: jax.random.fold_in(key, batch.start))(keys)
        together = at_a_time(len(mine), batch.images)
        for name, values in passes(explain.parameters, batch, mine, together).items():
            found |= {f"{name} pass {i + 1}": value for i, value in enumerate(values)}
        return found

    return compute


def write(study: Study, found: Mapping[str, Arrays]) -> None:
    """Writes the figures of each picture, and the tables."""
    write_figures(study, found)
    chosen = {label: counted(study, arrays) for label, arrays in found.items()}
    counts = ", ".join(f"{label} {int(mask.sum())}" for label, mask in chosen.items())
    write_contents(
        study.folder,
        title="Segmentation with dropout switched on",
        text=f"{len(study.frames)} annotated frames; those that are classified correctly without dropout count: "
        f"{counts}. {study.settings['passes']} passes with dropout of {study.settings['rate']} after each block. "
        f"{described(study.settings['aggregate'])}",
        order=2,
        tables=_tables(study, found, chosen),
    )


def _tables(study: Study, found: Mapping[str, Arrays], chosen: Mapping[str, np.ndarray]) -> list[Table]:
    """Returns the pooled IoU over all passes, and that without dropout."""
    names = list(dict.fromkeys([*study.layers, columns(study.layers)[-1]]))
    rows, labels = list(product(study.methods, found)), ("method", "network")

    def iou(method: str, label: str, column: str) -> Estimate:
        return scaled(pooled_iou(study, found[label], f"{method}/{column}", chosen[label]))

    def over_passes(method: str, label: str, column: str) -> Estimate:
        numbers = range(1, study.settings["passes"] + 1)
        values = [iou(method, label, f"{column} pass {number}").value for number in numbers]
        mean, deviation = float(np.mean(values)), float(np.std(values))
        return Estimate(mean, mean - deviation, mean + deviation)

    noisy = {row: [over_passes(*row, column) for column in names] for row in rows}
    quiet = {row: [iou(*row, column) for column in names] for row in rows}
    spread = "one standard deviation either way"
    return [
        Table("stochastic", "Mean of the pooled IoU of all passes", noisy, names, labels, interval=spread),
        Table("deterministic", "Pooled IoU of the same network without dropout", quiet, names, labels),
    ]
