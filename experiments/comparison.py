"""Writes the page that judges the thesis's claims, and sets the tables of reproductions beside those of the thesis."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from experiments import thesis
from experiments.claims import CLAIMS, Claim, Judged
from experiments.drawn import ALL_LAYERS, Drawn, Evidence
from experiments.statistics import OURS, agreement
from experiments.sums import FLOOR
from xrcam_jax.metrics.uncertainty import Estimate

DISC = "(centred disc)"
VERDICTS = {"holds": "holds", "does not hold": "**does not hold**", "cannot be told": "cannot be told"}


@dataclass(frozen=True, eq=False)
class Pair:
    """Holds one of the thesis's tables, and ours.

    Attributes:
      title: with the table's number.
      theirs: the thesis's figures.
      ours: the reproduction's figure with its interval, by method and column.
      baseline: figures of a map that never looks; None where there is none.
      remark: a sentence below the table.
    """

    title: str
    theirs: thesis.Figures
    ours: Mapping[str, Sequence[Estimate]]
    baseline: Sequence[Estimate] | None = None
    remark: str = ""


def page(evidences: Sequence[Evidence], pictures: Mapping[str, Sequence[str]]) -> str:
    """Returns the page as Markdown: what was trained, the claims with their verdicts, and all tables in pairs.

    Args:
      evidences: the reproductions, the one that matters most first.
      pictures: by the folder's name of a reproduction, files in ``reproduction/FOLDER`` beside the page.
    """
    return "\n".join(
        [
            "# The thesis's claims and tables on drawn data",
            "",
            "**All data here are synthetic**: drawn by `xrcam synth`, small, and they stand for no patient. The "
            "thesis's recordings are not public, so its figures, in brackets, are not what ours should be; rankings "
            "compare, and what is said of methods can be tested. `experiments/claims.py` holds the claims; it was "
            "written before the runs that judge them, but for `dropout-stands-for-an-ensemble`, which came after those "
            "of the narrow networks. This page is made of stored sums over the frames of each patient, "
            "`experiments/stored/`, by `python -m experiments.reproduction_page`.",
            "",
            "## Networks",
            "",
            *networks(evidences),
            "",
            *(line for evidence in evidences for line in with_dropout_on(evidence)),
            "## Claims",
            "",
            "A claim holds if the 95 % interval of its statistic, over patients and over trainings where there are "
            "several, lies above the threshold; it does not hold if all of it lies below; else it cannot be told. "
            "IoUs and confidence drops are in per cent, and their differences in points.",
            "",
            *claims_table(evidences),
            *(line for evidence in evidences for line in section(evidence, pictures.get(evidence.folder.name, ()))),
        ]
    )


def networks(evidences: Sequence[Evidence]) -> list[str]:
    """Returns the table of all networks: how often they were trained, and how many test frames they judge rightly."""
    lines = [
        "| reproduction | role | network | trainings | right on frames of held-out patients (%) |",
        "|---|---|---|---:|---:|",
    ]
    for evidence in evidences:
        for role, model in evidence.about["networks"].items():
            right = evidence.accuracy(role)
            seeds = evidence.trainings(role)
            lines.append(f"| {evidence.about['title']} | {role} | {model} | {seeds} | {_interval(right)} |")
    return lines


def with_dropout_on(evidence: Evidence) -> list[str]:
    """Returns how often networks with dropout are right while it is on, of those whose epochs are stored."""
    lines = []
    for name, run in evidence.about["runs"].items():
        if run["dropout"] and "metrics" in run:
            right = 100 * float(run["metrics"][-1]["train_accuracy"])
            lines += [
                f"With dropout on, `{name}` was right on {right:.1f} % of the frames that it learnt from. The table "
                "has what it says with dropout off, while its batch norms keep the statistics of activations with it.",
                "",
            ]
    return lines


def claims_table(evidences: Sequence[Evidence]) -> list[str]:
    """Returns a row for each claim: what is said, what was measured, and a verdict of each reproduction."""
    titles = [evidence.about["title"] for evidence in evidences]
    lines = [
        f"| the thesis says | statistic | above | {' | '.join(titles)} |",
        "|---|---|---:|" + "---|" * len(evidences),
    ]
    counts = [dict.fromkeys(VERDICTS, 0) for _ in evidences]
    for claim in CLAIMS:
        judged = [claim.judged(evidence) for evidence in evidences]
        for count, found in zip(counts, judged, strict=True):
            if found is not None:
                count[found.verdict] += 1
        lines.append(
            f"| {_said(claim)} | {claim.statistic} | {claim.threshold:g} | {' | '.join(map(_judged, judged))} |"
        )
    together = [", ".join(f"{count} {verdict}" for verdict, count in each.items()) for each in counts]
    return [*lines, f"| *{len(CLAIMS)} claims* | | | {' | '.join(together)} |", ""]


def _said(claim: Claim) -> str:
    return f"{claim.says} (`{claim.id}`; {claim.section})"


def _judged(judged: Judged | None) -> str:
    if judged is None:
        return "not measured"
    return f"{VERDICTS[judged.verdict]}: {_interval(judged.figure)}"


def section(evidence: Evidence, pictures: Sequence[str]) -> list[str]:
    """Returns the tables and pictures of a reproduction."""
    about = evidence.about
    return [
        f"## {about['title'][0].upper()}{about['title'][1:]}: tables, ours, in brackets the thesis's",
        "",
        f"{about['text']} Made by `{about['command']}`. The best method of a column is in bold, unless the next "
        f"one lies within its interval. {DISC} is as large as what is outlined and never looks at the picture.",
        "",
        *map(markdown, pairs(evidence)),
        *sanity(evidence),
        *ensemble(evidence),
        *(f"![{name}](reproduction/{evidence.folder.name}/{name})\n" for name in pictures),
    ]


def pairs(evidence: Evidence) -> list[Pair]:
    """Returns all tables of chapter 5 that a reproduction has, in the thesis's order."""
    models = evidence.about["networks"]
    found = []
    for title, theirs, role in (
        ("Table 5.1, without Selective Kernel", thesis.WITHOUT_SK, "plain"),
        ("Tables 5.1 and 5.2, with Selective Kernel", thesis.WITH_SK, "main"),
        ("Table 5.3, aggregated", thesis.AGGREGATED_SK, "main"),
        ("Table 5.4, aggregated", thesis.AGGREGATED_OTHER, "other"),
    ):
        if evidence.has(role, "segmentation"):
            found.append(_overlap(f"{title}: IoU (%), {models[evidence.role(role)]}", theirs, evidence.iou(role)))
    if evidence.has("sk_dropout", "dropout"):
        table = evidence.iou("sk_dropout", "dropout")
        title = f"IoU (%), {models['sk_dropout']} trained with dropout"
        found.append(
            _overlap(f"Table 5.5, dropout on, ten passes pooled: {title}", thesis.STOCHASTIC, table.with_dropout())
        )
        found.append(_overlap(f"Table 5.6, dropout off: {title}", thesis.DETERMINISTIC, table))
    return [*found, *_drops(evidence), *_axioms(evidence)]


