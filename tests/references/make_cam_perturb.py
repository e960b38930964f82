"""Writes ``cam_perturb_resnet50.npz``: Score-CAM and Ablation-CAM by pytorch_grad_cam, in float64.

    PYTHONPATH=. python tests/references/make_cam_perturb.py [--check] [--out FOLDER]

torch 2.13.0 on CPU, timm 1.0.31, grad-cam 1.5.7, opencv 5.0.0. Takes eight minutes of one core.

Keys as in ``make_cam.py``. One picture at a time; the library keeps scores, hence weights, in float32.
"""

import numpy as np
import pytorch_grad_cam as library
from make_cam import explained
from networks import images, network, targets
from writing import Arrays, main

CASES = (("layer1", "argmax"), ("layer4", "argmax"), ("layer1", "other"))


def cams() -> Arrays:
    model, x = network("resnet50"), images()
    classes = targets(model(x))
    arrays = {target: values.numpy() for target, values in classes.items()}
    for layer, target in CASES:
        for name, method in (("scorecam", library.ScoreCAM), ("ablationcam", library.AblationCAM)):
            # One by one, for Score-CAM holds a masked copy per channel of all that it is given.
            found = [
                explained(method, model, [model.get_submodule(layer)], x[i : i + 1], classes[target][i : i + 1])
                for i in range(len(x))
            ]
            for what in ("w", "raw", "final"):
                arrays[f"{name}_{layer}_{target}_{what}"] = np.concatenate([one[what] for one in found])
    return arrays


if __name__ == "__main__":
    main(__doc__, {"cam_perturb_resnet50": cams}, tolerance=1e-5)
