"""Writes ``lrp_NETWORK.npz`` anew: relevance by the rules of the official Relevance-CAM code, in float64.

    PYTHONPATH=. python tests/references/make_lrp.py [--check] [--out FOLDER]

The stored numbers are NOT from this script. They came from the official code itself, at commit
49b03bd3c19a77a5f2db97efe32e809a8c9f543f, under torch 2.13.0 on CPU, with one line changed to take the dtype of its
input. That code has no licence, so it is not here. This is an independent implementation of its rules on timm's
networks, whose results agree with what is stored to the bit: it confirms the stored files, it does not replace them.

torch 2.13.0 on CPU, timm 1.0.31. Takes 15 seconds of one core. The rules (alpha = 1), A being what a layer was given:
  seed          1 at the target, -1/classes at each other class.
  division      a/b where b is not 0, and 0 where b is: no epsilon, and what arrives there is lost.
  fc, conv      z+, without biases; nothing they are given is negative.
  addition      R split as main : shortcut, both signed.
  batch norm    w = gamma / sqrt(var² + 1e-5), the variance squared; R A w / (A w + 1e-9), whatever the sign of A w.
  pooling       of the mean, in proportion; of the maximum, to the winner.
  first conv    zB, bounds being the least and the largest value of each picture over all channels; 1e-9 added to Z.

Keys, for images b, channels c and places h, w of a layer's output:
  ``argmax``, ``other`` (b,) targets and ``logits_f64`` (b, n).
  ``R_LAYER_argmax`` (b, c, h, w) and ``R_input_argmax`` (b, 3, 64, 64): relevance by these rules.
  With ``pass`` in the name, with batch norm as the identity: ``w_pass_LAYER_TARGET`` (b, c), means of R over space;
  ``rcam_pass_LAYER_TARGET`` (b, h, w), the channels weighted by them, no ReLU; ``Rsum_pass_LAYER_TARGET_f64`` (b,).
"""

from collections.abc import Callable, Iterator
from functools import partial

import torch
from networks import LAYERS, images, network, single, targets
from torch import Tensor, nn
from torch.nn import functional
from writing import Arrays, main

from experiments.torch_relevance import (
    Inputs,
    cam,
    inputs_kept,
    safe_divide,
    through_conv,
    through_mean,
    through_norm,
    z_plus,
)

NETWORKS = ("resnet50", "resnext50_32x4d")
#: Relevance through a batch norm.
NormRule = Callable[[nn.Module, Inputs, Tensor], Tensor]


def as_identity(norm: nn.Module, inputs: Inputs, relevance: Tensor) -> Tensor:
    return relevance


def seed(logits: Tensor, classes: Tensor) -> Tensor:
    target = functional.one_hot(classes, logits.shape[1]).to(logits.dtype)
    return target - (1 - target) / logits.shape[1]


def relevances(
    model: nn.Module, inputs: Inputs, relevance: Tensor, norm_rule: NormRule
) -> Iterator[tuple[str, Tensor]]:
    """Of the outputs of layer4 to layer1, then of the pictures."""
    relevance = z_plus(functional.linear, inputs[model.fc], model.fc.weight, relevance)
    relevance = through_mean(inputs[model.global_pool], relevance)
    for layer in reversed(LAYERS):
        yield layer, relevance
        for block in reversed(model.get_submodule(layer)):
            relevance = through_block(block, inputs, relevance, norm_rule)
    relevance = norm_rule(model.bn1, inputs, through_max(model.maxpool, inputs, relevance))
    yield "input", through_first(model.conv1, inputs, relevance)


def through_block(block: nn.Module, inputs: Inputs, relevance: Tensor, norm_rule: NormRule) -> Tensor:
    """From the output of a bottleneck block to its input."""
    # timm adds the shortcut in place, so bn3's own output is not there any more.
    residual = block.bn3(inputs[block.bn3])
    shortcut = inputs[block] if block.downsample is None else block.downsample[1](inputs[block.downsample[1]])
    s = safe_divide(relevance, residual + shortcut)
    along_residual, along_shortcut = residual * s, shortcut * s
    for conv, norm in ((block.conv3, block.bn3), (block.conv2, block.bn2), (block.conv1, block.bn1)):
        along_residual = through_conv(conv, inputs, norm_rule(norm, inputs, along_residual))
    if block.downsample is not None:
        conv, norm = block.downsample
        along_shortcut = through_conv(conv, inputs, norm_rule(norm, inputs, along_shortcut))
    return along_residual + along_shortcut


def through_max(pool: nn.Module, inputs: Inputs, relevance: Tensor) -> Tensor:
    with torch.enable_grad():
        x = inputs[pool].detach().requires_grad_()
        z = pool(x)
    (back,) = torch.autograd.grad(z, x, safe_divide(relevance, z.detach()))
    return x.detach() * back


def through_first(conv: nn.Module, inputs: Inputs, relevance: Tensor) -> Tensor:
    x = inputs[conv]
    low, high = (bound(x, (1, 2, 3), keepdim=True).expand_as(x) for bound in (torch.amin, torch.amax))
    terms = ((x, conv.weight), (-low, conv.weight.clamp(min=0)), (-high, conv.weight.clamp(max=0)))
    z = sum(functional.conv2d(a, w, None, conv.stride, conv.padding) for a, w in terms) + 1e-9
    s = safe_divide(relevance, z)
    return sum(a * torch.nn.grad.conv2d_input(a.shape, w, s, conv.stride, conv.padding) for a, w in terms)


@torch.no_grad()
def lrp(name: str) -> Arrays:
    model = network(name)
    with inputs_kept(model) as inputs:
        logits = model(images())
    classes = targets(logits)
    after = (model.layer2, model.layer3, model.layer4, model.global_pool)
    outputs = {layer: inputs[module] for layer, module in zip(LAYERS, after, strict=True)}
    arrays = {target: values.numpy() for target, values in classes.items()} | {"logits_f64": logits.numpy()}
    for layer, r in relevances(model, inputs, seed(logits, classes["argmax"]), through_norm):
        arrays[f"R_{layer}_argmax"] = single(r)
    for target in classes:
        for layer, r in relevances(model, inputs, seed(logits, classes[target]), as_identity):
            arrays[f"Rsum_pass_{layer}_{target}_f64"] = r.sum((1, 2, 3)).numpy()
            if layer != "input":
                arrays[f"w_pass_{layer}_{target}"] = single(r.mean((2, 3)))
                arrays[f"rcam_pass_{layer}_{target}"] = single(cam(outputs[layer], r))
    return arrays


if __name__ == "__main__":
    main(__doc__, {f"lrp_{name}": partial(lrp, name) for name in NETWORKS}, tolerance=1e-6)
