"""Networks are compared: two architectures, and one architecture from two starts."""

import csv
import json

import pytest
from PIL import Image

OPTIONS = ("--methods", "grad_cam", "--layers", "layer4", "--batch-size", 2)
LABELS = ["tiny-plain", "tiny-other"]


def rows(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def runs(weights):
    """Returns two runs of one architecture: another one would be compiled, and differ no more."""
    return [weights("plain"), weights("other", seed=7)]


@pytest.mark.parametrize("name", ["architectures", "transfer"])
def test_tables_of_both_networks(drawn, evaluate, runs, tmp_path, name):
    """Accuracy is over all frames, pooled IoU over those that are outlined and right."""
    assert evaluate(name, *OPTIONS, runs=runs) == 0
    folder = tmp_path / name
    found = [row for row in rows(folder / "images.csv") if row["method"] == "grad_cam"]
    accuracy, iou = ({row["network"]: row for row in rows(folder / f"{table}.csv")} for table in ("accuracy", "iou"))
    assert list(accuracy) == list(iou) == LABELS
    pooled = {}
    for label in LABELS:
        of_network = [row for row in found if row["network"] == label]
        assert len(of_network) == len(drawn.frames)
        right = [row for row in of_network if row["predicted"] == row["class"]]
        assert float(accuracy[label]["accuracy"]) == pytest.approx(100 * len(right) / len(of_network))
        both = either = 0
        for row in right:
            if row["file"] in drawn.annotated:
                both += int(row["both"])
                either += int(row["found"]) + int(row["truth"]) - int(row["both"])
        pooled[label] = 100 * both / either if either else None
        assert float(iou[label]["layer4"] or "nan") == pytest.approx(pooled[label] or float("nan"), nan_ok=True)
        with Image.open(folder / f"maps_{label}.jpg") as sheet:
            assert min(sheet.size) > 180
    # Two networks, and not one of them twice.
    assert [row["iou"] for row in found[: len(found) // 2]] != [row["iou"] for row in found[len(found) // 2 :]]
    assert json.loads((folder / "contents.json").read_text())["pictures"][1]["file"] == f"maps_{LABELS[1]}.jpg"


def test_without_outlines(evaluate, runs, tmp_path):
    """Accuracy is all that there is to say."""
    assert evaluate("transfer", *OPTIONS, "--limit", 3, runs=runs, annotations=None) == 0
    assert (tmp_path / "transfer" / "accuracy.csv").exists()
    assert not (tmp_path / "transfer" / "iou.csv").exists()


@pytest.mark.parametrize("name", ["architectures", "transfer"])
def test_one_network_is_not_enough(evaluate, runs, capsys, name):
    assert evaluate(name, *OPTIONS, runs=runs[:1]) == 2
    err = capsys.readouterr().err
    assert err.startswith("xrcam evaluate: error: --weights: ")
    assert err.count("\n") == 1
