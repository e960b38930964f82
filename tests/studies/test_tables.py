"""Tables in Markdown have the best in bold and a dash for no figure; as CSV they lose no digit."""

import csv
import io
import json
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from xrcam_jax.metrics.uncertainty import Estimate
from xrcam_jax.studies.tables import Table, mean_of, scaled, write_contents

NOTHING = Estimate(math.nan)
FIGURES = st.one_of(
    st.just(NOTHING),
    st.builds(Estimate, st.floats(-1e6, 1e6), st.floats(-1e6, 1e6), st.floats(-1e6, 1e6)),
    st.builds(Estimate, st.sampled_from([0.0, 0.004, 12.345, math.inf])),
)


def cells(table):
    """Returns the rows of the Markdown, by column."""
    lines = [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in table.markdown().splitlines()
        if line.startswith("| ")
    ]
    return [dict(zip(lines[0], line, strict=True)) for line in lines[1:]]


def table(*rows, columns=("a",), **options):
    named = {(f"m{i}",): row for i, row in enumerate(rows)}
    return Table("file", "A title", named, columns, **options)


def test_markdown_to_the_letter():
    shown = Table(
        "iou",
        "Overlap",
        {("x", "net"): [Estimate(31.827, 30.1, 33.449), Estimate(5.0)], ("y", "net"): [NOTHING, Estimate(7.004, 7, 8)]},
        ["layer1", "layer2"],
        ("method", "network"),
    )
    assert shown.markdown() == (
        "**Overlap** (%)\n"
        "\n"
        "| method | network | layer1 | layer2 |\n"
        "|---|---|---:|---:|\n"
        "| x | net | **31.83** [30.10, 33.45] | 5.00 |\n"
        "| y | net | – | **7.00** [7.00, 8.00] |\n"
    )
    assert shown.csv() == (
        "method,network,layer1,layer1 low,layer1 high,layer2,layer2 low,layer2 high\n"
        "x,net,31.827,30.1,33.449,5.0,,\n"
        "y,net,,,,7.004,7.0,8.0\n"
    )


@given(st.lists(st.lists(FIGURES, min_size=2, max_size=2), min_size=1, max_size=4))
def test_csv_holds_every_digit(rows):
    read = list(csv.reader(io.StringIO(table(*rows, columns=("a", "b")).csv())))
    assert read[0] == ["method", "a", "a low", "a high", "b", "b low", "b high"]
    for (label, *values), figures in zip(read[1:], rows, strict=True):
        assert label in ("m0", "m1", "m2", "m3")
        expected = [value for figure in figures for value in figure]
        for text, value in zip(values, expected, strict=True):
            assert text == "" if math.isnan(value) else float(text) == value


@given(st.lists(FIGURES, min_size=1, max_size=5), st.sampled_from(["max", "min"]))
def test_the_best_is_bold(figures, best):
    """So are those that print the same; infinite ones never are, and dashes neither."""
    figures = [Estimate(figure.value) for figure in figures]
    found = cells(table(*([figure] for figure in figures), best=best))
    finite = [figure.value for figure in figures if math.isfinite(figure.value)]
    most = (max if best == "max" else min)(finite, default=None)
    for row, figure in zip(found, figures, strict=True):
        bold, number = "**" in row["a"], row["a"].partition(" [")[0].strip("*")
        if math.isnan(figure.value):
            assert row["a"] == "–"
        elif math.isinf(figure.value):
            assert not bold
        elif figure.value == most:
            assert bold
        elif bold:
            assert float(number) == pytest.approx(most, rel=0.06, abs=0.0051)
        if bold:
            assert float(number) == pytest.approx(figure.value, rel=0.06, abs=0.0051)


@given(st.lists(FIGURES, min_size=2, max_size=5), st.sampled_from(["max", "min"]))
def test_what_may_not_be_the_best_is_not_bold(figures, best):
    """If anything is in bold, the interval of the best has no other figure in it."""
    found = cells(table(*([figure] for figure in figures), best=best))
    if any("**" in row["a"] for row in found):
        finite = [figure for figure in figures if math.isfinite(figure.value)]
        pick = max if best == "max" else min
        leader = pick(finite, key=lambda figure: figure.value)
        others = [figure for figure in finite if figure is not leader]
        assert not any(leader.low <= other.value <= leader.high for other in others)


def test_a_winner_whose_interval_holds_the_next_one():
    first = Estimate(50.0, 45.0, 55.0)
    sure, unsure = table([first], [Estimate(44.0)]), table([first], [Estimate(46.0)])
    assert [row["a"] for row in cells(sure)] == ["**50.00** [45.00, 55.00]", "44.00"]
    assert [row["a"] for row in cells(unsure)] == ["50.00 [45.00, 55.00]", "46.00"]


