"""Of figures made by hand, every claim is judged as it should be; and an interval says what can be told."""

import pytest

from experiments.claims import CLAIMS, verdict
from experiments.drawn import ALL_LAYERS
from experiments.statistics import WITHOUT_LAYER1, agreement
from tests.experiments.made_evidence import figures, make_evidence
from xrcam_jax.metrics.uncertainty import Estimate

pytestmark = pytest.mark.long(one_in=5)

SEGMENTATION = ("sk", "segmentation", "mean", "iou")
OTHER = ("other", "segmentation", "mean", "iou")
DROPOUT = ("sk_dropout", "dropout", "mean", "iou")
DROP = ("sk", "confidence", "mean", "drop")
CONSERVATION, SENSITIVITY = ("sk", "axioms", "mean", "conservation"), ("sk", "axioms", "mean", "sensitivity")
SSIM = ("other", "sanity", "mean", "ssim")
OURS = "xrelevance_cam"
METHODS = ("grad_cam", "grad_cam_pp", "x_grad_cam", "hires_cam", "layer_cam", "relevance_cam")

#: By claim: the table, and the figures that break the claim.
BROKEN = {
    "pre-training": (("scratch", "segmentation", "mean", "iou"), {(OURS, ALL_LAYERS): 0.39}),
    "selective-kernel": (("plain", "segmentation", "mean", "iou"), {("layer_cam", "layer1"): 0.9}),
    "best-in-layer1": (SEGMENTATION, {("hires_cam", "layer1"): 0.31}),
    "best-on-average": (SEGMENTATION, {("hires_cam", "layer1"): 0.9}),
    "gain-in-every-layer": (SEGMENTATION, {(OURS, "layer4"): 0.265}),
    "gain-largest-in-layer1": (SEGMENTATION, {(OURS, "layer3"): 0.5}),
    "methods-differ-in-shallow-layers": (SEGMENTATION, {("grad_cam", "layer4"): 0.9}),
    "fewer-false-positives": (SEGMENTATION, {("relevance_cam", "layer1"): 0.4}),
    "aggregation-helps": (SEGMENTATION, {(OURS, ALL_LAYERS): 0.27}),
    "best-aggregated": (SEGMENTATION, {("grad_cam", ALL_LAYERS): 0.39}),
    "aggregated-over-relevance-cam": (SEGMENTATION, {(OURS, ALL_LAYERS): 0.355}),
    "aggregated-over-grad-cam": (SEGMENTATION, {("grad_cam", ALL_LAYERS): 0.39}),
    "gradients-fall-with-layer1": (SEGMENTATION, {("x_grad_cam", ALL_LAYERS): 0.31}),
    "gains-with-layer1": (SEGMENTATION, {(OURS, WITHOUT_LAYER1): 0.4}),
    "mean-aggregates-best": (("sk", "segmentation", "weighted", "iou"), {(OURS, ALL_LAYERS): 0.4}),
    "best-aggregated-elsewhere": (OTHER, {("grad_cam", ALL_LAYERS): 0.4}),
    "no-gain-from-layer1-elsewhere": (OTHER, {(OURS, ALL_LAYERS): 0.36}),
    "depends-on-layer3-and-below": (SSIM, {(OURS, "layer3 layer3 down from fc"): 0.81}),
    "depends-on-layer4-and-classifier": (SSIM, {(OURS, "layer3 layer4 down from fc"): 0.81}),
    "least-on-layer4": (SSIM, {(OURS, "layer3 layer1 alone"): 0.61}),
    "best-with-dropout": (DROPOUT, {("grad_cam", "layer2 with dropout"): 0.9}),
    "ranks-with-dropout": (DROPOUT, {(OURS, f"{ALL_LAYERS} with dropout"): 0.01}),
    "dropout-stands-for-an-ensemble": (DROPOUT, {("grad_cam", f"{ALL_LAYERS} with dropout"): 0.9}),
    "grad-cam-pp-leads-in-drop": (DROP, {("grad_cam", ALL_LAYERS): 0.6}),
    "drop-against-iou-in-layer1": (SEGMENTATION, {("grad_cam_pp", "layer1"): 0.2}),
    "does-not-stand-out-in-drop": (DROP, {(OURS, ALL_LAYERS): 0.6}),
    "ranks-by-iou-and-drop-differ": (
        DROP, {**{(m, ALL_LAYERS): 0.2 for m in METHODS}, ("relevance_cam", ALL_LAYERS): 0.3, (OURS, ALL_LAYERS): 0.4}
    ),
    "conserves": (CONSERVATION, {(OURS, "layer2"): 0.06}),
    "conserves-better": (CONSERVATION, {(OURS, "layer2"): 0.6}),
    "xgrad-cam-in-deep-layers": (CONSERVATION, {("x_grad_cam", "layer1"): 0.4}),
    "catastrophic-conservation": (CONSERVATION, {("layer_cam", f"layer{i}"): 0.9 for i in range(1, 5)}),
    "sensitivity-below-relevance-cam": (SENSITIVITY, {(OURS, "layer1"): 1.1}),
    "conservation-goes-with-iou": (CONSERVATION, {(OURS, f"layer{i}"): 9.0 for i in range(1, 5)}),
    "sensitivity-does-not": (
        SENSITIVITY,
        {(m, f"layer{i}"): 0.0 if m == OURS else 9.0 for m in (*METHODS, OURS) for i in range(1, 5)},
    ),
}  # fmt: skip


