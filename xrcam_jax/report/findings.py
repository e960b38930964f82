"""What a reader wants to know first, computed from the tables, in sentences that claim no more than intervals allow."""

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from xrcam_jax.metrics.uncertainty import Estimate
from xrcam_jax.report.checked import is_baseline
from xrcam_jax.report.read import Experiment
from xrcam_jax.report.tables import column_title, estimate, shown_number
from xrcam_jax.titles import method_title as title

#: How many others a sentence names; of more it says how many there are.
NAMED = 2
#: How many alarms of an experiment are said; of more it says how many there are.
ALARMS = 3
#: Figures of a network: by method and column.
Figures = Mapping[str, Mapping[str, Estimate]]


@dataclass(frozen=True)
class Contender:
    """A method's maps of some layers, and how they did.

    Attributes:
      method: its name.
      column: of the table, which says of which layers.
      figure: in percent.
    """

    method: str
    column: str
    figure: Estimate


@dataclass(frozen=True)
class Findings:
    """What the tables say of a network's maps.

    Attributes:
      overlap: whose maps of all layers together overlap the outlines most; None where that was not measured.
      maps: those of its maps, of some layer or all, that overlap most; None likewise.
      alarms: what has to be looked into before anything else.
      sentences: what was found.
      caution: how far it can be trusted; empty where nothing was found.
    """

    overlap: Contender | None
    maps: Contender | None
    alarms: tuple[str, ...]
    sentences: tuple[str, ...]
    caution: str


def apart(one: Estimate, other: Estimate) -> bool:
    """Tells whether two figures can be told apart: neither lies in the other's interval, and one has an interval.

    Args:
      one: of them.
      other: the other one.

    Returns:
      True if they can.

    Example:
      >>> from xrcam_jax.metrics.uncertainty import Estimate
      >>> from xrcam_jax.report.findings import apart
      >>> [apart(Estimate(3.0, low, 4.0), Estimate(2.0)) for low in (2.5, 1.5)], apart(Estimate(3.0), Estimate(2.0))
      ([True, False], False)
    """
    known = any(not math.isnan(each.low) for each in (one, other))
    within = one.low <= other.value <= one.high or other.low <= one.value <= other.high
    return known and not within


def findings(experiments: Sequence[Experiment], network: str) -> Findings:
    """Looks up in the tables which method and which layer did best, and what hiding its maps does to the score.

    Args:
      experiments: of which those named ``segmentation`` and ``confidence`` are looked at, the first of each, and the
        alarms of all.
      network: its name in their tables.

    Returns:
      What was found; nothing of what was not measured.

    Example:
      >>> from xrcam_jax.report.findings import findings
      >>> from xrcam_jax.report.read import Experiment, Figure, ResultTable, Row
      >>> figures = {"grad_cam": Figure(30, 25, 35), "lrp": Figure(28, 20, 33), "(centred disc)": Figure(9, 8, 10)}
      >>> rows = tuple(Row((method, "net"), (figure,)) for method, figure in figures.items())
      >>> table = ResultTable("aggregated", "", "%", "max", 1, ("method", "network"), ("layer4",), rows, "")
      >>> settings = {"data": {"patients": 9}, "networks": {"net": ""}}
      >>> found = findings([Experiment("segmentation", "", "", 1, (table,), (), settings, None)], "net")
      >>> print(found.sentences[0])
      Grad-CAM has the highest overlap with the outlines: a pooled IoU of 30.0 % (25.0 to 35.0) for its maps of layer 4.
      It is above a disc in the middle of the frame, which never looks (9.0 %). It cannot be told from LRP (28.0 %).
    """
    sentences, judged, overlap, maps = [], [], None, None
    segmentation, confidence = (_first(experiments, kind, network) for kind in ("segmentation", "confidence"))
    if segmentation is not None:
        together = figures(segmentation, "aggregated", network)
        overlap = _highest(together)
        if overlap is not None:
            judged.append(segmentation)
            sentences.append(_of_methods(overlap, together, segmentation.too_few))
            maps, sentence = _of_layers(overlap, segmentation, network)
            sentences += sentence
    if confidence is not None:
        drops = figures(confidence, "drop", network)
        sentence = _of_confidence(overlap, drops, confidence.too_few)
        judged += [confidence] if sentence else []
        sentences += sentence
    alarms = tuple(_alarms(one for one in experiments if network in one.networks))
    return Findings(overlap, maps, alarms, tuple(sentences), " ".join(_cautions(judged)))


