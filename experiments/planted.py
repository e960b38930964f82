"""Measures all methods on the planted sets, and writes the tables of docs/planted.md from what is stored.

    python -m experiments.planted work/    # two minutes on 2 cores; nothing is measured where work/ has results

Copies the tables of ``xrcam evaluate planted`` into ``docs/planted/``, with reduced sheets, and writes what is between
the two marks in ``docs/planted.md``. The rest of that page is written by hand.
"""

import argparse
import csv
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from xrcam_jax.cli import main as xrcam
from xrcam_jax.data.datasets import PLANTED
from xrcam_jax.data.detector import LAYERS
from xrcam_jax.figures.overlay import at_most
from xrcam_jax.pictures.write import save_picture
from xrcam_jax.runtime.files import write_whole
from xrcam_jax.studies.planted import AGGREGATE, FIGURES, FOUND

PAGE = Path(__file__).parents[1] / "docs" / "planted.md"
BEGIN, END = "<!-- The tables: python -m experiments.planted -->\n", "<!-- The end of the tables -->\n"
#: The longer side of the sheets beside the page, in pixels.
SHEET = 1600

Row = dict[str, str]


def main(argv: Sequence[str] | None = None) -> int:
    """Measures what is not measured yet and writes the page's tables; returns the exit status."""
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("work", type=Path, help="folder for the results")
    options = arguments.parse_args(argv)
    results = options.work / "planted"
    if not (results / "contents.json").exists():
        status = xrcam(["evaluate", "planted", "--out", str(options.work)])
        if status:
            return status
    stored = PAGE.with_suffix("")
    stored.mkdir(exist_ok=True)
    for name in FIGURES:
        for table in (name, f"{name}_layers"):
            shutil.copy(results / f"{table}.csv", stored)
    for sheet in sorted(results.glob("*.jpg")):
        save_picture(stored / sheet.name, at_most(np.asarray(Image.open(sheet).convert("RGB")), SHEET))
    write_whole(PAGE, page(PAGE.read_text(encoding="utf-8"), stored).encode())
    print(f"See {PAGE}")
    return 0


def page(text: str, stored: Path) -> str:
    """Returns the page with the tables that are stored.

    Args:
      text: of the page, with the two marks.
      stored: folder with the tables.
    """
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n{tables(stored)}\n{END}{after}"


def tables(stored: Path) -> str:
    """Returns the tables as Markdown, without intervals: all methods by set, and by layer of two sets.

    Args:
      stored: folder with the tables.
    """
    lines = [
        *_found(stored),
        *_by_set(stored, FIGURES["outshines"], ["outshines"], FOUND),
        *_by_set(stored, "Mass / rank accuracy", ["mass", "rank"]),
        *_by_set(stored, "Precision / recall of the salient pixels", ["precision", "recall"]),
        *_by_layer(stored, "shortcut"),
        *_by_layer(stored, "saturated"),
    ]
    return "\n".join(lines)


def rows(stored: Path, table: str) -> list[Row]:
    """Returns the rows of a stored table."""
    with (stored / f"{table}.csv").open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def _found(stored: Path) -> Iterator[str]:
    """Yields the lines of a table that says of each set which methods have not found what is read."""
    methods = {row["method"]: row for row in rows(stored, "outshines") if not row["method"].startswith("(")}
    yield "| set | what the network does | found by | not by |"
    yield "|---|---|---:|---|"
    for name, plan in PLANTED.items():
        missed = [f"`{method}`" for method, row in methods.items() if float(row[name]) < FOUND]
        found = f"{len(methods) - len(missed)} of {len(methods)}"
        yield f"| `{name}` | {plan.about} | {found} | {', '.join(missed) or '–'} |"
    yield ""


def _by_set(stored: Path, title: str, figures: Sequence[str], found: float = 0.0) -> Iterator[str]:
    """Yields the lines of a table of methods and sets; what is less than ``found`` is in bold."""
    yield f"**{title}** (%)\n"
    yield "| method | map | " + " | ".join(PLANTED) + " |"
    yield "|---|---|" + "---:|" * len(PLANTED)
    for some in zip(*(rows(stored, figure) for figure in figures), strict=True):
        cells = [_cell(some, name, found) for name in PLANTED]
        yield f"| {some[0]['method']} | {some[0]['map']} | " + " | ".join(cells) + " |"
    yield ""


def _by_layer(stored: Path, name: str) -> Iterator[str]:
    """Yields the lines of a table of one set, with a row for each class activation map and a column for each layer."""
    columns = [*LAYERS, AGGREGATE]
    yield f"**Mass / rank accuracy of each layer's maps of `{name}`** (%)\n"
    yield "| method | " + " | ".join(columns) + " |"
    yield "|---|" + "---:|" * len(columns)
    for some in zip(rows(stored, "mass_layers"), rows(stored, "rank_layers"), strict=True):
        if some[0]["set"] == name:
            yield f"| {some[0]['method']} | " + " | ".join(_cell(some, column) for column in columns) + " |"
    yield ""


def _cell(some: Sequence[Row], column: str, found: float = 0.0) -> str:
    """Returns the figures of a column, one of each row, or a dash where there are none."""
    if not some[0][column]:
        return "–"
    text = " / ".join(f"{float(row[column]):.0f}" for row in some)
    return f"**{text}**" if float(some[0][column]) < found else text


if __name__ == "__main__":
    raise SystemExit(main())
