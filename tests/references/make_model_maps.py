"""Writes ``maps_NETWORK.npz`` of token models and convolutional networks: activation maps by pytorch_grad_cam.

    PYTHONPATH=. python tests/references/make_model_maps.py [--check] [--out FOLDER]

torch 2.13.0 on CPU, timm 1.0.31, grad-cam 1.5.7, all in float64. Takes three minutes of one core. Weights and
pictures are those of ``oracle.seeded_state`` and ``oracle.model_images``, for VGG the pictures of 64 pixels.

Keys, for images b and places h, w of a layer's output:
  ``METHOD/MODULE`` (b, h, w): the map before anything is done to it, with its negative values, at the layer's size.
  ``target`` (b,): the explained classes, the predicted one of the first picture and number 340 of the second.

A layer's output has to be (b, c, h, w). ViT's tokens come there as the library's documentation has it, on the grid of
patches and without the class token; Swin's, which are (b, h, w, c), with their channels in front.
"""

from collections.abc import Callable
from functools import partial

import pytorch_grad_cam as library
import torch
from make_cam import keeping
from make_models import pictures
from networks import network, single
from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget
from torch import Tensor, nn
from writing import Arrays, main

from tests import oracle

METHODS = {
    "gradcam": library.GradCAM,
    "gradcampp": library.GradCAMPlusPlus,
    "xgradcam": library.XGradCAM,
    "layercam": library.LayerCAM,
    "hirescam": library.HiResCAM,
    "eigencam": library.EigenCAM,
}
LAYERS = {
    "vit_tiny_patch16_224": ("blocks.5", "blocks.10", "blocks.11.norm1"),
    "swin_tiny_patch4_window7_224": ("layers.1", "layers.3"),
    "convnext_atto": ("stages.1", "stages.2"),
    "vgg16": ("features.15", "features.22"),
    "densenet121": ("features.denseblock2", "features.norm5"),
    "mobilenetv3_small_100": ("blocks.1", "blocks.3"),
}


def patches(tokens: Tensor) -> Tensor:
    side = int((tokens.shape[1] - 1) ** 0.5)
    return tokens[:, 1:].reshape(len(tokens), side, side, -1).permute(0, 3, 1, 2)


def channels_first(x: Tensor) -> Tensor:
    return x.permute(0, 3, 1, 2)


RESHAPES: dict[str, Callable[[Tensor], Tensor]] = {"vit": patches, "swi": channels_first}


def maps_at(name: str, model: nn.Module, x: Tensor, layers: tuple[str, ...], other: int) -> Arrays:
    """The maps at some layers, of the first picture's predicted class and of class ``other`` of the second."""
    target = torch.stack([model(x)[0].argmax(), torch.tensor(other)])
    arrays = {"target": target.numpy()}
    for layer in layers:
        for method, cam in METHODS.items():
            found = cam(model, [model.get_submodule(layer)], reshape_transform=RESHAPES.get(name[:3]))
            kept = {}
            found.get_cam_image = keeping(found.get_cam_image, kept, "raw")
            found(x, [ClassifierOutputTarget(int(number)) for number in target])
            found.activations_and_grads.release()
            arrays[f"{method}/{layer}"] = single(torch.as_tensor(kept["raw"]))
    return arrays


def maps(name: str) -> Arrays:
    images = oracle.images() if name == "vgg16" else oracle.model_images(name)
    return maps_at(name, network(name), pictures(images, torch.float64), LAYERS[name], 340)


if __name__ == "__main__":
    main(__doc__, {f"maps_{name}": partial(maps, name) for name in LAYERS}, 1e-5, up_to_sign=("eigencam",))
