"""Writes ``captum_resnet50.npz`` and ``captum_smallcnn.npz``: attributions by captum, in float64.

    PYTHONPATH=. python tests/references/make_captum.py [--check] [--out FOLDER]

torch 2.13.0 on CPU, timm 1.0.31, captum 0.9.0. Takes a minute of one core.

Keys; baselines are zero unless named, attributions have the pictures' shape, and logits are explained:
  ``saliency_signed_TARGET``: the gradient, without captum's absolute value.
  ``inputxgrad``, ``guidedbackprop``, ``deconv``.
  ``ig50gl``: integrated gradients, 50 steps of Gauss-Legendre.
  ``deeplift``: the rescale rule; captum's rule for max pooling has no effect after a ReLU.
  ``..._delta`` (b,): captum's convergence delta.
  ``occl_wWsS_argmax_ch0`` (b, h, w): occlusion by windows of side W at stride S, all channels together, the first
  stored (all are the same). captum computes it in float32.
The small network is zennit's plain one, with its pictures (``zennit_smallcnn.npz``); ``deeplift`` and ``ig50gl`` there
have the baseline in the name: ``zero``, or ``flip``, which is half the other picture (``baseline_flip``).
"""

import torch
from captum.attr import (
    Deconvolution,
    DeepLift,
    GuidedBackprop,
    InputXGradient,
    IntegratedGradients,
    Occlusion,
    Saliency,
)
from networks import images, network, single, small_images, small_network, targets
from torch import Tensor, nn
from writing import Arrays, main


def bent_gradients(model: nn.Module, x: Tensor, classes: Tensor) -> Arrays:
    """Those that both networks have."""
    found = {
        "saliency_signed": Saliency(model).attribute(x, target=classes, abs=False),
        "guidedbackprop": GuidedBackprop(model).attribute(x, target=classes),
        "deconv": Deconvolution(model).attribute(x, target=classes),
    }
    return {f"{name}_argmax": single(values) for name, values in found.items()}


def deep_lift(model: nn.Module, x: Tensor, baseline: Tensor, classes: Tensor, key: str) -> Arrays:
    found, delta = DeepLift(model).attribute(x, baseline, target=classes, return_convergence_delta=True)
    return {key: single(found), f"{key}_delta": single(delta)}


def integrated(model: nn.Module, x: Tensor, baseline: Tensor, classes: Tensor, key: str) -> Arrays:
    found, delta = IntegratedGradients(model).attribute(
        x, baseline, target=classes, n_steps=50, method="gausslegendre", return_convergence_delta=True
    )
    return {key: single(found), f"{key}_delta": single(delta)}


def occlusion(model: nn.Module, x: Tensor, classes: Tensor, window: int, stride: int) -> Arrays:
    found = Occlusion(model).attribute(
        x, sliding_window_shapes=(3, window, window), strides=(3, stride, stride), target=classes
    )
    return {f"occl_w{window}s{stride}_argmax_ch0": single(found[:, 0])}


def resnet50() -> Arrays:
    model, x = network("resnet50"), images().requires_grad_()
    with torch.no_grad():
        classes = targets(model(x))
    predicted, other, zero = classes["argmax"], classes["other"], torch.zeros_like(x)
    return {
        "argmax": predicted.numpy(),
        "other": other.numpy(),
        **bent_gradients(model, x, predicted),
        "saliency_signed_other": single(Saliency(model).attribute(x, target=other, abs=False)),
        "inputxgrad_argmax": single(InputXGradient(model).attribute(x, target=predicted)),
        **integrated(model, x, zero, predicted, "ig50gl_argmax"),
        **deep_lift(model, x, zero, predicted, "deeplift_argmax"),
        **deep_lift(model, x, zero, other, "deeplift_other"),
        **occlusion(model, x, predicted, 16, 8),
        **occlusion(model, x, predicted, 15, 10),
    }


def small_cnn() -> Arrays:
    model, x = small_network(), small_images().requires_grad_()
    predicted = model(x).argmax(1)
    flip = 0.5 * x.detach().flip(0)
    arrays = {"baseline_flip": single(flip), **bent_gradients(model, x, predicted)}
    for name, baseline in (("zero", torch.zeros_like(x)), ("flip", flip)):
        arrays |= deep_lift(model, x, baseline, predicted, f"deeplift_{name}_argmax")
        arrays |= integrated(model, x, baseline, predicted, f"ig50gl_{name}_argmax")
        # That of integrated gradients is not stored.
        del arrays[f"ig50gl_{name}_argmax_delta"]
    return arrays


if __name__ == "__main__":
    main(__doc__, {"captum_resnet50": resnet50, "captum_smallcnn": small_cnn}, tolerance=1e-5)
