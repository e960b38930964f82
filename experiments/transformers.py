"""What relevance through a ViT-B/16 costs, here and in other libraries, in units of each one's own gradient.

    python -m experiments.transformers --peers torch,autolrp,lxt --batch-size 8 --threads 2

Relevance of the predicted class is taken to the input; a run includes the forward pass. Weights are random. All runs
take turns in one process.

Raises:
  ImportError: a package is missing.
  ValueError: timm does not have the network, the peer cannot do it, or PyTorch cannot use JAX's device.
"""

import argparse
import time
from collections.abc import Mapping
from statistics import median
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

import xrcam_jax as xr
from experiments.peers import _device, _done, _network, autolrp_runs, lxt_runs
from experiments.vision_transformer import VisionTransformer
from xrcam_jax.arguments.checks import check_names
from xrcam_jax.benchmark.machine import cores
from xrcam_jax.benchmark.runs import Peer, Run, interleaved_medians, peer_runs
from xrcam_jax.lrp.plan import make_plan
from xrcam_jax.lrp.program import trace
from xrcam_jax.lrp.transform import explained_leaves, program_for

#: timm's name of the network that all explain.
MODEL = "vit_base_patch16_224"
#: The composites that are measured.
COMPOSITES = {
    "gradient": xr.composites.gradient(),
    "attn_lrp": xr.composites.attn_lrp(),
    "cp_lrp": xr.composites.cp_lrp(),
    "attn_lrp gamma": xr.composites.attn_lrp(gamma=0.05, conv_gamma=0.25),
    "epsilon_plus": xr.composites.epsilon_plus(),
}


def our_runs(name: str, batch: int, size: int, threads: int) -> dict[str, Run]:
    """Runs ours on a ViT-B/16; the gradient is that of ``jax.vjp``."""
    graph, weights = nnx.split(VisionTransformer(size, rngs=nnx.Rngs(0)))
    images = jax.random.normal(jax.random.key(0), (batch, size, size, 3))

    def model(images: jax.Array, weights: Any) -> jax.Array:
        return nnx.merge(graph, weights)(images)

    def run(composite: Any) -> Run:
        explained = xr.lrp(model, composite)

        @jax.jit
        def relevance(images: jax.Array, weights: Any) -> jax.Array:
            logits, pullback = jax.vjp(lambda x: explained(x, weights), images)
            return pullback(jax.nn.one_hot(logits.argmax(1), logits.shape[1]))[0]

        return lambda: jax.block_until_ready(relevance(images, weights))

    return {f"ours {label}": run(composite) for label, composite in COMPOSITES.items()}


def planning(size: int) -> tuple[float, float]:
    """Returns the seconds that tracing the network takes, and planning ``attn_lrp`` for it beyond that."""
    graph, weights = nnx.split(VisionTransformer(size, rngs=nnx.Rngs(0)))
    images, composite = jnp.zeros((1, size, size, 3)), xr.composites.attn_lrp()

    def seconds() -> tuple[float, float]:
        start = time.perf_counter()
        # A function of its own each time, for JAX keeps traces.
        closed, _ = trace(lambda images, weights: nnx.merge(graph, weights)(images), images, weights)
        traced = time.perf_counter()
        make_plan(program_for(closed, composite), composite, explained_leaves(images, (weights,)), None)
        return traced - start, time.perf_counter() - traced

    runs = [seconds() for _ in range(6)][1:]
    return median(traced for traced, _ in runs), median(planned for _, planned in runs)


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


PEERS: Mapping[str, Peer] = {"torch": torch_runs, "autolrp": autolrp_runs, "lxt": lxt_runs}


def main() -> None:
    """Prints the median of each run, and how many gradients it takes."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, prog="experiments.transformers"
    )
    parser.add_argument("--peers", default="", metavar="P,...", help=f"of {', '.join(PEERS)}; none by default")
    parser.add_argument("--batch-size", type=int, default=8, metavar="N", help="pictures at a time (8)")
    parser.add_argument("--size", type=int, default=224, metavar="N", help="height and width of the pictures (224)")
    parser.add_argument("--threads", type=int, default=cores(), metavar="N", help="all cores by default")
    parser.add_argument("--repeats", type=int, default=5, metavar="N", help="of each run (5)")
    options = parser.parse_args()
    names = [name for name in options.peers.split(",") if name]
    if names:
        check_names("--peers", names, PEERS)
    traced, planned = planning(options.size)
    print(f"tracing {1e3 * traced:.0f} ms, planning attn_lrp {1e3 * planned:.0f} ms, {planned / traced:.2f} times that")
    peers = {"ours": our_runs, **{name: PEERS[name] for name in names}}
    runs = peer_runs(peers, MODEL, options.batch_size, options.size, options.threads)
    medians = interleaved_medians(runs, options.repeats, MODEL)
    print(f"{MODEL}, {options.batch_size} pictures of {options.size}x{options.size}, {options.threads} threads")
    for label, seconds in medians.items():
        own = medians.get("ours gradient" if label.startswith("ours") else "torch gradient", medians["ours gradient"])
        print(f"{label:20} {1e3 * seconds:9.0f} ms   {seconds / own:5.2f} gradients")


if __name__ == "__main__":
    main()
