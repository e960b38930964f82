"""Writes the tables of docs/metrics.md: all metrics, and the figure for both faithfulnesses on planted sets.

    python -m experiments.metrics             # from the figures that are kept in docs/metrics/
    python -m experiments.metrics --measure   # measures them anew, a minute on 2 cores

What the network reads is known (docs/planted.md); the outline is that of the structure, whether the network reads that
or a logo. So it is known which maps ought to have a high figure, and where none ought to. What is
between the marks in ``docs/metrics.md`` is made of them, and of the metrics as the package has them.
"""

import argparse
import csv
from collections.abc import Iterator, Sequence
from pathlib import Path

import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool

from xrcam_jax.attribution.case import Case
from xrcam_jax.cam.saliency import AGGREGATE
from xrcam_jax.data.datasets import PLANTED, Planted, planted
from xrcam_jax.evaluation.listing import needs
from xrcam_jax.evaluation.measure import Given, measured
from xrcam_jax.evaluation.metric import chosen
from xrcam_jax.evaluation.metrics import METRICS
from xrcam_jax.explain.functional import as_function
from xrcam_jax.metrics.uncertainty import mean
from xrcam_jax.runtime.files import write_rows, write_whole
from xrcam_jax.studies.planted import INPUT, Place, baselines, explained

PAGE = Path(__file__).parents[1] / "docs" / "metrics.md"
#: Where the tables begin, by what they are of; and where each ends.
BEGINS = {what: f"<!-- {what}: python -m experiments.metrics -->\n" for what in ("All metrics", "Both faithfulnesses")}
END = "<!-- The end of the table -->\n"
SETS = ("pattern", "distractors", "mirror", "shortcut")
METHODS = ("xrelevance_cam", "grad_cam", "layer_cam", "eigen_cam", "lrp", "gradient")
OUTLINE = "(the outline itself)"
PICTURES, SEED = 16, 0
#: A pixel that is taken away gets the middle of the tissue, in which the network sees nothing.
FILL = 0.5
FIGURES = ("mass_over_chance", "contrast", "joint_faithfulness")

Row = dict[str, str]


def main(argv: Sequence[str] | None = None) -> int:
    """Writes the page's tables; returns the exit status."""
    about = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    about.add_argument("--measure", action="store_true", help="the figure for both faithfulnesses, anew")
    stored = PAGE.with_suffix("") / "both.csv"
    if about.parse_args(argv).measure:
        write_rows(stored, [row for name in SETS for row in rows(name)])
    write_whole(PAGE, page(PAGE.read_text(encoding="utf-8"), stored).encode())
    print(f"See {PAGE}")
    return 0


def rows(name: str) -> Iterator[dict[str, str | float]]:
    """Yields the means over the pictures of a set, map by map, with the interval of the joint figure.

    Args:
      name: of the set.
    """
    drawn = planted(name, PICTURES, seed=SEED)
    outline = outlined(name, drawn)
    blind = {place: each for place, each in baselines(drawn, SEED).items() if place[1] == INPUT}
    maps = _whole(explained(drawn, METHODS, SEED)) | {(OUTLINE, INPUT): jnp.asarray(outline, jnp.float32)} | blind
    function, parameters = as_function(drawn.network)
    case = Case(function, parameters, jnp.asarray(drawn.images), jnp.asarray(drawn.labels)[:, None])
    given = Given(jnp.stack([jnp.asarray(each) for each in maps.values()]), case=case, masks=outline)
    wanted = {f: chosen(f, METRICS, {} if f == "mass_over_chance" else {"fill": FILL}) for f in FIGURES}
    found = {figure: np.asarray(values) for figure, values in measured(wanted, given).items()}
    for i, (method, column) in enumerate(maps):
        means = {figure: mean(values[i], np.arange(PICTURES), seed=SEED) for figure, values in found.items()}
        joint = means["joint_faithfulness"]
        yield {
            "set": name,
            "method": method,
            "map": column,
            **{figure: estimate.value for figure, estimate in means.items()},
            "low": joint.low,
            "high": joint.high,
        }


def outlined(name: str, drawn: Planted) -> Bool[np.ndarray, "n h w"]:
    """Returns what a person would outline: the structure of the class, whatever the network reads.

    Args:
      name: of the set.
      drawn: its pictures.
    """
    return drawn.truth if PLANTED[name].reads == "structure" else drawn.decoy


def _whole(maps: dict[Place, jnp.ndarray]) -> dict[Place, jnp.ndarray]:
    """Returns the map by which a method is judged: at the input, or of all layers together."""
    return {place: each for place, each in maps.items() if place[1] in (INPUT, AGGREGATE)}


def page(text: str, stored: Path) -> str:
    """Returns the page with its tables.

    Args:
      text: of the page, with the marks.
      stored: the file with the figures.
    """
    for begin, table in zip(BEGINS.values(), (all_metrics(), both(stored)), strict=True):
        before, _, rest = text.partition(begin)
        _, _, after = rest.partition(END)
        text = f"{before}{begin}\n{table}\n{END}{after}"
    return text


def all_metrics() -> str:
    """Returns the metrics as Markdown: a table for each family."""
    lines = []
    for family in dict.fromkeys(metric.family for metric in METRICS.values()):
        lines += [
            f"**{family.capitalize()}**\n",
            "| name | what it says | needs | better | source |",
            "|---|---|---|---|---|",
        ]
        for name, metric in METRICS.items():
            if metric.family == family:
                better = {"max": "higher", "min": "lower", None: "–"}[metric.best]
                said = f"{metric.title}: {metric.summary}".replace("|", "\\|")
                lines.append(f"| `{name}` | {said} | {needs(metric)} | {better} | {metric.source} |")
        lines.append("")
    return "\n".join(lines)


def both(stored: Path) -> str:
    """Returns the figure for both faithfulnesses as Markdown: a row for each map, a column for each set.

    Args:
      stored: the file with the figures.
    """
    with stored.open(newline="", encoding="utf-8") as file:
        found = {(row["method"], row["map"], row["set"]): row for row in csv.DictReader(file)}
    lines = ["| method | map | " + " | ".join(f"`{name}`" for name in SETS) + " |", "|---|---|" + "---:|" * len(SETS)]
    for method, column in dict.fromkeys((method, column) for method, column, _ in found):
        cells = [_cell(found[method, column, name]) for name in SETS]
        lines.append(f"| {method} | {column} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def _cell(row: Row) -> str:
    located, needed, joint = (f"{100 * float(row[figure]):.0f}" for figure in FIGURES)
    return f"{located} / {needed} / **{joint}**"


if __name__ == "__main__":
    raise SystemExit(main())
