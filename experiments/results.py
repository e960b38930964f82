"""Reads the tables that the experiments of a reproduction wrote."""

import csv
from dataclasses import dataclass
from pathlib import Path

#: Figures by method, then column.
Rows = dict[str, dict[str, float]]
#: Columns that are not figures.
LABELS = ("method", "layer", "network")


@dataclass(frozen=True)
class Results:
    """Describes a folder of results and which networks they are of.

    Attributes:
      folder: has a folder for each experiment.
      plain: the network without Selective Kernel.
      sk: the network with it.
      other: another network.
    """

    folder: Path
    plain: str
    sk: str
    other: str

    def text(self, experiment: str, file: str) -> str:
        """Returns what a file of an experiment says."""
        return (self.folder / experiment / file).read_text(encoding="utf-8")

    def rows(self, experiment: str, table: str, network: str) -> Rows:
        """Returns the figures of one network in a table; cells without a figure are left out."""
        return {
            row["method"]: {name: float(value) for name, value in row.items() if name not in LABELS and value}
            for row in self.records(experiment, table, network)
        }

    def records(self, experiment: str, table: str, network: str) -> list[dict[str, str]]:
        """Returns the rows of one network in a table as they are written; a label may name the run's folder too."""
        with (self.folder / experiment / f"{table}.csv").open(newline="", encoding="utf-8") as file:
            return [row for row in csv.DictReader(file) if row["network"].startswith(network)]
