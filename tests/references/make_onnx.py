"""Writes ``onnx_networks.npz``: small networks as PyTorch's two exporters write them, and what onnxruntime computes.

    PYTHONPATH=. python tests/references/make_onnx.py [--check] [--out FOLDER]

torch 2.13.0 on CPU, torchvision 0.28.0, onnx 1.23.2, onnxscript 0.7.2, onnxruntime 1.32.0. Takes a minute of one core.

Keys, for each network NAME, whose end says how it was exported: ``ts`` by TorchScript, ``dynamo`` by torch.export, and
``one`` likewise, for a batch of one picture alone:
  ``NAME_file`` uint8: the bytes of the ONNX file.
  ``NAME_out`` float32: its output for the pictures of :func:`pictures`, of onnxruntime.
"""

import io
import logging
import tempfile
import warnings
from functools import partial
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import torch
from torch import nn
from torchvision import models
from torchvision.models.convnext import CNBlockConfig
from torchvision.models.mobilenetv3 import InvertedResidualConfig
from writing import Arrays, main

warnings.filterwarnings("ignore")
logging.disable(logging.WARNING)


def pictures() -> np.ndarray:
    """Returns two pictures of noise, (2, 3, 32, 32)."""
    return np.random.default_rng(24).normal(size=(2, 3, 32, 32)).astype(np.float32)


class UNet(nn.Module):
    """Halves and doubles the picture once, with a transposed convolution, and once by interpolation."""

    def __init__(self) -> None:
        super().__init__()
        self.down = nn.Sequential(nn.Conv2d(3, 6, 3, padding=1), nn.InstanceNorm2d(6, affine=True), nn.LeakyReLU(0.1))
        self.pool = nn.AvgPool2d(2, 2, ceil_mode=True)
        self.middle = nn.Sequential(nn.Conv2d(6, 8, 3, stride=2, padding=1, groups=2), nn.GroupNorm(2, 8), nn.SiLU())
        self.up = nn.ConvTranspose2d(8, 6, 4, stride=2, padding=1)
        self.head = nn.Conv2d(12, 2, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        high = self.down(x)
        low = self.up(self.middle(self.pool(high)))
        low = nn.functional.interpolate(low, scale_factor=2, mode="bilinear", align_corners=False)
        return self.head(torch.cat([high, low], 1))


def mobile() -> nn.Module:
    config = partial(InvertedResidualConfig, width_mult=1.0)
    settings = [
        config(8, 3, 8, 8, True, "RE", 2, 1),
        config(8, 3, 16, 8, False, "RE", 2, 1),
        config(8, 5, 16, 8, True, "HS", 1, 1),
    ]
    return models.MobileNetV3(settings, 16, num_classes=5)


def resnet() -> nn.Module:
    network = models.ResNet(models.resnet.BasicBlock, [1, 1, 1, 1], num_classes=5)
    for name, module in list(network.named_modules()):
        parent, _, child = name.rpartition(".")
        if isinstance(module, nn.Conv2d):
            narrow = nn.Conv2d(
                3 if module.in_channels == 3 else module.in_channels // 32, module.out_channels // 32,
                module.kernel_size, module.stride, module.padding, bias=False,
            )  # fmt: skip
            setattr(network.get_submodule(parent), child, narrow)
        elif isinstance(module, nn.BatchNorm2d):
            setattr(network.get_submodule(parent), child, nn.BatchNorm2d(module.num_features // 32))
    network.fc = nn.Linear(16, 5)
    return network


NETWORKS = {
    "resnet": resnet,
    "mobilenetv3": mobile,
    "densenet": lambda: models.DenseNet(4, (2, 2), 8, num_classes=5),
    "vit": lambda: models.VisionTransformer(32, 8, 2, 2, 16, 32, num_classes=5),
    "swin": lambda: models.SwinTransformer([2, 2], 8, [2], [2], [4, 4], num_classes=5),
    "convnext": lambda: models.ConvNeXt([CNBlockConfig(8, 12, 1), CNBlockConfig(12, None, 1)], num_classes=5),
    "shufflenet": lambda: models.ShuffleNetV2([1, 1, 1], [8, 8, 8, 8, 16], num_classes=5),
    "unet": UNet,
}
EXPORTS = (
    *("resnet_ts", "resnet_dynamo", "mobilenetv3_ts", "densenet_ts", "vit_dynamo", "vit_one", "swin_one"),
    *("convnext_dynamo", "shufflenet_dynamo", "unet_ts"),
)


def exported(name: str) -> bytes:
    """Returns a network with drawn weights as the bytes of a file."""
    kind, _, how = name.partition("_")
    torch.manual_seed(24)
    network = NETWORKS[kind]().eval()
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            for tensor, (low, high) in ((module.running_mean, (-0.2, 0.2)), (module.running_var, (0.5, 2.0))):
                tensor.uniform_(low, high)
            nn.init.uniform_(module.weight, 0.5, 1.5)
        if isinstance(module, models.convnext.CNBlock):
            nn.init.uniform_(module.layer_scale, -1, 1)
    if hasattr(network, "heads"):
        nn.init.normal_(network.heads.head.weight)
    x = torch.from_numpy(pictures())
    if how == "ts":
        file, open_batch = io.BytesIO(), {"x": {0: "b"}}
        options = {"input_names": ["x"], "dynamic_axes": open_batch, "opset_version": 9 if kind == "densenet" else 17}
        torch.onnx.export(network, (x,), file, dynamo=False, **options)
        return file.getvalue()
    sizes = {} if how == "one" else {"dynamic_shapes": ({0: torch.export.Dim("b")},)}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "network.onnx")
        torch.onnx.export(
            network, (x[:1] if how == "one" else x,), path, dynamo=True, external_data=False, verbose=False, **sizes
        )
        return lean(path.read_bytes())


def lean(content: bytes) -> bytes:
    """Returns a file without what torch.export notes of the lines that nodes come from; their modules stay."""
    model = onnx.load_from_string(content)
    for each in (*model.graph.node, *model.graph.value_info, *model.graph.input, *model.graph.output, model.graph):
        kept = [entry for entry in each.metadata_props if entry.key == "pkg.torch.onnx.name_scopes"]
        del each.metadata_props[:]
        each.metadata_props.extend(kept)
    return model.SerializeToString()


@torch.no_grad()
def networks() -> Arrays:
    arrays = {}
    for name in EXPORTS:
        content = exported(name)
        session = onnxruntime.InferenceSession(content)
        (given,) = session.get_inputs()
        batches = pictures()[:, None] if name.endswith("_one") else [pictures()]
        arrays[f"{name}_file"] = np.frombuffer(content, np.uint8)
        arrays[f"{name}_out"] = np.concatenate([session.run(None, {given.name: batch})[0] for batch in batches])
        print(name, len(content), arrays[f"{name}_out"].shape, flush=True)
    return arrays


if __name__ == "__main__":
    main(__doc__, {"onnx_networks": networks}, tolerance=1e-5)
