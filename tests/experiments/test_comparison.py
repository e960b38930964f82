"""Of tables made by hand, the page says which claims hold and sets ours beside the thesis's figures."""

import math

import pytest

from experiments import thesis
from experiments.claims import claims
from experiments.comparison import Pair, markdown, page, pairs, rank_correlation
from tests.experiments.made_results import OTHER, PLAIN, SK, change, make_results, write_csv


@pytest.fixture
def results(tmp_path):
    return make_results(tmp_path)


def test_rows_are_of_one_network_and_without_empty_cells(results):
    rows = results.rows("segmentation", "per_layer", SK)
    assert list(rows) == list(thesis.METHODS)
    assert rows["grad_cam"] == pytest.approx(
        {"layer1": 30, "layer2": 30.1, "layer3": 30.2, "layer4": 30.3, "average": 30.4}
    )
    assert results.rows("segmentation", "per_layer", PLAIN)["x_grad_cam"]["layer2"] == pytest.approx(22.1)
    assert "layer" not in results.rows("sanity", "ssim", OTHER)["grad_cam"]


def test_a_label_may_name_the_run_too(results):
    change(results.folder, "confidence", "drop", "grad_cam", SK, {"network": f"{SK}-run"})
    assert results.rows("confidence", "drop", SK)["grad_cam"]["layer4"] == pytest.approx(5.3)


def test_all_claims_hold_and_say_why(results):
    found = claims(results)
    assert all(claim.holds for claim in found)
    assert [claim.because for claim in found] == [
        "better for 6 of 6 methods, by average IoU over the layers",
        "xrelevance_cam 36.0 % (xrelevance_cam against relevance_cam: p = 0.25)",
        "36.0 against 35.0 %",
        "36.0 % at layer 4, 36.3 % aggregated",
        "xrelevance_cam 36.3 % (xrelevance_cam against relevance_cam: p = 0.25)",
        "grad_cam 44.0 %, xrelevance_cam 11.6 %",
        "largest error over the layers 1.0e-02 (thesis: 0.02)",
        "SSIM 0.11 with layer 3 and all above drawn anew",
        "SSIM 0.11 with these drawn anew, Grad-CAM 0.10",
    ]


#: By what is changed (experiment, table, method, network, column, figure): which claims no longer hold, and why.
BROKEN = {
    ("segmentation", "per_layer", "layer_cam", SK, "average", 24.4): ({0}, "better for 5 of 6 methods"),
    ("segmentation", "per_layer", "hires_cam", SK, "layer1", 50): ({1}, "hires_cam 50.0 %, xrelevance_cam 36.0 %"),
    ("segmentation", "per_layer", "relevance_cam", SK, "layer1", 36): ({1, 2}, "relevance_cam 36.0 %, xrelevance"),
    ("segmentation", "aggregated", "xrelevance_cam", SK, "layer4", 37): ({3}, "37.0 % at layer 4, 36.3 % aggregated"),
    ("segmentation", "aggregated", "grad_cam", SK, "layer4+3+2+1", 36.4): (
        {4}, "grad_cam 36.4 %, xrelevance_cam 36.3 %"
    ),
    ("confidence", "drop", "xrelevance_cam", SK, "layer4+3+2+1", 45): ({5}, "xrelevance_cam 45.0 %"),
    ("axioms", "conservation", "xrelevance_cam", SK, "layer2", 0.05): ({6}, "over the layers 5.0e-02"),
    ("sanity", "ssim", "xrelevance_cam", OTHER, "layer3 down from fc", 0.8): ({7}, "SSIM 0.80 with layer 3"),
    ("sanity", "ssim", "xrelevance_cam", OTHER, "layer4 down from fc", 0.9): ({8}, "SSIM 0.90 with these"),
}  # fmt: skip


@pytest.mark.parametrize("what", BROKEN, ids=lambda what: f"{what[2]} {what[4]} {what[5]}")
def test_a_claim_that_does_not_hold(results, what):
    experiment, table, method, network, column, figure = what
    change(results.folder, experiment, table, method, network, {column: figure})
    found, (broken, because) = claims(results), BROKEN[what]
    assert {i for i, claim in enumerate(found) if not claim.holds} == broken
    assert because in found[min(broken)].because


def test_drops_of_scores_near_zero_are_remarked(results):
    change(results.folder, "confidence", "drop", "hires_cam", SK, {"layer4+3+2+1": -101})
    assert claims(results)[5].because.endswith(": shares of scores near zero, which say nothing")


