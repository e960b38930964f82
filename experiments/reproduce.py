"""Reproduces chapter 5 on drawn recordings: trains, runs every experiment, sets all tables beside the thesis's.

    python -m experiments.reproduce work/ --small    # narrow networks; about half an hour on 2 cores
    python -m experiments.reproduce work/            # resnet50, resnext50_32x4d, skresnext50_32x4d; an hour and a half

Writes ``work/results/`` (one folder per experiment, and ``report.html``) and ``work/reproduction.md``, which says which
of the thesis's claims hold on these data. Started again it goes on where it stopped. The data are drawn: they say
something of the methods, and nothing of tumours.
"""

import argparse
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from experiments.comparison import page
from experiments.results import Results
from xrcam_jax.cli import main as xrcam
from xrcam_jax.runtime.files import write_whole

SYNTH = ("--small", "--patients", "80", "--frames", "1920")
LIMITS = {"axioms": ("--limit", "12"), "sanity": ("--limit", "12")}


@dataclass(frozen=True)
class Size:
    """Says how large the reproduction is.

    Attributes:
      plain: network without Selective Kernel.
      sk: the same with it.
      other: another one.
      epochs: of each training.
      batch_size: of the training.
      score: by which the best epoch of each training is chosen.
      own_dropout: whether the passes with dropout are by a network that was trained with it, or by ``sk`` as it is.
      limits: options of the experiments that take long.
    """

    plain: str
    sk: str
    other: str
    epochs: int
    batch_size: int
    score: str
    own_dropout: bool
    limits: Mapping[str, tuple[str, ...]]

    @property
    def trainings(self) -> dict[str, tuple[str, ...]]:
        """By folder, the arguments that tell one training from the others."""
        with_dropout = {"sk_dropout": ("--model", self.sk, "--dropout", "0.1")} if self.own_dropout else {}
        return {
            "other": ("--model", self.other),
            "plain": ("--model", self.plain),
            "sk": ("--model", self.sk),
            **with_dropout,
        }


SMALL = Size(
    plain="resnet18_narrow",
    sk="skresnet18_narrow",
    other="resnet34_narrow",
    epochs=12,
    batch_size=32,
    score="loss",
    own_dropout=True,
    limits={**LIMITS, "confidence": ("--limit", "48"), "gallery": ("--limit", "48")},
)
FULL = Size(
    plain="resnext50_32x4d",
    sk="skresnext50_32x4d",
    other="resnet50",
    epochs=6,
    batch_size=16,
    score="accuracy",
    own_dropout=False,
    limits={**LIMITS, "confidence": ("--limit", "48", "--steps", "0"), "gallery": ("--limit", "96")},
)


def main(argv: Sequence[str] | None = None) -> int:
    """Runs what is not there yet and writes the page; returns the exit status."""
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("work", type=Path, help="folder for recordings, frames, networks and results")
    arguments.add_argument("--small", action="store_true", help="networks a quarter as wide")
    options = arguments.parse_args(argv)
    size, work = SMALL if options.small else FULL, options.work
    for step in steps(size, work):
        print(f"\n$ xrcam {' '.join(step)}", flush=True)
        status = xrcam(step)
        if status:
            return status
    results = Results(work / "results", size.plain, size.sk, size.other)
    pictures = copied_pictures(results.folder, work / "reproduction")
    text = page(results, pictures, own_dropout=size.own_dropout)
    write_whole(work / "reproduction.md", text.encode())
    print(f"\nSee {work / 'reproduction.md'} and {work / 'results' / 'report.html'}")
    return 0


def copied_pictures(results: Path, folder: Path) -> list[str]:
    """Copies the pictures that the page shows into a folder beside it; returns the names of all that is there."""
    folder.mkdir(exist_ok=True)
    for experiment, file in (("gallery", "layers_1.jpg"), ("gallery", "aggregation.jpg"), ("sanity", "*.jpg")):
        for path in sorted((results / experiment).glob(file)):
            shutil.copy(path, folder / f"{experiment}_{path.name}")
    return sorted(path.name for path in folder.iterdir())


def steps(size: Size, work: Path) -> list[list[str]]:
    """Returns the commands, one after the other; each goes on where it stopped."""
    synthetic, prepared, results = work / "synthetic", work / "prepared", work / "results"
    commands = [] if (synthetic / "annotations.json").exists() else [["synth", str(synthetic), *SYNTH]]
    commands.append(["prepare", str(synthetic / "recordings"), str(prepared), "--split", "60/10/30"])
    for name, arguments in size.trainings.items():
        run = work / "runs" / name
        if not (run / "best.safetensors").exists():
            schedule = f"--epochs {size.epochs} --batch-size {size.batch_size} --score {size.score}".split()
            commands.append(["train", str(prepared), *arguments, *schedule, "--out", str(run)])
    outlines = ["--annotations", str(synthetic / "annotations.json")]
    experiments: dict[str, list[str]] = {
        "segmentation": ["other", "plain", "sk"],
        "dropout": ["sk_dropout" if size.own_dropout else "sk"],
        "confidence": ["sk"],
        "axioms": ["sk"],
        "sanity": ["other"],
        "architectures": ["plain", "sk"],
        "gallery": ["sk"],
    }
    for experiment, networks in experiments.items():
        weights = [str(work / "runs" / name) for name in networks]
        limit = size.limits.get(experiment, ())
        data = ["--data", str(prepared), *outlines, "--part", "test", "--out", str(results)]
        commands.append(["evaluate", experiment, *data, *limit, "--weights", *weights])
    return [*commands, ["report", str(results)]]


if __name__ == "__main__":
    raise SystemExit(main())
