"""The testable claims of the thesis, written down before the runs that judge them.

A claim says what the thesis says, in our words, and which statistic would be above which threshold if it were so. The
statistic has a 95 % bootstrap interval over patients, and over trainings where there are several. A claim *holds* if
all of the interval is above the threshold, *does not hold* if all of it is below, and otherwise *cannot be told*.

``dropout-stands-for-an-ensemble`` was added when the narrow networks had been measured, before any others were.

``"main"`` is the network that a reproduction is about: the thesis's is the one with Selective Kernel.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np

from experiments.drawn import ALL_LAYERS, LAYERS, Evidence, PerDraw, interval
from experiments.statistics import (
    BY_GRADIENT,
    METHODS,
    OURS,
    agreement,
    agreement_with_iou,
    alike,
    axiom_error,
    below_baseline,
    change_with_layer1,
    drop,
    gain,
    lead,
    least,
    mean_aggregates_best,
    no_method_dominates,
    pp_and_grad_cam_in_layer1,
    rank_in_an_ensemble,
    rank_with_dropout,
    sk_helps,
    spread_is_in_layer1,
    with_dropout,
)
from xrcam_jax.metrics.uncertainty import Estimate

Verdict = Literal["holds", "does not hold", "cannot be told"]


@dataclass(frozen=True)
class Claim:
    """Says what the thesis claims, and what would show it.

    Attributes:
      id: a short name.
      section: of the thesis, with its table or figure.
      says: the claim in our words.
      statistic: what is measured, in words.
      measure: returns the statistic in each draw.
      needs: the tables that it needs, as role, experiment and way of aggregation.
      threshold: above which the claim holds.
    """

    id: str
    section: str
    says: str
    statistic: str
    measure: Callable[[Evidence], PerDraw]
    needs: tuple[tuple[str, str, str], ...]
    threshold: float = 0.0

    def judged(self, evidence: Evidence) -> "Judged | None":
        """Returns the statistic and the verdict; None where the evidence lacks a table."""
        if not all(evidence.has(*table) for table in self.needs):
            return None
        figure = interval(self.measure(evidence))
        return Judged(self, figure, verdict(figure, self.threshold))


@dataclass(frozen=True)
class Judged:
    """Holds a claim, its statistic, and what this says of it."""

    claim: Claim
    figure: Estimate
    verdict: Verdict


def verdict(figure: Estimate, threshold: float) -> Verdict:
    """Returns what an interval says of a claim.

    Example:
      >>> verdict(Estimate(2.0, 1.0, 3.0), 0.0), verdict(Estimate(2.0, -1.0, 3.0), 0.0)
      ('holds', 'cannot be told')
    """
    if figure.low > threshold:
        return "holds"
    return "does not hold" if figure.high < threshold else "cannot be told"


#: What a claim needs, as :attr:`Claim.needs` has it.
SEGMENTATION = (("main", "segmentation", "mean"),)
OTHER = (("other", "segmentation", "mean"),)
DROPOUT = (("sk_dropout", "dropout", "mean"),)
CONFIDENCE = (("main", "confidence", "mean"),)
AXIOMS = (("main", "axioms", "mean"),)
SANITY = (("other", "sanity", "mean"),)

CLAIMS: tuple[Claim, ...] = (
    Claim(
        "pre-training",
        "4.1, Figures 4.1 and 4.2",
        "Pre-training moves the maps from confounders to the structures.",
        "IoU of XRelevance-CAM, all layers aggregated: pre-trained less from scratch",
        lambda e: e.iou("pretrained").of(OURS, ALL_LAYERS) - e.iou("scratch").of(OURS, ALL_LAYERS),
        (("pretrained", "segmentation", "mean"), ("scratch", "segmentation", "mean")),
    ),
    Claim(
        "selective-kernel",
        "5.1.2, Table 5.1",
        "Selective Kernel helps: every method overlaps better with the outlines.",
        "least gain of the six methods, mean IoU of the layers",
        sk_helps,
        (("sk", "segmentation", "mean"), ("plain", "segmentation", "mean")),
    ),
    Claim(
        "best-in-layer1",
        "5.1.3, Table 5.2",
        "XRelevance-CAM is the best method in layer 1.",
        "its IoU less that of the best other method",
        lambda e: lead(e.iou("main"), "layer1"),
        SEGMENTATION,
    ),
    Claim(
        "best-on-average",
        "5.1.3, Table 5.2",
        "XRelevance-CAM is the best method on average over the layers.",
        "its mean IoU of the layers less that of the best other method",
        lambda e: lead(e.iou("main"), *LAYERS),
        SEGMENTATION,
    ),
    Claim(
        "gain-in-every-layer",
        "1.2 and 5.1.3, Table 5.2",
        "XRelevance-CAM gains over Relevance-CAM in every layer, by a point at least.",
        "least gain in IoU over Relevance-CAM of the four layers",
        lambda e: least(*(gain(e.iou("main"), layer) for layer in LAYERS)),
        SEGMENTATION,
        threshold=1.0,
    ),
    Claim(
        "gain-largest-in-layer1",
        "5.1.3, Table 5.2",
        "The gain over Relevance-CAM is largest in layer 1.",
        "gain in IoU in layer 1 less the largest of the other layers",
        lambda e: gain(e.iou("main"), "layer1") - np.max([gain(e.iou("main"), layer) for layer in LAYERS[1:]], axis=0),
        SEGMENTATION,
    ),
    Claim(
        "methods-differ-in-shallow-layers",
        "5.1.3, Table 5.2",
        "Methods are alike in deep layers, and differ in shallow ones.",
        "range of IoU over the methods: layer 1 less layer 4",
        spread_is_in_layer1,
        SEGMENTATION,
    ),
    Claim(
        "fewer-false-positives",
        "5.1.3, Figures 5.3 to 5.7",
        "In layer 1, XRelevance-CAM highlights fewer false positives than Relevance-CAM.",
        "false-positive rate of Relevance-CAM less that of XRelevance-CAM",
        lambda e: -gain(e.false_positive_rate("main"), "layer1"),
        SEGMENTATION,
    ),
    Claim(
        "aggregation-helps",
        "5.1.4, Table 5.3",
        "Aggregation of all layers helps XRelevance-CAM.",
        "IoU of all layers aggregated less that of layer 4",
        lambda e: e.iou("main").of(OURS, ALL_LAYERS) - e.iou("main").of(OURS, "layer4"),
        SEGMENTATION,
    ),
    Claim(
        "best-aggregated",
        "5.1.4, Table 5.3",
        "XRelevance-CAM is the best method when all layers are aggregated.",
        "its IoU less that of the best other method",
        lambda e: lead(e.iou("main"), ALL_LAYERS),
        SEGMENTATION,
    ),
    Claim(
        "aggregated-over-relevance-cam",
        "1.2 and 5.1.4, Table 5.3",
        "Aggregated, XRelevance-CAM gains two points and more over Relevance-CAM.",
        "gain in IoU",
        lambda e: gain(e.iou("main"), ALL_LAYERS),
        SEGMENTATION,
        threshold=2.0,
    ),
    Claim(
        "aggregated-over-grad-cam",
        "1.2 and 5.1.4, Table 5.3",
        "Aggregated, XRelevance-CAM is better than Grad-CAM.",
        "gain in IoU",
        lambda e: gain(e.iou("main"), ALL_LAYERS, over="grad_cam"),
        SEGMENTATION,
    ),
    Claim(
        "gradients-fall-with-layer1",
        "5.1.4, Table 5.3",
        "Grad-CAM, Grad-CAM++, XGrad-CAM and HiRes-CAM lose when layer 1 joins the aggregate.",
        "least loss in IoU of the four",
        lambda e: least(*(-change_with_layer1(e, "main", method) for method in BY_GRADIENT[:4])),
        SEGMENTATION,
    ),
    Claim(
        "gains-with-layer1",
        "5.1.4, Table 5.3",
        "XRelevance-CAM gains when layer 1 joins the aggregate.",
        "gain in IoU",
        lambda e: change_with_layer1(e, "main", OURS),
        SEGMENTATION,
    ),
    Claim(
        "mean-aggregates-best",
        "4.4.1",
        "The mean aggregates the layers better than other ways do.",
        "IoU of XRelevance-CAM by the mean less the best of maximum, weighted mean and product",
        mean_aggregates_best,
        tuple(("main", "segmentation", way) for way in ("mean", "maximum", "weighted", "product")),
    ),
    Claim(
        "best-aggregated-elsewhere",
        "5.2, Table 5.4",
        "XRelevance-CAM is the best aggregated method with another network too.",
        "its IoU less that of the best other method",
        lambda e: lead(e.iou("other"), ALL_LAYERS),
        OTHER,
    ),
    Claim(
        "no-gain-from-layer1-elsewhere",
        "5.2, Table 5.4",
        "That network gains nothing from layer 1.",
        "loss in IoU of XRelevance-CAM when layer 1 joins the aggregate",
        lambda e: -change_with_layer1(e, "other", OURS),
        OTHER,
    ),
    Claim(
        "depends-on-layer3-and-below",
        "5.3, Figures 5.16 and 5.17",
        "XRelevance-CAM at layer 3 depends on the weights of layer 3 and all above.",
        "0.8 less the SSIM with the trained network's map, these weights drawn anew",
        lambda e: 0.8 - alike(e, "layer3 down from fc"),
        SANITY,
    ),
    Claim(
        "depends-on-layer4-and-classifier",
        "5.3, Figure 5.16",
        "XRelevance-CAM at layer 3 depends on the weights of layer 4 and the classifier.",
        "0.8 less the SSIM with the trained network's map, these weights drawn anew",
        lambda e: 0.8 - alike(e, "layer4 down from fc"),
        SANITY,
    ),
    Claim(
        "least-on-layer4",
        "5.3.3, Figure 5.17",
        "Of single stages, the map depends least on layer 4.",
        "SSIM with layer 4 alone drawn anew, less the largest of the other stages",
        lambda e: alike(e, "layer4 alone") - np.max([alike(e, f"{part} alone") for part in LAYERS[:3]], axis=0),
        SANITY,
    ),
    Claim(
        "best-with-dropout",
        "5.4, Table 5.5",
        "With dropout switched on, XRelevance-CAM is best in layers 1, 2 and 3.",
        "least lead in IoU over the best other method of the three layers",
        lambda e: least(*(lead(with_dropout(e), f"{layer} with dropout") for layer in LAYERS[:3])),
        DROPOUT,
    ),
    Claim(
        "ranks-with-dropout",
        "5.4 and 6.1, Tables 5.5 and 5.6",
        "Dropout does not change the ranks of the methods.",
        "rank correlation of the aggregated IoUs with dropout and without",
        rank_with_dropout,
        DROPOUT,
        threshold=0.8,
    ),
    Claim(
        "dropout-stands-for-an-ensemble",
        "5.4.1",
        "Dropout stands for an ensemble: methods rank alike by both.",
        "rank correlation of the aggregated IoUs with dropout and of all trainings of the same network without",
        rank_in_an_ensemble,
        (*DROPOUT, *SEGMENTATION),
        threshold=0.8,
    ),
    Claim(
        "grad-cam-pp-leads-in-drop",
        "5.5, Table 5.7",
        "Grad-CAM++ has the largest confidence drop when all layers are aggregated.",
        "its drop less that of the best other method",
        lambda e: lead(drop(e), ALL_LAYERS, of="grad_cam_pp", over=tuple(m for m in METHODS if m != "grad_cam_pp")),
        CONFIDENCE,
    ),
    Claim(
        "drop-against-iou-in-layer1",
        "5.5, Tables 5.2 and 5.7",
        "In layer 1, Grad-CAM++ has the larger drop and the smaller IoU than Grad-CAM.",
        "the lesser of both differences",
        pp_and_grad_cam_in_layer1,
        (*CONFIDENCE, *SEGMENTATION),
    ),
    Claim(
        "no-method-dominates",
        "5.5, Table 5.7",
        "No method has the largest confidence drop everywhere.",
        "share of the columns of Table 5.7 that the most frequent leader does not lead",
        no_method_dominates,
        CONFIDENCE,
    ),
    Claim(
        "does-not-stand-out-in-drop",
        "5.5, Table 5.7",
        "XRelevance-CAM does not stand out in confidence drop.",
        "the best other method's drop, all layers aggregated, less its own",
        lambda e: -lead(drop(e), ALL_LAYERS),
        CONFIDENCE,
    ),
    Claim(
        "ranks-by-iou-and-drop-differ",
        "5.5, Tables 5.2 and 5.7",
        "Methods rank otherwise by confidence drop than by IoU.",
        "0.5 less the rank correlation of both, all layers aggregated",
        lambda e: 0.5 - agreement(e.iou("main").among(METHODS, ALL_LAYERS), drop(e).among(METHODS, ALL_LAYERS)),
        (*CONFIDENCE, *SEGMENTATION),
    ),
    Claim(
        "conserves",
        "5.6, Table 5.9",
        "XRelevance-CAM conserves the score.",
        "0.05 less the largest error of the conservation axiom over the layers",
        lambda e: least(*(0.05 - axiom_error(e, "conservation").of(OURS, layer) for layer in LAYERS)),
        AXIOMS,
    ),
    Claim(
        "conserves-better",
        "5.6, Table 5.9",
        "XRelevance-CAM conserves better than Relevance-CAM in every layer.",
        "least reduction of the error over the layers",
        lambda e: below_baseline(e, "conservation"),
        AXIOMS,
    ),
    Claim(
        "xgrad-cam-in-deep-layers",
        "5.6, Table 5.9",
        "XGrad-CAM conserves in the deepest layer, and not in the shallowest.",
        "the lesser of: 0.05 less its error in layer 4, its error in layer 1 less 0.5",
        lambda e: least(
            0.05 - axiom_error(e, "conservation").of("x_grad_cam", "layer4"),
            axiom_error(e, "conservation").of("x_grad_cam", "layer1") - 0.5,
        ),
        AXIOMS,
    ),
    Claim(
        "catastrophic-conservation",
        "5.6, Table 5.9",
        "Grad-CAM++ and LayerCAM violate conservation by more than the score itself.",
        "the lesser of both mean errors over the layers, less 1",
        lambda e: axiom_error(e, "conservation").among(("grad_cam_pp", "layer_cam"), *LAYERS).min(1) - 1,
        AXIOMS,
    ),
    Claim(
        "sensitivity-below-relevance-cam",
        "5.6, Table 5.8",
        "XRelevance-CAM violates the sensitivity axiom less than Relevance-CAM in every layer.",
        "least reduction of the error over the layers",
        lambda e: below_baseline(e, "sensitivity"),
        AXIOMS,
    ),
    Claim(
        "conservation-goes-with-iou",
        "5.6, Tables 5.2 and 5.9",
        "Methods that conserve better overlap better.",
        "rank correlation of IoU with the negative error, over methods and layers",
        lambda e: agreement_with_iou(e, "conservation"),
        (*AXIOMS, *SEGMENTATION),
    ),
    Claim(
        "sensitivity-does-not",
        "5.6, Tables 5.2 and 5.8",
        "The sensitivity axiom goes less with overlap than conservation does.",
        "rank correlation with conservation less that with sensitivity",
        lambda e: agreement_with_iou(e, "conservation") - agreement_with_iou(e, "sensitivity"),
        (*AXIOMS, *SEGMENTATION),
    ),
)
