"""How good are the maps, by any of the metrics of the field?

    xrcam evaluate metrics --data prepared --weights run/ --limit 40 --metrics deletion,insertion,pointing_game

For every method, layer and aggregate, the study measures the metrics that are asked for: of faithfulness to the model,
of localisation, which need --annotations, and others; --list shows them all, and docs/metrics.md says how to read them.
Options of a metric stand behind it, such as deletion+steps=20. Frames for which a figure is undefined, as all of
localisation are where nothing is outlined, are left out of its mean, and counted.

Metrics of one run share the passes that they have in common. What a map costs is the number of passes times that of the
methods and columns: the usual metrics take about 30 a map.
"""

from collections.abc import Callable, Mapping
from functools import partial
from itertools import product

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

import xrcam_jax as xr
from xrcam_jax.arguments.parser import Options
from xrcam_jax.attribution.case import Case
from xrcam_jax.cam.saliency import Aggregation
from xrcam_jax.errors import CommandError
from xrcam_jax.evaluation.evaluate import Joined
from xrcam_jax.evaluation.measure import Given, measured
from xrcam_jax.evaluation.metric import Chosen, chosen, metric_title, needed_by
from xrcam_jax.evaluation.metrics import USUAL
from xrcam_jax.explain.again import explain_again, stacked_maps
from xrcam_jax.figures.profile import Axis, profile
from xrcam_jax.figures.save import save
from xrcam_jax.metrics.judged import Explain
from xrcam_jax.metrics.uncertainty import Estimate
from xrcam_jax.runtime.devices import first_alone
from xrcam_jax.runtime.names import file_stem
from xrcam_jax.studies.batches import Arrays, Batch, each_batch
from xrcam_jax.studies.layers import all_maps, columns, described, last_column
from xrcam_jax.studies.networks import Network
from xrcam_jax.studies.per_picture import accuracy, mean_figure, write_figures
from xrcam_jax.studies.study import Study, open_study
from xrcam_jax.studies.tables import Table, accuracy_table, write_contents
from xrcam_jax.titles import layer_title, method_title

NAME = "metrics"
OVERVIEW = "overview"
BETTER = {"max": "higher is better", "min": "lower is better", None: "neither more nor less is better"}
#: What the figures say, for clinicians.
READ = (
    "Metrics disagree with one another, and none of them says that the network is right: those of faithfulness ask "
    "whether the network needs what a map shows, those of localisation whether a person outlined it."
)


def run(options: Options) -> int:
    """Runs the study; returns the exit status."""
    names = tuple(options.metrics or usual(options))
    wanted = wanted_metrics(names)
    if of_sets := [name for name, each in wanted.items() if each.metric.of_set]:
        raise CommandError(
            f"--metrics: {', '.join(of_sets)} is of all pictures at once, not of batches; see xr.evaluate"
        )
    outlines = needed_by(wanted, "outlines")
    if outlines and options.annotations is None:
        raise CommandError(f"--metrics: {', '.join(outlines)} needs outlines; give --annotations")
    # Where all metrics need outlines, frames without one would be looked at for nothing.
    annotated = len(outlines) == len(names)
    settings = {"metrics": list(names), "aggregate": options.aggregate}
    with open_study(NAME, options, annotated=annotated, **settings) as study:
        found = {n.label: each_batch(study, n, partial(figures, study, wanted)) for n in study.networks}
        first_alone(lambda: write(study, wanted, found))
    return 0


def usual(options: Options) -> list[str]:
    """Returns the usual metrics for which there is what they need."""
    return [name for name in USUAL if options.annotations is not None or "outlines" not in xr.METRICS[name].needs]


def wanted_metrics(names: tuple[str, ...]) -> dict[str, Chosen]:
    """Returns metrics by name.

    Raises:
      CommandError: there is no such metric or option, or it is there twice.
    """
    if len(set(names)) != len(names):
        raise CommandError(f"--metrics: the same name twice in {', '.join(names)}")
    try:
        return {name: chosen(name, xr.METRICS, {}) for name in names}
    except ValueError as error:
        raise CommandError(f"--metrics: {error}") from error


