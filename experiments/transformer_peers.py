"""Other libraries explain a vision transformer: what relevance costs there, in units of PyTorch's gradient.

    python -m experiments.transformer_peers --model vit_base_patch16_224 --batch-size 8 --threads 2

Relevance of the predicted class is taken to the input; a run includes the forward pass. Weights are random. The
functions are peers as ``peers.py`` has them, so that a suite of transformers can measure ours in the same process.

Raises:
  ImportError: a package is missing.
  ValueError: timm does not have the network, the peer cannot do it, or PyTorch cannot use JAX's device.
"""

import argparse
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any
from unittest.mock import patch

from experiments.peers import _device, _done, _network
from xrcam_jax.benchmark.machine import cores
from xrcam_jax.benchmark.runs import Peer, Run, interleaved_medians, peer_runs

#: The transformers that torchvision has too, under its own names.
TORCHVISION = {"vit_base_patch16_224": "vit_b_16", "vit_large_patch16_224": "vit_l_16"}


def _images(batch: int, size: int, **options: Any) -> Any:
    import torch

    return torch.randn(batch, 3, size, size, device=_device(), **options)


def torch_runs(name: str, batch: int, size: int, threads: int) -> dict[str, Run]:
    """Runs the forward pass, and the gradient at the input."""
    import torch

    model, images = _network(name, threads), _images(batch, size, requires_grad=True)

    def forward() -> Any:
        with torch.no_grad():
            return _done(model(images))

    def gradient() -> Any:
        return _done(torch.autograd.grad(model(images).amax(1).sum(), images))

    return {"torch forward": forward, "torch gradient": gradient}


def autolrp_runs(name: str, batch: int, size: int, threads: int) -> dict[str, Run]:
    """Runs autoLRP of timm's unmodified network, by its defaults and by its recipe for AttnLRP."""
    import autolrp

    model, images = _network(name, threads), _images(batch, size)

    def run(config: Any) -> Any:
        x = autolrp.tensor(images)
        model(x).amax(1).lrp(config=config)
        return _done(x.relevance)

    configs = {"autolrp default": autolrp.LRPConfig(), "autolrp attnlrp": autolrp.LRPConfig.attnlrp()}
    return {label: partial(run, config) for label, config in configs.items()}


def lxt_runs(name: str, batch: int, size: int, threads: int) -> dict[str, Run]:
    """Runs LXT's rules for vision transformers, which it has for torchvision's alone, on torchvision's network."""
    import torch
    import torchvision
    from lxt.efficient.models import vit_torch

    if name not in TORCHVISION:
        raise ValueError(f"expected a network that torchvision has: {', '.join(TORCHVISION)}, found {name}")
    torch.set_num_threads(threads)
    model = getattr(torchvision.models, TORCHVISION[name])().eval().to(_device())
    # torchvision's head starts with weights of zero, which would leave no relevance at all.
    torch.nn.init.normal_(model.heads.head.weight, std=0.02)
    images = _images(batch, size, requires_grad=True)

    def run() -> Any:
        with _patched(vit_torch.cp_LRP):
            (gradient,) = torch.autograd.grad(model(images).amax(1).sum(), images)
        return _done(images.detach() * gradient)

    return {"lxt cp_lrp": run}


@contextmanager
def _patched(patches: Mapping[Any, Callable[[Any], bool]]) -> Iterator[None]:
    """Lets LXT patch these classes for a while: by itself it does so for good."""
    with ExitStack() as changes:
        for owner, patch_class in patches.items():
            changes.enter_context(patch.object(owner, "forward", owner.forward))
            patch_class(owner)
        yield


PEERS: Mapping[str, Peer] = {"torch": torch_runs, "autolrp": autolrp_runs, "lxt": lxt_runs}


def main() -> None:
    """Prints the median of each run, and how many gradients it takes."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, prog="experiments.transformer_peers"
    )
    parser.add_argument("--model", default="vit_base_patch16_224", metavar="M", help="of timm (vit_base_patch16_224)")
    parser.add_argument("--batch-size", type=int, default=8, metavar="N", help="pictures at a time (8)")
    parser.add_argument("--size", type=int, default=224, metavar="N", help="height and width of the pictures (224)")
    parser.add_argument("--threads", type=int, default=cores(), metavar="N", help="all cores by default")
    parser.add_argument("--repeats", type=int, default=5, metavar="N", help="of each run (5)")
    options = parser.parse_args()
    runs = peer_runs(PEERS, options.model, options.batch_size, options.size, options.threads)
    medians = interleaved_medians(runs, options.repeats, options.model)
    print(f"{options.model}, {options.batch_size} pictures of {options.size}x{options.size}, {options.threads} threads")
    for label, seconds in medians.items():
        print(f"{label:20} {1e3 * seconds:9.0f} ms   {seconds / medians['torch gradient']:5.2f} gradients")


if __name__ == "__main__":
    main()
