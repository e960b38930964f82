"""Tables of a reproduction beside the thesis's, and which of its claims hold."""

import csv
import json
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from experiments import thesis

#: By method, then column.
Rows = dict[str, dict[str, float]]


@dataclass(frozen=True)
class Pair:
    """One of the thesis's tables, and ours.

    Attributes:
      title: with the table's number.
      columns: that both have.
      theirs: the thesis's figures.
      ours: the reproduction's.
      best: ``"max"`` or ``"min"``.
    """

    title: str
    columns: tuple[str, ...]
    theirs: thesis.Figures
    ours: Rows
    best: str = "max"


def read_rows(path: Path, network: str) -> Rows:
    """The figures of one network from a table that an experiment wrote, by method and column."""
    with path.open(newline="", encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if row["network"].startswith(network)]
    return {
        row["method"]: {
            column: float(value)
            for column, value in row.items()
            if column not in ("method", "layer", "network") and value
        }
        for row in rows
    }


def rank_correlation(a: Sequence[float], b: Sequence[float]) -> float:
    """Spearman's, NaN where one of them is constant."""
    from scipy.stats import rankdata

    ranks = [rankdata(values) for values in (a, b)]
    centred = [values - values.mean() for values in ranks]
    scale = math.sqrt(float((centred[0] ** 2).sum() * (centred[1] ** 2).sum()))
    return float((centred[0] * centred[1]).sum() / scale) if scale else math.nan


def markdown(pair: Pair) -> str:
    """Ours, in brackets the thesis's, the best of each in bold; below it the rank correlation of each column."""
    pick = max if pair.best == "max" else min
    ours = [pick(pair.ours[m][c] for m in pair.theirs) for c in pair.columns]
    theirs = [pick(figures[i] for figures in pair.theirs.values()) for i in range(len(pair.columns))]
    lines = [f"### {pair.title}", "", "| method | " + " | ".join(pair.columns) + " |"]
    lines.append("|---|" + "---:|" * len(pair.columns))
    for method, figures in pair.theirs.items():
        cells = [
            f"{_bold(pair.ours[method][column], ours[i])} ({_bold(figures[i], theirs[i])})"
            for i, column in enumerate(pair.columns)
        ]
        lines.append(f"| {method} | " + " | ".join(cells) + " |")
    correlations = [
        rank_correlation([pair.ours[m][c] for m in pair.theirs], [f[i] for f in pair.theirs.values()])
        for i, c in enumerate(pair.columns)
    ]
    lines.append("| *rank correlation* | " + " | ".join(f"{value:.2f}" for value in correlations) + " |")
    return "\n".join(lines) + "\n"


def _bold(value: float, best: float) -> str:
    text = f"{value:.2f}" if value == 0 or abs(value) >= 0.005 else f"{value:.1e}"
    return f"**{text}**" if value == best else text


#: By column, what is to be said of chance.
Chance = Callable[[str], str]
#: Maps that are more alike than this, by SSIM, count as the same.
SAME = 0.8


@dataclass(frozen=True)
class Claim:
    """What the thesis says, whether it holds here, and the figures that say so."""

    says: str
    holds: bool
    because: str


