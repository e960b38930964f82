"""Rows of frames made by hand become the sums of their patients, and sums become ratios."""

import csv
import json
import math

import numpy as np
import pytest

from experiments.sums import FLOOR, Sums, accuracies, condensed, read_sums, role_and_seed, store, write_sums


def write(file, rows):
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("w", newline="") as text:
        writer = csv.DictWriter(text, list(dict.fromkeys(name for row in rows for name in row)))
        writer.writeheader()
        writer.writerows(rows)


def frame(patient, column="layer1", network="net-sk_0", predicted="ill", **figures):
    labels = {"file": "f.png", "patient": patient, "class": "ill", "network": network, "predicted": predicted}
    return labels | {"method": "grad_cam", "column": column} | figures


def sums_of(text):
    rows = list(csv.DictReader(text.splitlines()))
    return {tuple(row[name] for name in ("network", "seed", "patient", "column")): row for row in rows}


def pixels(both, found=5, truth=4):
    return {"both": both, "found": found, "truth": truth, "pixels": 100}


def test_overlaps_are_of_frames_that_are_right_and_outlined(tmp_path):
    rows = [frame("P1", **pixels(1)), frame("P1", **pixels(2)), frame("P2", **pixels(3)), frame("P2", **pixels(4))]
    rows[2]["predicted"] = "well"
    rows += [frame("P3", **pixels(0, truth=0))]
    write(tmp_path / "images.csv", rows)
    found = sums_of(condensed("segmentation", tmp_path / "images.csv"))
    assert set(found) == {("sk", "0", "P1", "layer1"), ("sk", "0", "P2", "layer1")}
    first = found["sk", "0", "P1", "layer1"]
    assert [float(first[name]) for name in ("frames", "both", "found", "truth", "pixels")] == [2, 3, 10, 8, 200]
    assert float(found["sk", "0", "P2", "layer1"]["both"]) == 4


def test_passes_with_dropout_are_pooled(tmp_path):
    rows = [
        frame("P1", column=column, **pixels(i)) for i, column in enumerate(("layer1", "layer1 pass 1", "layer1 pass 2"))
    ]
    write(tmp_path / "images.csv", rows)
    found = sums_of(condensed("dropout", tmp_path / "images.csv"))
    assert float(found["sk", "0", "P1", "layer1"]["both"]) == 0
    assert float(found["sk", "0", "P1", "layer1 with dropout"]["both"]) == 3


def test_networks_of_an_ensemble_are_pooled_and_a_frame_counts_in_its_half(tmp_path):
    columns = ("layer1", "layer1 of network 1", "layer1 of network 2")
    rows = [frame("P1", column=column, half="", **pixels(i + 1)) for i, column in enumerate(columns)]
    rows[0]["half"] = "2"
    rows += [frame("P1", half="1", **pixels(4)), frame("P1", half="0", predicted="well", **pixels(4))]
    for row in rows:
        row["network"] = "ensemble"
    write(tmp_path / "images.csv", rows)
    found = sums_of(condensed("ensemble", tmp_path / "images.csv", "ensemble_0"))
    both = {column: float(row["both"]) for (*_, column), row in found.items()}
    assert both == {"layer1": 5, "layer1 alone": 5, "layer1 varying less": 4, "layer1 varying more": 1}
    assert {key[:3] for key in found} == {("ensemble", "0", "P1")}


def test_scores_near_zero_have_no_relative_drop(tmp_path):
    """Their drop as a difference counts all the same."""
    scores, drops = (0.5, FLOOR, FLOOR - 1e-6), (0.25, 0.5, -1e6)
    rows = [frame("P1", score=s, drop=d, absolute_drop=s * d) for s, d in zip(scores, drops, strict=True)]
    write(tmp_path / "images.csv", rows)
    (row,) = sums_of(condensed("confidence", tmp_path / "images.csv")).values()
    assert [float(row[name]) for name in ("frames", "scored", "drop")] == [3, 2, 0.75]
    assert float(row["absolute_drop"]) == pytest.approx(np.dot(scores, drops), rel=1e-5)


def test_what_is_not_finite_is_left_out(tmp_path):
    rows = [frame("P1", conservation=value, sensitivity=1.0) for value in (1.0, "inf", "nan", 3.0)]
    write(tmp_path / "images.csv", rows)
    (row,) = sums_of(condensed("axioms", tmp_path / "images.csv")).values()
    assert [float(row[name]) for name in ("frames", "conservation", "sensitivity")] == [2, 4, 2]