def test_ties_are_all_bold():
    """Figures tie if they cannot be told apart in print."""
    rows = [Estimate(value) for value in (0.501, 0.499, 0.504, 0.506)]
    shown = [row["a"] for row in cells(table(*([row] for row in rows[:3])))]
    assert shown == ["**0.50**"] * 3
    shown = [row["a"] for row in cells(table(*([row] for row in rows)))]
    assert shown == ["0.50", "0.50", "0.50", "**0.51**"]
    shown = [row["a"] for row in cells(table(*([row] for row in rows), best="min", decimals=3))]
    assert shown == ["0.501", "**0.499**", "0.504", "0.506"]


def test_what_is_there_to_compare_with_is_not_the_best():
    """A disc that never looks may have the highest figure of all, also one that prints like the best."""
    figures = {"(centred disc)": (9.0, 2.0), "x": (2.0, 2.0), "y": (1.0, 1.0)}
    rows = {(name,): [Estimate(value) for value in values] for name, values in figures.items()}
    lines = Table("iou", "Overlap", rows, ["a", "b"]).markdown().splitlines()[-3:]
    assert lines == ["| (centred disc) | 9.00 | 2.00 |", "| x | **2.00** | **2.00** |", "| y | 1.00 | 1.00 |"]


def test_where_neither_is_best_nothing_is_bold():
    shown = table([Estimate(1.0)], [Estimate(2.0)], best=None, unit="")
    assert [row["a"] for row in cells(shown)] == ["1.00", "2.00"]
    assert shown.markdown().startswith("**A title**\n")


def test_small_numbers_keep_their_size():
    """Errors of 1e-7 are told from zero beside some of 0.5."""
    rows = [Estimate(1.6e-7), Estimate(0.5), Estimate(-0.00004), Estimate(0.0), Estimate(0.0001)]
    shown = [row["a"] for row in cells(table(*([row] for row in rows), best=None, unit="", decimals=4))]
    assert shown == ["1.6e-07", "0.5000", "-4.0e-05", "0.0000", "0.0001"]


def test_percentages_are_written_alike_and_zero_has_no_sign():
    rows = [Estimate(-0.086), Estimate(0.6), Estimate(-0.04, -0.06, 0.04), Estimate(-0.0)]
    shown = [row["a"] for row in cells(table(*([row] for row in rows), best=None, decimals=1))]
    assert shown == ["-0.1", "0.6", "0.0 [-0.1, 0.0]", "0.0"]


@given(st.lists(st.floats(-1e3, 1e3), min_size=1, max_size=4))
def test_means_have_no_interval(values):
    found = mean_of([Estimate(value, 0, 1) for value in values])
    assert found.value == pytest.approx(np.mean(values), abs=1e-9)
    assert math.isnan(found.low)
    assert math.isnan(mean_of([Estimate(1.0), NOTHING]).value)
    assert scaled(Estimate(0.5, 0.25, 0.75)) == (50, 25, 75)


def test_contents(tmp_path, capsys):
    tables = [
        Table(name, f"Title {name}", {("m", "n"): [Estimate(1.0)]}, ["a"], ("x", "y"), best, unit, 3)
        for name, best, unit in (("one", "max", "%"), ("two", "min", ""), ("three", None, ""))
    ]
    write_contents(
        tmp_path,
        title="T",
        text="What came out.",
        order=3,
        tables=tables,
        pictures=[("a.png", "A caption")],
        viewer="v",
    )
    assert {path.name for path in tmp_path.iterdir()} == {
        "contents.json",
        *(f"{name}.{kind}" for name in ("one", "two", "three") for kind in ("csv", "md")),
    }
    contents = json.loads((tmp_path / "contents.json").read_text())
    said = {"file": "two.csv", "title": "Title two", "unit": "", "best": "min", "labels": 2, "decimals": 3}
    assert contents["tables"][1].items() >= said.items()
    assert (contents["title"], contents["text"], contents["order"], contents["viewer"]) == (
        "T",
        "What came out.",
        3,
        "v",
    )
    assert contents["pictures"] == [{"file": "a.png", "caption": "A caption"}]
    for each in tables:
        assert (tmp_path / f"{each.file}.csv").read_text() == each.csv()
        assert (tmp_path / f"{each.file}.md").read_text() == each.markdown()
    printed = capsys.readouterr().out
    assert "Title one" in printed
    assert "Title two" in printed
    assert "Title three" not in printed
    assert printed.endswith(f"What came out.\nSee {tmp_path}\n")