def judged(evidence):
    return {claim.id: claim.judged(evidence) for claim in CLAIMS}


def test_all_claims_hold_where_all_is_as_the_thesis_says(tmp_path):
    found = judged(make_evidence(tmp_path))
    assert {name: each.verdict for name, each in found.items() if each.verdict != "holds"} == {}
    assert found["aggregated-over-relevance-cam"].figure.value == pytest.approx(4.0)
    assert found["selective-kernel"].figure.value == pytest.approx(5.0)
    assert found["no-method-dominates"].figure.value == pytest.approx(1 - 2 / 5)


@pytest.mark.parametrize("name", BROKEN)
def test_a_claim_that_does_not_hold(name, tmp_path):
    table, figure = BROKEN[name]
    found = figures()
    found[table] = found[table] | figure
    assert judged(make_evidence(tmp_path, found))[name].verdict == "does not hold"


def test_every_claim_is_broken_above_but_one():
    """That no method dominates can be told only where none does: a share that is never negative cannot be below 0."""
    assert {claim.id for claim in CLAIMS} - set(BROKEN) == {"no-method-dominates"}
    assert len({claim.id for claim in CLAIMS}) == len(CLAIMS)


def test_what_is_not_measured_is_not_judged(tmp_path):
    found = figures()
    del found["sk", "axioms", "mean", "conservation"], found["sk", "axioms", "mean", "sensitivity"]
    found = judged(make_evidence(tmp_path, found))
    assert {name for name, each in found.items() if each is None} == {
        *("conserves", "conserves-better", "xgrad-cam-in-deep-layers", "catastrophic-conservation"),
        *("sensitivity-below-relevance-cam", "conservation-goes-with-iou", "sensitivity-does-not"),
    }


@pytest.mark.parametrize(
    ("figure", "expected"),
    [
        (Estimate(2.0, 1.1, 3.0), "holds"),
        (Estimate(0.5, 0.0, 0.9), "does not hold"),
        (Estimate(2.0, 1.0, 3.0), "cannot be told"),
        (Estimate(2.0), "cannot be told"),
    ],
)
def test_verdicts(figure, expected):
    assert verdict(figure, 1.0) == expected


def test_agreement_by_hand():
    """It is 1 - 6 sum d^2 / (n (n^2 - 1)) with d = 0, 1, -1, 0, and NaN where all are alike."""
    import numpy as np

    found = agreement(np.array([[1, 2, 3, 4], [1, 1, 1, 1]]), np.array([[10, 30, 20, 90], [1, 2, 3, 4]]))
    np.testing.assert_allclose(found, [1 - 6 * 2 / (4 * 15), np.nan])
