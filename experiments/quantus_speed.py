"""Times metrics of explanations beside Quantus's: the same network, pictures, maps and numbers of passes.

    python -m experiments.quantus_speed --out quantus_speed.json            # about half an hour on 2 cores
    python -m experiments.quantus_speed --pictures 4 --size 64 --maps 4     # minutes

Quantus runs the network in PyTorch, with the weights of ours. Of each metric both do as many passes: pixels disappear
in as many steps, as many squares do, noise is drawn as often, the same shares of pixels are imputed. What differs is
said in the table: Quantus draws batch norms anew too, each a step of its own, and knows a map at a time. One map is the
gradient times the picture or, by ``--explanation lrp``, relevance at the picture by the rules of EpsilonPlus, which is
zennit's where Quantus asks; several are Grad-CAM at as many layers of a ResNet, of which Quantus is asked one after the
other. Ours runs twice, and the first time, in which it is compiled, stands beside. It needs Quantus, PyTorch and timm.
"""

import argparse
import json
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

import xrcam_jax as xr
from xrcam_jax.attribution.case import Case
from xrcam_jax.benchmark.machine import cores, machine
from xrcam_jax.benchmark.runs import Run, seconds
from xrcam_jax.checkpoints.save import save_timm
from xrcam_jax.explain.again import explain_again
from xrcam_jax.metrics.flipping import pixel_flipping
from xrcam_jax.metrics.randomisation import layers_in_order, mprt
from xrcam_jax.metrics.road import road
from xrcam_jax.metrics.sensitivity import max_sensitivity
from xrcam_jax.metrics.subsets import Squares, infidelity
from xrcam_jax.runtime.files import write_whole

#: How many steps pixel flipping has, about; how many squares there are along a side; how much noise is drawn.
STEPS, SQUARES, NOISE = 50, 8, 10
SHARES = (0.1, 0.3, 0.5, 0.7, 0.9)
METRICS = ("pixel_flipping", "road", "infidelity", "max_sensitivity", "mprt")
#: Where Grad-CAM is computed, from the last on.
LAYERS = ("layer4", "layer3", "layer2", "layer1")
PLAIN = {"abs": False, "normalise": False, "disable_warnings": True}


@dataclass(frozen=True)
class Both:
    """Holds what both are asked about.

    Attributes:
      explainer: of our network.
      case: the same with the pictures and their classes.
      maps: m maps of each picture.
      network: of PyTorch, with the same weights.
      explanations: by which Quantus explains again, of each map.
    """

    explainer: xr.Explainer
    case: Case
    maps: jax.Array
    network: Any
    explanations: tuple[Callable, ...]

    @property
    def x(self) -> np.ndarray:
        """Returns the pictures, channels first."""
        return np.ascontiguousarray(np.moveaxis(np.asarray(self.case.images), -1, 1))

    @property
    def y(self) -> np.ndarray:
        """Returns the classes."""
        return np.asarray(self.case.targets[:, 0])

    def quantus(self, metric: Any, maps: Array) -> Any:
        """Returns what a metric of Quantus says of each map, which it may explain again."""
        given = {"channel_first": True, "device": device()}
        return [
            metric(self.network, self.x, self.y, np.array(a), explain_func=explain, **given)
            for a, explain in zip(maps, self.explanations, strict=True)
        ]


@dataclass(frozen=True)
class Work:
    """Is a metric, ours and Quantus's.

    Attributes:
      ours: computes ours.
      theirs: computes Quantus's.
      passes: of the network over the pictures, ours and theirs.
    """

    ours: Run
    theirs: Run
    passes: tuple[int, int]


def main(argv: Sequence[str] | None = None) -> int:
    """Prints a line for each metric, and writes the figures; returns the exit status."""
    options = parser().parse_args(argv)
    try:
        import quantus  # noqa: F401
        import timm  # noqa: F401

        if options.explanation == "lrp":
            import zennit  # noqa: F401
    except ImportError as error:
        print(f"quantus_speed: {error}; pip install -e '.[quantus]' torch timm zennit", file=sys.stderr)
        return 1
    both = prepared(options.model, options.pictures, options.size, options.maps, options.explanation)
    print(f"{options.pictures} pictures of {options.size} pixels, {options.maps} maps each; logits differ by at most "
          f"{difference(both):.1e}")  # fmt: skip
    # PyTorch, too, prepares itself at the first pass of a shape.
    gradient_x_input(both.network, both.x, both.y, device())
    print(f"{'metric':16} {'Quantus':>10} {'ours':>10} {'first':>10} {'ratio':>8}   passes (Quantus, ours)")
    rows = []
    for row in measured(both, options.metrics):
        rows.append(row)
        times = " ".join(f"{row[key]:9.2f}s" for key in ("quantus_s", "ours_s", "ours_first_s"))
        print(f"{row['metric']:16} {times} {row['ratio']:7.1f}x   {row['quantus_passes']}, {row['ours_passes']}")
        settings = {key: value for key, value in vars(options).items() if key != "out"}
        if options.out is not None:
            found = {"settings": settings, "machine": machine(), "rows": rows}
            write_whole(options.out, (json.dumps(found, indent=2) + "\n").encode())
    return 0


