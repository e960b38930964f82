"""What a page says first claims no more than the intervals of the tables allow."""

import itertools
from dataclasses import replace

import pytest

from xrcam_jax.report.findings import findings
from xrcam_jax.report.glance import glances
from xrcam_jax.report.read import Experiment, Figure, ResultTable, Row
from xrcam_jax.studies.layers import columns
from xrcam_jax.studies.segmentation import DISC

LAYERS = columns(["layer3", "layer4"])
NET = "net"


def table(name, columns, rows, labels=("method", "network")):
    rows = tuple(Row(names, tuple(Figure(*figure) for figure in figures)) for names, figures in rows.items())
    return ResultTable(name, name, "%", "max", 1, labels, tuple(columns), rows, "95 % confidence interval")


def experiment(kind, *tables, patients=9, frames=90, part="test", content=None, networks=(NET,)):
    data = {"synthetic": True, "frames": frames, "patients": patients, "part": part}
    settings = {"experiment": kind, "data": data, "networks": dict.fromkeys(networks, "")}
    return Experiment(f"folder of {kind}", f"Title of {kind}", "", 1, tables, (), settings, content)


def segmentation(together, single=None, **settings):
    """Returns an experiment with the figures of each method for all layers, and for single layers."""
    last = {(method, NET): [(None, None, None), figure] for method, figure in together.items()}
    tables = [table("aggregated", ["layer4", "layer4+3"], last)]
    if single is not None:
        each = {(method, NET): [*figures, (99, None, None)] for method, figures in single.items()}
        tables.append(table("per_layer", ["layer3", "layer4", "average"], each))
    return experiment("segmentation", *tables, **settings)


def said(*experiments):
    return findings(experiments, NET).sentences


FAR = {"grad_cam": (30, 25, 35), "layer_cam": (20, 15, 24), DISC: (9, 8, 10)}


def test_a_method_that_is_apart_from_all_others_and_from_the_disc():
    assert said(segmentation(FAR)) == (
        "Grad-CAM has the highest overlap with the outlines: a pooled IoU of 30.0 % (25.0 to 35.0) for its maps of all "
        "layers together. It is above a disc in the middle of the frame, which never looks (9.0 %). It is above all "
        "others, of which LayerCAM comes next (20.0 %).",
    )


@pytest.mark.parametrize("next_one", [(25, 20, 29), (24, 15, 30)])
def test_a_runner_up_in_the_interval_or_around_it_is_not_beaten(next_one):
    (sentence,) = said(segmentation({**FAR, "layer_cam": next_one}))
    assert f"It cannot be told from LayerCAM ({next_one[0]:.1f} %)." in sentence
    assert "all others" not in sentence


@pytest.mark.parametrize(
    ("disc", "words"),
    [
        ((26, 24, 28), "It cannot be told from a disc"),
        ((22, 12, 32), "It cannot be told from a disc"),
        ((50, 45, 55), "It is below a disc"),
    ],
)
def test_the_disc_is_beaten_only_outside_of_the_intervals(disc, words):
    (sentence,) = said(segmentation({**FAR, DISC: disc}))
    assert words in sentence
    assert "above a disc" not in sentence


@pytest.mark.parametrize("settings", [{"patients": 5}, {"patients": 1, "frames": 5}])
def test_too_few_patients_tell_nothing_apart(settings):
    found = findings([segmentation(FAR, **settings)], NET)
    assert "above" not in found.sentences[0]
    assert "too narrow to tell anything apart" in found.caution
    assert "above" in said(segmentation(FAR, patients=6))[0]


def test_frames_of_one_patient_say_nothing_of_others():
    found = findings([segmentation(FAR, patients=1)], NET)
    assert "above all others" in found.sentences[0]
    assert "All frames are of one patient" in found.caution


def test_figures_without_intervals_tell_nothing_apart():
    (sentence,) = said(segmentation({name: (figure[0], None, None) for name, figure in FAR.items()}))
    assert "above" not in sentence
    assert "(30.0 %)" not in sentence
    assert "30.0 %" in sentence


def test_of_many_others_two_are_named():
    others = {f"other{i}": (29 - i, 20, 40) for i in range(4)}
    (sentence,) = said(segmentation({"grad_cam": (30, 25, 35), **others}))
    assert "cannot be told from other0 (29.0 %), other1 (28.0 %) and 2 more." in sentence


def test_the_layer_of_the_best_method():
    single = {"grad_cam": [(40, 38, 42), (31, 25, 35)], "layer_cam": [(90, 85, 95), (1, 0, 2)]}
    found = findings([segmentation(FAR, single)], NET)
    assert found.sentences[1] == (
        "Grad-CAM overlaps most with its maps of layer 3: 40.0 % (38.0 to 42.0). It is above all others, of which "
        "layer 4 comes next (31.0 %)."
    )
    assert (found.maps.method, found.maps.column) == ("grad_cam", "layer3")
    single["grad_cam"][0] = (None, None, None)
    found = findings([segmentation({**FAR, "grad_cam": (32, 25, 35)}, single)], NET)
    assert "overlaps most with its maps of all layers together: 32.0 % (25.0 to 35.0)." in found.sentences[1]
    assert "It cannot be told from layer 4 (31.0 %)." in found.sentences[1]