def claims(
    without: Rows, with_sk: Rows, together: Rows, conservation: Rows, drop: Rows, alike: Rows, chance: Chance
) -> list[Claim]:
    """The thesis's main claims, held against the figures of a reproduction."""
    methods = list(thesis.WITHOUT_SK)
    better = [m for m in methods if with_sk[m]["average"] > without[m]["average"]]
    first = {m: with_sk[m]["layer1"] for m in thesis.METHODS}
    leader = max(first, key=first.__getitem__)
    last, everything = together["xrelevance_cam"]["layer4"], together["xrelevance_cam"]["layer4+3+2+1"]
    aggregate = {m: together[m]["layer4+3+2+1"] for m in thesis.METHODS}
    ahead = max(aggregate, key=aggregate.__getitem__)
    worst = max(conservation["xrelevance_cam"][f"layer{i}"] for i in range(1, 5))
    column = "layer4+3+2+1"
    dropped = {m: drop[m][column] for m in thesis.METHODS}
    most = max(dropped, key=dropped.__getitem__)
    return [
        Claim(
            "Selective Kernel helps: every method overlaps better with the outlines (Table 5.1)",
            len(better) == len(methods),
            f"better for {len(better)} of {len(methods)} methods, by average IoU over the layers",
        ),
        Claim(
            "XRelevance-CAM is best in layer 1 (Table 5.2)",
            leader == "xrelevance_cam",
            _lead(first, leader) + chance("layer1"),
        ),
        Claim(
            "XRelevance-CAM is better than Relevance-CAM in layer 1 (Table 5.2)",
            first["xrelevance_cam"] > first["relevance_cam"],
            f"{first['xrelevance_cam']:.1f} against {first['relevance_cam']:.1f} %",
        ),
        Claim(
            "Aggregation of all layers helps XRelevance-CAM (Table 5.3)",
            everything > last,
            f"{last:.1f} % at layer 4, {everything:.1f} % aggregated",
        ),
        Claim(
            "XRelevance-CAM is best when all layers are aggregated (Table 5.3)",
            ahead == "xrelevance_cam",
            _lead(aggregate, ahead) + chance("layer4+3+2+1"),
        ),
        Claim(
            "XRelevance-CAM does not stand out in confidence drop (Table 5.7)",
            most != "xrelevance_cam",
            _lead(dropped, most)
            + (": shares of scores near zero, which say nothing" if min(dropped.values()) < -100 else ""),
        ),
        Claim(
            "XRelevance-CAM conserves the score (Table 5.9)",
            worst < 0.05,
            f"largest error over the layers {worst:.1e} (thesis: 0.02)",
        ),
        Claim(
            "XRelevance-CAM at layer 3 depends on the weights of layer 3 and below (Figures 5.16, 5.17)",
            alike["xrelevance_cam"]["layer3 down from fc"] < SAME,
            f"SSIM {alike['xrelevance_cam']['layer3 down from fc']:.2f} with layer 3 and all above drawn anew",
        ),
        Claim(
            "XRelevance-CAM at layer 3 depends on the weights of layer 4 and the classifier (Figures 5.16, 5.17)",
            alike["xrelevance_cam"]["layer4 down from fc"] < SAME,
            f"SSIM {alike['xrelevance_cam']['layer4 down from fc']:.2f} with these drawn anew, "
            f"Grad-CAM {alike['grad_cam']['layer4 down from fc']:.2f}",
        ),
    ]


def _lead(values: dict[str, float], leader: str) -> str:
    """The best and, if that is another one, XRelevance-CAM."""
    ours = "" if leader == "xrelevance_cam" else f", xrelevance_cam {values['xrelevance_cam']:.1f} %"
    return f"{leader} {values[leader]:.1f} %{ours}"


def chance_of(results: Path, network: str) -> Chance:
    """By column, what the paired tests say of XRelevance-CAM and the best, or if it is the best, the nearest method."""
    with (results / "segmentation" / "tests.csv").open(newline="", encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if row["network"].startswith(network)]

    def said(column: str) -> str:
        pairs = [row for row in rows if row["column"] == column and "xrelevance_cam" in (row["best"], row["other"])]
        if not pairs:
            return ""
        nearest = max(pairs, key=lambda row: float(row["iou_other"]))
        return f" ({nearest['best']} against {nearest['other']}: p = {float(nearest['p']):.2f})"

    return said


