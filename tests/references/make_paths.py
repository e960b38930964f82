"""Writes ``paths.npz``: blur integrated gradients, XRAI and Shapley values by PAIR's saliency, captum and shap.

    PYTHONPATH=. python tests/references/make_paths.py [--check] [--out FOLDER]

torch 2.13.0 on CPU, saliency 0.2.1 with scikit-image 0.26.0, captum 0.9.0, shap 0.51.0. Takes a minute of one core, and
neither timm nor torchvision.

All is in float64, of a network of two convolutions with tanh, a mean and three classes, whose drawn weights are
``conv1``, ``conv2`` (h, w, in, out) and ``head``. Pictures are channels last; logits of class 1 are explained.
  ``blurred`` (16, 16, 3): a picture; ``blur`` is what BlurIG finds, by steps of 0.3 up to 6 pixels.
  ``regions`` (32, 32, 3): a picture; ``masks`` are XRAI's segments, bits of (m, 32 * 32), ``base`` its integrated
  gradients (h, w, c), in 1000 steps, and ``xrai`` (h, w) its map.
  ``blocks`` (16, 16, 3): a picture of four blocks that superpixels cannot but find, each with a faint chequerboard;
  ``mean_colours`` has none. ``shapley`` (4,) are the blocks' values by captum's ShapleyValues, ``kernel_shap`` those of
  its KernelShap, from 4000 draws.
  ``players`` (64, 2), two games of six players, by the bits of a coalition's number, the lowest for the first player;
  ``games`` (2, 6) are shap's values from all coalitions.
"""

import numpy as np
import shap
import torch
from captum.attr import KernelShap, ShapleyValues
from saliency.core import XRAI, BlurIG, XRAIParameters
from saliency.core.base import INPUT_OUTPUT_GRADIENTS
from saliency.core.xrai import _get_segments_felzenszwalb
from torch import Tensor
from torch.nn.functional import conv2d
from writing import Arrays, main

TARGET = 1
SIDE = 16


def weights() -> Arrays:
    rng = np.random.default_rng(0)
    shapes = {"conv1": (3, 3, 3, 4), "conv2": (3, 3, 4, 5), "head": (5, 3)}
    return {name: rng.standard_normal(shape) * 1.5 / np.prod(shape[:-1]) ** 0.5 for name, shape in shapes.items()}


def network(x: Tensor) -> Tensor:
    """The logits of pictures (b, 3, h, w)."""
    drawn = {name: torch.from_numpy(a) for name, a in weights().items()}
    for name in ("conv1", "conv2"):
        x = torch.tanh(conv2d(x, drawn[name].permute(3, 2, 0, 1), padding=1))
    return x.mean((2, 3)) @ drawn["head"]


def gradients(x: np.ndarray, call_model_args: None = None, expected_keys: None = None) -> dict[str, np.ndarray]:
    """What saliency asks a model for, of pictures (b, h, w, 3)."""
    pictures = torch.from_numpy(np.asarray(x, float)).permute(0, 3, 1, 2).requires_grad_()
    (found,) = torch.autograd.grad(network(pictures)[:, TARGET].sum(), pictures)
    return {INPUT_OUTPUT_GRADIENTS: found.permute(0, 2, 3, 1).numpy()}


def blur() -> Arrays:
    picture = np.random.default_rng(1).standard_normal((SIDE, SIDE, 3))
    found = BlurIG().GetMask(picture, gradients, max_sigma=6, steps=20, grad_step=1e-5, batch_size=20)
    return {"blurred": picture, "blur": found}


def xrai() -> Arrays:
    rng = np.random.default_rng(2)
    # Blocks of several sizes and some noise: coarse segmentations join what fine ones tell apart.
    picture = sum(np.kron(rng.standard_normal((n, n, 3)), np.ones((32 // n, 32 // n, 1))) / n for n in (2, 4, 8, 32))
    asked = XRAIParameters(steps=1000, return_ig_attributions=True)
    found = XRAI().GetMaskWithDetails(picture, gradients, extra_parameters=asked, batch_size=1000)
    masks = np.stack([mask.ravel() for mask in _get_segments_felzenszwalb(picture)])
    return {
        "regions": picture,
        "masks": np.packbits(masks, axis=1),
        "base": np.mean(found.ig_attribution, axis=0),
        "xrai": found.attribution_mask,
    }


def blocks() -> Arrays:
    rng = np.random.default_rng(3)
    half = SIDE // 2
    number = np.kron(np.arange(4).reshape(2, 2), np.ones((half, half), int))
    colours = np.array([[0.0, 0.1, 0.2], [0.9, 0.2, 0.1], [0.3, 0.8, 0.9], [1.0, 1.0, 0.4]])
    chequer = np.indices((SIDE, SIDE)).sum(0) % 2 * 2.0 - 1
    flat = colours[number]
    picture = flat + chequer[..., None] * rng.uniform(0.02, 0.04, (4, 3))[number]
    x, baseline = (torch.from_numpy(a).permute(2, 0, 1)[None] for a in (picture, flat))
    asked = {"baselines": baseline, "target": TARGET, "feature_mask": torch.from_numpy(number)[None, None]}
    torch.manual_seed(0)
    exact = ShapleyValues(network).attribute(x, **asked)
    drawn = KernelShap(network).attribute(x, n_samples=4000, perturbations_per_eval=100, **asked)
    corners = (slice(None, None, half), slice(None, None, half))
    shapley, kernel_shap = (a[0, 0][corners].reshape(4).double().numpy() for a in (exact, drawn))
    return {"blocks": picture, "mean_colours": flat, "shapley": shapley, "kernel_shap": kernel_shap}


def games() -> Arrays:
    players = np.random.default_rng(4).standard_normal((64, 2))

    def game(visible: np.ndarray) -> np.ndarray:
        return players[(np.asarray(visible) @ 2 ** np.arange(6)).astype(int)]

    found = shap.KernelExplainer(game, np.zeros((1, 6))).shap_values(np.ones((1, 6)), nsamples=62, l1_reg=False)
    return {"players": players, "games": np.asarray(found)[0].T}


def paths() -> Arrays:
    return {**weights(), **blur(), **xrai(), **blocks(), **games()}


if __name__ == "__main__":
    main(__doc__, {"paths": paths}, tolerance=1e-5)
