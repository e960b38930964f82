"""The page of metrics has those of the package, and a table that says what is known beforehand."""

import csv

import pytest

from experiments import metrics


@pytest.fixture(scope="module")
def stored():
    with (metrics.PAGE.with_suffix("") / "both.csv").open(newline="") as file:
        return {(row["set"], row["method"]): row for row in csv.DictReader(file)}


def test_the_page_is_made_of_the_stored_figures_and_the_metrics_of_the_package():
    text = metrics.PAGE.read_text(encoding="utf-8")
    assert metrics.page(text, metrics.PAGE.with_suffix("") / "both.csv") == text


def test_what_is_read_and_outlined_has_the_best_figure(stored):
    for name in metrics.SETS:
        truth, outline = (stored[name, row] for row in ("(the truth itself)", metrics.OUTLINE))
        joints = {row: float(stored[name, row]["joint_faithfulness"]) for n, row in stored if n == name}
        if name == "shortcut":
            # Nothing is both read and outlined.
            assert float(truth["mass_over_chance"]) == float(outline["contrast"]) == 0
            assert float(truth["contrast"]) > 0.9
            assert float(outline["mass_over_chance"]) == pytest.approx(1)
            assert max(joints.values()) < 0.1
        else:
            assert truth["joint_faithfulness"] == outline["joint_faithfulness"]
            assert joints["(the truth itself)"] == max(joints.values()) > 0.9
        assert joints["(uniform)"] == 0


def test_the_outline_is_that_of_the_structure():
    """Of one picture each: where the network reads the logo, what it ignores is the structure."""
    for name in ("mirror", "shortcut"):
        drawn = metrics.planted(name, 1, size=48)
        found = metrics.outlined(name, drawn)
        assert (found == (drawn.decoy if name == "shortcut" else drawn.truth)).all()
        assert found.any()


def test_all_metrics_are_there():
    found = [line.split("`")[1] for line in metrics.all_metrics().splitlines() if line.startswith("| `")]
    assert found == list(metrics.METRICS)
