"""Writes ``cam_NETWORK_ncCLASSES.npz``: class activation maps by pytorch_grad_cam, in float64.

    PYTHONPATH=. python tests/references/make_cam.py [--check] [--out FOLDER]

torch 2.13.0 on CPU, timm 1.0.31, grad-cam 1.5.7, opencv 5.0.0. Takes a minute and a half of one core.

Keys, ``METHOD_LAYER_TARGET_WHAT``, for images b, channels c and places h, w of a layer's output:
  ``raw`` (b, h, w): the map before anything is done to it, with its negative values, at the layer's size.
  ``w`` (b, c): the weights of the channels.
  ``final`` (b, 64, 64): the library's result; ReLU, scaled to [0, 1], enlarged, scaled to [0, 1] again.
  ``gradcam_all4_argmax_final``: of the four layers in one call.
  ``argmax`` and ``other`` (b,): targets, as in ``forward_*.npz``; the loss is the sum of their logits.
LAPACK picks the signs of eigencam's and eigengradcam's maps. Another build may pick others, which ``--check`` allows.
"""

from collections.abc import Callable
from functools import partial

import pytorch_grad_cam as library
import torch
from networks import LAYERS, images, network, single, targets
from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget
from torch import Tensor, nn
from writing import Arrays, main

NETWORKS = (("resnet50", 1000), ("skresnext50_32x4d", 2))
#: Of these the raw maps alone are stored.
OTHERS = {
    "gradcampp": library.GradCAMPlusPlus,
    "xgradcam": library.XGradCAM,
    "hirescam": library.HiResCAM,
    "layercam": library.LayerCAM,
    "gradcamew": library.GradCAMElementWise,
    "eigencam": library.EigenCAM,
    "eigengradcam": library.EigenGradCAM,
}


def keeping(compute: Callable, kept: dict, name: str) -> Callable:
    """``compute``, which also leaves its last result in ``kept``."""

    def computed(*arguments):
        kept[name] = compute(*arguments)
        return kept[name]

    return computed


def explained(method: type, model: nn.Module, layers: list[nn.Module], x: Tensor, classes: Tensor) -> Arrays:
    """The final map, and of the last of ``layers`` the raw map and, if the method has some, the weights."""
    kept = {}
    cam = method(model=model, target_layers=layers)
    cam.get_cam_image = keeping(cam.get_cam_image, kept, "raw")
    cam.get_cam_weights = keeping(cam.get_cam_weights, kept, "w")
    kept["final"] = cam(x, [ClassifierOutputTarget(int(target)) for target in classes])
    cam.activations_and_grads.release()
    return {name: single(torch.as_tensor(values)) for name, values in kept.items()}


def cams(name: str, num_classes: int) -> Arrays:
    model, x = network(name, num_classes), images()
    classes = targets(model(x))
    layers = {layer: model.get_submodule(layer) for layer in LAYERS}
    arrays = {target: values.numpy() for target, values in classes.items()}
    for target in classes:
        for layer, module in layers.items():
            found = explained(library.GradCAM, model, [module], x, classes[target])
            arrays |= {f"gradcam_{layer}_{target}_{what}": values for what, values in found.items()}
            for method, cam in OTHERS.items():
                # The target does not matter to eigencam.
                if method != "eigencam" or target == "argmax":
                    found = explained(cam, model, [module], x, classes[target])
                    arrays[f"{method}_{layer}_{target}_raw"] = found["raw"]
    together = explained(library.GradCAM, model, list(layers.values()), x, classes["argmax"])
    arrays["gradcam_all4_argmax_final"] = together["final"]
    return arrays


if __name__ == "__main__":
    files = {f"cam_{name}_nc{classes}": partial(cams, name, classes) for name, classes in NETWORKS}
    main(__doc__, files, tolerance=1e-5, up_to_sign=("eigencam", "eigengradcam"))
