"""Holds each of the thesis's main claims against the figures of a reproduction."""

from dataclasses import dataclass

from experiments import thesis
from experiments.results import Results, Rows

LAYERS = ("layer1", "layer2", "layer3", "layer4")
ALL_LAYERS = "layer4+3+2+1"
OURS = "xrelevance_cam"
#: Maps that are more alike than this, by SSIM, count as the same.
SAME = 0.8
#: The largest error of the conservation axiom that counts as conservation; the thesis has 0.02.
CONSERVED = 0.05


@dataclass(frozen=True)
class Claim:
    """Says what the thesis claims, whether it holds here, and by which figures."""

    says: str
    holds: bool
    because: str


def claims(results: Results) -> list[Claim]:
    """Returns all claims, in the order of the thesis."""
    return [
        selective_kernel_helps(results),
        best_in_layer1(results),
        better_than_relevance_cam_in_layer1(results),
        aggregation_helps(results),
        best_aggregated(results),
        does_not_stand_out_in_confidence_drop(results),
        conserves_the_score(results),
        depends_on_layer3_and_below(results),
        depends_on_layer4_and_classifier(results),
    ]


def selective_kernel_helps(results: Results) -> Claim:
    """Compares the averages over the layers of all methods, with Selective Kernel and without."""
    without, with_sk = (results.rows("segmentation", "per_layer", name) for name in (results.plain, results.sk))
    methods = list(thesis.WITHOUT_SK.rows)
    better = [method for method in methods if with_sk[method]["average"] > without[method]["average"]]
    return Claim(
        "Selective Kernel helps: every method overlaps better with the outlines (Table 5.1)",
        len(better) == len(methods),
        f"better for {len(better)} of {len(methods)} methods, by average IoU over the layers",
    )


def best_in_layer1(results: Results) -> Claim:
    """Compares all methods in layer 1."""
    values = _column(results.rows("segmentation", "per_layer", results.sk), "layer1")
    return Claim(
        "XRelevance-CAM is best in layer 1 (Table 5.2)",
        _leader(values) == OURS,
        _lead(values) + chance(results, "layer1"),
    )


def better_than_relevance_cam_in_layer1(results: Results) -> Claim:
    """Compares the two methods that propagate relevance."""
    values = _column(results.rows("segmentation", "per_layer", results.sk), "layer1")
    return Claim(
        "XRelevance-CAM is better than Relevance-CAM in layer 1 (Table 5.2)",
        values[OURS] > values["relevance_cam"],
        f"{values[OURS]:.1f} against {values['relevance_cam']:.1f} %",
    )


def aggregation_helps(results: Results) -> Claim:
    """Compares XRelevance-CAM of all layers together with that of layer 4."""
    ours = results.rows("segmentation", "aggregated", results.sk)[OURS]
    return Claim(
        "Aggregation of all layers helps XRelevance-CAM (Table 5.3)",
        ours[ALL_LAYERS] > ours["layer4"],
        f"{ours['layer4']:.1f} % at layer 4, {ours[ALL_LAYERS]:.1f} % aggregated",
    )


def best_aggregated(results: Results) -> Claim:
    """Compares all methods with all layers aggregated."""
    values = _column(results.rows("segmentation", "aggregated", results.sk), ALL_LAYERS)
    return Claim(
        "XRelevance-CAM is best when all layers are aggregated (Table 5.3)",
        _leader(values) == OURS,
        _lead(values) + chance(results, ALL_LAYERS),
    )


def does_not_stand_out_in_confidence_drop(results: Results) -> Claim:
    """Compares the confidence drops of all methods with all layers aggregated."""
    values = _column(results.rows("confidence", "drop", results.sk), ALL_LAYERS)
    useless = ": shares of scores near zero, which say nothing" if min(values.values()) < -100 else ""
    return Claim(
        "XRelevance-CAM does not stand out in confidence drop (Table 5.7)",
        _leader(values) != OURS,
        _lead(values) + useless,
    )


def conserves_the_score(results: Results) -> Claim:
    """Looks for the layer at which the claims of XRelevance-CAM add up worst to the score."""
    errors = results.rows("axioms", "conservation", results.sk)[OURS]
    worst = max(errors[layer] for layer in LAYERS)
    return Claim(
        "XRelevance-CAM conserves the score (Table 5.9)",
        worst < CONSERVED,
        f"largest error over the layers {worst:.1e} (thesis: 0.02)",
    )


def depends_on_layer3_and_below(results: Results) -> Claim:
    """Compares the maps of the trained network with those after all from layer 3 upwards is drawn anew."""
    alike = results.rows("sanity", "ssim", results.other)[OURS]["layer3 down from fc"]
    return Claim(
        "XRelevance-CAM at layer 3 depends on the weights of layer 3 and below (Figures 5.16, 5.17)",
        alike < SAME,
        f"SSIM {alike:.2f} with layer 3 and all above drawn anew",
    )


def depends_on_layer4_and_classifier(results: Results) -> Claim:
    """Compares the maps of the trained network with those after layer 4 and the classifier are drawn anew."""
    alike = _column(results.rows("sanity", "ssim", results.other), "layer4 down from fc", (OURS, "grad_cam"))
    return Claim(
        "XRelevance-CAM at layer 3 depends on the weights of layer 4 and the classifier (Figures 5.16, 5.17)",
        alike[OURS] < SAME,
        f"SSIM {alike[OURS]:.2f} with these drawn anew, Grad-CAM {alike['grad_cam']:.2f}",
    )


def chance(results: Results, column: str) -> str:
    """Says whether the lead in a column may be chance: the p-value of XRelevance-CAM and the best method.

    Where XRelevance-CAM is the best itself, it is paired with the nearest method.
    """
    pairs = [
        row
        for row in results.records("segmentation", "tests", results.sk)
        if row["column"] == column and OURS in (row["best"], row["other"])
    ]
    if not pairs:
        return ""
    nearest = max(pairs, key=lambda row: float(row["iou_other"]))
    return f" ({nearest['best']} against {nearest['other']}: p = {float(nearest['p']):.2f})"


def _column(rows: Rows, column: str, methods: tuple[str, ...] = thesis.METHODS) -> dict[str, float]:
    return {method: rows[method][column] for method in methods}


def _leader(values: dict[str, float]) -> str:
    return max(values, key=values.__getitem__)


def _lead(values: dict[str, float]) -> str:
    """Names the best and, if that is another one, XRelevance-CAM."""
    leader = _leader(values)
    ours = "" if leader == OURS else f", {OURS} {values[OURS]:.1f} %"
    return f"{leader} {values[leader]:.1f} %{ours}"
