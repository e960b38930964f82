"""Makes stored sums with figures made up by hand, in which all claims hold; every patient is like every other."""

import csv
import io
import json

from experiments.drawn import ALL_LAYERS, LAYERS, Evidence
from experiments.statistics import METHODS, OTHERS, OURS, WITHOUT_LAYER1
from experiments.sums import write_sums

PATIENTS, SEEDS = ("P1", "P2", "P3"), (0, 1)
COLUMNS = (*LAYERS, "layer4+3", WITHOUT_LAYER1, ALL_LAYERS)
DISC = "(centred disc)"
#: Pixels of each patient that are outlined, and as many that are salient.
OUTLINED = 1000

# In layer 1 in the order of METHODS; in all others the methods by gradient are alike.
FIRST = (0.14, 0.10, 0.11, 0.12, 0.13, 0.20, 0.30)
LATER = {
    "layer2": (0.20, 0.25, 0.28),
    "layer3": (0.21, 0.25, 0.28),
    "layer4": (0.25, 0.26, 0.275),
    "layer4+3": (0.27, 0.29, 0.31),
    WITHOUT_LAYER1: (0.30, 0.32, 0.35),
    ALL_LAYERS: (0.28, 0.34, 0.38),
}


def overlaps(less=0.0):
    """Returns an IoU for each method and column, the disc's among them."""
    found = {(method, "layer1"): iou - less for method, iou in zip(METHODS, FIRST, strict=True)}
    for column, (by_gradient, baseline, ours) in LATER.items():
        found |= {(method, column): by_gradient - less for method in OTHERS[:-1]}
        found |= {(OTHERS[-1], column): baseline - less, (OURS, column): ours - less}
    return found | {(DISC, column): 0.12 for column in COLUMNS}


def figures():
    """Returns by role, experiment, aggregation and figure a value for each method and column."""
    iou = overlaps()
    elsewhere = iou | {(OURS, ALL_LAYERS): 0.345, ("relevance_cam", ALL_LAYERS): 0.30}
    noisy = {(method, f"{column} with dropout"): value - 0.05 for (method, column), value in iou.items()}
    drop = {(method, column): 0.2 for method in METHODS for column in (*LAYERS, ALL_LAYERS)}
    drop |= {("grad_cam", "layer1"): 0.1, ("grad_cam_pp", "layer1"): 0.3, ("x_grad_cam", "layer2"): 0.6}
    drop |= {("grad_cam_pp", ALL_LAYERS): 0.5, ("layer_cam", ALL_LAYERS): 0.4, (OURS, ALL_LAYERS): 0.1}
    by_method = dict(zip(METHODS, (0.6, 5, 1.0, 0.7, 6, 0.5, 0.01), strict=True))
    conservation = {(method, layer): by_method[method] for method in METHODS for layer in LAYERS}
    conservation[("x_grad_cam", "layer4")] = 0.02
    sensitivity = {(method, layer): 0.1 for method in OTHERS for layer in LAYERS}
    sensitivity |= {("relevance_cam", layer): 1.0 for layer in LAYERS} | {(OURS, layer): 0.9 for layer in LAYERS}
    alike = {"fc": 0.9, "layer4 down from fc": 0.5, "layer3 down from fc": 0.3, "layer4 alone": 0.6}
    alike |= {f"{layer} alone": 0.4 for layer in LAYERS[:3]}
    ssim = {(OURS, f"layer3 {part}"): value for part, value in alike.items()}
    return {
        ("sk", "segmentation", "mean", "iou"): iou,
        ("plain", "segmentation", "mean", "iou"): overlaps(less=0.05),
        ("other", "segmentation", "mean", "iou"): elsewhere,
        ("pretrained", "segmentation", "mean", "iou"): iou,
        ("scratch", "segmentation", "mean", "iou"): overlaps(less=0.02),
        **{("sk", "segmentation", way, "iou"): overlaps(less=0.03) for way in ("maximum", "weighted", "product")},
        ("sk_dropout", "dropout", "mean", "iou"): iou | noisy,
        ("sk", "confidence", "mean", "drop"): drop,
        ("sk", "axioms", "mean", "conservation"): conservation,
        ("sk", "axioms", "mean", "sensitivity"): sensitivity,
        ("other", "sanity", "mean", "ssim"): ssim,
        ("other", "sanity", "mean", "rank"): ssim,
    }


def make_evidence(folder, found=None, draws=20):
    """Writes all files that the claims and the page are made of; returns the evidence."""
    rows = {}
    for (role, experiment, way, figure), values in (figures() if found is None else found).items():
        for (method, column), value in values.items():
            for seed in SEEDS:
                for patient in PATIENTS:
                    labels = (role, seed, patient, method, column)
                    rows.setdefault((way, experiment), {}).setdefault(labels, {"frames": 4}).update(sums(figure, value))
    for (way, experiment), by_labels in rows.items():
        write(folder / way / f"{experiment}.csv.gz", by_labels)
    roles = ("sk", "plain", "other", "sk_dropout", "pretrained", "scratch")
    right = {(role, s, p, "", ""): {"frames": 10, "right": 9} for role in roles for s in SEEDS for p in PATIENTS}
    write(folder / "accuracy.csv.gz", right)
    about = {"title": "made networks", "text": "Made by hand.", "command": "make", "main": "sk"}
    networks = {role: f"{role}net" for role in roles}
    epochs = [{"train_accuracy": "0.5"}, {"train_accuracy": "0.975"}]
    runs = {"sk_0": {"dropout": 0.0}, "sk_dropout_0": {"dropout": 0.1, "metrics": epochs}, "older": {"dropout": 0.1}}
    (folder / "about.json").write_text(json.dumps(about | {"networks": networks, "runs": runs}))
    return Evidence(folder, draws)


def sums(figure, value):
    """Returns the sums of a patient with four frames whose figure has a value."""
    if figure == "iou":
        both = 2 * OUTLINED * value / (1 + value)
        return {"both": both, "found": OUTLINED, "truth": OUTLINED, "pixels": 10 * OUTLINED}
    if figure == "drop":
        return {"scored": 3, "drop": 3 * value, "absolute_drop": 2 * value}
    return {figure: 4 * value}


def write(file, by_labels):
    text = io.StringIO()
    heads = list(dict.fromkeys(name for row in by_labels.values() for name in row))
    writer = csv.writer(text)
    writer.writerow(["network", "seed", "patient", "method", "column", *heads])
    writer.writerows([*labels, *(row.get(name, 0) for name in heads)] for labels, row in by_labels.items())
    file.parent.mkdir(parents=True, exist_ok=True)
    write_sums(file, text.getvalue())
