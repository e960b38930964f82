"""Reading the results of experiments from a folder: figures, pictures, settings and frames to look at."""

import csv
import io
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from xrcam_jax.pictures.decode import format_and_size
from xrcam_jax.report.checked import expect, is_index, is_number, read_bytes, read_object, read_text
from xrcam_jax.report.frames import read_frames
from xrcam_jax.report.glossary import Glossary, read_glossary
from xrcam_jax.runtime.texts import read_json

CONTENTS, SETTINGS = "contents.json", "settings.json"
BESTS = ("max", "min", None)
#: With fewer than this, the two signs of each give no paired test a chance of less than 5 %: 2 / 2^5 is more.
FEWEST = 6
MIMES = {"PNG": "image/png", "JPEG": "image/jpeg"}


@dataclass(frozen=True)
class Figure:
    """A number and its confidence interval, each None where there is none.

    Attributes:
      value: the number.
      low: lower end of its interval.
      high: upper end of its interval.
    """

    value: float | None
    low: float | None
    high: float | None


@dataclass(frozen=True)
class Row:
    """A row of a table.

    Attributes:
      labels: what it is about.
      figures: one for each column of figures.
    """

    labels: tuple[str, ...]
    figures: tuple[Figure, ...]


@dataclass(frozen=True)
class ResultTable:
    """A table of an experiment's results.

    Attributes:
      name: of its file, without the ending.
      title: one line.
      unit: of all figures, or empty.
      best: ``"max"`` or ``"min"``, whichever is better; None where neither is.
      decimals: how many are shown.
      labels: what the first columns are called.
      columns: what the figures are called.
      rows: from top to bottom.
      interval: what the two ends beside each figure are.
    """

    name: str
    title: str
    unit: str
    best: Literal["max", "min"] | None
    decimals: int
    labels: tuple[str, ...]
    columns: tuple[str, ...]
    rows: tuple[Row, ...]
    interval: str


@dataclass(frozen=True)
class EncodedPicture:
    """A picture as it is encoded in its file.

    Attributes:
      caption: one line, or empty.
      mime: its type, such as ``image/png``.
      width: in pixels.
      height: in pixels.
      content: bytes of the file.
    """

    caption: str
    mime: str
    width: int
    height: int
    content: bytes


@dataclass(frozen=True)
class Experiment:
    """An experiment holds all that a page shows of it.

    Attributes:
      folder: name of its folder.
      title: one line.
      text: paragraphs, with empty lines between them.
      order: where it stands among the others.
      tables: of its figures.
      pictures: plots and sheets.
      settings: nested, as recorded; ``settings["data"]`` is an object that says where the data came from.
      frames: what :func:`xrcam_jax.report.frames.read_frames` returns, or None.
      glossary: of a network's concepts, or None.
      alarms: sentences that the page begins with.
    """

    folder: str
    title: str
    text: str
    order: float
    tables: tuple[ResultTable, ...]
    pictures: tuple[EncodedPicture, ...]
    settings: dict[str, Any]
    frames: dict[str, Any] | None
    glossary: Glossary | None = None
    alarms: tuple[str, ...] = ()

    @property
    def synthetic(self) -> bool | None:
        """Says whether the data were drawn; None where that is not recorded."""
        return self.settings["data"].get("synthetic")

    @property
    def networks(self) -> tuple[str, ...]:
        """The names of the networks that it is about; none where that is not recorded."""
        networks = self.settings.get("networks")
        return tuple(networks) if isinstance(networks, dict) else ()

    @property
    def frames_and_patients(self) -> tuple[int | None, int | None]:
        """How many frames it looked at, and of how many patients; None where that is not recorded."""
        frames, patients = (self.settings["data"].get(name) for name in ("frames", "patients"))
        return frames if is_index(frames, sys.maxsize) else None, patients if is_index(patients, sys.maxsize) else None

    @property
    def too_few(self) -> bool:
        """Says whether its intervals are over too few patients, or frames of one patient, to tell anything apart."""
        frames, patients = self.frames_and_patients
        units = frames if patients == 1 else patients
        return units is not None and units < FEWEST


