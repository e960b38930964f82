"""What timm's token models and ConvNeXt compute in small, with each of the arguments that change what they compute.

    PYTHONPATH=. python tests/references/make_tokens.py [--check] [--out FOLDER]

torch 2.13.0 on CPU, timm 1.0.31. Takes 5 seconds of one core. Writes ``tokens.npz``.

The networks are timm's classes with narrow layers. Their weights are drawn (``tests.oracle.drawn``) by timm's names and
shapes, and the pictures are ``tests.oracle.seeded_images``, cropped to the sizes below; of one channel, the first.

Keys, all in float64: for each network in :data:`NETWORKS` ``NAME``, the logits of its pictures. For each place in
:data:`TAPPED` also ``NAME/LAYER/activation``, the patches there on their grid, (b, h, w, k), and
``NAME/LAYER/gradient``, the derivative of the sum of the largest logits. For each of :data:`RESIZED`
``positions/HEIGHTxWIDTH``: the embedding of ``oracle.seeded_images(5, 1, 40)``'s first 5 x 4 places, with 2 tokens
before, resized to that grid, float32.
"""

from collections.abc import Iterator

import numpy as np
import torch
from timm.layers import resample_abs_pos_embed
from timm.models.convnext import ConvNeXt
from timm.models.swin_transformer import SwinTransformer
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn
from writing import Arrays, main

from tests import oracle

VIT = {"img_size": 32, "patch_size": 8, "embed_dim": 16, "depth": 4, "num_heads": 2, "num_classes": 5}
REGISTERS = {"reg_tokens": 2, "no_embed_class": True, "init_values": 1e-5}
SWIN = {"img_size": 32, "embed_dim": 8, "depths": (2, 2, 2, 2), "num_heads": (1, 2, 2, 4), "window_size": 3}
SWIN |= {"num_classes": 5, "dynamic_img_size": True}
CONVNEXT = {"depths": (1, 1, 2, 1), "dims": (8, 16, 16, 24), "num_classes": 5}
#: Network by name: timm's class, its arguments, and the size of the pictures.
NETWORKS = {
    "vit": (VisionTransformer, VIT, (32, 32)),
    "vit_average": (VisionTransformer, {**VIT, "global_pool": "avg"}, (32, 32)),
    "vit_avgmax": (VisionTransformer, {**VIT, "global_pool": "avgmax", "act_layer": "relu", "in_chans": 1}, (32, 32)),
    "vit_registers": (VisionTransformer, {**VIT, **REGISTERS}, (32, 32)),
    "vit_features": (VisionTransformer, {**VIT, **REGISTERS, "num_classes": 0, "img_size": (16, 24)}, (16, 24)),
    "swin": (SwinTransformer, SWIN, (32, 32)),
    "swin_padded": (SwinTransformer, {**SWIN, "global_pool": "catavgmax", "in_chans": 1}, (36, 40)),
    "convnext": (ConvNeXt, CONVNEXT, (32, 32)),
    "convnext_convolutions": (ConvNeXt, {**CONVNEXT, "conv_mlp": True, "output_stride": 8, "in_chans": 1}, (32, 32)),
    "convnext_stride16": (
        ConvNeXt,
        {**CONVNEXT, "output_stride": 16, "global_pool": "max", "act_layer": "silu"},
        (32, 32),
    ),
}
#: Network, layer by our name, timm's module whose output it is, tokens before the patches and the grid.
TAPPED = [
    ("vit", "layer1", "blocks.0", 1, (4, 4)),
    ("vit", "layer4", "blocks.2", 1, (4, 4)),
    ("vit_average", "layer4", "blocks.3", 1, (4, 4)),
    ("vit_registers", "layer2", "blocks.1", 3, (4, 4)),
    ("swin", "layer3", "layers.2", None, None),
    ("swin", "layer4", "norm", None, None),
    ("convnext", "layer2", "stages.1", None, None),
]
RESIZED = [(3, 3), (7, 2), (10, 8)]


def compute() -> Arrays:
    return dict(_networks()) | dict(_positions())


def _networks() -> Iterator[tuple[str, np.ndarray]]:
    for name, (kind, options, (height, width)) in NETWORKS.items():
        network = kind(**options)
        shapes = {key: tuple(tensor.shape) for key, tensor in network.state_dict().items()}
        network.load_state_dict({key: torch.from_numpy(value) for key, value in oracle.drawn(shapes).items()})
        network.double().eval()
        images = oracle.seeded_images(3, 2, 40)[:, :height, :width, : options.get("in_chans", 3)]
        x = torch.from_numpy(np.ascontiguousarray(images.transpose(0, 3, 1, 2))).double()
        yield name, network(x).detach().numpy()
        for _, layer, module, prefix, grid in (place for place in TAPPED if place[0] == name):
            activation, gradient = _tapped(network, module, x)
            for key, found in (("activation", activation), ("gradient", gradient)):
                if grid is not None:
                    found = found[:, prefix:].reshape(len(x), *grid, -1)
                elif kind is ConvNeXt:
                    found = found.permute(0, 2, 3, 1)
                yield f"{name}/{layer}/{key}", found.detach().numpy()


def _tapped(network: nn.Module, module: str, x: Tensor) -> tuple[Tensor, Tensor]:
    seen: list[Tensor] = []
    handle = network.get_submodule(module).register_forward_hook(lambda _, __, y: seen.append(y))
    logits = network(x)
    handle.remove()
    return seen[0], torch.autograd.grad(logits.amax(1).sum(), seen[0])[0]


def _positions() -> Iterator[tuple[str, np.ndarray]]:
    values = oracle.seeded_images(5, 1, 40)[0, :22, 0].reshape(1, 22, 3)
    for grid in RESIZED:
        resized = resample_abs_pos_embed(torch.from_numpy(values), grid, (5, 4), num_prefix_tokens=2)
        yield f"positions/{grid[0]}x{grid[1]}", resized.numpy()


if __name__ == "__main__":
    main(__doc__, {"tokens": compute}, tolerance=1e-10)
