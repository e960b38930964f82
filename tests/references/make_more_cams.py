"""Writes ``more_cams_small.npz``: FullGrad, ShapleyCAM, Finer-CAM, KPCA-CAM and RefineCAM by pytorch_grad_cam.

    PYTHONPATH=. python tests/references/make_more_cams.py [--check] [--out FOLDER]

torch 2.13.0 on CPU, grad-cam 1.5.7, scikit-learn 1.9.1, in float64. Takes seconds.

The network is the small one of ``make_zennit.py`` with batch norm, ``bn``, whose weights and pictures stand in
``zennit_smallcnn.npz``. Keys, for pictures b and places h, w of a layer's output:
  ``fullgrad/TARGET`` (b, 32, 32): the sum of all terms, each scaled and enlarged; of a million times the logit.
  ``shapleycam/UTILITY/LAYER`` (b, h, w): the map before anything is done to it, of the classes ``other``.
  ``finercam/ALPHA/LAYER``: likewise, of the predicted class and the three nearest; of ``finercam/named/LAYER``, class 2
  against 5 and 7 with α = 0.6.
  ``kpcacam/KERNEL/LAYER``: likewise. The library makes the largest value positive.
  ``refinecam`` (b, 32, 32): of Grad-CAM++ at the three layers, the library's result.
  ``argmax`` and ``other`` (b,): targets.
"""

import numpy as np
import pytorch_grad_cam as library
import torch
from make_cam import keeping
from networks import single, small_images, small_network
from pytorch_grad_cam.utils import model_targets
from torch import nn
from writing import Arrays, main

LAYERS = ("relu2", "relu3")
UTILITIES = {
    "logit": model_targets.ClassifierOutputTarget,
    "probability": model_targets.ClassifierOutputSoftmaxTarget,
    "rest": model_targets.ClassifierOutputReST,
}


def raw(cam, base, *arguments, **options) -> np.ndarray:
    """The map of a method before it is cut off and scaled."""
    kept: dict[str, np.ndarray] = {}
    base.get_cam_image = keeping(base.get_cam_image, kept, "raw")
    cam(*arguments, **options)
    base.activations_and_grads.release()
    return single(torch.as_tensor(kept["raw"]))


class Enlarged(model_targets.ClassifierOutputTarget):
    """A logit times a million: the library adds 1e-7 to the largest value of a term before it divides by it."""

    def __call__(self, output: torch.Tensor) -> torch.Tensor:
        return 1e6 * super().__call__(output)


def full_grad(model: nn.Module, x: torch.Tensor, classes: list) -> np.ndarray:
    cam, kept = library.FullGrad(model, []), {}
    cam.compute_cam_per_layer = keeping(cam.compute_cam_per_layer, kept, "sum")
    cam(x, classes)
    cam.activations_and_grads.release()
    return single(torch.as_tensor(kept["sum"]))[:, 0]


def cams() -> Arrays:
    model, x = small_network(batch_norm=True), small_images()
    predicted = model(x).argmax(1)
    targets = {"argmax": predicted, "other": (predicted + 3) % 10}
    arrays = {name: classes.numpy() for name, classes in targets.items()}
    for name, classes in targets.items():
        arrays[f"fullgrad/{name}"] = full_grad(model, x, [Enlarged(int(c)) for c in classes])
    for layer in LAYERS:
        module = [model.get_submodule(layer)]
        for name, utility in UTILITIES.items():
            cam = library.ShapleyCAM(model, module)
            arrays[f"shapleycam/{name}/{layer}"] = raw(cam, cam, x, [utility(int(c)) for c in targets["other"]])
        for alpha in (1.0, 0.6):
            cam = library.FinerCAM(model, module)
            arrays[f"finercam/{alpha}/{layer}"] = raw(cam, cam.base_cam, x, alpha=alpha)
        cam, named = library.FinerCAM(model, module), model_targets.FinerWeightedTarget(2, [5, 7], 0.6)
        arrays[f"finercam/named/{layer}"] = raw(cam, cam.base_cam, x, targets=[named] * len(x))
        for kernel in ("sigmoid", "rbf", "poly"):
            cam = library.KPCA_CAM(model, module, kernel=kernel)
            arrays[f"kpcacam/{kernel}/{layer}"] = raw(cam, cam, x, [UTILITIES["logit"](0)] * len(x))
    cam = library.RefineCAM(model, [model.get_submodule(layer) for layer in ("relu1", *LAYERS)])
    arrays["refinecam"] = cam(x, [UTILITIES["logit"](int(c)) for c in predicted])
    return arrays


if __name__ == "__main__":
    main(__doc__, {"more_cams_small": cams}, tolerance=1e-5, up_to_sign=("kpcacam",))
