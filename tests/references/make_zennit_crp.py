"""Writes ``zennit_crp.npz``: conditional relevances by zennit-crp on a small network, in float64.

    PYTHONPATH=. python tests/references/make_zennit_crp.py [--check] [--out FOLDER]

torch 2.13.0 on CPU, zennit-crp 0.6.0 with zennit 0.4.6 (called, not copied). Takes seconds of one core.

The network has two convolutions with biases and ReLUs behind them, a mean and a dense layer. Rules are ε for the dense
layer and z+ for convolutions, biases taking their share, with stabilisers of 1e-6. At the target's logit 1 is put.

Keys:
  ``x`` (2, 2, 8, 8), ``param/NAME``, ``logits_f64`` and ``target``.
  ``heatmap/LAYER/CHANNEL`` (2, 8, 8): relevance of the pictures, summed over their channels, that goes through one
  channel; ``heatmap/both/I_J``: through channel J of conv2 and then channel I of conv1.
  ``heatmap/all``: with no condition but the class.
  ``relevance/conv1/given_J`` (2, 3, 8, 8): that of conv1 through channel J of conv2.
"""

from collections import OrderedDict

import numpy as np
import torch
from crp.attribution import CondAttribution
from crp.concepts import ChannelConcept
from torch import Tensor, nn
from writing import Arrays, main
from zennit.composites import LayerMapComposite
from zennit.rules import Epsilon, Pass, ZPlus
from zennit.types import Activation, Convolution, Linear

CHANNELS = {"conv1": 3, "conv2": 4}


class Mean(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.mean((2, 3))


def network() -> nn.Sequential:
    """The network, with drawn weights that float32 holds exactly."""
    layers = [
        ("conv1", nn.Conv2d(2, 3, 3, padding=1)),
        ("relu1", nn.ReLU()),
        ("conv2", nn.Conv2d(3, 4, 3, padding=1)),
        ("relu2", nn.ReLU()),
        ("mean", Mean()),
        ("fc", nn.Linear(4, 3)),
    ]
    model = nn.Sequential(OrderedDict(layers))
    drawn = np.random.default_rng(3)
    state = {
        key: torch.from_numpy((drawn.standard_normal(tuple(value.shape)) / 3).astype(np.float32))
        for key, value in model.state_dict().items()
    }
    model.load_state_dict(state)
    return model.double().eval()


def composite() -> LayerMapComposite:
    rules = [(Activation, Pass()), (Convolution, ZPlus()), (Linear, Epsilon(epsilon=1e-6))]
    return LayerMapComposite(rules)


def zennit_crp() -> Arrays:
    model = network()
    x = torch.from_numpy(np.random.default_rng(4).standard_normal((2, 2, 8, 8)).astype(np.float32)).double()
    logits = model(x).detach()
    target = logits.argmax(1)
    arrays = {"x": x.numpy(), "logits_f64": logits.numpy(), "target": target.numpy()}
    arrays |= {f"param/{key}": value.float().numpy() for key, value in model.state_dict().items()}

    def attributed(condition: dict[str, list[int]], record: tuple[str, ...] = ()) -> tuple:
        """What each picture has under a condition of its own."""
        conditions = [{"y": [int(t)], **condition} for t in target]
        found = CondAttribution(model, no_param_grad=True)(
            x.clone().requires_grad_(), conditions, composite(), list(record), ChannelConcept.mask, init_rel=1
        )
        return found.heatmap.detach().numpy().astype(np.float64), found.relevances

    arrays["heatmap/all"] = attributed({})[0]
    for layer, count in CHANNELS.items():
        for channel in range(count):
            arrays[f"heatmap/{layer}/{channel}"] = attributed({layer: [channel]})[0]
    for lower, upper in ((0, 1), (2, 3), (1, 0)):
        both = {"conv2": [upper], "conv1": [lower]}  # zennit-crp wants the layer nearest to the output first
        arrays[f"heatmap/both/{lower}_{upper}"] = attributed(both)[0]
        arrays[f"relevance/conv1/given_{upper}"] = attributed({"conv2": [upper]}, ("conv1",))[1]["conv1"].numpy()
    return arrays


if __name__ == "__main__":
    main(__doc__, {"zennit_crp": zennit_crp}, tolerance=1e-10)
