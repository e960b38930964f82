"""Writes what ``xrcam explain`` finds into a folder.

::

    summary.csv                       a row per picture, with the box that the network saw of it; of a network of one
                                      output, "score" is its sigmoid
    sheets/NAME.png                   of the first pictures: each with its layers and their aggregate, a row per method;
                                      methods that work at the input stand side by side
    comparison/NAME.png               with several methods: one a column, layers and aggregate as rows
    comparison/NAME_masks.png         the same, what is above each map's mean plus standard deviation
    overlays/METHOD/LAYER/NAME.png    each map on its picture, of its own size up to ``LARGEST_SIDE`` pixels a side
    maps/NAME.npz                     the maps at the network's resolution, and the logits
    risk/NAME.png                     of several passes, whose mean the maps then are: how they vary, a row per method
    risk/METHOD/LAYER/NAME.png        the variation at the picture's own size
    volumes/METHOD/LAYER/NAME.nii.gz  of slices of a volume in NIfTI: their maps as one, in the grid of its voxels
    volumes/NAME.png                  slices of it, a row per method
"""

import csv
import io
import json
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal, NamedTuple

import jax
import numpy as np
from jaxtyping import Float
from tqdm import tqdm

from xrcam_jax.classes import class_logits, softmax_logits
from xrcam_jax.commands.drawing import FORMATS, SHEETS, Drawing
from xrcam_jax.commands.risk import FOLDER, LARGEST_SIDE, Risk, write_risk
from xrcam_jax.commands.risk import sheet as risk_sheet
from xrcam_jax.commands.volumes import Slice, slice_of, write_volumes
from xrcam_jax.figures.overlay import overlay, reduced
from xrcam_jax.figures.sheet import save, sheet
from xrcam_jax.figures.style import Style
from xrcam_jax.pictures.preprocessing import Box, Preprocessing
from xrcam_jax.pictures.read import Picture
from xrcam_jax.pictures.write import save_picture
from xrcam_jax.runtime.devices import gather_bytes, is_first
from xrcam_jax.runtime.files import OF_ONE_FILE, naming, write_whole
from xrcam_jax.runtime.names import cell, printable

SUMMARY = "summary.csv"
COLUMNS = ("file", "name", "predicted", "label", "score", "target", "target_score", "depth", "pages", "window")
#: The part of the picture that the network saw, as in maps/NAME.npz.
BOX = ("top", "left", "bottom", "right")


class Result(NamedTuple):
    """Holds what was found for one picture, on the host.

    Attributes:
      logits: what the network returned.
      target: number of the class that was explained.
      maps: by method, then by layer or ``aggregate``, in [0, 1]; of several passes, their mean.
      risk: how the maps of several passes vary.
      signed: likewise, in [-1, 1], those of methods that tell evidence for the class from evidence against it.
    """

    logits: Float[np.ndarray, " n"]
    target: int
    maps: dict[str, dict[str, Float[np.ndarray, "h w"]]]
    risk: Risk | None = None
    signed: Mapping[str, dict[str, Float[np.ndarray, "h w"]]] = MappingProxyType({})

    @property
    def drawn(self) -> dict[str, dict[str, Float[np.ndarray, "h w"]]]:
        """The maps as figures show them."""
        return {method: self.signed.get(method, maps) for method, maps in self.maps.items()}

    @property
    def predicted(self) -> int:
        """The number of the class with the largest logit."""
        return int(np.argmax(class_logits(self.logits)))

    @property
    def blank(self) -> list[str]:
        """The methods whose maps show nothing."""
        return [method for method, maps in self.maps.items() if not any(each.any() for each in maps.values())]

    def score(self, output: int) -> float:
        """Returns what an output says as a probability: its softmax, or the sigmoid if it is the only one."""
        return self.probability(1 if len(self.logits) == 1 else output)

    def probability(self, index: int) -> float:
        """Returns the probability of a class."""
        logits = softmax_logits(self.logits)
        shifted = np.exp(logits.astype(np.float64) - logits.max())
        return float(shifted[index] / shifted.sum())

    def describe(self, labels: list[str] | None) -> str:
        """Names the predicted class and, if it is another, the explained one, with their scores.

        A network of one output has a single score, its probability of class 1.
        """
        one_output = len(self.logits) == 1
        lines = {self.predicted: "predicted"} | ({} if self.target == self.predicted else {self.target: "explained"})
        scores = {index: "" if one_output else f", score {self.score(index):.3f}" for index in lines}
        line = "; ".join(f"{what} {_class(index, labels)}{scores[index]}" for index, what in lines.items())
        line = f"score {self.score(0):.3f}, {line}" if one_output else line
        return f"{line}; {self.risk.describe(self.target)}" if self.risk else line


