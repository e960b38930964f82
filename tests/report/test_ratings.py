"""Ratings are read as they were exported, and what is wrong in a file is said once, with file and line."""

import pytest

from xrcam_jax.report.ratings import COLUMNS, read_ratings

HEADER = ",".join(COLUMNS)
NAMED = ", ".join(COLUMNS)
EXPECTED, COMMAS = f"the columns {NAMED}", "columns with commas between them, as the page exports them"
ROW = "Ada,1,P1/a,P1,lrp,grad_cam,left,4,2.5,[]"


def written(path, *lines):
    path.write_text("\r\n".join([*lines, ""]), encoding="utf-8")
    return path


def test_a_line_is_a_rating(tmp_path):
    marks = '"[[[0, 1.5], [3, 1], [2, 2]]]"'
    second = f'Ada,2,"P2/a ""b"",\nc",P2,grad_cam,lrp,equal,5,0,{marks}'
    path = written(tmp_path / "a.csv", f"\ufeff{HEADER}", ROW, second, "")
    first, other = read_ratings([path])["Ada"].values()
    assert (first.pair, first.left, first.right, first.rating, first.seconds) == (1, "lrp", "grad_cam", 4, 2.5)
    assert (first.methods, first.outcome) == (("grad_cam", "lrp"), -1)
    assert (other.frame, other.patient, other.outcome) == ('P2/a "b",\nc', "P2", 0)
    assert other.marks == [[[0, 1.5], [3, 1], [2, 2]]]


@pytest.mark.parametrize(
    ("left", "right", "preference", "outcome"),
    [("a", "b", "left", 1), ("b", "a", "left", -1), ("a", "b", "right", -1), ("b", "a", "right", 1)],
)
def test_sides_do_not_count(tmp_path, left, right, preference, outcome):
    path = written(tmp_path / "a.csv", HEADER, f"Ada,1,f,P1,{left},{right},{preference},4,2.5,[]")
    assert read_ratings([path])["Ada"][1].outcome == outcome


def changed(column, value):
    cells = ROW.split(",")
    cells[COLUMNS.index(column)] = value
    return ",".join(cells)


@pytest.mark.parametrize(
    ("lines", "complaint"),
    [
        ([], "line 1: expected ratings below the names of the columns, found none"),
        ([HEADER], "line 2: expected ratings below the names of the columns, found none"),
        (["a,b", ROW], f"line 1: expected {EXPECTED}, found others (missing: {NAMED}; unknown: 'a', 'b')"),
        ([HEADER.removesuffix(",marks"), ROW], f"line 1: expected {EXPECTED}, found others (missing: marks)"),
        ([f"{HEADER},notes", ROW], f"line 1: expected {EXPECTED}, found others (unknown: 'notes')"),
        ([f"{HEADER},pair", ROW], f"line 1: expected {EXPECTED}, found others (twice: pair)"),
        ([",".join(COLUMNS[::-1]), ROW], f"line 1: expected {EXPECTED}, found them in another order"),
        ([";".join(COLUMNS), ROW.replace(",", ";")], f"line 1: expected {COMMAS}, found semicolons"),
        (["\t".join(COLUMNS), ROW.replace(",", "\t")], f"line 1: expected {COMMAS}, found tabs"),
        ([HEADER, ROW, "Ada,2"], "line 3: expected 10 cells, found 2"),
        ([HEADER, changed("reader", " ")], "line 2: reader: expected a name, found ' '"),
        ([HEADER, changed("pair", "0")], "line 2: pair: expected a number from 1, found '0'"),
        ([HEADER, changed("pair", "1.5")], "line 2: pair: expected a number from 1, found '1.5'"),
        (
            [HEADER, changed("method left", "grad_cam")],
            "line 2: expected two different methods, found ['grad_cam', 'grad_cam']",
        ),
        ([HEADER, changed("preference", "both")], "line 2: preference: expected left, equal or right, found 'both'"),
        ([HEADER, changed("rating", "6")], "line 2: rating: expected a number from 1 to 5, found '6'"),
        ([HEADER, changed("rating", "")], "line 2: rating: expected a number from 1 to 5, found ''"),
        ([HEADER, changed("rating", "²")], "line 2: rating: expected a number from 1 to 5, found '²'"),
        ([HEADER, changed("seconds", "soon")], "line 2: seconds: expected a number from 0, found 'soon'"),
        ([HEADER, changed("seconds", "nan")], "line 2: seconds: expected a number from 0, found 'nan'"),
        ([HEADER, changed("marks", "[[]]")], "line 2: marks: expected polygons as lists of three or more"),
        ([HEADER, changed("marks", "1")], "line 2: marks: expected polygons"),
        ([HEADER, changed("marks", '"[[[0,0],[1,1],[1,NaN]]]"')], "line 2: marks: expected polygons"),
        ([HEADER, changed("marks", "[" * 99999)], "line 2: marks: expected polygons"),
        ([HEADER, ROW, changed("reader", '"Ada')], "line 3: expected CSV, found broken CSV"),
        ([HEADER, ROW, ROW], "line 3: expected each pair once from reader Ada, found pair 1 again"),
        (
            [HEADER, ROW, changed("reader", "Bo").replace("lrp", "cam")],
            "line 3: expected pair 1 of the frame and methods",
        ),
    ],
)
def test_what_is_wrong_is_named_by_file_and_line(tmp_path, lines, complaint):
    path = written(tmp_path / "a.csv", *lines)
    with pytest.raises(ValueError, match=r"a\.csv") as raised:
        read_ratings([path])
    message = str(raised.value)
    assert message.startswith(f"{path}: {complaint}")
    assert "\n" not in message


def test_files_of_two_pages_do_not_go_together(tmp_path):
    first = written(tmp_path / "a.csv", HEADER, ROW)
    other = written(tmp_path / "b.csv", HEADER, changed("reader", "Bo").replace("P1/a", "P1/b"))
    with pytest.raises(
        ValueError,
        match=r"b\.csv: line 2: expected pair 1 of the frame and methods of .*a\.csv: line 2, found others; is the",
    ):
        read_ratings([first, other])
    # The same reader in two files, once more.
    with pytest.raises(ValueError, match=r"b\.csv: line 2: expected each pair once from reader Ada"):
        read_ratings([first, written(tmp_path / "b.csv", HEADER, ROW)])


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(ValueError, match=r"gone\.csv: expected ratings in CSV, found none that can be read"):
        read_ratings([tmp_path / "gone.csv"])