def figures(experiment: Experiment, name: str, network: str) -> Figures:
    """Returns the figures of one of an experiment's tables.

    Args:
      experiment: that may have the table.
      name: of the table.
      network: whose rows are wanted.

    Returns:
      By method and column, those that are numbers; empty where there is no such table.

    Example:
      >>> from xrcam_jax.report.findings import figures
      >>> from xrcam_jax.report.read import Experiment
      >>> figures(Experiment("segmentation", "", "", 1, (), (), {"data": {}}, None), "aggregated", "net")
      {}
    """
    table = next((table for table in experiment.tables if table.name == name), None)
    if table is None or not {"method", "network"} <= set(table.labels):
        return {}
    method, label = (table.labels.index(each) for each in ("method", "network"))
    return {
        row.labels[method]: dict(zip(table.columns, map(estimate, row.figures), strict=True))
        for row in table.rows
        if row.labels[label] == network
    }


def figures_of_networks(experiment: Experiment, name: str) -> dict[str, Estimate]:
    """Returns the first figures of a table that has one row for each network.

    Args:
      experiment: that may have the table.
      name: of the table.

    Returns:
      By network, those that are numbers; empty where there is no such table.

    Example:
      >>> from xrcam_jax.report.findings import figures_of_networks
      >>> from xrcam_jax.report.read import Experiment, Figure, ResultTable, Row
      >>> rows = (Row(("net",), (Figure(90, 80, 95),)),)
      >>> table = ResultTable("accuracy", "", "%", "max", 1, ("network",), ("accuracy",), rows, "")
      >>> figures_of_networks(Experiment("compare", "", "", 1, (table,), (), {"data": {}}, None), "accuracy")
      {'net': Estimate(value=90, low=80, high=95)}
    """
    found = (table for table in experiment.tables if table.name == name and table.labels == ("network",))
    rows = [(row.labels[0], estimate(row.figures[0])) for table in found for row in table.rows]
    return {network: figure for network, figure in rows if math.isfinite(figure.value)}


def _first(experiments: Sequence[Experiment], kind: str, network: str) -> Experiment | None:
    named = (one for one in experiments if one.settings.get("experiment", one.folder) == kind)
    return next((one for one in named if network in one.networks), None)


def _alarms(experiments: Iterable[Experiment]) -> Iterator[str]:
    """Yields the first alarms of each experiment, and how many more it has."""
    for one in experiments:
        yield from (f"{alarm} See “{one.title}”." for alarm in one.alarms[:ALARMS])
        more = len(one.alarms) - ALARMS
        if more > 0:
            yield f"“{one.title}” has {more} more {'alarm' if more == 1 else 'alarms'}."


def _contenders(by_method: Figures) -> Iterator[Contender]:
    """Yields the last figure of each method, which is that of all layers together, but for what is there to compare."""
    for method, by_column in by_method.items():
        column = list(by_column)[-1]
        if not is_baseline([method]) and math.isfinite(by_column[column].value):
            yield Contender(method, column, by_column[column])


def _highest(by_method: Figures) -> Contender | None:
    return max(_contenders(by_method), key=lambda one: one.figure.value, default=None)


def _of_methods(best: Contender, together: Figures, too_few: bool) -> str:
    others = [one for one in _contenders(together) if one.method != best.method]
    parts = [
        f"{title(best.method)} has the highest overlap with the outlines: a pooled IoU of {percent(best.figure)} for "
        f"its maps of {layers(best.column)}."
    ]
    for method, by_column in together.items():
        disc = by_column[best.column]
        if is_baseline([method]) and math.isfinite(disc.value):
            known = apart(best.figure, disc) and not too_few
            where = ("is above" if best.figure.value > disc.value else "is below") if known else "cannot be told from"
            parts.append(f"It {where} a disc in the middle of the frame, which never looks ({share(disc)}).")
    return " ".join([*parts, *_beside(best, others, too_few, lambda one: title(one.method))])


def _of_layers(best: Contender, experiment: Experiment, network: str) -> tuple[Contender, list[str]]:
    """Returns the maps of the best method that overlap most, and what is to be said of them."""
    single = figures(experiment, "per_layer", network).get(best.method, {})
    each = [
        Contender(best.method, column, figure)
        for column, figure in single.items()
        if column not in ("average", best.column) and math.isfinite(figure.value)
    ]
    if not each:
        return best, []
    first = max([best, *each], key=lambda one: one.figure.value)
    others = [one for one in (best, *each) if one.column != first.column]
    said = f"{title(best.method)} overlaps most with its maps of {layers(first.column)}: {percent(first.figure)}."
    return first, [" ".join([said, *_beside(first, others, experiment.too_few, lambda one: layers(one.column))])]


