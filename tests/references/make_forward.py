"""Writes ``forward_NETWORK_ncCLASSES.npz``: what timm's networks put out, in float64 and float32.

    PYTHONPATH=. python tests/references/make_forward.py [--check] [--out FOLDER]

torch 2.13.0 on CPU, timm 1.0.31. Takes 15 seconds of one core.

Keys, for images b, classes n and channels c, computed in float64 and stored in float32 unless said:
  ``logits_f64`` and ``logits_f32`` (b, n) in these precisions, the second computed in float32.
  ``argmax`` and ``other`` (b,) int64: the targets of all references of this network.
  ``layerK_chmean`` (b, c) and ``layerK_sum_f64`` (b,): means over space and sums of a stage's output.
"""

from functools import partial

import torch
from networks import LAYERS, images, network, single, targets
from writing import Arrays, main

from tests import oracle


@torch.no_grad()
def forward(name: str, num_classes: int) -> Arrays:
    model, stages = network(name, num_classes), {}
    for layer in LAYERS:
        model.get_submodule(layer).register_forward_hook(lambda _, __, y, layer=layer: stages.update({layer: y}))
    logits = model(images())
    arrays = {
        "logits_f32": single(network(name, num_classes, torch.float32)(images(torch.float32))),
        "logits_f64": logits.numpy(),
    }
    arrays |= {target: classes.numpy() for target, classes in targets(logits).items()}
    for layer, y in stages.items():
        arrays |= {f"{layer}_chmean": single(y.mean((2, 3))), f"{layer}_sum_f64": y.sum((1, 2, 3)).numpy()}
    return arrays


if __name__ == "__main__":
    files = {f"forward_{name}_nc{classes}": partial(forward, name, classes) for name, classes in oracle.REFERENCES}
    main(__doc__, files, tolerance=1e-5)