def confidence(drops, **settings):
    rows = {(method, NET): [(50, 1, 99), figure] for method, figure in drops.items()}
    return experiment("confidence", table("drop", ["layer4", "layer4+3"], rows), **settings)


def test_the_confidence_drop_of_the_method_that_overlaps_most():
    drops = {"grad_cam": (10, -39, 39), "layer_cam": (30, 5, 50)}
    assert said(segmentation(FAR), confidence(drops))[1] == (
        "With what Grad-CAM’s maps of all layers together show hidden, the confidence drop is 10.0 % (−39.0 to 39.0) "
        "of the score, which cannot be told from none. The largest is that of LayerCAM (30.0 %), from which it cannot "
        "be told."
    )
    drops = {"grad_cam": (10, 8, 12), "layer_cam": (30, 25, 50)}
    ending = "10.0 % (8.0 to 12.0) of the score. The largest is that of LayerCAM (30.0 %), which is more."
    assert said(segmentation(FAR), confidence(drops))[1].endswith(ending)


def test_without_outlines_the_largest_drop_is_told_of():
    (sentence,) = said(confidence({"grad_cam": (10, 8, 12), "layer_cam": (30, 25, 50)}))
    assert sentence.startswith("With what LayerCAM’s maps")
    assert sentence.endswith("It is above all others, of which Grad-CAM comes next (10.0 %).")


def test_whatever_the_figures_above_means_outside_of_both_intervals():
    ends = (0, 4, 8)
    for low, high, other, below, over in itertools.product(ends, (12, 20), (2, 6, 9), (0, 3), (9, 10, 14)):
        (sentence,) = said(segmentation({"grad_cam": (10, low, high), "layer_cam": (other, below, over)}))
        assert ("above all others" in sentence) == (other < low and over < 10)


def test_what_was_not_measured_is_not_told_of():
    nothing = findings([experiment("axioms", table("sensitivity", ["layer4"], {("grad_cam", NET): [(1, 0, 2)]}))], NET)
    assert (nothing.sentences, nothing.caution, nothing.overlap) == ((), "", None)
    assert said(segmentation({"grad_cam": (None, None, None)})) == ()
    assert findings([segmentation(FAR)], "another network").sentences == ()
    others = table("aggregated", ["layer4"], {("grad_cam",): [(1, 0, 2)]}, labels=("method",))
    assert said(experiment("segmentation", others)) == ()


def test_alarms_are_those_of_the_networks_own_experiments_and_few_are_told():
    rung = replace(experiment("cohort"), alarms=tuple(f"ALARM: {number}." for number in "1234"))
    found = findings([segmentation(FAR), rung], NET)
    assert found.alarms == (
        *(f"ALARM: {number}. See “Title of cohort”." for number in "123"),
        "“Title of cohort” has 1 more alarm.",
    )
    assert len(found.sentences) == 1
    assert findings([rung], "another network").alarms == ()


def content(*decisions):
    frames = [{"label": label, "predicted": guess, "patient": patient} for label, guess, patient in decisions]
    return {"classes": ["a", "b"], "size": [3, 4], "frames": frames}


def test_accuracy_comes_from_frames_that_no_training_has_seen():
    accuracy = {(NET,): [(90, 80, 95)]}
    seen = experiment("gallery", part="all", content=content(*[(0, 0, "p")] * 100))
    test = experiment("confidence", table("accuracy", ["accuracy"], accuracy, labels=("network",)), frames=10)
    (glance,) = glances([seen, test])
    first, second = glance.accuracy
    assert (first.figure.value, first.frames, first.unseen) == (90, 10, True)
    assert (second.figure.value, second.frames, second.unseen) == (100, 100, False)


def test_accuracy_is_that_of_the_frames_with_an_interval_over_patients():
    decisions = [(0, 0, "p"), (0, 0, "p"), (0, 0, "p"), (1, 0, "q")]
    (glance,) = glances([experiment("gallery", content=content(*decisions))])
    (accuracy,) = glance.accuracy
    assert tuple(accuracy.figure) == (75, 0, 100)
    assert accuracy.classes == (("a", 3, 3), ("b", 0, 1))
    assert (accuracy.frames, accuracy.patients, accuracy.unanimous) == (4, 2, False)


def test_several_networks_share_no_frames():
    found = glances([experiment("gallery", content=content((0, 0, "p")), networks=("one", "two"))])
    assert [(glance.network, glance.accuracy) for glance in found] == [("one", ()), ("two", ())]
