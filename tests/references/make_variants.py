"""What timm makes of the fields of its config.json: networks of other pooling, activation, stride and channels.

    PYTHONPATH=. python tests/references/make_variants.py [--check] [--out FOLDER]

torch 2.13.0 on CPU, timm 1.0.31, torchvision 0.28.0. Takes 5 seconds of one core. Writes ``variants.npz``.

The networks are small, and made of timm's own parts: blocks, pooling and classifier of a ResNet with 8 channels in the
first stage, and timm's EfficientNet with narrow stages. Their weights are drawn (``tests.oracle.drawn``) by timm's
names and shapes, and the pictures are ``tests.oracle.seeded_images``; of one channel, the first of the three.

Keys, for each network in :data:`NETWORKS`: ``NAME``, the logits of its pictures, float32. For each of :data:`PREPARED`:
``MODE/HEIGHTxWIDTH/INTERPOLATION/CHANNELS``, what timm's evaluation transform makes of the picture that
``tests.oracle.picture`` draws, (channels, h, w) float32. ``activation/NAME``: timm's activation of 49 values from -6 to
6, float32.
"""

from collections.abc import Iterator
from functools import partial

import numpy as np
import torch
from PIL import Image
from timm.data import create_transform
from timm.layers import create_classifier, get_act_layer
from timm.models._efficientnet_builder import decode_arch_def, resolve_act_layer, resolve_bn_args, round_channels
from timm.models.efficientnet import EfficientNet
from timm.models.resnet import BasicBlock, Bottleneck, make_blocks
from timm.models.sknet import SelectiveKernelBasic
from torch import nn
from writing import Arrays, main

from tests import oracle

#: Network by name: family, and timm's arguments.
NETWORKS = {
    "max": ("basic", {"global_pool": "max"}),
    "avgmax": ("basic", {"global_pool": "avgmax", "act_layer": "gelu"}),
    "catavgmax": ("basic", {"global_pool": "catavgmax", "act_layer": "leaky_relu"}),
    "silu": ("bottleneck", {"act_layer": "silu", "output_stride": 16}),
    "stride8": ("basic", {"output_stride": 8}),
    "selective": ("selective", {"output_stride": 8, "act_layer": "elu"}),
    "grey": ("basic", {"in_chans": 1}),
    "mobile": ("mobile", {"global_pool": "catavgmax", "output_stride": 8, "in_chans": 1, "act_layer": "silu"}),
    "mobile_tensorflow": ("mobile", {"global_pool": "max", "output_stride": 16, "pad_type": "same", "bn_eps": 1e-3}),
}
#: The small EfficientNet's stages, in timm's notation.
STAGES = [
    ["ds_r1_k3_s1_e1_c8"],
    ["ir_r2_k3_s2_e2_c8"],
    ["ir_r1_k5_s2_e2_c8"],
    ["ir_r2_k3_s2_e2_c16"],
    ["ir_r1_k5_s1_e2_c16"],
    ["ir_r2_k5_s2_e2_c16"],
    ["ir_r1_k3_s1_e2_c24"],
]
SIZES = [(40, 90), (120, 50), (64, 64), (37, 131)]
#: Ways to prepare a picture: crop mode, the network's size, share of the crop, interpolation, channels.
PREPARED = [
    ("center", (32, 32), 0.875, "box", 3),
    ("center", (32, 32), 0.875, "hamming", 1),
    ("squash", (32, 32), 0.875, "bicubic", 3),
    ("squash", (24, 40), 1.0, "bilinear", 1),
    ("border", (32, 32), 1.0, "bilinear", 3),
    ("border", (32, 32), 0.9, "bicubic", 3),
    ("border", (24, 40), 0.875, "lanczos", 1),
]
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
MEAN_GREY, STD_GREY = (0.3,), (0.2,)
ACTIVATIONS = ("relu", "relu6", "leaky_relu", "elu", "celu", "selu", "silu", "swish", "mish", "gelu", "gelu_tanh")
ACTIVATIONS += ("sigmoid", "tanh", "hard_sigmoid", "hard_swish")
BLOCKS = {"basic": BasicBlock, "bottleneck": Bottleneck, "selective": SelectiveKernelBasic}


