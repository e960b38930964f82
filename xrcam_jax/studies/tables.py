"""Tables hold figures with their intervals; they are written as CSV and Markdown, and described for the report."""

import csv
import io
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from xrcam_jax.arguments.screen import show_markdown
from xrcam_jax.metrics.uncertainty import Estimate, leading
from xrcam_jax.report.checked import is_baseline
from xrcam_jax.runtime.files import write_whole
from xrcam_jax.runtime.names import cell, markdown_cell, printable

CONTENTS = "contents.json"


@dataclass(frozen=True)
class Table:
    """Holds figures in rows and columns.

    Attributes:
      file: name of the file, without suffix.
      title: one line.
      rows: by the row's labels, which are a tuple of names, one figure for each column.
      columns: names of the columns.
      labels: what the rows' labels are called.
      best: whether the largest or the smallest of a column is the best one; None where neither is.
      unit: what all figures are in.
      decimals: digits after the point in the Markdown; the CSV has all digits. Tiny figures that are no percentages get
        an exponent, lest they look like zero.
      interval: what the interval of each figure is.
    """

    file: str
    title: str
    rows: Mapping[Any, Sequence[Estimate]]
    columns: Sequence[str]
    labels: Sequence[str] = ("method",)
    best: Literal["max", "min"] | None = "max"
    unit: str = "%"
    decimals: int = 2
    interval: str = "95 % confidence interval"

    def csv(self) -> str:
        """Returns the table as CSV: the figures and the ends of their intervals, empty where there is none."""
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(
            [*map(cell, self.labels), *(f"{c}{end}" for c in self.columns for end in ("", " low", " high"))]
        )
        for labels, figures in self.rows.items():
            writer.writerow(
                [*map(cell, labels), *("" if math.isnan(v) else repr(float(v)) for figure in figures for v in figure)]
            )
        return text.getvalue()

    def markdown(self) -> str:
        """Returns the table as Markdown: intervals in brackets, a dash where there is no figure.

        The best of a column is in bold, unless another one lies in its interval. Rows whose name is in brackets are
        there to compare with, and are not the best of anything.
        """
        compared = [figures for labels, figures in self.rows.items() if not is_baseline(labels)]
        best = [self._best([figures[i] for figures in compared]) for i in range(len(self.columns))]
        lines = [
            f"**{self.title}** ({self.unit})" if self.unit else f"**{self.title}**",
            "",
            "| " + " | ".join([*self.labels, *self.columns]) + " |",
            "|" + "---|" * len(self.labels) + "---:|" * len(self.columns),
        ]
        for labels, figures in self.rows.items():
            known = [math.nan] * len(best) if is_baseline(labels) else best
            cells = [self._cell(figure, most) for figure, most in zip(figures, known, strict=True)]
            lines.append("| " + " | ".join([*map(markdown_cell, labels), *cells]) + " |")
        return "\n".join(lines) + "\n"

    def _best(self, figures: Sequence[Estimate]) -> float:
        return math.nan if self.best is None else leading(figures, self.best)

    def _cell(self, figure: Estimate, best: float) -> str:
        if math.isnan(figure.value):
            return "–"
        text = self._number(figure.value)
        # Figures that print alike cannot be told apart in the table, so all of them are in bold.
        text = f"**{text}**" if math.isfinite(best) and text == self._number(best) else text
        if math.isnan(figure.low):
            return text
        return f"{text} [{self._number(figure.low)}, {self._number(figure.high)}]"

    def _number(self, value: float) -> str:
        small = self.unit != "%" and 0 < abs(value) < 10**-self.decimals
        # z: what rounds to zero has no sign.
        return f"{value:.1e}" if small else f"{value:z.{self.decimals}f}"


def scaled(figure: Estimate, factor: float = 100.0) -> Estimate:
    """Returns the figure and its interval times ``factor``, which gives per cent by default."""
    return Estimate(*(factor * value for value in figure))


def accuracy_table(right: Mapping[str, Estimate]) -> Table:
    """Returns the table of how often networks are right, from which the report takes what it says of them first.

    Args:
      right: by network, the share of frames that are classified correctly.
    """
    rows = {(network,): [scaled(share)] for network, share in right.items()}
    return Table("accuracy", "Frames classified correctly", rows, ["accuracy"], ("network",))


def mean_of(figures: Sequence[Estimate]) -> Estimate:
    """Returns the mean of some figures, without an interval, since the figures are not independent."""
    return Estimate(sum(figure.value for figure in figures) / len(figures))


def write_contents(
    folder: Path,
    *,
    title: str,
    text: str,
    order: int,
    tables: Sequence[Table] = (),
    pictures: Sequence[tuple[str, str]] = (),
    viewer: str | None = None,
    glossary: str | None = None,
    alarms: Sequence[str] = (),
) -> None:
    """Writes the tables of a study, and ``contents.json``, which tells ``xrcam report`` what to show in which order.

    Args:
      folder: of the study.
      title: one line.
      text: what was done and what came out, a paragraph.
      order: place of the study among others.
      tables: to be written.
      pictures: files in the folder, each with its caption.
      viewer: a file in the folder, with pictures and maps to page through.
      glossary: a file in the folder, with what concepts look like.
      alarms: sentences that a page of the results begins with.
    """
    for table in tables:
        write_whole(folder / f"{table.file}.csv", table.csv().encode())
        write_whole(folder / f"{table.file}.md", table.markdown().encode())
    contents: dict[str, Any] = {
        "title": title,
        "text": text,
        "order": order,
        "tables": [
            {
                "file": f"{table.file}.csv",
                "title": table.title,
                "unit": table.unit,
                "best": table.best,
                "labels": len(table.labels),
                "decimals": table.decimals,
                "interval": table.interval,
            }
            for table in tables
        ],
        "pictures": [{"file": file, "caption": caption} for file, caption in pictures],
        "viewer": viewer,
        **({} if glossary is None else {"glossary": glossary}),
        **({"alarms": list(alarms)} if alarms else {}),
    }
    write_whole(folder / CONTENTS, (json.dumps(contents, indent=1) + "\n").encode())
    # The first two are what the thesis prints; the folder has all of them.
    show_markdown("\n".join(table.markdown() for table in tables[:2]))
    print(printable(f"{text}\nSee {folder}", lines=True))
