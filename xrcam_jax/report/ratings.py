"""Reading the ratings that readers have exported from the page of ``xrcam read``, checked line by line."""

import csv
import io
import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from xrcam_jax.report.checked import expect, is_number, read_text

COLUMNS = (
    *("reader", "pair", "frame", "patient", "method left", "method right"),
    *("preference", "rating", "seconds", "marks"),
)
PREFERENCES = ("left", "equal", "right")
#: The largest number that a reader can give; the smallest is 1.
MOST = 5


@dataclass(frozen=True)
class Rating:
    """What one reader says of one pair of maps.

    Attributes:
      reader: who says it.
      pair: its number, the same for all readers of a page.
      frame: of which the maps are.
      patient: whose frame it is.
      left: the method of the map on the left.
      right: that of the one on the right.
      preference: ``left``, ``equal`` or ``right``.
      rating: from 1 to 5.
      seconds: that it took.
      marks: polygons of [x, y] in pixels of the frame.
    """

    reader: str
    pair: int
    frame: str
    patient: str
    left: str
    right: str
    preference: str
    rating: int
    seconds: float
    marks: list[list[list[float]]]

    @property
    def methods(self) -> tuple[str, str]:
        """The two methods by name, whichever was on the left."""
        first, second = sorted((self.left, self.right))
        return first, second

    @property
    def outcome(self) -> int:
        """1 if the first of the two methods was preferred, -1 if the second was, 0 if they were equal."""
        preferred = {"left": self.left, "right": self.right}.get(self.preference)
        return 0 if preferred is None else 1 if preferred == self.methods[0] else -1


def read_ratings(paths: Sequence[Path]) -> dict[str, dict[int, Rating]]:
    """Reads the ratings of all readers of one page.

    Args:
      paths: of files, each as the page exports it.

    Returns:
      By reader, in the order of the files, and by pair.

    Raises:
      ValueError: naming the file and the line where something is wrong, is there twice, or is of another page than what
        came before.

    Example:
      >>> import tempfile
      >>> from pathlib import Path
      >>> from xrcam_jax.report.ratings import COLUMNS, read_ratings
      >>> with tempfile.TemporaryDirectory() as folder:
      ...     path = Path(folder) / "ratings_A.csv"
      ...     _ = path.write_text(f"{','.join(COLUMNS)}\\nA,1,a,p1,lrp,cam,left,4,2.5,[]\\n")
      ...     {reader: [(one.pair, one.methods, one.outcome) for one in by_pair.values()]
      ...      for reader, by_pair in read_ratings([path]).items()}
      {'A': [(1, ('cam', 'lrp'), -1)]}
    """
    found: dict[str, dict[int, Rating]] = {}
    pairs: dict[int, tuple[str, tuple[str, ...]]] = {}
    for path in paths:
        for line, rating in _read(path):
            where, shown = f"{path}: line {line}", (rating.frame, rating.patient, *rating.methods)
            before, known = pairs.setdefault(rating.pair, (where, shown))
            same = f"pair {rating.pair} of the frame and methods of {before}"
            expect(shown == known, where, same, "others; is the file of another page?", quoted=False)
            of_reader = found.setdefault(rating.reader, {})
            once = f"each pair once from reader {rating.reader}"
            expect(rating.pair not in of_reader, where, once, f"pair {rating.pair} again", quoted=False)
            of_reader[rating.pair] = rating
    return found


def _read(path: Path) -> Iterator[tuple[int, Rating]]:
    """Yields the ratings of a file, each with the line that it begins in."""
    reader = csv.reader(io.StringIO(read_text(path, "ratings in CSV"), newline=""), strict=True)
    line, rows = 1, 0
    try:
        for cells in reader:
            where = f"{path}: line {line}"
            if line == 1:
                _check_columns(where, cells)
            elif cells:
                yield line, _rating(where, cells)
                rows += 1
            line = reader.line_num + 1
    except csv.Error as error:
        raise ValueError(f"{path}: line {line}: expected CSV, found broken CSV ({error})") from error
    expect(rows > 0, f"{path}: line {line}", "ratings below the names of the columns", "none", quoted=False)


def _check_columns(where: str, cells: list[str]) -> None:
    """Refuses other columns than those of an exported file, and says in what they differ."""
    for separator, name in ((";", "semicolons"), ("\t", "tabs")):
        apart = len(cells) < len(COLUMNS) and set(COLUMNS) <= set(separator.join(cells).split(separator))
        expect(not apart, where, "columns with commas between them, as the page exports them", name, quoted=False)
    lists = {
        "missing": [name for name in COLUMNS if name not in cells],
        "unknown": [f"{cell[:40]!r}" for cell in cells if cell not in COLUMNS],
        "twice": [name for name in COLUMNS if cells.count(name) > 1],
    }
    differ = "; ".join(f"{what}: {', '.join(names[:10])}" for what, names in lists.items() if names)
    fits, expected = tuple(cells) == COLUMNS, f"the columns {', '.join(COLUMNS)}"
    expect(fits, where, expected, f"others ({differ})" if differ else "them in another order", quoted=False)


def _rating(where: str, cells: list[str]) -> Rating:
    expect(len(cells) == len(COLUMNS), where, f"{len(COLUMNS)} cells", len(cells))
    reader, pair, frame, patient, left, right, preference, rating, seconds, marks = cells
    expect(bool(reader.strip()), f"{where}: reader", "a name", reader)
    expect(_is_whole(pair), f"{where}: pair", "a number from 1", pair)
    expect(bool(left and right) and left != right, where, "two different methods", [left, right])
    expect(preference in PREFERENCES, f"{where}: preference", "left, equal or right", preference)
    fits = _is_whole(rating) and int(rating) <= MOST
    expect(fits, f"{where}: rating", f"a number from 1 to {MOST}", rating)
    return Rating(
        reader=reader,
        pair=int(pair),
        frame=frame,
        patient=patient,
        left=left,
        right=right,
        preference=preference,
        rating=int(rating),
        seconds=_seconds(f"{where}: seconds", seconds),
        marks=_marks(f"{where}: marks", marks),
    )


def _is_whole(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) < 10 and int(text) > 0


def _seconds(where: str, text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    expect(0 <= value < math.inf, where, "a number from 0", text)
    return value


def _marks(where: str, text: str) -> list[list[list[float]]]:
    try:
        content = json.loads(text)
    except (ValueError, RecursionError):
        content = None
    expect(_is_list(content, _is_mark), where, "polygons as lists of three or more [x, y], or []", text)
    return list(content or ())


def _is_list(value: Any, fits: Any) -> bool:
    return isinstance(value, list) and all(map(fits, value))


def _is_mark(value: Any) -> bool:
    return _is_list(value, _is_point) and len(value) > 2


def _is_point(value: Any) -> bool:
    return _is_list(value, lambda part: is_number(part) and math.isfinite(part)) and len(value) == 2
