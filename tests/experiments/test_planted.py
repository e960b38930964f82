"""The page of the planted sets says what the stored tables say."""

import csv

from experiments import planted
from xrcam_jax.data.datasets import PLANTED


def test_the_page_is_made_of_the_stored_tables():
    text = planted.PAGE.read_text(encoding="utf-8")
    assert planted.page(text, planted.PAGE.with_suffix("")) == text


def test_the_tables_say_what_is_stored():
    stored = planted.PAGE.with_suffix("")
    lines = [[cell.strip() for cell in line.split("|")[1:-1]] for line in planted.tables(stored).splitlines()]
    with (stored / "outshines.csv").open(newline="") as file:
        found = list(csv.DictReader(file))
    for row in found:
        figures = [float(row[name]) for name in PLANTED]
        wanted = [f"**{figure:.0f}**" if figure < 90 else f"{figure:.0f}" for figure in figures]
        assert [row["method"], row["map"], *wanted] in lines
        for name, figure in zip(PLANTED, figures, strict=True):
            (line,) = (line for line in lines if line and line[0] == f"`{name}`")
            assert (f"`{row['method']}`" in line[3].split(", ")) == (figure < 90 and row["method"][0] != "(")
    (line,) = (line for line in lines if line and line[0] == "`shortcut`")
    # Four rows are no methods.
    assert line[2].endswith(f"of {len(found) - 4}")
    # CAM is defined at the last layer alone.
    assert sum(line[:3] == ["cam", "–", "–"] and line[4] == "–" for line in lines) == 2


def test_figures_that_are_there_are_not_measured_again(tmp_path, monkeypatch):
    """The page is written from results that somebody has, and what stands around the tables stays."""
    page, results = tmp_path / "planted.md", tmp_path / "work" / "planted"
    results.mkdir(parents=True)
    (results / "contents.json").write_text("{}")
    for path in planted.PAGE.with_suffix("").glob("*.csv"):
        (results / path.name).write_bytes(path.read_bytes())
    page.write_text(f"before\n{planted.BEGIN}old\n{planted.END}after\n")
    tables = planted.tables(results)
    monkeypatch.setattr(planted, "PAGE", page)
    assert planted.main([str(results.parent)]) == 0
    assert page.read_text() == f"before\n{planted.BEGIN}\n{tables}\n{planted.END}after\n"