def _of_confidence(overlap: Contender | None, drops: Figures, too_few: bool) -> list[str]:
    """Says what hiding the maps of the method in question does to the score, and where it stands among all."""
    every = {one.method: one for one in _contenders(drops)}
    if not every:
        return []
    largest = _highest(drops) or next(iter(every.values()))
    one = every.get(overlap.method, largest) if overlap is not None else largest
    unsure = too_few or not apart(one.figure, Estimate(0.0))
    parts = [
        f"With what {title(one.method)}’s maps of {layers(one.column)} show hidden, the confidence drop is "
        f"{percent(one.figure)} of the score{', which cannot be told from none' if unsure else ''}."
    ]
    if one.method == largest.method:
        others = [each for each in every.values() if each.method != one.method]
        return [" ".join([*parts, *_beside(one, others, too_few, lambda other: title(other.method))])]
    alike = too_few or not apart(one.figure, largest.figure)
    but = "from which it cannot be told" if alike else "which is more"
    return [f"{parts[0]} The largest is that of {title(largest.method)} ({share(largest.figure)}), {but}."]


def _beside(
    best: Contender, others: Sequence[Contender], too_few: bool, name: Callable[[Contender], str]
) -> Iterator[str]:
    """Yields a sentence on the others that may be as good as the best, or on all of them if none is."""
    ranked = sorted(others, key=lambda one: one.figure.value, reverse=True)
    alike = [one for one in ranked if too_few or not apart(best.figure, one.figure)]
    if alike:
        names = [f"{name(one)} ({share(one.figure)})" for one in alike[:NAMED]]
        more = [f"{len(alike) - NAMED} more"] if len(alike) > NAMED else []
        yield f"It cannot be told from {_listed([*names, *more])}."
    elif ranked:
        yield f"It is above all others, of which {name(ranked[0])} comes next ({share(ranked[0].figure)})."


def _cautions(judged: Sequence[Experiment]) -> Iterator[str]:
    """Says what the intervals are over, and what a reader might think that they say and they do not."""
    if not judged:
        return
    few = [one for one in judged if one.too_few]
    yield (
        "In brackets: 95 % intervals. “Cannot be told from” means that one figure lies in the interval of the other. "
        "The best of several is chosen by the same figures, which flatters it."
    )
    if few:
        _, patients = few[0].frames_and_patients
        of = "frames of one patient" if patients == 1 else f"{patients} patients"
        yield f"Intervals over {of} are too narrow to tell anything apart, and nothing is."
    elif any(one.frames_and_patients[1] == 1 for one in judged):
        yield "All frames are of one patient: the figures say nothing of others."


def layers(column: str) -> str:
    """Returns how a sentence names the layers of a column, of which the last has all layers.

    Args:
      column: of a single layer, or the last one.

    Returns:
      Its name, without a capital letter.

    Example:
      >>> from xrcam_jax.report.findings import layers
      >>> layers("layer4"), layers("layer4+3+2")
      ('layer 4', 'all layers together')
    """
    name = column_title(column)
    if name == column:
        return name
    return "all layers together" if "+" in column else name.lower()


def percent(figure: Estimate) -> str:
    """Returns a figure in percent with its interval, if it has one.

    Args:
      figure: in percent.

    Returns:
      The text, with one digit after the point.

    Example:
      >>> from xrcam_jax.metrics.uncertainty import Estimate
      >>> from xrcam_jax.report.findings import percent
      >>> percent(Estimate(28.81, 24.0, 33.0)), percent(Estimate(28.81))
      ('28.8 % (24.0 to 33.0)', '28.8 %')
    """
    return f"{share(figure)} ({ends(figure)})" if ends(figure) else share(figure)


def share(figure: Estimate) -> str:
    """Returns a figure in percent, without its interval.

    Args:
      figure: in percent.

    Returns:
      The text, with one digit after the point.

    Example:
      >>> from xrcam_jax.metrics.uncertainty import Estimate
      >>> from xrcam_jax.report.findings import share
      >>> share(Estimate(28.81, 24.0, 33.0))
      '28.8 %'
    """
    return f"{shown_number(figure.value, 1, '%')} %"


def ends(figure: Estimate) -> str:
    """Returns the ends of a figure's interval.

    Args:
      figure: in percent.

    Returns:
      The text, empty where there is no interval.

    Example:
      >>> from xrcam_jax.metrics.uncertainty import Estimate
      >>> from xrcam_jax.report.findings import ends
      >>> ends(Estimate(28.81, 24.0, 33.0))
      '24.0 to 33.0'
    """
    return "" if math.isnan(figure.low) else " to ".join(shown_number(end, 1, "%") for end in figure[1:])


def _listed(words: Sequence[str]) -> str:
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"
