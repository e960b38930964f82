"""The clusters of frames are those of their maps, and an alarm names whose they are."""

import csv
import json
import shutil

import numpy as np
import pytest
from PIL import Image

import xrcam_jax as xr
from xrcam_jax.data.manifest import MANIFEST
from xrcam_jax.metrics.alarms import Suspicion
from xrcam_jax.metrics.spray import clusters, downsized
from xrcam_jax.report.read import read_experiments
from xrcam_jax.studies import cohort

OPTIONS = ("--method", "grad_cam", "--layer", "layer3", "--clusters", 2, "--side", 4, "--shown", 2)
DEVICES = {"p1": "old", "q1": "old", "p2": "new", "p3": "new", "q2": "new"}


def rows(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture
def run(weights):
    return weights("cohort", seed=4)


@pytest.fixture
def with_devices(drawn, tmp_path):
    """The drawn frames, in whose manifest somebody has written with what each was recorded."""
    folder = tmp_path / "prepared"
    shutil.copytree(drawn.folder, folder)
    lines = rows(folder / MANIFEST)
    with (folder / MANIFEST).open("w", newline="") as file:
        writer = csv.DictWriter(file, [*lines[0], "device"])
        writer.writeheader()
        writer.writerows({**line, "device": DEVICES[line["patient"]]} for line in lines)
    return folder


def test_every_cluster(evaluate, drawn, run, with_devices, tmp_path, capsys):
    assert evaluate("cohort", *OPTIONS, "--together", runs=[run], data=with_devices, annotations=None) == 0
    folder = tmp_path / "cohort"
    found = rows(folder / "images.csv")
    assert [row["file"] for row in found] == list(drawn.frames)
    assert {row["patient"]: row["device"] for row in found} == DEVICES
    model = xr.load_model("tiny", run / "best.safetensors")
    targets = np.array([int(frame.label == "well") for frame in drawn.frames.values()], np.int32)
    e = xr.Explainer(model, ["grad_cam"], ["layer3"])(drawn.images(list(drawn.frames)), targets=targets)
    maps = np.asarray(downsized(e.maps["grad_cam"]["layer3"], side=4), np.float64).reshape(len(found), -1)
    labels = clusters(maps, 2).labels
    assert [int(row["cluster"]) - 1 for row in found] == labels.tolist()
    for name in ("patient", "device"):
        for number, row in enumerate(rows(folder / f"clusters_by_{name}.csv")):
            here = [each[name] for each in found if int(each["cluster"]) == number + 1]
            assert int(row["frames"]) == len(here)
            assert int(row["its frames"]) == here.count(row[name]) == max(map(here.count, here))
            assert float(row["share of the cluster"]) == pytest.approx(here.count(row[name]) / len(here))
    out = capsys.readouterr().out
    assert "No alarm: no cluster is of one patient or one device beyond chance" in out
    (experiment,) = read_experiments(tmp_path)
    # Five patients, of whom two are of the one device: ten deals, and two clusters are tested against two devices.
    few = (
        "no cluster of all classes could have given an alarm of the device old (2 of 5 patients) or new (3 of 5 "
        "patients): the smallest p that so many patients allow is 0.4, corrected."
    )
    assert few in out
    assert few in experiment.text
    assert [table.name for table in experiment.tables] == ["clusters_by_patient", "clusters_by_device", "accuracy"]
    for picture in json.loads((folder / "contents.json").read_text())["pictures"]:
        with Image.open(folder / picture["file"]) as sheet:
            assert np.ptp(np.asarray(sheet)) > 200


def test_alarms_are_said_those_of_devices_first():
    tested = [Suspicion(0, "p1", 4, 9, 0.5, 1e-9), Suspicion(1, "p2", 9, 10, 0.125, 2e-7)]
    of_device = [Suspicion(0, "old", 8, 9, 0.5, 0.001)]
    assert cohort.said(0.01, ["ill"], {"patient": [tested], "device": [of_device]}) == [
        "ALARM: 8 of the 9 frames of cluster 1 of ill are of the device old, which has 50 % of all these frames "
        "(p = 0.001).",
        "ALARM: 9 of the 10 frames of cluster 2 of ill are of the patient p2, which has 12 % of all these frames "
        "(p = 2e-07).",
    ]


def test_groups_that_cannot_give_an_alarm_are_said():
    of_device = [Suspicion(c, name, 3, 6, 0.5, 1.0) for c in range(2) for name in ("new", "old")]
    # 1 / C(8, 3) = 1 / 56, four times; 1 / C(20, 8) is far below the level.
    few, many = {"new": 3, "old": 5}, {"new": 8, "old": 12}
    assert cohort.out_of_reach(0.01, ["ill"], {"device": [of_device]}, {"device": [few]}) == [
        "Whatever the maps are, no cluster of ill could have given an alarm of the device new (3 of 8 patients) or old "
        "(5 of 8 patients): the smallest p that so many patients allow is 0.071, corrected."
    ]
    assert not cohort.out_of_reach(0.08, ["ill"], {"device": [of_device]}, {"device": [few]})
    assert not cohort.out_of_reach(0.01, ["ill"], {"device": [of_device]}, {"device": [many]})
    # What has rung could ring.
    rang = [Suspicion(0, "new", 6, 6, 0.5, 0.009), *of_device[1:]]
    (sentence,) = cohort.out_of_reach(0.01, ["ill"], {"device": [rang]}, {"device": [few]})
    assert "of the device old (5 of 8 patients): " in sentence
    # Of many patients with few frames the first are named.
    frames = {f"p{i}": 1 for i in range(9)}
    of_patient = [Suspicion(0, name, 1, 9, 1 / 9, 1.0) for name in frames]
    (sentence,) = cohort.out_of_reach(0.01, ["ill"], {"patient": [of_patient]}, {"patient": [frames]})
    assert "patient p0 (1 of 9 frames) or p1 (1 of 9 frames) or p2 (1 of 9 frames) or 6 more: " in sentence


def test_the_page_of_results_gets_the_alarms(evaluate, run, tmp_path, monkeypatch):
    alarms = ["ALARM: one.", "ALARM: another."]
    monkeypatch.setattr(cohort, "said", lambda *_: alarms)
    assert evaluate("cohort", *OPTIONS, "--together", runs=[run], annotations=None) == 0
    (experiment,) = read_experiments(tmp_path)
    assert experiment.alarms == tuple(alarms)
    assert experiment.text.startswith("ALARM: one.\n\nALARM: another.\n\nWhatever the maps are, ")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--level", 1], "--level: 1.0 is not between 0 and 1"),
        (["--layers", "layer3,layer4"], "the maps of one method at one layer at a time"),
        (["--clusters", 1], "--clusters: expected 2 or more, found 1"),
        (["--side", 1], "--side: expected 2 or more, found 1"),
        (["--shown", 0], "--shown: 0 is less than 1"),
        (["--group", "scanner"], "--group: 'scanner' is no column of"),
        (["--group", "number"], "--group: number: groups: expected one for all frames of a patient"),
        (["--limit", 3], "--part: expected 4 frames or more of some class"),
    ],
)
def test_what_is_wrong_is_refused_before_maps_are_made(evaluate, run, options, said, capsys):
    assert evaluate("cohort", *options, runs=[run], annotations=None) == 2
    assert said in capsys.readouterr().err


def test_what_studies_of_outlines_or_of_several_networks_take_is_refused(evaluate, run, drawn, capsys):
    assert evaluate("cohort", *OPTIONS, runs=[run], annotations=drawn.annotations) == 2
    assert "unknown option '--annotations'" in capsys.readouterr().err
    assert evaluate("cohort", *OPTIONS, runs=[run, run], annotations=None) == 2
    assert "--weights: one network at a time, each with its own --out" in capsys.readouterr().err
    assert evaluate("cohort", *OPTIONS, "--folds", runs=[run], annotations=None) == 2
    assert "--folds: each fold has a network of its own" in capsys.readouterr().err


def test_a_missing_library_is_said_before_maps_are_made(evaluate, run, monkeypatch, capsys):
    monkeypatch.setattr(cohort, "find_spec", lambda name: None)
    assert evaluate("cohort", *OPTIONS, runs=[run], annotations=None) != 0
    assert "cohort: spectral clusters need scikit-learn and SciPy: pip install" in capsys.readouterr().err
