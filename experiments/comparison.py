"""Writes the page that sets the tables of a reproduction beside those of the thesis."""

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass

from experiments import thesis
from experiments.claims import claims
from experiments.results import Results, Rows


@dataclass(frozen=True)
class Pair:
    """Holds one of the thesis's tables, and ours.

    Attributes:
      title: with the table's number.
      theirs: the thesis's figures.
      ours: the reproduction's, by method and column; it may have more of both.
    """

    title: str
    theirs: thesis.Figures
    ours: Rows


def page(results: Results, pictures: Sequence[str], *, own_dropout: bool) -> str:
    """Returns the page as Markdown: the setting, the claims, all tables in pairs, and the sanity checks.

    Args:
      results: of all experiments.
      pictures: files in the folder ``reproduction`` beside the page.
      own_dropout: whether the passes with dropout are by a network that was trained with it.
    """
    return "\n".join(
        [
            "# The thesis's tables on drawn data",
            "",
            _setting(results, own_dropout=own_dropout),
            "",
            results.text("architectures", "accuracy.md"),
            "## Which claims hold here",
            "",
            "| the thesis says | here | figures |",
            "|---|---|---|",
            *(f"| {c.says} | {'holds' if c.holds else '**does not hold**'} | {c.because} |" for c in claims(results)),
            "",
            "## Tables: ours, in brackets the thesis's",
            "",
            *map(markdown, pairs(results)),
            "## Sanity checks (Figures 5.16 and 5.17)",
            "",
            results.text("sanity", "ssim.md"),
            results.text("sanity", "rank.md"),
            *(f"![{name}](reproduction/{name})\n" for name in pictures),
        ]
    )


def _setting(results: Results, *, own_dropout: bool) -> str:
    data = json.loads(results.text("segmentation", "settings.json"))["data"]
    dropout = "" if own_dropout else f" Tables 5.5 and 5.6 are of {results.sk} as it is, trained without dropout."
    return (
        "**All data here are synthetic**: drawn by `xrcam synth`, small, and they stand for no patient. The thesis's "
        "recordings are not public, so its figures, in brackets, are not what ours should be; only rankings compare."
        f"\n\nNetworks trained from scratch (no ImageNet weights): {results.plain}, {results.sk}, {results.other}. "
        f"Segmentation over {data['frames']} annotated frames of {data['patients']} patients that no training saw. "
        f"Made by `python -m experiments.reproduce`.{dropout}"
    )


def pairs(results: Results) -> list[Pair]:
    """Returns all tables of chapter 5, in its order."""
    plain, sk, other = results.plain, results.sk, results.other

    def pair(title: str, theirs: thesis.Figures, experiment: str, table: str, network: str) -> Pair:
        return Pair(title, theirs, results.rows(experiment, table, network))

    with_sk = f"Tables 5.1 and 5.2, with Selective Kernel: IoU (%), {sk}"
    without = f"Table 5.1, without Selective Kernel: IoU (%), {plain}"
    dropout_on, dropout_off = "dropout on, mean of ten passes", "the same network, dropout off"
    return [
        pair(without, thesis.WITHOUT_SK, "segmentation", "per_layer", plain),
        pair(with_sk, thesis.WITH_SK, "segmentation", "per_layer", sk),
        pair(f"Table 5.3: IoU (%), aggregated, {sk}", thesis.AGGREGATED_SK, "segmentation", "aggregated", sk),
        pair(f"Table 5.4: IoU (%), aggregated, {other}", thesis.AGGREGATED_OTHER, "segmentation", "aggregated", other),
        pair(f"Table 5.5: IoU (%), {dropout_on}", thesis.STOCHASTIC, "dropout", "stochastic", sk),
        pair(f"Table 5.6: IoU (%), {dropout_off}", thesis.DETERMINISTIC, "dropout", "deterministic", sk),
        pair("Table 5.7: confidence drop (%), softly", thesis.CONFIDENCE_DROP, "confidence", "drop", sk),
        pair("Table 5.8: error of the sensitivity axiom", thesis.SENSITIVITY, "axioms", "sensitivity", sk),
        pair("Table 5.9: error of the conservation axiom", thesis.CONSERVATION, "axioms", "conservation", sk),
    ]


def markdown(pair: Pair) -> str:
    """Returns a table as Markdown: ours, in brackets the thesis's, the best of each in bold.

    Below it is the rank correlation of each column.
    """
    names, theirs = pair.theirs.columns, pair.theirs.rows
    ours = {method: [pair.ours[method][name] for name in names] for method in theirs}
    columns = [list(zip(*rows.values(), strict=True)) for rows in (ours, theirs)]
    pick = max if pair.theirs.best == "max" else min
    best = [[pick(column) for column in some] for some in columns]
    lines = [f"### {pair.title}", "", f"| method | {' | '.join(names)} |", "|---|" + "---:|" * len(names)]
    for method in theirs:
        figures = zip(ours[method], theirs[method], *best, strict=True)
        cells = [f"{_bold(our, most)} ({_bold(their, their_most)})" for our, their, most, their_most in figures]
        lines.append(f"| {method} | {' | '.join(cells)} |")
    correlations = [f"{rank_correlation(our, their):.2f}" for our, their in zip(*columns, strict=True)]
    lines.append(f"| *rank correlation* | {' | '.join(correlations)} |")
    return "\n".join(lines) + "\n"


def rank_correlation(a: Sequence[float], b: Sequence[float]) -> float:
    """Returns Spearman's rank correlation of two columns, in [-1, 1]; NaN where one of them is constant."""
    from scipy.stats import rankdata

    ranks = [rankdata(values) for values in (a, b)]
    centred = [values - values.mean() for values in ranks]
    scale = math.sqrt(float((centred[0] ** 2).sum() * (centred[1] ** 2).sum()))
    return float((centred[0] * centred[1]).sum() / scale) if scale else math.nan


def _bold(value: float, best: float) -> str:
    text = f"{value:.2f}" if value == 0 or abs(value) >= 0.005 else f"{value:.1e}"
    return f"**{text}**" if value == best else text