class Residual(nn.Module):
    """A small ResNet of timm's parts, put together as ``timm.models.resnet.ResNet`` puts them."""

    def __init__(self, family, *, global_pool="avg", act_layer="relu", output_stride=32, in_chans=3):
        super().__init__()
        act, block, planes = get_act_layer(act_layer), BLOCKS[family], (8, 16, 32, 64)
        self.conv1 = nn.Conv2d(in_chans, 8, 7, stride=2, padding=3, bias=False)
        self.bn1, self.act1, self.maxpool = nn.BatchNorm2d(8), act(), nn.MaxPool2d(3, stride=2, padding=1)
        sk = {"sk_kwargs": {"rd_ratio": 1 / 8, "rd_divisor": 8, "split_input": True}} if family == "selective" else {}
        options = {"act_layer": act, "norm_layer": nn.BatchNorm2d, "output_stride": output_stride, **sk}
        depths = (1, 1, 2, 1)
        stages, _ = make_blocks((block,) * 4, planes, depths, 8, **options)
        self.stages = [name for name, _ in stages]
        for name, stage in stages:
            self.add_module(name, stage)
        self.global_pool, self.fc = create_classifier(64 * block.expansion, 5, pool_type=global_pool)

    def forward(self, x):
        x = self.maxpool(self.act1(self.bn1(self.conv1(x))))
        for name in self.stages:
            x = getattr(self, name)(x)
        return self.fc(self.global_pool(x))


def mobile(**options) -> nn.Module:
    """timm's EfficientNet with the stages above."""
    kwargs = {"act_layer": "relu6", **options}
    bn = resolve_bn_args(kwargs)
    act = resolve_act_layer(kwargs, "relu6")
    return EfficientNet(
        decode_arch_def(STAGES),
        num_classes=5,
        num_features=1280,
        stem_size=32,
        fix_stem=True,
        round_chs_fn=partial(round_channels, multiplier=1.0),
        act_layer=act,
        norm_layer=partial(nn.BatchNorm2d, **bn),
        **kwargs,
    )


@torch.no_grad()
def compute() -> Arrays:
    return dict(_networks()) | dict(_prepared()) | {f"activation/{name}": _activation(name) for name in ACTIVATIONS}


def _networks() -> Iterator[tuple[str, np.ndarray]]:
    for name, (family, options) in NETWORKS.items():
        network = (mobile(**options) if family == "mobile" else Residual(family, **options)).eval()
        shapes = {key: tuple(tensor.shape) for key, tensor in network.state_dict().items()}
        network.load_state_dict({key: torch.from_numpy(value) for key, value in oracle.drawn(shapes).items()})
        images = oracle.seeded_images(3, 2, 64)[..., : options.get("in_chans", 3)]
        yield name, network(torch.from_numpy(np.ascontiguousarray(images.transpose(0, 3, 1, 2)))).numpy()


def _prepared() -> Iterator[tuple[str, np.ndarray]]:
    for mode, size, share, interpolation, channels in PREPARED:
        mean, std = (MEAN, STD) if channels == 3 else (MEAN_GREY, STD_GREY)
        transform = create_transform(
            (channels, *size), interpolation=interpolation, mean=mean, std=std, crop_pct=share, crop_mode=mode
        )
        for height, width in SIZES:
            picture = Image.fromarray(oracle.picture(height, width)).convert("RGB" if channels == 3 else "L")
            yield f"{mode}/{height}x{width}/{interpolation}/{channels}", transform(picture).numpy()


def _activation(name: str) -> np.ndarray:
    return get_act_layer(name)()(torch.linspace(-6, 6, 49)).numpy()


if __name__ == "__main__":
    main(__doc__, {"variants": compute}, tolerance=1e-5)
