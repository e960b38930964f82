"""Draws the picture of methods in the documentation, from what ``xrcam demo`` leaves.

    python docs/hooks/pictures.py                            # docs/methods.jpg: two minutes
    python docs/hooks/pictures.py folder                     # folder/methods.jpg, to be compared first

The others have commands too:

    xrcam demo --photographs --out shown                     # shown/photographs.jpg
    python -m tests.report.pictures results/report.html docs # report.jpg, report_390.jpg
"""

import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from PIL import Image

from xrcam_jax.checkpoints.packaged import MODEL, WEIGHTS
from xrcam_jax.cli import main as xrcam

DOCS = Path(__file__).parents[1]
METHODS = ("xrelevance_cam", "relevance_cam", "grad_cam", "layer_cam")
#: Of the demo's pictures, and what the sheet calls it.
PICTURE, NAME = "Meningioma_P05*.png", "A frame of a drawn patient"


def main(arguments: Sequence[str]) -> int:
    """Draws the sheet; returns the exit status."""
    folder = Path(arguments[0]) if arguments else DOCS
    with tempfile.TemporaryDirectory() as place:
        made, out = Path(place, "demo"), Path(place, "out")
        status = xrcam(["demo", "--out", str(made)])
        if status:
            return status
        (drawn,) = (made / "pictures").glob(PICTURE)
        picture = drawn.rename(drawn.with_name(f"{NAME}.png"))
        network = ["--model", MODEL, "--weights", str(WEIGHTS), "--labels", str(made / "labels.txt")]
        # A drawn frame is the square that prepare would cut out.
        shown = ["--method", ",".join(METHODS), "--field-of-view", "none", "--out", str(out)]
        status = xrcam(["explain", str(picture), *network, *shown])
        if status:
            return status
        with Image.open(out / "sheets" / f"{NAME}.png") as sheet:
            folder.mkdir(parents=True, exist_ok=True)
            sheet.convert("RGB").save(folder / "methods.jpg", quality=88)
    print(folder / "methods.jpg")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