def parser() -> argparse.ArgumentParser:
    """Returns the options of the command line."""
    about = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    about.add_argument("--model", default="resnet50", help="a network of timm that is here, too")
    about.add_argument("--pictures", type=int, default=32)
    about.add_argument("--size", type=int, default=224, help="of a picture's side, a multiple of 32")
    about.add_argument("--maps", type=int, default=1, choices=range(1, 5), help="that are judged of each picture")
    about.add_argument("--explanation", default="gradient_x_input", choices=EXPLANATIONS, help="if there is one map")
    about.add_argument("--metrics", nargs="+", choices=METRICS, default=METRICS)
    about.add_argument("--out", type=Path, help="a JSON file, written after each metric")
    return about


def prepared(name: str, pictures: int, size: int, maps: int, explanation: str = "gradient_x_input") -> Both:
    """Returns random pictures and maps, and a network with random weights, ours and that of PyTorch."""
    import timm
    import torch
    from safetensors.torch import load_file

    model = xr.create_model(name)
    model.eval()
    network = timm.create_model(name)
    with tempfile.TemporaryDirectory() as folder:
        save_timm(model, Path(folder) / "weights.safetensors")
        network.load_state_dict(load_file(Path(folder) / "weights.safetensors"))
    torch.set_num_threads(cores())
    random = np.random.default_rng(0)
    images = jnp.asarray(random.standard_normal((pictures, size, size, 3)), jnp.float32)
    explanations: tuple[Callable, ...] = (EXPLANATIONS[explanation],)
    explainer = xr.Explainer(model, explanation, composite=xr.composites.epsilon_plus())
    if maps > 1:
        explanations = tuple(partial(grad_cam, layer=layer) for layer in LAYERS[:maps])
        explainer = xr.Explainer(model, "grad_cam", layers=LAYERS[:maps])
    targets = explainer.function(images, explainer.parameters).argmax(1)[:, None]
    case = Case(explainer.function, explainer.parameters, images, targets)
    drawn = jnp.asarray(random.random((maps, pictures, size, size)), jnp.float32)
    return Both(explainer, case, drawn, network.eval().to(device()), explanations)


def device() -> str:
    """Returns PyTorch's name of the kind of device that JAX computes on."""
    return "cpu" if jax.default_backend() == "cpu" else "cuda"


def difference(both: Both) -> float:
    """Returns the largest difference of the logits of the two networks."""
    import torch

    with torch.no_grad():
        theirs = both.network(torch.from_numpy(both.x).to(device())).cpu().numpy()
    return float(abs(theirs - np.asarray(both.case.function(both.case.images, both.case.parameters))).max())


def gradient_x_input(model: Any, inputs: np.ndarray, targets: np.ndarray, device: str = "cpu", **_: Any) -> np.ndarray:
    """Returns the gradient of PyTorch's logits times the pictures, summed over channels (b, h, w)."""
    import torch

    x = torch.tensor(inputs, dtype=torch.float32, device=device, requires_grad=True)
    scores = model(x)[torch.arange(len(x)), torch.as_tensor(targets, device=device)]
    (gradient,) = torch.autograd.grad(scores.sum(), x)
    return (gradient * x).detach().sum(1).cpu().numpy()


def epsilon_plus(model: Any, inputs: np.ndarray, targets: np.ndarray, device: str = "cpu", **_: Any) -> np.ndarray:
    """Returns zennit's relevance of the classes' logits at the pictures, summed over channels (b, h, w)."""
    import torch
    from zennit.attribution import Gradient
    from zennit.composites import EpsilonPlus

    x = torch.tensor(inputs, dtype=torch.float32, device=device, requires_grad=True)
    classes = torch.as_tensor(targets, dtype=torch.int64, device=device)

    def seed(logits: Any) -> Any:
        return torch.nn.functional.one_hot(classes, logits.shape[1]) * logits

    with Gradient(model=model, composite=EpsilonPlus()) as attribute:
        _, relevance = attribute(x, seed)
    return relevance.detach().sum(1).cpu().numpy()


#: By our method's name, how Quantus explains.
EXPLANATIONS: dict[str, Callable] = {"gradient_x_input": gradient_x_input, "lrp": epsilon_plus}


def grad_cam(
    model: Any, inputs: np.ndarray, targets: np.ndarray, device: str = "cpu", *, layer: str, **_: Any
) -> np.ndarray:
    """Returns Grad-CAM of PyTorch's network at a layer, before its ReLU and as large as the pictures (b, h, w).

    Quantus ends at a map of zeros, which the ReLU leaves of some network that is drawn anew.
    """
    import torch

    kept = []
    handle = getattr(model, layer).register_forward_hook(lambda module, given, found: kept.append(found))
    try:
        scores = model(torch.as_tensor(inputs, dtype=torch.float32, device=device))
    finally:
        handle.remove()
    score = scores[torch.arange(len(scores)), torch.as_tensor(targets, device=device)].sum()
    (gradient,) = torch.autograd.grad(score, kept[0])
    cam = (gradient.mean((2, 3), keepdim=True) * kept[0]).sum(1, keepdim=True)
    return torch.nn.functional.interpolate(cam, inputs.shape[2:], mode="bilinear")[:, 0].detach().cpu().numpy()


