"""``xrcam demo``: goes the whole way once, with nothing to download."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from xrcam_jax.arguments.checks import prepare_folder
from xrcam_jax.arguments.config import SETTINGS, write_settings
from xrcam_jax.arguments.parser import PATH, Options, flag, run_inside
from xrcam_jax.commands import explain, prepare, synth, train
from xrcam_jax.commands.photographs import explain_photographs
from xrcam_jax.errors import CommandError
from xrcam_jax.runtime.texts import read_text
from xrcam_jax.titles import layer_title

if TYPE_CHECKING:
    import numpy as np
    from matplotlib.figure import Figure

    from xrcam_jax.data.cohort import Frames

NAME = "demo"
EXAMPLE = "Example:\n  xrcam demo --out xrcam_demo\n  xrcam demo --photographs"

METHODS = ("xrelevance_cam", "relevance_cam", "grad_cam")
# This seed draws patients that no training has seen: those of the training are drawn from seed 0.
UNSEEN = 20261123
SHOWN = 4


PARAMETERS = (
    click.Option(["--out"], type=PATH, default=Path("xrcam_demo"), metavar="DIR", help="folder to write into"),
    flag(
        "--photographs",
        help="explain photographs by EfficientNet-Lite0, which has learnt from ImageNet: a minute (extras imagenet and "
        "evaluate)",
    ),
    flag("--full", help="first draw recordings, prepare them and train the network: 5 to 10 minutes"),
)


def run(options: Options) -> int:
    """Explains photographs or drawn frames; returns the exit status."""
    _check(options)
    status = explain_photographs(options.out) if options.photographs else _explain_frames(options)
    if status == 0:
        # The explanation inside has left a table of its own, by which it can be repeated alone.
        write_settings(options.out, f"{options.repeat}\n{read_text(options.out / SETTINGS)}")
    return status


def _explain_frames(options: Options) -> int:
    """Explains frames of unseen patients and says how well the drawn structures were found."""
    import numpy as np

    import xrcam_jax as xr
    from xrcam_jax.arguments.screen import show_markdown
    from xrcam_jax.checkpoints.packaged import MODEL, WEIGHTS
    from xrcam_jax.data.cohort import SMALL, draw_frames
    from xrcam_jax.figures.save import save
    from xrcam_jax.models.resnet import STAGES
    from xrcam_jax.runtime.compiling import keep_compiled
    from xrcam_jax.studies.structures import find_structures

    keep_compiled()
    weights = _train(options.out) if options.full else WEIGHTS
    print("Drawing frames of 8 patients that the network has never seen ...", flush=True)
    frames = draw_frames(replace(SMALL, gbm=4, meningioma=4, videos=1, frames=24, seed=UNSEEN))
    print(f"Explaining {len(frames.labels)} frames; compiling comes first ...", flush=True)
    found, batches = find_structures(xr.load_model(MODEL, weights), frames, METHODS)
    chosen = _one_of_each_patient(frames.names)
    maps = {layer: np.concatenate([np.asarray(e.maps["xrelevance_cam"][layer]) for e in batches]) for layer in STAGES}
    maps["aggregate"] = np.concatenate([np.asarray(e.aggregate("xrelevance_cam")) for e in batches])
    sheet = options.out / "structures.jpg"
    save(_sheet(frames, maps, chosen[:: max(1, len(chosen) // SHOWN)]), sheet)

    status = _explain(frames, chosen, weights, options.out)
    print(
        f"\nRight on {found.accuracy:.0%} of {len(frames.labels)} frames. Overlap of saliency and drawn structures,\n"
        f"pooled IoU in percent over {found.frames} meningioma frames:\n"
    )
    show_markdown(found.table())
    print(
        f"\nXRelevance-CAM beside what was drawn: {sheet}\n"
        f"The frames are drawn and stand for no patient. With your own:\n"
        f"xrcam explain PICTURES --model {MODEL} --weights {weights}"
    )
    return status


def _check(options: Options) -> None:
    if options.photographs and options.full:
        raise CommandError("--photographs, --full: give one of them, photographs need no training")
    prepare_folder("--out", options.out)


def _train(out: Path) -> Path:
    from xrcam_jax.checkpoints.packaged import MODEL

    print("Draw, prepare, train, explain: 5 to 10 minutes on 2 cores.", flush=True)
    prepared, trained = str(out / "prepared"), out / "run"
    commands = {"synth": synth, "prepare": prepare, "train": train}
    for command in (
        ["synth", str(out / "synthetic"), "--small"],
        ["prepare", str(out / "synthetic" / "recordings"), prepared],
        ["train", prepared, "--model", MODEL, "--epochs", "10", "--patience", "4", "--out", str(trained)],
    ):
        print(f"\n$ xrcam {' '.join(command)}", flush=True)
        status = run_inside(commands[command[0]], command[1:])
        if status:
            raise SystemExit(status)
    return trained / "best.safetensors"


def _explain(frames, chosen, weights: Path, out: Path) -> int:
    from xrcam_jax.checkpoints.packaged import MODEL
    from xrcam_jax.data.synthetic import LABELS
    from xrcam_jax.pictures.write import save_picture
    from xrcam_jax.runtime.files import write_whole

    pictures, labels = out / "pictures", out / "labels.txt"
    for index in chosen:
        save_picture(pictures / f"{frames.names[index]}.png", _rgb(frames.pictures[index]))
    write_whole(labels, "".join(f"{label}\n" for label in LABELS).encode())
    # What is drawn here are the squares that prepare would cut out.
    arguments = f"--model {MODEL} --method {','.join(METHODS)} --batch-size {len(chosen)} --field-of-view none".split()
    files = ["--weights", str(weights), "--labels", str(labels), "--out", str(out), str(pictures)]
    return run_inside(explain, [*arguments, *files])


def _rgb(grey: "np.ndarray") -> "np.ndarray":
    import numpy as np

    return np.repeat(grey[..., None], 3, axis=2)


def _one_of_each_patient(names: Sequence[str]) -> list[int]:
    """Returns the place of a frame from the middle of each patient's, by names such as GBM_P01_scan1_000012."""
    of_patients: dict[str, list[int]] = {}
    for place, name in enumerate(names):
        of_patients.setdefault("_".join(name.split("_")[:2]), []).append(place)
    return [places[len(places) // 2] for places in of_patients.values()]


def _sheet(frames: "Frames", maps: "dict[str, np.ndarray]", shown: Sequence[int]) -> "Figure":
    """Returns a sheet with a row for each frame: what was drawn, outlined, then the map of each layer."""
    from xrcam_jax.data.synthetic import LABELS
    from xrcam_jax.figures.comparison import comparison
    from xrcam_jax.figures.grid import scales
    from xrcam_jax.figures.overlay import outlined, overlay
    from xrcam_jax.figures.style import Style

    rows = []
    for i in shown:
        picture = _rgb(frames.pictures[i])
        rows.append(
            [picture, outlined(picture, frames.structures[i]), *(overlay(picture, m[i]) for m in maps.values())]
        )
    return comparison(
        rows,
        columns=["frame", "drawn structures", *map(layer_title, maps)],
        row_labels=[LABELS[frames.labels[i]] for i in shown],
        title="XRelevance-CAM of frames of four patients, each for its own class",
        scales=scales(Style()),
    )