def figures(study: Study, wanted: Mapping[str, Chosen], network: Network) -> Callable[[Batch], Mapping[str, Array]]:
    """Returns a function that measures a batch: logits, and each metric by ``METRIC/METHOD/COLUMN``."""
    explain = xr.Explainer(network.model, study.methods, study.layers, random_seed=study.seed)
    how = study.settings["aggregate"]

    def again(signed: bool, shift: float) -> Explain:
        each = explain_again(explain, raw=signed, shift=shift)
        return each if signed else Joined(each, how, _all_maps)

    def compute(batch: Batch) -> Mapping[str, Array]:
        e = explain(batch.images, targets=batch.labels)
        images, targets, masks = (jnp.asarray(each) for each in (batch.images, batch.labels[:, None], batch.masks))
        case = Case(explain.function, explain.parameters, images, targets, random_seed=study.seed)
        signed = stacked_maps(e, raw=True) if any(each.metric.signed for each in wanted.values()) else None
        found = measured(wanted, Given(_all_maps(e, how), signed, case, again, masks))
        everywhere, at_layers = list(all_maps(e, how)), [f"{m}/{layer}" for m in e.raw for layer in e.raw[m]]
        return {"logits": e.logits} | {
            f"{name}/{place}": figures[i]
            for name, figures in found.items()
            for i, place in enumerate(at_layers if wanted[name].metric.signed else everywhere)
        }

    return compute


def _all_maps(e: xr.Explanation, how: Aggregation) -> Float[Array, "m b h w"]:
    return jnp.stack(list(all_maps(e, how).values()))


def write(study: Study, wanted: Mapping[str, Chosen], found: Mapping[str, Arrays]) -> None:
    """Writes the figures of each picture, tables, plots, and what they are of."""
    write_figures(study, found)
    tables = _tables(study, wanted, found)
    write_contents(
        study.folder,
        title="Metrics of explanations",
        text=f"{len(study.frames)} frames of {study.settings['data']['patients']} patients, the labelled class "
        f"explained. {_undefined(wanted, found)}{described(study.settings['aggregate'])} {READ}",
        order=4,
        tables=[*tables, accuracy_table({label: accuracy(study, arrays) for label, arrays in found.items()})],
        pictures=[_plot(study, wanted, tables[0], network.label) for network in study.networks],
    )


def _tables(study: Study, wanted: Mapping[str, Chosen], found: Mapping[str, Arrays]) -> list[Table]:
    """Returns a table of all metrics, of the maps of most layers, and then a table of each."""
    everything = np.ones(len(study.frames), bool)
    rows, names, labels = list(product(study.methods, found)), columns(study.layers), ("method", "network")

    def cell(metric: str, method: str, label: str, column: str) -> Estimate:
        name = f"{metric}/{method}/{column}"
        there = name in found[label]
        return mean_figure(study, found[label], name, everything) if there else Estimate(float("nan"))

    whole = {
        row: [cell(metric, *row, _last(study, metric, row[0], found[row[1]])) for metric in wanted] for row in rows
    }
    titles = {metric: metric_title(metric, xr.METRICS) for metric in wanted}
    overview = "All metrics, of the maps of most layers"
    tables = [Table(OVERVIEW, overview, whole, list(titles.values()), labels, None, "", 3)]
    for name, each in wanted.items():
        title = f"{titles[name]}: {each.metric.summary}; {BETTER[each.metric.best]}"
        cells = {row: [cell(name, *row, column) for column in names] for row in rows}
        # A layer or a part may be a path.
        tables.append(Table(file_stem(name), title, cells, names, labels, each.metric.best, "", 3))
    return tables


def _last(study: Study, metric: str, method: str, arrays: Arrays) -> str:
    """Returns the column of most layers that a metric has of a method."""
    start = f"{metric}/"
    return last_column(study.layers, method, {n.removeprefix(start) for n in arrays if n.startswith(start)})


def _undefined(wanted: Mapping[str, Chosen], found: Mapping[str, Arrays]) -> str:
    """Says of how many frames a metric is undefined, of the map for which it is most often."""
    counts = {
        metric: max(
            int((~np.isfinite(values)).sum())
            for arrays in found.values()
            for name, values in arrays.items()
            if name.startswith(f"{metric}/")
        )
        for metric in wanted
    }
    said = [f"{metric_title(metric, xr.METRICS)} {count}" for metric, count in counts.items() if count]
    return f"Frames for which a figure is undefined, and which are left out of it: {', '.join(said)}. " if said else ""


def _plot(study: Study, wanted: Mapping[str, Chosen], overview: Table, label: str) -> tuple[str, str]:
    """Draws all metrics of all methods; returns the file and its caption."""
    axes = [Axis(metric_title(name, xr.METRICS), each.metric.best) for name, each in wanted.items()]
    series = {method_title(m): [figure.value for figure in overview.rows[m, label]] for m in study.methods}
    file = f"profile_{label}.png"
    save(profile(series, axes), study.folder / file)
    column = layer_title(columns(study.layers)[-1])
    return file, f"{label}: all metrics of the maps of {column}, each axis from the worst of these methods to the best"
