"""Writes ``zennit_1_*.npz``: relevances by zennit 1.0's rules on single layers, and by its composites on networks.

    PYTHONPATH=. python tests/references/make_zennit_1.py [--check] [--out FOLDER]

torch 2.13.0 on CPU, zennit 1.0.0 (called, not copied). timm 1.0.31 is imported. Takes ten seconds of one core. All is
in float64 and stored so, but weights in float32, which holds them exactly; stabilisers are as good as zero. It has the
rules of 0.5.1 and none for attention, softmax, LayerNorm or products. What is new for networks: a batch norm that a
canonizer has merged is the identity, where 0.5.1 left its 1e-5 under the root.

Keys:
  ``zennit_1_rules.npz``: ``LAYER/x``, ``LAYER/weight``, ``LAYER/bias``, ``LAYER/z``, ``LAYER/seed``, the relevance of
  z, and ``LAYER/RULE/R_x``; under ``LAYER/RULE/no_bias/R_x`` the bias is left out of the rule. ``low`` and ``high`` are
  zbox's bounds. ``convolution`` has a stride, ``depthwise`` one filter per channel, ``grouped`` two groups and a
  dilation, ``transposed`` is the transpose of a strided one; all have PyTorch's layout. In matrix form the rules are in
  ``RULES``, by which the script confirms zennit's relevances.
  ``zennit_1_networks.npz``: ``x``, ``NET/param/NAME``, ``NET/z``, ``NET/target``, and ``NET/COMPOSITE/R_x`` for 1
  at the target. ``relu`` is the small network of ``zennit_smallcnn.npz``; ``gelu`` has a convolution, a depthwise and a
  pointwise one, with exact GELU, SiLU and exact GELU, a mean and a dense layer. ``relu_bn`` and ``gelu_bn`` have batch
  norms after the convolutions, and also ``NET/COMPOSITE/canonized/R_x``, with ``SequentialMergeBatchNorm``.
"""

from collections import OrderedDict
from collections.abc import Callable

import numpy as np
import torch
import torch.nn.functional as F
from networks import small_images, small_network
from numpy import ndarray as Array
from torch import Tensor, nn
from writing import Arrays, main
from zennit import rules
from zennit.attribution import Gradient
from zennit.canonizers import SequentialMergeBatchNorm
from zennit.composites import COMPOSITES
from zennit.core import BasicHook

from tests import oracle

TINY = 1e-30
LOW, HIGH = -2.5, 3.0
CLASSES = 10


def normal(number: int, *shape: int) -> Tensor:
    """Normal numbers that float32 holds exactly, float64."""
    drawn = np.random.default_rng([2, number]).standard_normal(shape)
    return torch.from_numpy(drawn.astype(np.float32)).double()


# Rules on single layers.


def layers() -> dict[str, tuple[nn.Module, Tensor]]:
    """Layers with biases, and what they are given: signs mixed in both."""
    picture = normal(1, 2, 4, 5, 5)
    made = {
        "linear": (nn.Linear(8, 6), normal(0, 2, 3, 8)),
        "convolution": (nn.Conv2d(4, 6, 3, stride=2, padding=1), picture),
        "depthwise": (nn.Conv2d(4, 4, 3, padding=1, groups=4), picture),
        "grouped": (nn.Conv2d(4, 6, 3, padding=2, dilation=2, groups=2), picture),
        "transposed": (nn.ConvTranspose2d(4, 3, 3, stride=2, padding=1, output_padding=1), picture),
    }
    for number, (layer, _) in enumerate(made.values()):
        weight, bias = normal(10 + number, *layer.weight.shape), 0.3 * normal(20 + number, *layer.bias.shape)
        layer.load_state_dict({"weight": weight / layer.weight[0].numel() ** 0.5, "bias": bias})
        layer.double()
    return made


def split(a: Array) -> tuple[Array, Array]:
    return np.maximum(a, 0), np.minimum(a, 0)


