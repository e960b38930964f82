"""A table in each draw is that of the patients and trainings that were drawn."""

import numpy as np
import pytest

from experiments.drawn import Drawn, interval
from tests.experiments.made_evidence import PATIENTS, figures, make_evidence, write
from xrcam_jax.metrics.uncertainty import estimate


@pytest.fixture
def evidence(tmp_path):
    return make_evidence(tmp_path)


def test_the_first_draw_is_the_data(evidence):
    expected = figures()["sk", "segmentation", "mean", "iou"]
    table = evidence.iou("main")
    for (method, column), value in expected.items():
        assert table.of(method, column)[0] == pytest.approx(100 * value, rel=1e-6)
    assert evidence.iou("main") is table
    outside = 1000 - 2000 * 0.3 / 1.3
    rate = evidence.false_positive_rate("sk").of("xrelevance_cam", "layer1")[0]
    assert rate == pytest.approx(100 * outside / 9000, rel=1e-5)
    assert evidence.accuracy("sk").value == pytest.approx(90)
    assert evidence.trainings("sk") == 2


def test_intervals_are_those_of_a_bootstrap_over_patients(tmp_path):
    """Of one training, by the package's own bootstrap, which draws otherwise: they agree as well as 20,000 draws do."""
    rng = np.random.default_rng(0)
    patients = [f"P{i:02}" for i in range(12)]
    both, found = rng.integers(1, 50, 12), np.full(12, 100)
    rows = {
        ("sk", 0, patient, "grad_cam", "layer1"): {"frames": 1, "both": b, "found": f, "truth": 60, "pixels": 900}
        for patient, b, f in zip(patients, both, found, strict=True)
    }
    evidence = make_evidence(tmp_path, draws=20_000)
    write(tmp_path / "mean" / "segmentation.csv.gz", rows)
    ours = evidence.iou("sk").estimate("grad_cam", "layer1")
    theirs = estimate(both, found + 60 - both, np.arange(12), draws=20_000)
    assert ours.value == pytest.approx(100 * theirs.value, rel=1e-6)
    assert ours[1:] == pytest.approx([100 * theirs.low, 100 * theirs.high], rel=0.02)


def test_trainings_are_drawn_too(tmp_path):
    """Two trainings of the same patients, one all right and one all wrong: the interval spans both."""
    rows = {
        ("sk", seed, patient, "grad_cam", "layer1"): {
            "frames": 1,
            "both": 60 * seed,
            "found": 60,
            "truth": 60,
            "pixels": 9,
        }
        for seed in (0, 1)
        for patient in PATIENTS
    }
    evidence = make_evidence(tmp_path, draws=500)
    write(tmp_path / "mean" / "segmentation.csv.gz", rows)
    found = evidence.iou("sk").estimate("grad_cam", "layer1")
    assert (found.low, found.high) == (0, 100)
    assert found.value == pytest.approx(100 / 3)


def test_networks_meet_the_same_patients(evidence):
    """Else the difference of two networks would vary by the patients that only one of them met."""
    for role in ("sk", "plain"):
        assert evidence.has(role, "segmentation")
    rows = {
        (role, 0, f"P{i}", "grad_cam", "layer1"): {"frames": 1, "both": 10 * i, "found": 60, "truth": 60, "pixels": 9}
        for role in ("sk", "plain")
        for i in range(6)
    }
    write(evidence.folder / "mean" / "segmentation.csv.gz", rows)
    sk, plain = (evidence.iou(role).of("grad_cam", "layer1") for role in ("sk", "plain"))
    np.testing.assert_array_equal(sk, plain)
    assert np.ptp(sk) > 0


def test_means_of_columns_and_passes():
    values = np.arange(12.0).reshape(2, 2, 3)
    table = Drawn(("a", "b"), ("x", "y", "x with dropout"), values)
    assert table.of("b", "x", "y").tolist() == [3.5, 9.5]
    assert table.among(("b", "a"), "x").tolist() == [[3, 0], [9, 6]]
    assert table.with_dropout().columns == ("x",)
    assert table.with_dropout().of("a", "x").tolist() == [2, 8]


def test_an_interval_leaves_out_what_is_not_finite():
    assert interval(np.array([5.0, 1.0, np.nan, 3.0]))[:2] == pytest.approx((5.0, 1.05))
    assert np.isnan(interval(np.array([5.0, np.nan])).low)
