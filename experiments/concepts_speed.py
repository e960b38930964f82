"""Times maps of concepts beside zennit-crp's: the same ResNet50, pictures and channels.

    python -m experiments.concepts_speed --out concepts_speed.json                     # 20 minutes and more
    python -m experiments.concepts_speed --pictures 1 --size 64 --concepts 16 --batch 8  # minutes

zennit-crp runs the network in PyTorch, with the weights of ours, in its own loop (``CondAttribution.generate``): a
picture at a time, so many conditions at a time; a batch of them has run before. Ours runs twice, and the first time, in
which it is compiled, stands beside. What a concept costs is also compared with a gradient pass, forth and back, between
the picture and the layer. It needs zennit-crp, PyTorch and torchvision, whose ResNet50 has timm's names. On a machine
that does other work PyTorch's threads wait for one another, and the ratio says nothing.
"""

import argparse
import json
import os
import sys
import tempfile
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import xrcam_jax as xr
from xrcam_jax.attribution.case import activation_at
from xrcam_jax.benchmark.machine import machine
from xrcam_jax.benchmark.runs import seconds
from xrcam_jax.checkpoints.save import save_timm
from xrcam_jax.explain.functional import as_function
from xrcam_jax.runtime.compiling import compiled
from xrcam_jax.runtime.files import write_whole

LAYER = "layer3"


def main(argv: Sequence[str] | None = None) -> int:
    """Prints the times and their ratios, and writes them; returns the exit status."""
    options = parser().parse_args(argv)
    try:
        import crp  # noqa: F401
        import torchvision  # noqa: F401
    except ImportError as error:
        print(f"concepts_speed: {error}; pip install zennit-crp torch torchvision", file=sys.stderr)
        return 1
    shape = (options.pictures, options.size, options.size, 3)
    images = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
    model = xr.create_model("resnet50")
    model.eval()
    run = partial(ours, model, images, options.concepts)
    found: dict[str, float] = {}

    def note(name: str, value: float) -> None:
        found[name] = value
        print(f"{name:24} {value:10.3f}", flush=True)

    # Each runs alone, in turn: both use all cores. What PyTorch does once, as ours compiles, does not count.
    note("zennit_crp_first_s", seconds(theirs(model, images[:1], options.batch, options.batch)))
    note("zennit_crp_s", seconds(theirs(model, images, options.concepts, options.batch)))
    note("ours_first_s", seconds(run))
    note("ours_s", seconds(run))
    note("ratio", found["zennit_crp_s"] / found["ours_s"])
    note("gradient_s", of_gradient(model, images))
    note("gradients_per_concept", found["ours_s"] / options.concepts / found["gradient_s"])
    if options.out is not None:
        settings = {key: value for key, value in vars(options).items() if key != "out"}
        written = {"settings": settings, "machine": machine(), **found}
        write_whole(options.out, (json.dumps(written, indent=2) + "\n").encode())
    return 0


def parser() -> argparse.ArgumentParser:
    """Returns the options of the command line."""
    about = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    about.add_argument("--pictures", type=int, default=8)
    about.add_argument("--size", type=int, default=224, help="of a picture's side, a multiple of 32")
    about.add_argument("--concepts", type=int, default=256, help=f"the first channels of {LAYER}")
    about.add_argument("--batch", type=int, default=16, help="how many conditions zennit-crp runs at a time")
    about.add_argument("--out", type=Path, help="a JSON file")
    return about


def ours(model: Any, images: np.ndarray, concepts: int) -> None:
    """Maps of the first channels."""
    composite = xr.composites.epsilon_plus()
    found = xr.concepts.attribute(
        model, images, LAYER, np.arange(concepts), targets=0, composite=composite, seed=xr.seeds.unit
    )
    jax.block_until_ready(found.maps)


def of_gradient(model: Any, images: np.ndarray) -> float:
    """Returns the seconds of a pass from the pictures to the layer and the gradient back; the second time counts."""
    function, parameters = as_function(model)

    @compiled()
    def gradient(images: jax.Array, parameters: Any) -> jax.Array:
        def total(images: jax.Array) -> jax.Array:
            return activation_at(images, parameters, function=function, layer=LAYER)[0].sum()

        return jax.grad(total)(images)

    def run() -> None:
        jax.block_until_ready(gradient(jnp.asarray(images), parameters))

    run()
    return seconds(run)


def theirs(model: Any, images: np.ndarray, concepts: int, batch: int) -> Callable[[], None]:
    """Returns what computes zennit-crp's maps of the same channels."""
    import torch
    from crp.attribution import CondAttribution
    from crp.concepts import ChannelConcept
    from safetensors.torch import load_file
    from torchvision.models import resnet50
    from zennit.composites import EpsilonPlus
    from zennit.torchvision import ResNetCanonizer

    network = resnet50()
    with tempfile.TemporaryDirectory() as folder:
        save_timm(model, Path(folder) / "weights.safetensors")
        network.load_state_dict(load_file(Path(folder) / "weights.safetensors"), strict=False)
    torch.set_num_threads(os.cpu_count() or 1)
    attribution = CondAttribution(network.eval(), no_param_grad=True)
    composite = EpsilonPlus(canonizers=[ResNetCanonizer()])
    conditions = [{"y": [0], LAYER: [channel]} for channel in range(concepts)]
    pictures = torch.from_numpy(np.ascontiguousarray(np.moveaxis(images, -1, 1)))

    def run() -> None:
        for picture in pictures:
            x = picture[None].clone().requires_grad_()
            parts = attribution.generate(
                x, conditions, composite, [], ChannelConcept.mask, init_rel=1, batch_size=batch, verbose=False
            )
            for _ in parts:
                pass

    return run


if __name__ == "__main__":
    sys.exit(main())