def shares(contributions: Array, bias: Array, r: Array) -> Array:
    """Relevance of inputs (i,), r (j,) being distributed by contributions (j, i) and bias (j,)."""
    z = contributions.sum(1) + bias
    return np.divide(r, z, out=np.zeros_like(z), where=z != 0) @ contributions


def gamma(w: Array, x: Array, b: Array, r: Array, z: Array, factor: float) -> Array:
    """Contributions of the sign of z are favoured; z has the bias even where the rule has none."""
    x_plus, x_minus = split(x)

    def favoured(sign: int) -> Array:
        more, less = w + factor * split(w)[sign], w + factor * split(w)[1 - sign]
        return shares(more * x_plus + less * x_minus, b + factor * split(b)[sign], np.where(z > 0, 1 - sign, sign) * r)

    return favoured(0) + favoured(1)


def alpha_beta(w: Array, x: Array, b: Array, r: Array, alpha: float) -> Array:
    (plus, minus), (b_plus, b_minus) = split(w * x), split(b)
    return alpha * shares(plus, b_plus, r) - (alpha - 1) * shares(minus, b_minus, r)


def z_box(w: Array, x: Array, b: Array, r: Array, z: Array) -> Array:
    plus, minus = split(w)
    return shares(w * x - plus * LOW - minus * HIGH, b - split(b)[0] - split(b)[1], r)


#: zennit's rule, and its equation: w (j, i), x (i,), b, r and z = w x + b (j,); b is zero where it is left out.
RULES: dict[str, tuple[Callable[..., BasicHook], Callable[..., Array]]] = {
    "epsilon": (lambda **o: rules.Epsilon(epsilon=TINY, **o), lambda w, x, b, r, z: shares(w * x, b, r)),
    "gamma": (lambda **o: rules.Gamma(0.25, stabilizer=TINY, **o), lambda w, x, b, r, z: gamma(w, x, b, r, z, 0.25)),
    "zplus": (lambda **o: rules.ZPlus(stabilizer=TINY, **o), lambda w, x, b, r, z: alpha_beta(w, x, b, r, 1)),
    "alpha2_beta1": (
        lambda **o: rules.AlphaBeta(2.0, 1.0, stabilizer=TINY, **o),
        lambda w, x, b, r, z: alpha_beta(w, x, b, r, 2),
    ),
    "zbox": (lambda **o: rules.ZBox(LOW, HIGH, stabilizer=TINY, **o), z_box),
    "wsquare": (lambda **o: rules.WSquare(stabilizer=TINY, **o), lambda w, x, b, r, z: shares(w**2, b**2, r)),
    # Without a bias in any case. An entry of w that is zero is none of the layer's connections.
    "flat": (lambda **o: rules.Flat(stabilizer=TINY, **o), lambda w, x, b, r, z: shares((w != 0) * 1.0, 0 * b, r)),
}


def by_rule(layer: nn.Module, rule: BasicHook, x: Tensor, seed: Tensor) -> Array:
    x = x.clone().requires_grad_()
    handles = rule.register(layer)
    layer(x).backward(seed)
    handles.remove()
    return x.grad.numpy()


def by_equation(layer: nn.Module, equation: Callable[..., Array], biased: bool, x: Tensor, seed: Tensor) -> Array:
    """The equation with the layer as a matrix, example by example."""
    with torch.no_grad():
        bias = layer(torch.zeros_like(x[:1]))
        basis = torch.eye(x[0].numel()).double().reshape(-1, *x.shape[1:])
        w = (layer(basis) - bias).reshape(len(basis), -1).T.numpy()
    given = zip(x.flatten(1).numpy(), seed.flatten(1).numpy(), layer(x).detach().flatten(1).numpy(), strict=True)
    b = bias.ravel().numpy() * biased
    found = [equation(w, one, b, r, z) for one, r, z in given]
    return np.stack(found).reshape(x.shape)