def _drops(evidence: Evidence) -> list[Pair]:
    """Returns Table 5.7 of frames whose score is not near zero, and of all as a difference."""
    if not evidence.has("main", "confidence"):
        return []
    counted = evidence.table("main", "confidence", "scored").of(OURS, "layer1")[0]
    left_out = f"{100 * (1 - counted):.1f} % of the frames have less and are left out."
    relative = evidence.table("main", "confidence", "drop", "scored")
    absolute = evidence.table("main", "confidence", "absolute_drop")
    theirs, remark = thesis.CONFIDENCE_DROP, f"Shares of scores of {FLOOR:g} or more; {left_out}"
    return [
        _pair("Table 5.7: confidence drop (%), softly", theirs, relative, 100, remark),
        _pair("The same as a difference of probabilities, all frames", theirs, absolute, 100),
    ]


def _axioms(evidence: Evidence) -> list[Pair]:
    if not evidence.has("main", "axioms"):
        return []
    return [
        _pair(f"Table {number}: error of the {name} axiom", theirs, evidence.table("main", "axioms", name))
        for number, name, theirs in (
            ("5.8", "sensitivity", thesis.SENSITIVITY),
            ("5.9", "conservation", thesis.CONSERVATION),
        )
    ]


def _overlap(title: str, theirs: thesis.Figures, table: Drawn) -> Pair:
    baseline = _row(table, DISC, theirs.columns) if DISC in table.methods else None
    return Pair(title, theirs, {method: _row(table, method, theirs.columns) for method in theirs.rows}, baseline)


def _pair(title: str, theirs: thesis.Figures, table: Drawn, factor: float = 1, remark: str = "") -> Pair:
    scaled = Drawn(table.methods, table.columns, factor * table.values)
    return Pair(title, theirs, {method: _row(scaled, method, theirs.columns) for method in theirs.rows}, None, remark)


def _row(table: Drawn, method: str, columns: Sequence[str]) -> list[Estimate]:
    layers = [column for column in columns if column != "average"]
    return [table.estimate(method, *(layers if column == "average" else [column])) for column in columns]