def read_experiments(folder: Path) -> tuple[Experiment, ...]:
    """Reads the experiments of a folder.

    Args:
      folder: each of its direct subfolders that has a ``contents.json`` is an experiment.

    Returns:
      The experiments, in the order that they ask for.

    Raises:
      ValueError: there is none, or names the file that is missing or broken.

    Example:
      >>> import json
      >>> import tempfile
      >>> from pathlib import Path
      >>> from xrcam_jax.report.read import read_experiments
      >>> with tempfile.TemporaryDirectory() as folder:
      ...     (Path(folder) / "speed").mkdir()
      ...     contents = {"title": "Speed", "text": "", "order": 1}
      ...     _ = (Path(folder) / "speed" / "contents.json").write_text(json.dumps(contents))
      ...     _ = (Path(folder) / "speed" / "settings.json").write_text('{"data": {"synthetic": true}}')
      ...     [(one.folder, one.title, one.synthetic) for one in read_experiments(Path(folder))]
      [('speed', 'Speed', True)]
    """
    if not folder.is_dir():
        raise ValueError(f"{folder}: expected a folder with results of experiments, found no folder")
    found = sorted(path.parent for path in folder.glob(f"*/{CONTENTS}"))
    if not found:
        begun = "".join(f"; {name} is not finished" for name in unfinished(folder))
        expected = f"expected folders of experiments, each with a {CONTENTS}"
        raise ValueError(f"{folder}: {expected}, found none{begun}{_where_they_are(folder)}")
    return tuple(sorted(map(_read_experiment, found), key=lambda experiment: (experiment.order, experiment.folder)))


def _where_they_are(folder: Path) -> str:
    """Names the folder above, or one below, that has the experiments that ``folder`` itself has not."""
    if (folder / CONTENTS).exists():
        # A path such as "." has no name, and its parent is itself.
        return f"; did you mean {folder.parent if folder.name not in ('', '..') else folder / '..'}?"
    below = sorted(path.parents[1] for path in folder.glob(f"*/*/{CONTENTS}"))
    return f"; did you mean {below[0]}?" if below else ""


def unfinished(folder: Path) -> tuple[str, ...]:
    """Returns the names of the experiments of a folder that were begun and have not come to their end.

    An experiment first writes its name into ``settings.json``, and ``contents.json`` last of all.

    Args:
      folder: of the experiments.

    Example:
      >>> import tempfile
      >>> from pathlib import Path
      >>> from xrcam_jax.report.read import unfinished
      >>> with tempfile.TemporaryDirectory() as folder:
      ...     (Path(folder) / "concepts").mkdir()
      ...     _ = (Path(folder) / "concepts" / "settings.json").write_text('{"experiment": "concepts"}')
      ...     unfinished(Path(folder))
      ('concepts',)
    """
    begun = (path for path in sorted(folder.glob(f"*/{SETTINGS}")) if not (path.parent / CONTENTS).exists())
    return tuple(path.parent.name for path in begun if _is_of_experiment(path))


def _is_of_experiment(settings: Path) -> bool:
    """Says whether settings are an experiment's; other folders have a file of that name too, such as of a training."""
    try:
        content = read_json(settings)
    except (OSError, ValueError):
        return False
    return isinstance(content, dict) and "experiment" in content


def _read_experiment(folder: Path) -> Experiment:
    path = folder / CONTENTS
    contents = read_object(path, "what an experiment found, a JSON object")
    for key in ("title", "text"):
        expect(isinstance(contents.get(key), str), f"{path}: {key}", "text", contents.get(key))
    expect(is_number(contents.get("order")), f"{path}: order", "a number", contents.get("order"))
    viewer, glossary = contents.get("viewer"), contents.get("glossary")
    for key, file in (("viewer", viewer), ("glossary", glossary)):
        expect(file is None or isinstance(file, str), f"{path}: {key}", "the name of a file, or null", file)

    alarms = contents.get("alarms", [])
    fits = isinstance(alarms, list) and all(isinstance(alarm, str) for alarm in alarms)
    expect(fits, f"{path}: alarms", "a list of text", alarms)

    settings = read_object(folder / SETTINGS, "the experiment's settings, a JSON object")
    data = settings.get("data")
    expect(isinstance(data, dict), f"{folder / SETTINGS}: data", "an object that says where the data came from", data)
    synthetic = settings["data"].get("synthetic")
    fits = synthetic is None or isinstance(synthetic, bool)
    expect(fits, f"{folder / SETTINGS}: data: synthetic", "true, false or null", synthetic)
    return Experiment(
        folder=folder.name,
        title=contents["title"],
        text=contents["text"],
        order=contents["order"],
        tables=tuple(_read_table(path, entry) for entry in _entries(path, contents, "tables")),
        pictures=tuple(_read_picture(path, entry) for entry in _entries(path, contents, "pictures")),
        settings=settings,
        frames=None if viewer is None else read_frames(_beside(path, viewer)),
        glossary=None if glossary is None else read_glossary(_beside(path, glossary)),
        alarms=tuple(alarms),
    )