def zennit_1_rules() -> Arrays:
    arrays: Arrays = {"low": np.array([LOW]), "high": np.array([HIGH])}
    for number, (name, (layer, x)) in enumerate(layers().items()):
        z = layer(x).detach()
        seed = normal(30 + number, *z.shape)
        stored = {
            "x": x,
            "weight": layer.weight.detach().float(),
            "bias": layer.bias.detach().float(),
            "z": z,
            "seed": seed,
        }
        arrays |= {f"{name}/{key}": value.numpy() for key, value in stored.items()}
        for rule, (hook, equation) in RULES.items():
            for suffix, options in (("", {}), ("/no_bias", {"zero_params": ["bias"]})):
                found = by_rule(layer, hook(**options), x, seed)
                expected = by_equation(layer, equation, not options, x, seed)
                if not np.abs(found - expected).max() <= 1e-10 * np.abs(expected).max():
                    raise ArithmeticError(f"{name}, {rule}{suffix}: zennit does not follow the equation")
                arrays[f"{name}/{rule}{suffix}/R_x"] = found
    return arrays


# Composites on networks.


def gelu_network(batch_norm: bool = False) -> nn.Sequential:
    """A convolution, a depthwise and a pointwise one, with smooth activations, drawn as the small network is."""
    convolutions = (nn.Conv2d(3, 8, 3, 2, padding=1), nn.Conv2d(8, 8, 3, padding=1, groups=8), nn.Conv2d(8, 12, 1))
    named: OrderedDict[str, nn.Module] = OrderedDict()
    for number, (convolution, activation) in enumerate(
        zip(convolutions, (nn.GELU(), nn.SiLU(), nn.GELU()), strict=True)
    ):
        named[f"conv{number}"] = convolution
        if batch_norm:
            named[f"bn{number}"] = nn.BatchNorm2d(convolution.out_channels)
        named[f"act{number}"] = activation
    model = nn.Sequential(
        named | OrderedDict(mean=nn.AdaptiveAvgPool2d(1), flatten=nn.Flatten(), fc=nn.Linear(12, CLASSES))
    )
    shapes = {f"gelu.{key}": tuple(value.shape) for key, value in model.state_dict().items()}
    rng = np.random.default_rng([0, 14])
    drawn = {key.removeprefix("gelu."): torch.from_numpy(oracle._draw(rng, key, shapes)) for key in sorted(shapes)}
    model.load_state_dict(drawn)
    return model.double().eval()


def by_composite(model: nn.Module, name: str, canonizers: list, x: Tensor, seed: Tensor) -> Array:
    options = {"low": LOW * torch.ones(1), "high": HIGH * torch.ones(1)} if name == "epsilon_gamma_box" else {}
    composite = COMPOSITES[name](epsilon=TINY, stabilizer=TINY, canonizers=canonizers, **options)
    with Gradient(model=model, composite=composite) as attribute:
        return attribute(x, seed)[1].numpy()


def zennit_1_networks() -> Arrays:
    networks = {"relu": small_network(), "relu_bn": small_network(True)}
    networks |= {"gelu": gelu_network(), "gelu_bn": gelu_network(True)}
    x = small_images()[:, :, ::2, ::2].contiguous()
    arrays: Arrays = {"low": np.array([LOW]), "high": np.array([HIGH]), "x": x.numpy()}
    for net, model in networks.items():
        z = model(x).detach()
        target = z.argmax(1)
        seed = F.one_hot(target, CLASSES).double()
        weights = {k: v for k, v in model.state_dict().items() if not k.endswith("num_batches_tracked")}
        arrays |= {f"{net}/param/{key}": value.float().numpy() for key, value in weights.items()}
        arrays |= {f"{net}/z": z.numpy(), f"{net}/target": target.numpy()}
        for name in ("epsilon_plus", "epsilon_plus_flat", "epsilon_alpha2_beta1", "epsilon_gamma_box"):
            arrays[f"{net}/{name}/R_x"] = by_composite(model, name, [], x, seed)
            if net.endswith("bn"):
                found = by_composite(model, name, [SequentialMergeBatchNorm()], x, seed)
                arrays[f"{net}/{name}/canonized/R_x"] = found
    return arrays


if __name__ == "__main__":
    main(__doc__, {f.__name__: f for f in (zennit_1_rules, zennit_1_networks)}, tolerance=1e-9)
