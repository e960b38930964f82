"""What timm's VGG, DenseNet, EfficientNet and MobileNetV3 put out when they are a few channels wide.

    PYTHONPATH=. python tests/references/make_convnets.py [--check] [--out FOLDER]

torch 2.13.0 on CPU, timm 1.0.31. Takes 5 seconds of one core. Writes ``convnets.npz``.

The networks are those of ``tests/models/narrow.py``, with weights drawn (``tests.oracle.drawn``) by timm's names and
shapes; pictures are ``tests.oracle.seeded_images``, of one channel the first of the three. Keys, for each network in
:data:`NETWORKS`: ``NAME``, the logits of its pictures, float64.
"""

from functools import partial

import numpy as np
import torch
from timm.models._efficientnet_blocks import SqueezeExcite
from timm.models._efficientnet_builder import decode_arch_def, resolve_act_layer, resolve_bn_args, round_channels
from timm.models.densenet import DenseNet
from timm.models.efficientnet import EfficientNet
from timm.models.mobilenetv3 import MobileNetV3
from timm.models.vgg import VGG
from torch import nn
from writing import Arrays, main

from tests import oracle

#: Stages in timm's notation.
STAGES = ["ds_r1_k3_s1_e1_c8_se0.25"], ["ir_r1_k3_s2_e2_c8_nre"], ["ir_r1_k5_s2_e2_c8_se0.25"]
STAGES += ["ir_r1_k3_s2_e3_c16_se0.25", "ir_r1_k3_s1_e2.5_c16_se0.25"], ["ir_r1_k5_s2_e2_c24_se0.25"]


def vgg(norm: type[nn.Module] | None = None, **options) -> nn.Module:
    # timm fixes the channels of the first hidden layer at 4096, but for a factor; those of the second are 4096.
    network = VGG([8, "M", 8, "M", 8, "M", 16, "M", 16, 16, "M"], norm_layer=norm, mlp_ratio=16 / 4096, **options)
    network.pre_logits.fc2 = nn.Conv2d(16, 16, 1)
    network.head.fc = nn.Linear(16 * (2 if options.get("global_pool") == "catavgmax" else 1), options["num_classes"])
    return network


def dense(**options) -> nn.Module:
    return DenseNet(growth_rate=4, block_config=(1, 2, 2, 2), **options)


def mobile(network: type[nn.Module], **options) -> nn.Module:
    bn = resolve_bn_args(options)
    options.setdefault("act_layer", "hard_swish" if network is MobileNetV3 else "swish")
    act = resolve_act_layer(options)
    if network is MobileNetV3:
        gate = partial(SqueezeExcite, gate_layer="hard_sigmoid", force_act_layer=nn.ReLU, rd_round_fn=round_channels)
        stages = [*STAGES, ["cn_r1_k1_s1_c32"]]
        options |= {"block_args": decode_arch_def(stages), "num_features": 16, "se_layer": gate}
    else:
        options |= {"block_args": decode_arch_def(list(STAGES)), "num_features": 32}
    norm = partial(nn.BatchNorm2d, **bn)
    return network(stem_size=8, fix_stem=True, act_layer=act, norm_layer=norm, round_chs_fn=round_channels, **options)


efficient, version_3 = partial(mobile, EfficientNet), partial(mobile, MobileNetV3)
#: The networks by name, and the side of their pictures.
NETWORKS = {
    "vgg": (vgg, 64, {}),
    "vgg_large": (vgg, 256, {"global_pool": "avgmax"}),
    "vgg_bn": (partial(vgg, nn.BatchNorm2d), 72, {"global_pool": "catavgmax", "in_chans": 1}),
    "densenet": (dense, 72, {}),
    "densenet_variant": (dense, 64, {"global_pool": "max", "in_chans": 1, "act_layer": "silu"}),
    "efficientnet": (efficient, 72, {}),
    "efficientnet_variant": (efficient, 64, {"global_pool": "catavgmax", "output_stride": 16, "act_layer": "gelu"}),
    "efficientnet_tensorflow": (efficient, 64, {"pad_type": "same", "bn_eps": 1e-3}),
    "mobilenetv3": (version_3, 72, {}),
    "mobilenetv3_variant": (version_3, 64, {"global_pool": "catavgmax", "in_chans": 1, "act_layer": "silu"}),
    "mobilenetv3_tensorflow": (version_3, 64, {"pad_type": "same", "bn_eps": 1e-3}),
}


@torch.no_grad()
def compute() -> Arrays:
    return {name: logits(*network) for name, network in NETWORKS.items()}


def logits(make, side: int, options: dict) -> np.ndarray:
    network = make(num_classes=5, **options).eval()
    shapes = {key: tuple(tensor.shape) for key, tensor in network.state_dict().items()}
    network.load_state_dict({key: torch.from_numpy(value) for key, value in oracle.drawn(shapes).items()})
    images = oracle.seeded_images(3, 2, side)[..., : options.get("in_chans", 3)]
    pictures = torch.from_numpy(np.ascontiguousarray(images.transpose(0, 3, 1, 2)))
    return network.double()(pictures.double()).numpy()


if __name__ == "__main__":
    main(__doc__, {"convnets": compute}, tolerance=1e-10)