def test_reading_back(tmp_path):
    """The patients are those of all networks; where a training has nothing of one, it adds nothing."""
    rows = [
        frame("P2", network="net-sk_1", **pixels(2)),
        frame("P1", network="net-sk_0", **pixels(1)),
        frame("P3", network="net-plain_0", **pixels(3)),
    ]
    write(tmp_path / "images.csv", rows)
    write_sums(tmp_path / "sums.csv.gz", condensed("segmentation", tmp_path / "images.csv"))
    found = read_sums(tmp_path / "sums.csv.gz", "sk")
    assert found.methods == ("grad_cam",)
    assert found.columns == ("layer1",)
    # Seeds are in the order of the file: 1, 0.
    assert found.by_figure["both"][..., 0, 0].tolist() == [[0, 2, 0], [1, 0, 0]]
    assert read_sums(tmp_path / "sums.csv.gz", "plain").by_figure["both"][..., 0, 0].tolist() == [[0, 0, 3]]
    with pytest.raises(ValueError, match="nothing of a network 'other'"):
        read_sums(tmp_path / "sums.csv.gz", "other")


def test_ratios_are_loops():
    rng = np.random.default_rng(0)
    part, whole = rng.random((2, 3, 2, 2)), 1 + rng.random((2, 3, 2, 2))
    whole[..., 1, 1] = 0
    sums = Sums(("a", "b"), ("x", "y"), {"part": part, "whole": whole})
    weights = rng.integers(0, 3, (4, 2, 3)).astype(float)
    found = sums.ratio("part", "whole", weights)
    for draw, method, column in np.ndindex(4, 2, 2):
        above = sum(weights[draw, s, p] * part[s, p, method, column] for s in range(2) for p in range(3))
        below = sum(weights[draw, s, p] * whole[s, p, method, column] for s in range(2) for p in range(3))
        if below:
            assert found[draw, method, column] == pytest.approx(above / below)
        else:
            assert math.isnan(found[draw, method, column])


def test_accuracies_are_of_the_test_part(tmp_path):
    row = {"part": "test", "file": "f.png", "patient": "P1", "label": "ill", "predicted": "ill"}
    rows = [row, row | {"predicted": "well"}, row | {"patient": "P2"}, row | {"part": "validation"}]
    write(tmp_path / "sk_3" / "predictions.csv", rows)
    write_sums(tmp_path / "accuracy.csv.gz", accuracies([tmp_path / "sk_3"]))
    found = read_sums(tmp_path / "accuracy.csv.gz", "sk").by_figure
    assert found["frames"].ravel().tolist() == [2, 1]
    assert found["right"].ravel().tolist() == [1, 1]


@pytest.mark.parametrize("label", ["resnet50", "resnet50-run", "run_", "_3", "run_x"])
def test_a_run_has_to_be_called_by_role_and_seed(label):
    with pytest.raises(ValueError, match="ROLE_SEED"):
        role_and_seed(label)


def test_transfer_is_kept_as_segmentation(tmp_path):
    """Its figures are the same, and so are the claims on them."""
    write(tmp_path / "results" / "transfer" / "images.csv", [frame("P1", network="net-scratch_0", **pixels(1))])
    (tmp_path / "results" / "transfer" / "settings.json").write_text(json.dumps({"seed": 0}))
    store(tmp_path / "results", tmp_path / "stored", {})
    assert sorted(path.name for path in (tmp_path / "stored").iterdir()) == ["segmentation.csv.gz", "segmentation.json"]
    assert read_sums(tmp_path / "stored" / "segmentation.csv.gz", "scratch").by_figure["both"].ravel().tolist() == [1]


def test_a_network_that_is_alone_is_called_by_its_run(tmp_path):
    """The study calls it by its architecture."""
    write(
        tmp_path / "results" / "axioms" / "images.csv", [frame("P1", network="net", conservation=1.0, sensitivity=2.0)]
    )
    (tmp_path / "results" / "axioms" / "settings.json").write_text("{}")
    store(tmp_path / "results", tmp_path / "stored", {"axioms": "sk_3"})
    assert read_sums(tmp_path / "stored" / "axioms.csv.gz", "sk").by_figure["sensitivity"].ravel().tolist() == [2]
