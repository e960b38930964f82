"""These stand-ins for a network and an explainer are of the real kinds, and compile next to nothing."""

from functools import cache
from typing import ClassVar

import jax.numpy as jnp
import numpy as np
from flax import nnx

import xrcam_jax as xr

# Its annotations name the Explainer, and have to be read before a test puts another one in its place.
import xrcam_jax.commands.explaining
from xrcam_jax.explain.explanation import Explanation
from xrcam_jax.pictures.preprocessing import Preprocessing

CONFIG = Preprocessing(input_size=(32, 32))


@cache
def network():
    """Returns a network of three classes that has shapes in the place of weights."""
    model = nnx.eval_shape(lambda: xr.create_model("resnet18_narrow", num_classes=3))
    model.preprocessing = CONFIG
    return model


class PretendExplainer(xr.Explainer):
    """Finds brightness salient, and predicts class 1 always."""

    shapes: ClassVar[list[tuple[int, ...]]] = []

    def __init__(self, model, *, methods, layers, **options):
        self.methods, self.layers = methods, layers or ("layer1", "layer2", "layer3", "layer4")

    def __call__(self, images, targets=None):
        self.shapes.append(images.shape)
        grey = images.mean(axis=-1)
        low, high = grey.min(axis=(1, 2), keepdims=True), grey.max(axis=(1, 2), keepdims=True)
        saliency = jnp.asarray((grey - low) / np.maximum(high - low, 1e-6))
        maps = {method: dict.fromkeys(sorted(self.layers), saliency) for method in sorted(self.methods)}
        return Explanation(
            logits=jnp.tile(jnp.array([[0.0, 2.0, 1.0]]), (len(images), 1)),
            targets=jnp.ones(len(images), int) if targets is None else jnp.asarray(targets),
            maps=maps,
            raw=maps,
        )
