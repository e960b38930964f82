"""Makes a folder of results with figures made up by hand, in which all claims hold."""

import csv
import json

from experiments import thesis
from experiments.results import Results

PLAIN, SK, OTHER = "plainnet", "sknet", "othernet"
AVERAGE = ("layer1", "layer2", "layer3", "layer4", "average")
TOGETHER = ("layer4", "layer4+3", "layer4+3+2", "layer4+3+2+1")
ALL = ("layer1", "layer2", "layer3", "layer4", "layer4+3", "layer4+3+2", "layer4+3+2+1")
PARTS = ("fc", "layer4 down from fc", "layer3 down from fc")

#: By experiment and table: its networks, its columns, and the figure of the first method in the first column. Each
#: method after it has 1 more, each column 0.1 more, and the second network 10 more: XRelevance-CAM comes last.
TABLES = {
    ("segmentation", "per_layer"): (("plain", "sk"), AVERAGE, 20),
    ("segmentation", "aggregated"): (("sk", "other"), TOGETHER, 30),
    ("dropout", "stochastic"): (("sk",), ALL, 15),
    ("dropout", "deterministic"): (("sk",), ALL, 16),
    ("confidence", "drop"): (("sk",), ALL, 5),
    ("axioms", "sensitivity"): (("sk",), AVERAGE, 0.5),
    ("axioms", "conservation"): (("sk",), AVERAGE, 0.004),
    ("sanity", "ssim"): (("other",), PARTS, 0.1),
}


def make_results(folder, plain=PLAIN, sk=SK, other=OTHER):
    """Writes all files that the page is made of, as of these networks."""
    results = Results(folder, plain, sk, other)
    for (experiment, table), (networks, columns, first) in TABLES.items():
        unit = 0.001 if experiment in ("axioms", "sanity") else 1
        rows = {
            (method, getattr(results, network)): {
                c: first + unit * (i + 10 * k + j / 10) for j, c in enumerate(columns)
            }
            for k, network in enumerate(networks)
            for i, method in enumerate(thesis.METHODS)
        }
        write(folder, experiment, table, rows)
    # Grad-CAM drops most: that XRelevance-CAM does not is one of the claims.
    change(folder, "confidence", "drop", "grad_cam", sk, {"layer4+3+2+1": 44.0})
    tests = [
        {"column": c, "best": "xrelevance_cam", "iou_best": 0.4, "other": other, "iou_other": iou, "p": p}
        for c in ("layer1", "layer4+3+2+1")
        for other, iou, p in (("grad_cam", 0.2, 0.01), ("relevance_cam", 0.35, 0.25), ("layer_cam", 0.3, 0.1))
    ]
    write_csv(folder / "segmentation" / "tests.csv", [{"network": sk, **row} for row in tests])
    settings = {"data": {"frames": 7, "patients": 3}}
    (folder / "segmentation" / "settings.json").write_text(json.dumps(settings))
    (folder / "architectures").mkdir()
    for experiment, name in (("architectures", "accuracy"), ("sanity", "ssim"), ("sanity", "rank")):
        (folder / experiment / f"{name}.md").write_text(f"| table | {name} |\n")
    return results


def change(folder, experiment, table, method, network, figures):
    """Puts other figures in the place of some."""
    path = folder / experiment / f"{table}.csv"
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    (row,) = (row for row in rows if row["method"] == method and row["network"] == network)
    row.update(figures)
    write_csv(path, rows)


def write(folder, experiment, table, rows):
    """Writes a table by method and network, with an interval that is none, as an experiment does."""
    (folder / experiment).mkdir(exist_ok=True)
    layer = {"layer": "layer3"} if experiment == "sanity" else {}
    write_csv(
        folder / experiment / f"{table}.csv",
        [
            {"method": method, **layer, "network": network}
            | {f"{column}{end}": "" if end else value for column, value in figures.items() for end in ("", " low")}
            for (method, network), figures in rows.items()
        ],
    )


def write_csv(path, rows):
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
