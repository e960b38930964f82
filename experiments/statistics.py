"""Statistics of a reproduction, in each draw, that tell whether a claim holds."""

import numpy as np

from experiments.drawn import ALL_LAYERS, LAYERS, Drawn, Evidence, PerDraw

OURS, BASELINE = "xrelevance_cam", "relevance_cam"
BY_GRADIENT = ("grad_cam", "grad_cam_pp", "x_grad_cam", "hires_cam", "layer_cam")
OTHERS = (*BY_GRADIENT, BASELINE)
METHODS = (*OTHERS, OURS)
WITHOUT_LAYER1 = "layer4+3+2"
DROPPED = (*LAYERS, ALL_LAYERS)


def lead(table: Drawn, *columns: str, of: str = OURS, over: tuple[str, ...] = OTHERS) -> PerDraw:
    """Returns by how much a method is above the best of others, in the mean over columns."""
    return table.of(of, *columns) - table.among(over, *columns).max(1)


def gain(table: Drawn, *columns: str, over: str = BASELINE) -> PerDraw:
    """Returns by how much XRelevance-CAM is above another method, in the mean over columns."""
    return table.of(OURS, *columns) - table.of(over, *columns)


def least(*values: PerDraw) -> PerDraw:
    """Returns the least of several statistics in each draw: it is positive where all are."""
    return np.min(values, axis=0)


def agreement(a: np.ndarray, b: np.ndarray) -> PerDraw:
    """Returns Spearman's rank correlation along the last axis, in each draw; NaN where one side is constant."""
    from scipy.stats import rankdata

    ranks = [rankdata(values, axis=1) for values in (a, b)]
    centred = [values - values.mean(1, keepdims=True) for values in ranks]
    scale = np.sqrt((centred[0] ** 2).sum(1) * (centred[1] ** 2).sum(1))
    return np.divide((centred[0] * centred[1]).sum(1), scale, out=np.full(len(scale), np.nan), where=scale > 0)


def sk_helps(e: Evidence) -> PerDraw:
    with_sk, without = e.iou("sk"), e.iou("plain")
    return (with_sk.among(OTHERS, *LAYERS) - without.among(OTHERS, *LAYERS)).min(1)


def spread_is_in_layer1(e: Evidence) -> PerDraw:
    first, last = (e.iou("main").among(METHODS, layer) for layer in ("layer1", "layer4"))
    return np.ptp(first, axis=1) - np.ptp(last, axis=1)


def change_with_layer1(e: Evidence, role: str, method: str) -> PerDraw:
    return e.iou(role).of(method, ALL_LAYERS) - e.iou(role).of(method, WITHOUT_LAYER1)


def mean_aggregates_best(e: Evidence) -> PerDraw:
    ways = [e.iou("main", aggregation=way).of(OURS, ALL_LAYERS) for way in ("maximum", "weighted", "product")]
    return e.iou("main").of(OURS, ALL_LAYERS) - np.max(ways, axis=0)


def with_dropout(e: Evidence) -> Drawn:
    return e.iou("sk_dropout", "dropout")


def rank_with_dropout(e: Evidence) -> PerDraw:
    noisy, quiet = (with_dropout(e).among(METHODS, f"{ALL_LAYERS}{suffix}") for suffix in (" with dropout", ""))
    return agreement(noisy, quiet)


def rank_in_an_ensemble(e: Evidence) -> PerDraw:
    noisy = with_dropout(e).among(METHODS, f"{ALL_LAYERS} with dropout")
    return agreement(noisy, e.iou("main").among(METHODS, ALL_LAYERS))


def drop(e: Evidence) -> Drawn:
    table = e.table("main", "confidence", "drop", "scored")
    return Drawn(table.methods, table.columns, 100 * table.values)


def no_method_dominates(e: Evidence) -> PerDraw:
    leaders = np.stack([drop(e).among(METHODS, column).argmax(1) for column in DROPPED], axis=1)
    most = np.max([(leaders == i).mean(1) for i in range(len(METHODS))], axis=0)
    return 1 - most


def pp_and_grad_cam_in_layer1(e: Evidence) -> PerDraw:
    drops, iou = drop(e), e.iou("main")
    return least(
        drops.of("grad_cam_pp", "layer1") - drops.of("grad_cam", "layer1"),
        iou.of("grad_cam", "layer1") - iou.of("grad_cam_pp", "layer1"),
    )


def axiom_error(e: Evidence, axiom: str) -> Drawn:
    return e.table("main", "axioms", axiom)


def below_baseline(e: Evidence, axiom: str) -> PerDraw:
    return least(*(-gain(axiom_error(e, axiom), layer) for layer in LAYERS))


def agreement_with_iou(e: Evidence, axiom: str) -> PerDraw:
    iou = np.concatenate([e.iou("main").among(METHODS, layer) for layer in LAYERS], axis=1)
    errors = np.concatenate([axiom_error(e, axiom).among(METHODS, layer) for layer in LAYERS], axis=1)
    return agreement(iou, -errors)


def alike(e: Evidence, part: str) -> PerDraw:
    return e.table("other", "sanity", "ssim").of(OURS, f"layer3 {part}")
