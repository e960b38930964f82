"""The PyTorch networks of the references, with drawn weights, and the pictures and targets that they get.

timm's networks have the weights of ``oracle.seeded_state`` with seed 0, and so have shallow ones: timm's classes with
fewer and narrower layers, for pictures of 64 pixels and ten classes. The small network is for zennit, whose rules
for biases and canonizers it shows: three convolutions, the second with stride 2, one max pooling, a mean, ten classes.
"""

from collections import OrderedDict
from collections.abc import Callable
from functools import partial

import numpy as np
import timm
import torch
from timm.layers import ClassifierHead
from timm.models import mobilenetv3, vgg
from timm.models._efficientnet_blocks import SqueezeExcite
from timm.models._efficientnet_builder import decode_arch_def, round_channels
from timm.models.convnext import ConvNeXt
from timm.models.densenet import DenseNet
from timm.models.swin_transformer import SwinTransformer
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn

from tests import oracle

CLASSES = 10

LAYERS = ("layer1", "layer2", "layer3", "layer4")


def shallow_mobilenet() -> nn.Module:
    stages = ["ds_r1_k3_s2_e1_c16_se0.25_nre", "ir_r1_k3_s2_e3_c16_nre", "ir_r2_k5_s2_e2_c24_se0.25", "cn_r1_k1_s1_c32"]
    return mobilenetv3.MobileNetV3(
        decode_arch_def([[stage] for stage in stages]),
        num_classes=CLASSES,
        num_features=48,
        act_layer=nn.Hardswish,
        se_layer=partial(SqueezeExcite, gate_layer="hard_sigmoid", force_act_layer=nn.ReLU, rd_round_fn=round_channels),
    )


def shallow_vgg() -> nn.Module:
    model = vgg.VGG([8, "M", 16, "M", 24, 24, "M", 32, 32, "M", 32, "M"], num_classes=CLASSES)
    model.pre_logits, model.head = vgg.ConvMlp(32, 48, 7), ClassifierHead(48, CLASSES)
    return model


#: The shallow networks by the names of those whose classes they have.
SHALLOW: dict[str, Callable[[], nn.Module]] = {
    "vit_tiny_patch16_224": lambda: VisionTransformer(
        img_size=64, patch_size=16, num_classes=CLASSES, embed_dim=24, depth=3, num_heads=3
    ),
    "swin_tiny_patch4_window7_224": lambda: SwinTransformer(
        img_size=64, window_size=2, num_classes=CLASSES, embed_dim=12, depths=(2, 2, 2, 2), num_heads=(1, 2, 3, 4)
    ),
    "convnext_atto": lambda: ConvNeXt(num_classes=CLASSES, depths=(1, 1, 2, 1), dims=(8, 16, 24, 32), conv_mlp=True),
    "vgg16": shallow_vgg,
    "densenet121": lambda: DenseNet(growth_rate=8, block_config=(2, 3, 2, 2), num_classes=CLASSES),
    "mobilenetv3_small_100": shallow_mobilenet,
}


def shallow(name: str) -> nn.Module:
    """The shallow network of the class of ``name``, in float64 and inference mode."""
    model = SHALLOW[name]()
    shapes = {key: tuple(value.shape) for key, value in model.state_dict().items()}
    model.load_state_dict({key: torch.from_numpy(value.copy()) for key, value in oracle.drawn(shapes).items()})
    return model.double().eval()


def network(name: str, num_classes: int = 1000, dtype: torch.dtype = torch.float64) -> nn.Module:
    """timm's network ``name`` in inference mode."""
    model = timm.create_model(name, num_classes=num_classes)
    drawn = oracle.seeded_state(name, num_classes)
    model.load_state_dict({key: torch.from_numpy(value.copy()) for key, value in drawn.items()})
    return model.to(dtype).eval()


def images(dtype: torch.dtype = torch.float64) -> Tensor:
    """The pictures of ``images.npz``, (2, 3, 64, 64)."""
    return torch.from_numpy(oracle.images().transpose(0, 3, 1, 2).copy()).to(dtype)


def targets(logits: Tensor) -> dict[str, Tensor]:
    """The predicted classes and others, each (2,): of two classes the one not predicted, else 281 and 340."""
    predicted = logits.argmax(1)
    return {"argmax": predicted, "other": 1 - predicted if logits.shape[1] == 2 else torch.tensor([281, 340])}


def small_network(batch_norm: bool = False) -> nn.Sequential:
    """The small network in float64, whose tensors are drawn in sorted order from a stream of their own."""

    def conv(number: int, ins: int, outs: int, stride: int = 1) -> list[tuple[str, nn.Module]]:
        norm = [(f"bn{number}", nn.BatchNorm2d(outs))] if batch_norm else []
        return [
            (f"conv{number}", nn.Conv2d(ins, outs, 3, stride, padding=1)),
            *norm,
            (f"relu{number}", nn.ReLU()),
        ]

    head = [("mean", nn.AdaptiveAvgPool2d(1)), ("flatten", nn.Flatten()), ("fc", nn.Linear(24, 10))]
    model = nn.Sequential(
        OrderedDict([*conv(1, 3, 8), *conv(2, 8, 16, stride=2), ("pool", nn.MaxPool2d(2)), *conv(3, 16, 24), *head])
    )
    # Under these names oracle draws the biases of fc as all others, not smaller as those of timm's networks.
    shapes = {f"small.{key}": tuple(value.shape) for key, value in model.state_dict().items()}
    rng = np.random.default_rng([0, 2])
    drawn = {key.removeprefix("small."): torch.from_numpy(oracle._draw(rng, key, shapes)) for key in sorted(shapes)}
    model.load_state_dict(drawn)
    return model.double().eval()


def small_images() -> Tensor:
    """The pictures of the small network, (2, 3, 32, 32) float64."""
    return torch.from_numpy(oracle.seeded_images(100, 2, 32).transpose(0, 3, 1, 2).copy()).double()


def single(x: Tensor) -> np.ndarray:
    """``x`` as it is stored, in float32."""
    return x.detach().float().numpy()
