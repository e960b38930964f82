"""Computes Relevance-CAM in PyTorch as its authors' code does: ours is timed against this.

It is written from the method's description, for timm's ResNets of plain bottleneck blocks. The forward pass keeps the
input of every module; relevance is then walked back module by module. The costs of the original are kept on purpose: Z
is computed anew for each convolution, and so are both halves of the z+ rule, although nothing is negative after a ReLU.

Importing this file needs torch.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from torch.nn import functional

#: The input of each module in the forward pass.
Inputs = Mapping[Any, Any]


def relevance_cam(model: Any, images: Any) -> Any:
    """Returns maps of the predicted classes at layer1, (b, h, w) in [0, 1], for images (b, 3, h, w)."""
    layer, relevance = relevance_at_layer1(model, images)
    low = cam(layer, relevance)
    low = low - low.amin((1, 2), keepdim=True)
    low = low / low.amax((1, 2), keepdim=True)
    return functional.interpolate(low[:, None], images.shape[2:], mode="bilinear", align_corners=False)[:, 0]


def cam(layer: Any, relevance: Any) -> Any:
    """Returns the sum of the channels (b, k, h, w), weighted by their mean relevance: (b, h, w), signed."""
    return (layer * relevance.mean((2, 3), keepdim=True)).sum(1)


def relevance_at_layer1(model: Any, images: Any) -> tuple[Any, Any]:
    """Returns the output of layer1 and its relevance for the predicted classes, both (b, k, h, w)."""
    with torch.no_grad():
        with inputs_kept(model) as inputs:
            logits = model(images)
        relevance = z_plus(functional.linear, inputs[model.fc], model.fc.weight, seed(logits))
        relevance = through_mean(inputs[model.global_pool], relevance)
        for stage in (model.layer4, model.layer3, model.layer2):
            for block in reversed(stage):
                relevance = through_block(block, inputs, relevance)
        return inputs[model.layer2], relevance


@contextmanager
def inputs_kept(model: Any) -> Iterator[Inputs]:
    """Gives a dictionary in which a forward pass of ``model``, inside the context, leaves the input of each module."""
    inputs: dict[Any, Any] = {}

    def keep(module: Any, arguments: tuple[Any, ...], _: Any) -> None:
        inputs[module] = arguments[0]

    hooks = [module.register_forward_hook(keep) for module in model.modules()]
    try:
        yield inputs
    finally:
        for hook in hooks:
            hook.remove()


def seed(logits: Any) -> Any:
    """Returns 1 at the predicted class and -1/n at the others, (b, n)."""
    predicted = functional.one_hot(logits.argmax(1), logits.shape[1]).to(logits.dtype)
    return predicted - (1 - predicted) / logits.shape[1]


def through_block(block: Any, inputs: Inputs, relevance: Any) -> Any:
    """Takes relevance from the output of a bottleneck block to its input."""
    # timm adds the shortcut in place, so that bn3's own output is lost and has to be computed again.
    main = block.bn3(inputs[block.bn3])
    shortcut = inputs[block] if block.downsample is None else block.downsample[1](inputs[block.downsample[1]])
    s = safe_divide(relevance, main + shortcut)
    along_main = main * s
    for conv, norm in ((block.conv3, block.bn3), (block.conv2, block.bn2), (block.conv1, block.bn1)):
        along_main = through_conv(conv, inputs, through_norm(norm, inputs, along_main))
    along_shortcut = shortcut * s
    if block.downsample is not None:
        conv, norm = block.downsample
        along_shortcut = through_conv(conv, inputs, through_norm(norm, inputs, along_shortcut))
    return along_main + along_shortcut


def through_conv(conv: Any, inputs: Inputs, relevance: Any) -> Any:
    """Takes relevance from the output of a convolution to its input, by the z+ rule."""
    op = partial(functional.conv2d, stride=conv.stride, padding=conv.padding, groups=conv.groups)
    return z_plus(op, inputs[conv], conv.weight, relevance)


def through_norm(norm: Any, inputs: Inputs, relevance: Any) -> Any:
    """Takes relevance from the output of a batch norm to its input, by the epsilon rule of the scaling alone.

    The variance is squared, as in the original; the scale all but cancels.
    """
    scale = (norm.weight / (norm.running_var**2 + norm.eps).sqrt())[:, None, None]
    x = inputs[norm]
    return x * (safe_divide(relevance, x * scale + 1e-9) * scale)


def through_mean(x: Any, relevance: Any) -> Any:
    """Takes relevance from the means (b, k) over the places of x, (b, k, h, w), to x."""
    x = x.clamp(min=0)
    s = safe_divide(relevance[:, :, None, None], x.mean((2, 3), keepdim=True))
    return x * s / (x.shape[2] * x.shape[3])


def z_plus(op: Callable[..., Any], x: Any, weight: Any, relevance: Any) -> Any:
    """Returns x+ * d(z)/dx+ (S) + x- * d(z)/dx- (S) of z = op(x+, w+) + op(x-, w-), with S = R/z."""
    weight = weight.detach()
    halves = x.clamp(min=0).requires_grad_(), x.clamp(max=0).requires_grad_()
    with torch.enable_grad():
        z = op(halves[0], weight.clamp(min=0)), op(halves[1], weight.clamp(max=0))
    s = safe_divide(relevance, z[0].detach() + z[1].detach())
    back = torch.autograd.grad(z, halves, (s, s))
    return halves[0].detach() * back[0] + halves[1].detach() * back[1]


def safe_divide(a: Any, b: Any) -> Any:
    """Returns a/b, and 0 where b is 0."""
    zero = (b == 0).to(b.dtype)
    return a / (b + zero * 1e-9) * (1 - zero)
