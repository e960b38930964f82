"""The figures of the segmentation are those of loops over the maps of an Explainer, from frames to tables."""

import csv
import itertools
import json

import numpy as np
import pytest
from scipy import ndimage

import xrcam_jax as xr
from xrcam_jax.cli import main

MODEL, METHODS, LAYERS = "sktiny", ("grad_cam", "xrelevance_cam"), ("layer3", "layer4")
COLUMNS = (*LAYERS, "layer4+3")
DISC = "(centred disc)"
RATES = ("precision", "recall", "false_positive_rate")
BATCH = 2
#: By how much rounding may move a threshold or a maximum of a map in [0, 1].
ROUNDING = 1e-5


@pytest.fixture(scope="module")
def run(drawn, weights, tmp_path_factory):
    """Returns the checkpoint, and the results of both methods at the upper layers."""
    out, checkpoint = tmp_path_factory.mktemp("results"), weights("leaning", name=MODEL, seed=1, bias=(-2.8, 0))
    arguments = ["--data", drawn.folder, "--annotations", drawn.annotations, "--weights", checkpoint, "--out", out]
    arguments += ["--part", "all", "--methods", ",".join(METHODS), "--layers", ",".join(LAYERS), "--batch-size", BATCH]
    arguments += ["--aggregate", "weighted"]
    assert main(["evaluate", "segmentation", *map(str, arguments)]) == 0
    return checkpoint, out / "segmentation"


@pytest.fixture(scope="module")
def by_hand(drawn, run):
    """Returns logits, and maps by (method, column), of the annotated frames."""
    explain = xr.Explainer(xr.load_model(MODEL, run[0] / "best.safetensors"), METHODS, LAYERS)
    files = drawn.annotated
    parts = [files[i : i + BATCH] for i in range(0, len(files), BATCH)]
    # As many at a time as there, so that nothing is compiled again.
    found = [explain(drawn.images((part * BATCH)[:BATCH]), targets=np.zeros(BATCH, int)) for part in parts]

    def together(values):
        return np.concatenate([np.asarray(v) for v in values])[: len(files)].astype(np.float64)

    maps = {(m, x): together(e.maps[m][x] for e in found) for m, x in itertools.product(METHODS, LAYERS)}
    maps |= {(m, COLUMNS[-1]): together(e.aggregate(m, how="weighted") for e in found) for m in METHODS}
    return together(e.logits for e in found), maps


