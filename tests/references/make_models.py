"""Writes ``forward_NETWORK_ncCLASSES.npz`` of token models and convolutional networks: what timm's put out.

    PYTHONPATH=. python tests/references/make_models.py [--check] [--out FOLDER]

torch 2.13.0 on CPU, timm 1.0.31. Takes two minutes of one core. Weights are those of ``oracle.seeded_state`` with seed
0, pictures those of ``oracle.model_images``: 64 pixels a side where the network takes them, else 224. DINOv2 is asked
for with ``img_size=224`` and has its positions' tensor drawn for 257 tokens, ``oracle.model_state``.

Keys, for images b and classes n, where DINOv2 has features in place of classes:
  ``logits_f64`` and ``logits_f32`` (b, n) in these precisions.
  ``MODULE_sum_f64`` (b,): sums of what timm's modules put out, at the networks' stages.
  ``logits64_f64`` (b, n): VGG also of the pictures of 64 pixels, of which its last convolution makes 7x7 by pooling.
"""

from functools import partial

import timm
import torch
from networks import single
from torch import Tensor
from writing import Arrays, main

from tests import oracle


def pictures(images, dtype: torch.dtype) -> Tensor:
    return torch.from_numpy(images.transpose(0, 3, 1, 2).copy()).to(dtype)


@torch.no_grad()
def forward(name: str, num_classes: int) -> Arrays:
    options = {"img_size": 224} if "dinov2" in name else {}
    model, images, sums = timm.create_model(name, **options), oracle.model_images(name), {}
    drawn = oracle.model_state(name, num_classes)
    model.load_state_dict({key: torch.from_numpy(value.copy()) for key, value in drawn.items()})
    arrays = {"logits_f32": single(model.eval()(pictures(images, torch.float32)))}
    for module in stages(model):
        # Summed at once, since what follows may work in place.
        hook = lambda _, __, y, key=f"{module}_sum_f64": sums.update({key: y.flatten(1).sum(1).numpy()})  # noqa: E731
        model.get_submodule(module).register_forward_hook(hook)
    arrays["logits_f64"] = model.double()(pictures(images, torch.float64)).numpy()
    arrays |= sums
    if name.startswith("vgg"):
        arrays["logits64_f64"] = model(pictures(oracle.images(), torch.float64)).numpy()
    return arrays


def stages(model: torch.nn.Module) -> list[str]:
    """The modules that timm takes features from."""
    info = model.feature_info
    return [entry["module"] for entry in info] if isinstance(info, list) else info.module_name()


if __name__ == "__main__":
    files = {f"forward_{name}_nc{classes}": partial(forward, name, classes) for name, classes in oracle.MODELS}
    main(__doc__, files, tolerance=1e-5)