def measured(both: Both, metrics: Sequence[str]) -> Iterator[dict[str, Any]]:
    """Yields the seconds of each metric, ours and Quantus's."""
    makers: dict[str, Callable[[Both], Work]] = {
        "pixel_flipping": of_pixel_flipping,
        "road": of_road,
        "infidelity": of_infidelity,
        "max_sensitivity": of_max_sensitivity,
        "mprt": of_mprt,
    }
    for name in metrics:
        work = makers[name](both)
        # Each runs alone, in turn: both use all cores.
        first, ours = seconds(work.ours), seconds(work.ours)
        theirs = seconds(work.theirs)
        times = {"quantus_s": theirs, "ours_s": ours, "ours_first_s": first, "ratio": theirs / ours}
        yield {"metric": name, **times, "ours_passes": work.passes[0], "quantus_passes": work.passes[1]}


def of_pixel_flipping(both: Both) -> Work:
    """Pixels turn to 0, the most relevant first. Steps of Quantus are of channels, so they are never quite ours."""
    import quantus

    count, pixels = len(both.maps), both.x[0, 0].size
    divisors = [each for each in range(1, pixels + 1) if pixels % each == 0]
    features = min(divisors, key=lambda each: abs(each - 3 * pixels / STEPS))
    per_step = -(-pixels * features // (3 * pixels))
    metric = quantus.PixelFlipping(features_in_step=features, perturb_baseline=0.0, **PLAIN)
    return Work(
        lambda: jax.block_until_ready(pixel_flipping(both.case, both.maps, per_step=per_step)),
        lambda: both.quantus(metric, both.maps),
        (count * (-(-pixels // per_step) + 1), count * -(-3 * pixels // features)),
    )


def of_road(both: Both) -> Work:
    """Shares of the pixels are imputed. Quantus counts channels of pixels, and fails at the second: it is helped."""
    import quantus
    from quantus.functions.perturb_func import noisy_linear_imputation

    count, pixels = len(both.maps), both.x[0, 0].size

    def imputed(arr: np.ndarray, indices: np.ndarray, **options: Any) -> np.ndarray:
        return noisy_linear_imputation(arr, np.unique(indices % pixels), **options)

    # Of what Quantus has as a hundred percent, the pixels of one channel, there are three.
    percentages = [300 * share for share in SHARES]
    metric = quantus.ROAD(percentages=percentages, noise=0.01, perturb_func=imputed, **PLAIN)
    return Work(
        lambda: jax.block_until_ready(road(both.case, both.maps, shares=SHARES)),
        lambda: both.quantus(metric, both.maps),
        (count * len(SHARES), count * len(SHARES)),
    )


def of_infidelity(both: Both) -> Work:
    """As many squares disappear. Ours looks at all maps after the same passes."""
    import quantus

    side = both.x.shape[-1] // SQUARES
    metric = quantus.Infidelity(perturb_patch_sizes=[side], n_perturb_samples=1, perturb_baseline=0.0, **PLAIN)
    samples = SQUARES**2
    return Work(
        lambda: jax.block_until_ready(infidelity(both.case, both.maps, change=Squares(side), samples=samples)),
        lambda: both.quantus(metric, both.maps),
        (samples + 1, len(both.maps) * (samples + 1)),
    )


def of_max_sensitivity(both: Both) -> Work:
    """Pictures are explained again, with noise."""
    import quantus

    metric = quantus.MaxSensitivity(nr_samples=NOISE, lower_bound=0.2, **PLAIN)
    explain = explain_again(both.explainer, raw=True)
    maps = explain(both.case.images, both.case.parameters, both.case.targets)
    return Work(
        lambda: jax.block_until_ready(max_sensitivity(both.case, explain, maps, radius=0.2, nr_samples=NOISE)),
        lambda: both.quantus(metric, maps),
        (NOISE, len(maps) * NOISE),
    )


def of_mprt(both: Both) -> Work:
    """Pictures are explained again, with more and more layers drawn anew. Quantus draws batch norms too."""
    import quantus

    metric = quantus.MPRT(layer_order="top_down", **PLAIN)
    explain = explain_again(both.explainer, raw=True)
    maps = explain(both.case.images, both.case.parameters, both.case.targets)
    steps = sum(hasattr(module, "reset_parameters") for module in both.network.modules())
    return Work(
        lambda: jax.block_until_ready(mprt(both.case, explain, maps)),
        lambda: both.quantus(metric, maps),
        (len(layers_in_order(both.case)), len(maps) * (steps + 1)),
    )


if __name__ == "__main__":
    raise SystemExit(main())