def rows(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def counts(found, truth):
    """Counts pixels in both masks, in the first and in the second, one by one."""
    both = first = second = 0
    for f, t in zip(found.ravel(), truth.ravel(), strict=True):
        both, first, second = both + (f and t), first + f, second + t
    return int(both), int(first), int(second)


def rates(both, found, truth, pixels):
    """Returns precision, recall and the false-positive rate, from what is right and wrong among the pixels."""
    true_positives, false_positives, false_negatives = both, found - both, truth - both
    true_negatives = pixels - true_positives - false_positives - false_negatives
    return (
        true_positives / (true_positives + false_positives),
        true_positives / (true_positives + false_negatives),
        false_positives / (false_positives + true_negatives),
    )


def disc_of(mask):
    """Returns the pixels whose centres are in a circle of the mask's area around the middle."""
    radius = (mask.sum() / np.pi) ** 0.5
    found = np.zeros_like(mask)
    for y, x in np.ndindex(mask.shape):
        found[y, x] = np.hypot(y - (mask.shape[0] - 1) / 2, x - (mask.shape[1] - 1) / 2) <= radius
    return found


def test_what_is_written(run):
    files = {path.name for path in run[1].iterdir()}
    tables = ("per_layer", "aggregated", *RATES, "iou", "dice", "iou_eq_2_22", "box_iou", "pointing")
    assert files == {
        *(f"{name}.{kind}" for name in tables for kind in ("csv", "md")),
        *("settings.json", "settings.toml", "contents.json", "images.csv", "tests.csv", f"iou_{MODEL}.png", "batches"),
    }
    assert sorted(path.name for path in (run[1] / "batches").iterdir()) == [
        f"{MODEL}_{start:06d}.npz" for start in (0, 2, 4)
    ]
    contents = json.loads((run[1] / "contents.json").read_text())
    assert [table["file"] for table in contents["tables"]] == [f"{name}.csv" for name in tables]
    assert [picture["file"] for picture in contents["pictures"]] == [f"iou_{MODEL}.png"]
    settings = json.loads((run[1] / "settings.json").read_text())
    assert settings["data"]["synthetic"] is True
    assert (settings["data"]["frames"], settings["data"]["patients"]) == (5, 3)
    assert (settings["methods"], settings["aggregate"]) == (list(METHODS), "weighted")
    assert "in which deep layers count more" in contents["text"]


def near_the_threshold(one):
    """The mask of salient pixels, and those that rounding may make of it: the programs are not the same."""
    return [one > one.mean() + one.std() + rounding for rounding in (0, -ROUNDING, ROUNDING)]


def box_of_the_largest_part(mask):
    labels, number = ndimage.label(mask, np.ones((3, 3)))
    largest = max(range(1, number + 1), key=lambda n: (labels == n).sum())
    ys, xs = np.nonzero(labels == largest)
    return ys.min(), xs.min(), ys.max() + 1, xs.max() + 1


def best_overlap(box, boxes, shape):
    """IoU by painting."""
    best = 0.0
    for each in boxes:
        painted = np.zeros((2, *shape), bool)
        for layer, (top, left, bottom, right) in zip(painted, (box, each), strict=True):
            layer[top:bottom, left:right] = True
        both, first, second = counts(*painted)
        best = max(best, both / (first + second - both))
    return best


def test_every_figure_of_every_picture(drawn, run, by_hand):
    logits, maps = by_hand
    found = {(row["file"], row["method"], row["column"]): row for row in rows(run[1] / "images.csv")}
    assert len(found) == len(drawn.annotated) * (len(METHODS) + 1) * len(COLUMNS)
    for (i, file), column in itertools.product(enumerate(drawn.annotated), COLUMNS):
        truth = drawn.masks[file]
        for method in (*METHODS, DISC):
            row = found[file, method, column]
            frame = drawn.frames[file]
            assert (row["patient"], row["class"], row["network"]) == (frame.patient, "ill", MODEL)
            assert row["predicted"] == ("ill", "well")[logits[i].argmax()]
            if method == DISC:
                masks = [disc_of(truth)]
                assert row["box_iou"] == row["pointing"] == ""
            else:
                one = maps[method, column][i]
                masks = near_the_threshold(one)
                boxes = [best_overlap(box_of_the_largest_part(mask), drawn.boxes[file], truth.shape) for mask in masks]
                assert any(float(row["box_iou"]) == pytest.approx(box, rel=1e-5) for box in boxes)
                assert float(row["pointing"]) in truth[one >= one.max() - ROUNDING]
            both, first, second = (int(row[name]) for name in ("both", "found", "truth"))
            assert (both, first, second) in [counts(mask, truth) for mask in masks]
            assert float(row["iou"]) == pytest.approx(both / (first + second - both), rel=1e-5)
            assert float(row["dice"]) == pytest.approx(2 * both / (first + second), rel=1e-5)
            assert float(row["iou_eq_2_22"]) == pytest.approx(both / (first + second), rel=1e-5)
            assert int(row["pixels"]) == truth.size
            for name, rate in zip(RATES, rates(both, first, second, truth.size), strict=True):
                assert float(row[name]) == pytest.approx(rate, rel=1e-5)


def counted(run):
    """Of the pictures that are classified correctly: the rows of their figures, by (method, column)."""
    found = {}
    for row in rows(run[1] / "images.csv"):
        if row["predicted"] == row["class"]:
            found.setdefault((row["method"], row["column"]), []).append(row)
    return found


def sums(some):
    """Over rows: pixels in both masks, and in either."""
    both, first, second = (sum(int(row[name]) for row in some) for name in ("both", "found", "truth"))
    return both, first + second - both


def test_pooled_iou_of_those_classified_correctly(drawn, run):
    found = counted(run)
    # Else leaving the others out would not show.
    assert 2 <= len(found[METHODS[0], "layer4"]) < len(drawn.annotated)
    pooled = {place: 100 * np.divide(*sums(some)) for place, some in found.items()}
    means = {place: 100 * np.mean([np.divide(*sums([row])) for row in some]) for place, some in found.items()}
    per_layer, aggregated, mean = (
        {row["method"]: row for row in rows(run[1] / f"{name}.csv")} for name in ("per_layer", "aggregated", "iou")
    )
    for method in METHODS:
        for layer in LAYERS:
            assert float(per_layer[method][layer]) == pytest.approx(pooled[method, layer], rel=1e-9)
        average = np.mean([pooled[method, layer] for layer in LAYERS])
        assert float(per_layer[method]["average"]) == pytest.approx(average, rel=1e-9)
        assert per_layer[method]["average low"] == ""
        for column in ("layer4", "layer4+3"):
            assert float(aggregated[method][column]) == pytest.approx(pooled[method, column], rel=1e-9)
        for column in COLUMNS:
            assert float(mean[method][column]) == pytest.approx(means[method, column], rel=1e-6)
            low, high = (float(mean[method][f"{column} {end}"]) for end in ("low", "high"))
            assert low <= float(mean[method][column]) <= high


def test_rates_are_pooled_over_those_classified_correctly(run):
    """Also of the disc; their intervals are of patients, each of which is drawn as often as the others."""
    found = counted(run)
    names = ("both", "found", "truth", "pixels")
    for i, rate in enumerate(RATES):
        table = {row["method"]: row for row in rows(run[1] / f"{rate}.csv")}
        assert set(table) == {*METHODS, DISC}
        for (method, column), some in found.items():
            by_patient = {row["patient"]: np.zeros(4) for row in some}
            for row in some:
                by_patient[row["patient"]] += [int(row[name]) for name in names]
            each = np.array(list(by_patient.values()))
            assert float(table[method][column]) == pytest.approx(100 * rates(*each.sum(0))[i], rel=1e-9)
            # All samples of as many patients, with as many ways to draw each as there are.
            drawn = itertools.product(range(len(each)), repeat=len(each))
            values = [100 * rates(*each[list(numbers)].sum(0))[i] for numbers in drawn]
            low, high = (float(table[method][f"{column} {end}"]) for end in ("low", "high"))
            assert (low, high) == pytest.approx((min(values), max(values)), rel=1e-9)
    assert "read together" in json.loads((run[1] / "contents.json").read_text())["text"]


def test_p_values_are_of_patients(run):
    """They are shares of all ways to swap the methods within each patient."""
    of_frames = counted(run)
    found = {row["column"]: row for row in rows(run[1] / "tests.csv")}
    assert set(found) == set(COLUMNS)
    for column, row in found.items():
        ratios = []
        for method in (row["best"], row["other"]):
            some = of_frames[method, column]
            patients = dict.fromkeys(each["patient"] for each in some)
            ratios.append([np.divide(*sums([r for r in some if r["patient"] == name])) for name in patients])
        assert len(ratios[0]) > 1
        totals = [
            abs(sum(sign * (a - b) for sign, a, b in zip(signs, *ratios, strict=True)))
            for signs in itertools.product((1, -1), repeat=len(ratios[0]))
        ]
        assert float(row["p"]) == pytest.approx(np.mean([t >= totals[0] - 1e-9 for t in totals]), abs=1e-6)
        assert float(row["iou_best"]) >= float(row["iou_other"])