class Results:
    """Writes the folder of one run. Each file is whole or not there; the summary goes as far as the run went.

    Several processes share a folder. Each leaves the context when its pictures are written, waits there for the others,
    and gets a ConnectionError if one of them has failed.

    Args:
      folder: exists.
      config: how pictures are prepared for the network.
      labels: names of the classes, or None.
      report: called with a line that names each file that cannot be written for what it is called; the other pictures
        go on.
      also: names of the columns that the summary has more, see :func:`xrcam_jax.commands.risk.columns`.
      drawing: how maps are drawn, and of how many pictures there are sheets.
    """

    def __init__(
        self,
        folder: Path,
        config: Preprocessing,
        labels: list[str] | None,
        report: Callable[[str], None] = print,
        also: Sequence[str] = (),
        drawing: Drawing = Drawing(Style(), SHEETS, FORMATS[0]),
    ):
        self.drawing = drawing
        self.folder, self.config, self.labels, self._report = folder, config, labels, report
        self._together, self._header = jax.process_count(), _row((*COLUMNS, *BOX, *also))
        self._rows: list[tuple[int, str]] = []
        self._slices: list[tuple[int, Slice]] = []

    def __enter__(self) -> "Results":
        # Of several processes the first one keeps the summary. The rows of the others come at the end.
        path = self.folder / SUMMARY if is_first() else Path(os.devnull)
        with naming(path):
            self._file = path.open("wb", buffering=0)
        self._append(self._header)
        self._threads = ThreadPoolExecutor()
        return self

    def __exit__(self, kind: type | None, *_) -> None:
        self._threads.shutdown()
        self._file.close()
        if kind is None:
            self._gather()

    def write(self, batch: Sequence[tuple[Picture, Result]]) -> int:
        """Writes the files of each picture, adds it to the summary and prints a line; returns how many are written.

        Raises:
          OSError: the disk is full, or the folder no longer to be written to.
        """
        written = 0
        # Sheets take as long as all the rest: of one picture, too, there is something for another thread.
        parts = [self._threads.map(partial(self._tried, part), batch) for part in (self._write, self._write_sheets)]
        for (picture, result), *errors in zip(batch, *parts, strict=True):
            error = next(filter(None, errors), None)
            if error is None:
                self._record(picture, result)
                written += 1
            else:
                self._report(f"{error.filename}: {error.strerror}; {picture.source} is left out")
        return written

    @staticmethod
    def _tried(write: Callable[[Picture, Result], None], of: tuple[Picture, Result]) -> OSError | None:
        """Writes files of one picture; returns why one of them cannot be written that is no reason to stop."""
        try:
            write(*of)
        except OSError as error:
            if error.errno not in OF_ONE_FILE:
                raise
            return error
        return None

    def _append(self, row: str) -> None:
        """Adds a row to the summary, whole or not at all."""
        rest, start = memoryview(row.encode()), self._file.seek(0, os.SEEK_END)
        with naming(self.folder / SUMMARY):
            try:
                while rest:
                    rest = rest[self._file.write(rest) :]
            except OSError:
                self._file.truncate(start)
                raise

    def _gather(self) -> None:
        """Completes the summary with what other processes have done, and puts slices of volumes together."""
        parts = [json.loads(part) for part in gather_bytes(json.dumps([self._rows, self._slices]).encode())]
        if not is_first():
            return
        rows, slices = (sorted(each for part in parts for each in part[index]) for index in (0, 1))
        if self._together > 1:
            write_whole(self.folder / SUMMARY, "".join([self._header, *(row for _, row in rows)]).encode())
        write_volumes(self.folder, [Slice(*each) for _, each in slices], self._report, self.drawing.format)

    def _write(self, picture: Picture, result: Result) -> None:
        box, style = picture.seen(self.config), self.drawing.style
        shown, placed = reduced(picture.pixels, box, LARGEST_SIDE)
        for method, maps in result.drawn.items():
            for layer, each in maps.items():
                laid = overlay(shown, each, style, signed=method in result.signed, box=placed)
                save_picture(self.folder / "overlays" / method / layer / f"{picture.name}.png", laid)
        if result.risk is not None:
            write_risk(self.folder / FOLDER, picture.name, picture.pixels, box, result.maps, result.risk)
        write_whole(self.folder / "maps" / f"{picture.name}.npz", _npz(result, box), synced=False)

    def _write_sheets(self, picture: Picture, result: Result) -> None:
        if picture.number >= self.drawing.sheets:
            return
        box = picture.seen(self.config)
        maps = {method: {layer: each[None] for layer, each in by.items()} for method, by in result.drawn.items()}
        title, suffix = f"{picture.name}: {result.describe(self.labels)}", self.drawing.format

        def write(path: Path, title: str, style: Style, columns: Literal["layers", "methods"]) -> None:
            signed, shown = tuple(result.signed), [picture.pixels]
            figure = sheet(shown, maps, titles=[title], signed=signed, style=style, boxes=[box], columns=columns)
            save(figure, self.folder / path)

        style, compared = self.drawing.style, Path("comparison")
        write(Path("sheets", f"{picture.name}.{suffix}"), title, style, "layers")
        if len(maps) > 1:
            write(compared / f"{picture.name}.{suffix}", title, style, "methods")
            masks = replace(style, look="mask", share=None)
            write(compared / f"{picture.name}_masks.{suffix}", f"{title}; above mean + deviation", masks, "methods")
        if result.risk is not None:
            spread = risk_sheet(picture.pixels, box, result.maps, result.risk, title, style)
            save(spread, self.folder / FOLDER / f"{picture.name}.{suffix}")

    def _record(self, picture: Picture, result: Result) -> None:
        predicted, target = result.predicted, result.target
        label = self.labels[predicted] if self.labels else ""
        score = result.score(0 if len(result.logits) == 1 else predicted)
        found = predicted, label, f"{score:.6f}", target, f"{result.probability(target):.6f}"
        facts, box = picture.facts, picture.seen(self.config)
        sure = result.risk.cells(target, result.maps) if result.risk else ()
        row = _row((str(picture.source), picture.name, *found, facts.depth, facts.pages, facts.window, *box, *sure))
        if (place := slice_of(picture, self.config)) is not None:
            self._slices.append((picture.number, place))
        if self._together > 1:
            self._rows.append((picture.number, row))
        self._append(row)
        line = f"{picture.name}: {result.describe(self.labels)}"
        if result.blank:
            line += f"; nothing speaks for {_class(target, self.labels)} by {', '.join(result.blank)}"
        tqdm.write(printable(line))


def _row(values: Iterable[Any]) -> str:
    text = io.StringIO()
    csv.writer(text).writerow(map(cell, values))
    return text.getvalue()


def _class(index: int, labels: list[str] | None) -> str:
    return f"class {index} ({labels[index]})" if labels else f"class {index}"


def _npz(result: Result, box: Box) -> bytes:
    """Returns an archive with keys ``METHOD/LAYER``, ``logits``, ``target`` and ``box``, what the network saw.

    Of several passes there are also those of :meth:`xrcam_jax.commands.risk.Risk.arrays`.

    The box is (top, left, bottom, right) in the picture's pixels.
    """
    arrays: dict[str, Any] = {"logits": result.logits, "target": result.target, "box": np.asarray(box)}
    for method, maps in result.maps.items():
        arrays |= {f"{method}/{layer}": saliency for layer, saliency in maps.items()}
    arrays |= result.risk.arrays() if result.risk else {}
    content = io.BytesIO()
    np.savez_compressed(content, **arrays)
    return content.getvalue()
