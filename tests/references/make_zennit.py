"""Writes ``zennit_smallcnn.npz``: relevances by zennit's composites on two small networks, in float64.

    PYTHONPATH=. python tests/references/make_zennit.py [--check] [--out FOLDER]

torch 2.13.0 on CPU, zennit 0.5.1 (called, not copied: its licence is the LGPL). timm 1.0.31 is imported. Takes
five seconds of one core.

Keys; NET is ``plain`` or ``bn``, which has a batch norm after each convolution:
  ``images`` (2, 3, 32, 32), and ``low`` and ``high`` (1, 3, 1, 1), the bounds that epsilon_gamma_box is given.
  ``NET/param/NAME``: the weights, under PyTorch's names, and ``NET/logits_f64`` and ``NET/target_argmax``.
  ``NET/COMPOSITE/nocanon/argmax/R_input`` and ``.../R_in_conv2``: relevance of the pictures and of conv2's input, for
  1 at the predicted class and 0 at the others.
  ``NET/COMPOSITE/canon/argmax/...``: with ``SequentialMergeBatchNorm``; of ``plain``, which it does not change,
  conv2's alone.
"""

import numpy as np
import torch
from networks import single, small_images, small_network
from torch import Tensor, nn
from writing import Arrays, main
from zennit.attribution import Gradient
from zennit.canonizers import SequentialMergeBatchNorm
from zennit.composites import EpsilonAlpha2Beta1, EpsilonGammaBox, EpsilonPlus, EpsilonPlusFlat
from zennit.core import Composite

LOW = torch.tensor([-2.2, -2.1, -1.9], dtype=torch.float64).reshape(1, 3, 1, 1)
HIGH = torch.tensor([2.3, 2.5, 2.7], dtype=torch.float64).reshape(1, 3, 1, 1)


def composites(canonizers: list) -> dict[str, Composite]:
    return {
        "epsilon_plus": EpsilonPlus(canonizers=canonizers),
        "epsilon_alpha2_beta1": EpsilonAlpha2Beta1(canonizers=canonizers),
        "epsilon_gamma_box": EpsilonGammaBox(LOW, HIGH, canonizers=canonizers),
        "epsilon_plus_flat": EpsilonPlusFlat(canonizers=canonizers),
    }


def relevances(model: nn.Sequential, composite: Composite, x: Tensor, seed: Tensor) -> dict[str, np.ndarray]:
    """Of the pictures, and of conv2's input."""
    found = {}

    def keep(_: nn.Module, arguments: tuple[Tensor, ...]) -> None:
        arguments[0].register_hook(lambda relevance: found.update(R_in_conv2=single(relevance)))

    # It is registered before zennit's own hooks, which then stand between it and the convolution.
    hook = model.conv2.register_forward_pre_hook(keep)
    with Gradient(model=model, composite=composite) as attribute:
        _, relevance = attribute(x, seed)
    hook.remove()
    return {"R_input": single(relevance), **found}


def zennit() -> Arrays:
    x = small_images()
    arrays = {"images": single(x), "low": single(LOW), "high": single(HIGH)}
    for net in ("plain", "bn"):
        model = small_network(batch_norm=net == "bn")
        parameters = {k: single(v) for k, v in model.state_dict().items() if not k.endswith("num_batches_tracked")}
        logits = model(x).detach()
        arrays |= {f"{net}/param/{key}": value for key, value in parameters.items()}
        arrays |= {f"{net}/logits_f64": logits.numpy(), f"{net}/target_argmax": logits.argmax(1).numpy()}
        seed = nn.functional.one_hot(logits.argmax(1), 10).double()
        for canon in ("nocanon", "canon"):
            canonizers = [SequentialMergeBatchNorm()] if canon == "canon" else []
            for name, composite in composites(canonizers).items():
                found = relevances(model, composite, x, seed)
                if (net, canon) == ("plain", "canon"):
                    del found["R_input"]
                arrays |= {f"{net}/{name}/{canon}/argmax/{what}": r for what, r in found.items()}
    return arrays


if __name__ == "__main__":
    main(__doc__, {"zennit_smallcnn": zennit}, tolerance=1e-5)