def test_chance_pairs_ours_with_the_best(results):
    """Where another method is the best, only its pair with XRelevance-CAM says something of ours."""
    tests = [
        {"network": SK, "column": "layer1", "best": "grad_cam", "other": other, "iou_other": iou, "p": p}
        for other, iou, p in (("xrelevance_cam", 0.3, 0.042), ("layer_cam", 0.5, 0.9))
    ]
    write_csv(results.folder / "segmentation" / "tests.csv", tests)
    found = claims(results)
    assert found[1].because.endswith("(grad_cam against xrelevance_cam: p = 0.04)")
    assert found[4].because == "xrelevance_cam 36.3 %"


def test_a_table_to_the_letter():
    """By construction the ranks agree in the first column, are turned round in the second, and tie in the third."""
    theirs = thesis.Figures(("a", "b", "c"), {"x": (1.0, 3.0, 5.0), "y": (2.0, 1.0, 0.0), "z": (4.0, 0.5, 7.0)})
    ours = {
        "x": {"a": 0.25, "b": 0.0, "c": 2.0, "more": 9.0},
        "y": {"a": 0.5, "b": 0.001, "c": 2.0, "more": 9.0},
        "z": {"a": 3.0, "b": 30.0, "c": 2.0, "more": 9.0},
        "another": {"a": 99.0, "b": 99.0, "c": 99.0, "more": 9.0},
    }
    assert markdown(Pair("A title", theirs, ours)) == (
        "### A title\n"
        "\n"
        "| method | a | b | c |\n"
        "|---|---:|---:|---:|\n"
        "| x | 0.25 (1.00) | 0.00 (**3.00**) | **2.00** (5.00) |\n"
        "| y | 0.50 (2.00) | 1.0e-03 (1.00) | **2.00** (0.00) |\n"
        "| z | **3.00** (**4.00**) | **30.00** (0.50) | **2.00** (**7.00**) |\n"
        "| *rank correlation* | 1.00 | -1.00 | nan |\n"
    )
    smallest = markdown(Pair("A title", thesis.Figures(("a",), {"x": (1.0,), "y": (2.0,)}, "min"), ours))
    assert "| x | **0.25** (**1.00**) |\n| y | 0.50 (2.00) |\n" in smallest


def test_rank_correlation_by_hand():
    """It is 1 - 6 sum d^2 / (n (n^2 - 1)) with d = 0, 1, -1, 0; and ties get the mean of their ranks."""
    assert rank_correlation([1, 2, 3, 4], [10, 30, 20, 90]) == pytest.approx(1 - 6 * 2 / (4 * 15))
    assert rank_correlation([1, 1, 2], [1, 2, 3]) == pytest.approx(math.sqrt(3) / 2)
    assert math.isnan(rank_correlation([1, 1], [1, 2]))


def test_the_page(results):
    text = page(results, ["gallery_layers_1.jpg"], own_dropout=False)
    assert "7 annotated frames of 3 patients" in text
    assert f"({PLAIN}, {SK}, {OTHER})" not in text
    assert f"no ImageNet weights): {PLAIN}, {SK}, {OTHER}." in text
    assert f"Tables 5.5 and 5.6 are of {SK} as it is, trained without dropout." in text
    assert "trained without dropout" not in page(results, [], own_dropout=True)
    assert "| XRelevance-CAM conserves the score (Table 5.9) | holds | largest error" in text
    change(results.folder, "axioms", "conservation", "xrelevance_cam", SK, {"layer1": 1})
    assert "(Table 5.9) | **does not hold** |" in page(results, [], own_dropout=True)
    for part in ("| table | accuracy |", "| table | ssim |", "| table | rank |"):
        assert text.count(part) == 1
    assert text.endswith("![gallery_layers_1.jpg](reproduction/gallery_layers_1.jpg)\n")
    titles = [line for line in text.splitlines() if line.startswith("### ")]
    assert [title.partition(":")[0].partition(",")[0] for title in titles] == [
        *("### Table 5.1", "### Tables 5.1 and 5.2", "### Table 5.3", "### Table 5.4", "### Table 5.5"),
        *("### Table 5.6", "### Table 5.7", "### Table 5.8", "### Table 5.9"),
    ]


def test_each_table_is_beside_the_one_that_measures_the_same(results):
    """In the made tables the first figure of the first method tells which table and network it is of."""
    firsts = [pair.ours["grad_cam"][pair.theirs.columns[0]] for pair in pairs(results)]
    assert firsts == pytest.approx([20, 30, 30, 40, 15, 16, 5, 0.5, 0.004])
    assert [pair.theirs.best for pair in pairs(results)] == ["max"] * 7 + ["min"] * 2


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
    for figures in table.rows.values():
        assert len(figures) == len(table.columns)
        if table.columns[-1] == "average":
            *layers, average = figures
            assert average == pytest.approx(sum(layers) / len(layers), abs=0.008)
