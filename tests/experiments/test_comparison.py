"""Of figures made by hand, the page says which claims hold and sets ours beside the thesis's figures."""

import math

import pytest

from experiments import thesis
from experiments.comparison import Pair, leader, markdown, page, pairs, rank_correlation
from tests.experiments.made_evidence import figures, make_evidence
from xrcam_jax.metrics.uncertainty import Estimate


def test_a_table_to_the_letter():
    """By construction the ranks agree in the first column, are turned round in the second, and tie in the third.

    In the first, the interval of the best holds no other; in the second it does.
    """
    theirs = thesis.Figures(("a", "b", "c"), {"x": (1.0, 3.0, 5.0), "y": (2.0, 1.0, 0.0), "z": (4.0, 0.5, 7.0)})
    ours = {
        "x": [Estimate(0.25), Estimate(0.0), Estimate(2.0)],
        "y": [Estimate(0.5), Estimate(0.001), Estimate(2.0)],
        "z": [Estimate(3.0, 2.5, 3.5), Estimate(30.0, -1.0, 31.0), Estimate(2.0)],
    }
    disc = [Estimate(9.0), Estimate(9.0), Estimate(9.0)]
    assert markdown(Pair("A title", theirs, ours, disc, "A remark.")) == (
        "### A title\n"
        "\n"
        "| method | a | b | c |\n"
        "|---|---:|---:|---:|\n"
        "| x | 0.25 (1.00) | 0.00 (**3.00**) | 2.00 (5.00) |\n"
        "| y | 0.50 (2.00) | 1.0e-03 (1.00) | 2.00 (0.00) |\n"
        "| z | **3.00 [2.50, 3.50]** (**4.00**) | 30.00 [-1.00, 31.00] (0.50) | 2.00 (**7.00**) |\n"
        "| (centred disc) | 9.00 | 9.00 | 9.00 |\n"
        "| *rank correlation* | 1.00 | -1.00 | nan |\n"
        "\n"
        "A remark.\n"
    )
    least = {"x": [Estimate(0.25, 0.2, 0.3)], "y": [Estimate(0.5)]}
    smallest = markdown(Pair("A title", thesis.Figures(("a",), {"x": (1.0,), "y": (2.0,)}, "min"), least))
    assert "| x | **0.25 [0.20, 0.30]** (**1.00**) |\n| y | 0.50 (2.00) |\n" in smallest


def test_a_winner_that_may_be_another_is_none():
    assert leader([Estimate(3.0, 2.0, 4.0), Estimate(1.9)], max) == 0
    assert leader([Estimate(3.0, 2.0, 4.0), Estimate(2.0)], max) is None
    assert leader([Estimate(1.9), Estimate(1.0, 0.5, 1.5)], min) == 1
    assert leader([Estimate(1.0), Estimate(1.0)], max) is None
    assert leader([Estimate(math.nan), Estimate(1.0)], max) is None


def test_rank_correlation_by_hand():
    """It is 1 - 6 sum d^2 / (n (n^2 - 1)) with d = 0, 1, -1, 0; and ties get the mean of their ranks."""
    assert rank_correlation([1, 2, 3, 4], [10, 30, 20, 90]) == pytest.approx(1 - 6 * 2 / (4 * 15))
    assert rank_correlation([1, 1, 2], [1, 2, 3]) == pytest.approx(math.sqrt(3) / 2)
    assert math.isnan(rank_correlation([1, 1], [1, 2]))


def test_the_page(tmp_path):
    """Two reproductions: one has everything, the other nothing but a network and its segmentation."""
    everything = make_evidence(tmp_path / "all")
    table = {("sk", "segmentation", "mean", "iou"): figures()["sk", "segmentation", "mean", "iou"]}
    text = page([everything, make_evidence(tmp_path / "few", table)], {"all": ["sanity.jpg"]})
    rows = [line for line in text.splitlines() if line.startswith("| XRelevance-CAM conserves the score.")]
    assert len(rows) == 1
    assert rows[0].endswith("| holds: 0.04 [0.04, 0.04] | not measured |")
    assert "| 35 holds, 0 does not hold, 0 cannot be told |" in text
    assert "| made networks | sk | sknet | 2 | 90.00 [90.00, 90.00] |" in text
    assert (
        text.count("With dropout on, `sk_dropout_0` was right on 97.5 % of the frames")
        == text.count("With dropout on")
        == 2
    )
    assert "![sanity.jpg](reproduction/all/sanity.jpg)" in text
    titles = [line for line in text.splitlines() if line.startswith("### ")]
    short = [title.partition(":")[0].partition(",")[0] for title in titles]
    assert short == [
        *("### Table 5.1", "### Tables 5.1 and 5.2", "### Table 5.3", "### Table 5.4", "### Table 5.5"),
        *("### Table 5.6", "### Table 5.7", "### The same as a difference of probabilities"),
        *("### Table 5.8", "### Table 5.9", "### Figures 5.16 and 5.17"),
        *("### Tables 5.1 and 5.2", "### Table 5.3"),
    ]
    # One of four frames of each patient has a score below the floor.
    assert "25.0 % of the frames have less and are left out." in text


def test_each_table_is_beside_the_one_that_measures_the_same(tmp_path):
    """The figures of XRelevance-CAM, or of Grad-CAM where it is missing, tell which table and network it is of."""
    found = pairs(make_evidence(tmp_path))
    last = [pair.ours[list(pair.theirs.rows)[-1]][-1].value for pair in found]
    ours = [0.3, 0.28, 0.28, 0.275]
    baseline = [0.2, 0.25, 0.25, 0.26]
    expected = [100 * (sum(baseline) / 4 - 0.05), 100 * sum(ours) / 4, 38, 34.5, 33, 38, 10, 5, 0.9, 0.01]
    assert last == pytest.approx(expected, rel=1e-5)
    assert [pair.theirs.best for pair in found] == ["max"] * 8 + ["min"] * 2
    assert [pair.baseline is not None for pair in found] == [True] * 6 + [False] * 4


@pytest.mark.parametrize(
    "name",
    [
        *("WITHOUT_SK", "WITH_SK", "AGGREGATED_SK", "AGGREGATED_OTHER", "STOCHASTIC", "DETERMINISTIC"),
        *("CONFIDENCE_DROP", "SENSITIVITY", "CONSERVATION"),
    ],
)
def test_the_thesiss_tables_are_whole(name):
    """Every row has a figure for each column, and an average is that of the layers, cut or rounded."""
    table = getattr(thesis, name)
    methods = thesis.METHODS[:-1] if name == "WITHOUT_SK" else thesis.METHODS
    assert tuple(table.rows) == methods
    for row in table.rows.values():
        assert len(row) == len(table.columns)
        if table.columns[-1] == "average":
            *layers, average = row
            assert average == pytest.approx(sum(layers) / len(layers), abs=0.008)