def reproduction(results: Path, plain: str, sk: str, other: str, pictures: Sequence[str], *, own_dropout: bool) -> str:
    """The page that sets all tables of ``results`` beside the thesis's.

    Args:
      results: folder of all experiments.
      plain: network without Selective Kernel.
      sk: network with it.
      other: another network.
      pictures: files in the folder ``reproduction`` beside the page.
      own_dropout: whether the passes with dropout are by a network that was trained with it.
    """
    layers = {network: read_rows(results / "segmentation" / "per_layer.csv", network) for network in (plain, sk)}
    together = {n: read_rows(results / "segmentation" / "aggregated.csv", n) for n in (sk, other)}
    stochastic, deterministic = (
        read_rows(results / "dropout" / f"{n}.csv", sk) for n in ("stochastic", "deterministic")
    )
    drop = read_rows(results / "confidence" / "drop.csv", sk)
    sensitivity, conservation = (
        read_rows(results / "axioms" / f"{n}.csv", sk) for n in ("sensitivity", "conservation")
    )
    pairs = [
        Pair(
            f"Table 5.1, without Selective Kernel: IoU (%), {plain}", thesis.PER_LAYER, thesis.WITHOUT_SK, layers[plain]
        ),
        Pair(f"Tables 5.1 and 5.2, with Selective Kernel: IoU (%), {sk}", thesis.PER_LAYER, thesis.WITH_SK, layers[sk]),
        Pair(f"Table 5.3: IoU (%), aggregated, {sk}", thesis.AGGREGATED, thesis.AGGREGATED_SK, together[sk]),
        Pair(f"Table 5.4: IoU (%), aggregated, {other}", thesis.AGGREGATED, thesis.AGGREGATED_OTHER, together[other]),
        Pair("Table 5.5: IoU (%), dropout on, mean of ten passes", thesis.WITH_ALL, thesis.STOCHASTIC, stochastic),
        Pair("Table 5.6: IoU (%), the same network, dropout off", thesis.WITH_ALL, thesis.DETERMINISTIC, deterministic),
        Pair("Table 5.7: confidence drop (%), softly", thesis.WITH_ALL, thesis.CONFIDENCE_DROP, drop),
        Pair("Table 5.8: error of the sensitivity axiom", thesis.PER_LAYER, thesis.SENSITIVITY, sensitivity, "min"),
        Pair("Table 5.9: error of the conservation axiom", thesis.PER_LAYER, thesis.CONSERVATION, conservation, "min"),
    ]
    alike = read_rows(results / "sanity" / "ssim.csv", other)
    found = claims(layers[plain], layers[sk], together[sk], conservation, drop, alike, chance_of(results, sk))
    settings = json.loads((results / "segmentation" / "settings.json").read_text(encoding="utf-8"))
    return "\n".join([
        "# The thesis's tables on drawn data",
        "",
        "**All data here are synthetic**: drawn by `xrcam synth`, small, and they stand for no patient. The thesis's "
        "recordings are not public, so its figures, in brackets, are not what ours should be; only rankings compare.",
        "",
        f"Networks trained from scratch (no ImageNet weights): {plain}, {sk}, {other}. Segmentation over "
        f"{settings['data']['frames']} annotated frames of {settings['data']['patients']} patients that no training "
        "saw. Made by `python -m experiments.reproduce`."
        + ("" if own_dropout else f" Tables 5.5 and 5.6 are of {sk} as it is, trained without dropout."),
        "",
        (results / "architectures" / "accuracy.md").read_text(encoding="utf-8"),
        "## Which claims hold here",
        "",
        "| the thesis says | here | figures |",
        "|---|---|---|",
        *(f"| {claim.says} | {'holds' if claim.holds else '**does not hold**'} | {claim.because} |" for claim in found),
        "",
        "## Tables: ours, in brackets the thesis's",
        "",
        *(markdown(pair) for pair in pairs),
        "## Sanity checks (Figures 5.16 and 5.17)",
        "",
        (results / "sanity" / "ssim.md").read_text(encoding="utf-8"),
        (results / "sanity" / "rank.md").read_text(encoding="utf-8"),
        *(f"![{name}](reproduction/{name})\n" for name in pictures),
    ])  # fmt: skip