def markdown(pair: Pair) -> str:
    """Returns a table as Markdown: ours with its interval, in brackets the thesis's.

    The best of each is in bold; of ours only where the interval of the best does not contain the next one. Below it is
    the rank correlation of each column.
    """
    names, theirs = pair.theirs.columns, pair.theirs.rows
    most = max if pair.theirs.best == "max" else min
    best = [leader([pair.ours[method][i] for method in theirs], most) for i in range(len(names))]
    their_best = [most(column) for column in zip(*theirs.values(), strict=True)]
    lines = [f"### {pair.title}", "", f"| method | {' | '.join(names)} |", "|---|" + "---:|" * len(names)]
    for row, (method, their) in enumerate(theirs.items()):
        cells = []
        for i, (our, figure) in enumerate(zip(pair.ours[method], their, strict=True)):
            cells.append(f"{_bold(_interval(our), row == best[i])} ({_bold(_number(figure), figure == their_best[i])})")
        lines.append(f"| {method} | {' | '.join(cells)} |")
    if pair.baseline is not None:
        lines.append(f"| {DISC} | {' | '.join(map(_interval, pair.baseline))} |")
    correlations = [
        rank_correlation([pair.ours[method][i].value for method in theirs], [theirs[method][i] for method in theirs])
        for i in range(len(names))
    ]
    lines.append(f"| *rank correlation* | {' | '.join(f'{value:.2f}' for value in correlations)} |")
    return "\n".join([*lines, "", *([pair.remark, ""] if pair.remark else [])])


def leader(figures: Sequence[Estimate], most: Callable[..., float]) -> int | None:
    """Returns which figure is the best; None where the next one lies in its interval.

    Example:
      >>> leader([Estimate(3.0, 2.0, 4.0), Estimate(1.0)], max), leader([Estimate(3.0, 2.0, 4.0), Estimate(2.5)], max)
      (0, None)
    """
    values = [figure.value for figure in figures]
    if not all(map(math.isfinite, values)):
        return None
    best = values.index(most(values))
    following = most(values[:best] + values[best + 1 :])
    low, high = (end if math.isfinite(end) else values[best] for end in figures[best][1:])
    return None if low <= following <= high else best


def sanity(evidence: Evidence) -> list[str]:
    """Returns how alike maps are to those of the trained network when parts of it have random weights."""
    if not evidence.has("other", "sanity"):
        return []
    lines = [f"### Figures 5.16 and 5.17: maps with weights drawn anew, {evidence.about['networks']['other']}", ""]
    for name, title in (("ssim", "SSIM"), ("rank", "Spearman's rank correlation")):
        table = evidence.table("other", "sanity", name)
        heads = [column.removeprefix("layer3 ") for column in table.columns]
        lines += [f"{title} with the trained network's map at layer 3.", "", f"| method | {' | '.join(heads)} |"]
        lines.append("|---|" + "---:|" * len(heads))
        for method in table.methods:
            cells = [_interval(table.estimate(method, column)) for column in table.columns]
            lines.append(f"| {method} | {' | '.join(cells)} |")
        lines.append("")
    return lines


def ensemble(evidence: Evidence) -> list[str]:
    """Returns what several networks' maps show together, beside what each shows, and beside where they agree."""
    if not evidence.has("ensemble", "ensemble"):
        return []
    table = evidence.iou("ensemble", "ensemble")
    heads = {
        ALL_LAYERS: "mean of all networks' maps",
        f"{ALL_LAYERS} alone": "each network's",
        f"{ALL_LAYERS} varying less": "the half of the frames where they vary less",
        f"{ALL_LAYERS} varying more": "where they vary more",
    }
    lines = ["### 5.4.1: several networks together, IoU (%), all layers aggregated", ""]
    lines += [f"| method | {' | '.join(heads.values())} |", "|---|" + "---:|" * len(heads)]
    for method in table.methods:
        cells = [_interval(table.estimate(method, column)) for column in heads]
        lines.append(f"| {method} | {' | '.join(cells)} |")
    return [*lines, ""]


def rank_correlation(a: Sequence[float], b: Sequence[float]) -> float:
    """Returns Spearman's rank correlation of two columns, in [-1, 1]; NaN where one of them is constant."""
    return float(agreement(np.asarray(a)[None], np.asarray(b)[None])[0])


def _bold(text: str, bold: bool) -> str:
    return f"**{text}**" if bold else text


def _interval(figure: Estimate) -> str:
    if math.isnan(figure.value):
        return "–"
    ends = "" if math.isnan(figure.low) else f" [{_number(figure.low)}, {_number(figure.high)}]"
    return f"{_number(figure.value)}{ends}"


def _number(value: float) -> str:
    return f"{value:.2f}" if value == 0 or abs(value) >= 0.005 else f"{value:.1e}"
