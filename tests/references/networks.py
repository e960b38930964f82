"""The PyTorch networks of the references, with drawn weights, and the pictures and targets that they get.

timm's networks have the weights of ``oracle.seeded_state`` with seed 0. The small network is for zennit, whose rules
for biases and canonizers it shows: three convolutions, the second with stride 2, one max pooling, a mean, ten classes.
"""

from collections import OrderedDict

import numpy as np
import timm
import torch
from torch import Tensor, nn

from tests import oracle

LAYERS = ("layer1", "layer2", "layer3", "layer4")


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
