"""What a network makes of raw recordings whose black surroundings it has never seen: whole, and cut as in training.

    python -m experiments.field_of_view      # a minute on 2 cores

Draws recordings of patients that the network of the package has not seen, explains their frames both ways, and prints
how many are classified correctly, and in how many XRelevance-CAM is hottest outside of the round view.
"""

import numpy as np
from jaxtyping import Bool, Float, UInt8

import xrcam_jax as xr
from xrcam_jax.checkpoints.packaged import MODEL, WEIGHTS
from xrcam_jax.data.cohort import Cohort, scans, views
from xrcam_jax.data.synthetic import LABELS, view_circle
from xrcam_jax.models import Classifier
from xrcam_jax.models.resnet import STAGES
from xrcam_jax.pictures.field_of_view import find_view
from xrcam_jax.pictures.preprocessing import Box, crop_box

UNSEEN = Cohort(gbm=10, meningioma=10, videos=1, frames=24, side=96, seed=987654321)


def main() -> int:
    """Prints a line for whole pictures and one for those that were cut; returns the exit status."""
    model = xr.load_model(MODEL, WEIGHTS)
    explain = xr.Explainer(model, "xrelevance_cam")
    found: dict[str, list] = {"none": [], "auto": []}
    for scan in scans(UNSEEN):
        grey = [view.picture for view in views(UNSEEN, scan)][::2]
        frames = np.repeat(np.stack(grey)[..., None], 3, axis=3)
        for name, box in (("none", Box(0, 0, *frames.shape[1:3])), ("auto", find_view(grey).box)):
            found[name].append(_one_recording(model, explain, frames, box, LABELS.index(scan.label)))
    for name, parts in found.items():
        right, hottest = (np.concatenate(rows) for rows in zip(*parts, strict=True))
        black = " ".join(
            f"{layer} {share:.1%}" for layer, share in zip((*STAGES, "aggregate"), hottest.mean(0), strict=True)
        )
        print(f"{name}: {len(right)} frames, right {right.mean():.1%}; hottest in the black around the view: {black}")
    return 0


def _one_recording(
    model: Classifier, explain: xr.Explainer, frames: UInt8[np.ndarray, "n h w 3"], box: Box, label: int
) -> tuple[Bool[np.ndarray, " n"], Bool[np.ndarray, "n layers"]]:
    """Returns which frames are classified correctly, and for which layers the hottest place is outside of the view."""
    config = model.preprocessing
    shown = frames[:, *box.slices]
    e = explain(xr.preprocess(shown, config))
    maps = [*(e.maps["xrelevance_cam"][layer] for layer in STAGES), e.aggregate("xrelevance_cam")]
    height, width = shown.shape[1:3]
    seen = crop_box(height, width, config)
    outside = [_outside(np.asarray(each), seen, box) for each in maps]
    return np.asarray(e.logits.argmax(-1)) == label, np.stack(outside, axis=1)


def _outside(maps: Float[np.ndarray, "n h w"], seen: Box, box: Box) -> Bool[np.ndarray, " n"]:
    """Tells whether the hottest pixel of each map is outside of the round view of the whole frame."""
    rows, columns = np.unravel_index(maps.reshape(len(maps), -1).argmax(-1), maps.shape[1:])
    y = box.top + seen.top + (rows + 0.5) / maps.shape[1] * (seen.bottom - seen.top)
    x = box.left + seen.left + (columns + 0.5) / maps.shape[2] * (seen.right - seen.left)
    column, row, radius = view_circle(UNSEEN.side)
    return np.hypot(x - 0.5 - column, y - 0.5 - row) > radius


if __name__ == "__main__":
    raise SystemExit(main())