def _entries(path: Path, contents: dict[str, Any], key: str) -> list[dict[str, Any]]:
    entries = contents.get(key, [])
    fits = isinstance(entries, list) and all(isinstance(entry, dict) for entry in entries)
    expect(fits, f"{path}: {key}", "a list of objects", entries)
    for entry in entries:
        expect(isinstance(entry.get("file"), str), f"{path}: {key}: file", "the name of a file", entry.get("file"))
    return entries


def _beside(path: Path, name: str) -> Path:
    """Returns the file of that name in the folder of ``path``; files from elsewhere might not be meant to be shown."""
    expect("\0" not in name, path, "names of files", name)
    inside = (path.parent / name).resolve().is_relative_to(path.parent.resolve())
    expect(inside, path, f"files in {path.parent}", name)
    return path.parent / name


def _read_table(contents: Path, entry: dict[str, Any]) -> ResultTable:
    where, labels = f"{contents}: {entry['file']}", entry.get("labels", 1)
    expect(isinstance(entry.get("title"), str), f"{where}: title", "text", entry.get("title"))
    unit = entry.get("unit") or ""
    expect(isinstance(unit, str), f"{where}: unit", "text or null", unit)
    expect(entry.get("best") in BESTS, f"{where}: best", '"max", "min" or null', entry.get("best"))
    expect(is_index(labels, 100), f"{where}: labels", "a number of columns", labels)
    decimals = entry.get("decimals", 2)
    expect(is_index(decimals, 16), f"{where}: decimals", "a number from 0 to 15", decimals)
    interval = entry.get("interval", "95 % confidence interval")
    expect(isinstance(interval, str), f"{where}: interval", "text", interval)
    header, names, rows = _read_csv(_beside(contents, entry["file"]), labels)
    return ResultTable(
        name=Path(entry["file"]).stem,
        title=entry["title"],
        unit=unit,
        best=entry.get("best"),
        decimals=decimals,
        labels=header,
        columns=names,
        rows=rows,
        interval=interval,
    )


def _read_csv(path: Path, labels: int) -> tuple[tuple[str, ...], tuple[str, ...], tuple[Row, ...]]:
    """Reads the names of the labels and of the figures, and the rows; each figure has three columns."""
    text = read_text(path, "a table in CSV")
    try:
        lines = [line for line in csv.reader(io.StringIO(text, newline=""), strict=True) if line]
    except csv.Error as error:
        raise ValueError(f"{path}: expected a table in CSV, found a broken one ({error})") from error
    expect(bool(lines), path, "a header row", "an empty file", quoted=False)
    header, *body = lines
    names = tuple(header[labels::3])
    expected = [*header[:labels], *(f"{name}{ending}" for name in names for ending in ("", " low", " high"))]
    layout = f"{labels} columns of labels, then NAME, NAME low, NAME high for each figure"
    expect(header == expected and bool(names), f"{path}: header", layout, header)
    rows = []
    for number, line in enumerate(body, 2):
        where = f"{path}: row {number}"
        expect(len(line) == len(header), where, f"{len(header)} columns", len(line))
        rows.append(Row(tuple(line[:labels]), _figures(where, line[labels:])))
    return tuple(header[:labels]), names, tuple(rows)


def _figures(where: str, cells: Sequence[str]) -> tuple[Figure, ...]:
    figures = tuple(
        Figure(*(_number(where, cell) for cell in cells[start : start + 3])) for start in range(0, len(cells), 3)
    )
    for figure in figures:
        whole = (figure.low is None) == (figure.high is None)
        expect(whole, where, "both ends of an interval, or neither", (figure.low, figure.high))
    return figures


def _number(where: str, cell: str) -> float | None:
    try:
        return float(cell) if cell.strip() else None
    except ValueError:
        raise ValueError(f"{where}: expected a number or nothing, found {cell!r}") from None


def _read_picture(contents: Path, entry: dict[str, Any]) -> EncodedPicture:
    caption = entry.get("caption", "")
    expect(isinstance(caption, str), f"{contents}: {entry['file']}: caption", "text", caption)
    path, expected = _beside(contents, entry["file"]), "a PNG or JPEG picture"
    content = read_bytes(path, expected)
    try:
        kind, (width, height) = format_and_size(content, list(MIMES))
    except ValueError as error:
        raise ValueError(f"{path}: expected {expected}, found something else ({error})") from error
    return EncodedPicture(caption, MIMES[kind], width, height, content)
