"""Does the saliency find the drawn structures?

    xrcam demo        # answers this for the network that comes with the package, in a minute

The answer is the pooled IoU over the meningioma frames that are classified correctly. Beside each method stand two
baselines that never look: a disc in the middle, as large as what was drawn in the frame, and noise, thresholded like a
map.
"""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

import xrcam_jax as xr
from xrcam_jax.cam.saliency import AGGREGATE
from xrcam_jax.classes import class_logits
from xrcam_jax.data.cohort import Frames
from xrcam_jax.data.synthetic import LABELS
from xrcam_jax.explain.explanation import Explanation
from xrcam_jax.metrics import overlap
from xrcam_jax.metrics.overlap import salient
from xrcam_jax.models import Classifier
from xrcam_jax.models.resnet import STAGES

MENINGIOMA = LABELS.index("Meningioma")


@dataclass(frozen=True)
class StructuresFound:
    """Says how well the saliency covers the drawn structures.

    Attributes:
      accuracy: share of all frames that were classified correctly.
      frames: number of correctly classified meningioma frames, over which the rest is pooled.
      iou: by method and layer, or ``"aggregate"``, in [0, 1].
      disc: the same of the disc in the middle.
      noise: the same of thresholded noise.
    """

    accuracy: float
    frames: int
    iou: dict[str, dict[str, float]]
    disc: float
    noise: float

    def table(self) -> str:
        """Returns the overlaps as Markdown, in percent."""
        columns = [*STAGES, AGGREGATE]
        lines = ["| method | " + " | ".join(columns) + " |", "|---|" + "---:|" * len(columns)]
        for method, values in self.iou.items():
            lines.append(f"| {method} | " + " | ".join(f"{100 * values[c]:.1f}" for c in columns) + " |")
        for name, value in (("centred disc", self.disc), ("noise", self.noise)):
            lines.append(f"| {name} | " + " | ".join([f"{100 * value:.1f}"] * len(columns)) + " |")
        return "\n".join(lines)


def network_input(frames: Frames, model: Classifier) -> Float[np.ndarray, "n h w c"]:
    """Returns the frames as ``model`` wants them."""
    return xr.preprocess(np.repeat(frames.pictures[..., None], 3, axis=3), model.preprocessing)


def find_structures(
    model: Classifier, frames: Frames, methods: tuple[str, ...], *, batch_size: int = 32
) -> tuple[StructuresFound, list[Explanation]]:
    """Explains the true class of every frame and compares the maps with what was drawn.

    Args:
      model: a classifier of such frames.
      frames: drawn ones.
      methods: that explain it, at all four layers and in aggregate.
      batch_size: frames at a time.

    Returns:
      What was found, and the explanations batch by batch.
    """
    explain = xr.Explainer(model, methods, STAGES)
    images = network_input(frames, model)
    starts = range(0, len(images), batch_size)
    batches = [explain(images[i : i + batch_size], targets=frames.labels[i : i + batch_size]) for i in starts]
    predicted = np.concatenate([class_logits(np.asarray(e.logits)).argmax(-1) for e in batches])
    right = predicted == frames.labels
    chosen = right & (frames.labels == MENINGIOMA)
    truth = frames.structures[chosen]

    def iou(masks: np.ndarray | jax.Array) -> float:
        return float(overlap.iou(overlap.pooled(overlap.overlap(jnp.asarray(masks), jnp.asarray(truth)))))

    def found_by(method: str, layer: str) -> float:
        maps = [e.aggregate(method) if layer == AGGREGATE else e.maps[method][layer] for e in batches]
        return iou(salient(jnp.concatenate(maps)[chosen]))

    return StructuresFound(
        accuracy=float(right.mean()),
        frames=int(chosen.sum()),
        iou={method: {layer: found_by(method, layer) for layer in (*STAGES, AGGREGATE)} for method in methods},
        disc=iou(overlap.centred_discs(truth)),
        noise=iou(salient(jnp.asarray(np.random.default_rng(0).random(truth.shape)))),
    ), batches
