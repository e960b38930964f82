"""What does relevance cost, in units of the gradient?

    python -m experiments.benchmark --models resnet50,skresnext50_32x4d --batch-size 8 --peers torch,relevance-cam
    python -m experiments.benchmark --models vit_base_patch16_224 --peers torch,autolrp,lxt

The suite times the forward pass, the gradient at the four layers, and the maps at the four layers of XRelevance-CAM, of
XRelevance-CAM with Grad-CAM, of all CAMs that one gradient and one relevance pass give, and of these with Finer-CAM,
whose gradient is one of its own; and Relevance-CAM at layer1 alone, which a peer does as its authors' PyTorch code
does. If other peers are asked for, what they do is timed of ours too: Grad-CAM at the four layers, and relevance at the
input by the rules that a peer has. Rates are by the work that XLA counts. So is the limit of a ratio: what a run
counts, in units of the gradient's count, is what it would take in gradients at their rate. The peak is the rate of a
product of large matrices, which takes its turn among the rest. With the peers of the first line, two networks take
about eight minutes on 2 cores.
"""

from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Any

import jax

import xrcam_jax as xr
from xrcam_jax.arguments.parser import Options
from xrcam_jax.benchmark.compiled_calls import achieved, compile_call, gradient, limit, matrix_product, network
from xrcam_jax.benchmark.machine import cores
from xrcam_jax.benchmark.runs import Peer, Row, interleaved_medians, peer_runs
from xrcam_jax.explain.batch_size import largest_batch_size
from xrcam_jax.explain.cam_methods import GRADIENT, RELEVANCE
from xrcam_jax.explain.functional import as_function
from xrcam_jax.explain.outline import layers_of
from xrcam_jax.explain.passes import Cam
from xrcam_jax.models.resnet import STAGES

#: The CAMs that one forward pass, one gradient and one relevance give.
TWO_PASSES = tuple(
    name
    for name, method in xr.METHODS.items()
    if isinstance(method.kind, Cam) and method.kind.signal in (GRADIENT, RELEVANCE)
)
#: The one that needs another gradient, of the difference between logits.
ANOTHER_PASS = "finer_cam"
PEAK = "matrix product"
#: For the run of a peer, the run of ours that answers the same question.
SAME_WORK = {
    "torch forward": "forward",
    "torch gradient": "gradient",
    "torch relevance_cam layer1": "relevance_cam layer1",
    "pytorch-grad-cam grad_cam": "grad_cam",
    "captum grad_cam": "grad_cam",
    "zennit epsilon_plus": "epsilon_plus input",
    "zennit-crp epsilon_plus": "epsilon_plus input",
    "autolrp default": "attn_lrp input",
    "autolrp attnlrp": "attn_lrp input",
    "lxt cp_lrp": "cp_lrp input",
}
#: Relevance at the input, and the peers that it is measured for.
AT_THE_INPUT = {
    "epsilon_plus": (xr.composites.epsilon_plus(), {"zennit", "zennit-crp"}),
    "attn_lrp": (xr.composites.attn_lrp(), {"autolrp"}),
    "cp_lrp": (xr.composites.cp_lrp(), {"lxt"}),
}


def measure(options: Options, peers: Mapping[str, Peer]) -> Iterator[Row]:
    """Yields a row for each run of each model."""
    for name in options.models:
        model = network(name, options.size, dtype=options.dtype)
        cams = defined(model, options.size)
        all_cams = f"all {len(cams)} cams"
        explainers = {
            "xrelevance_cam": xr.Explainer(model, ("xrelevance_cam",), STAGES),
            "with grad_cam": xr.Explainer(model, ("xrelevance_cam", "grad_cam"), STAGES),
            all_cams: xr.Explainer(model, cams, STAGES),
            f"with {ANOTHER_PASS}": xr.Explainer(model, (*cams, ANOTHER_PASS), STAGES),
            "relevance_cam layer1": xr.Explainer(model, ("relevance_cam",), ("layer1",)),
            **_beside(model, peers),
        }
        batch = options.batch_size
        if batch == "auto":
            batch = largest_batch_size(explainers[f"with {ANOTHER_PASS}"], (options.size, options.size))
        f, parameters = as_function(model)
        functions = {
            "forward": lambda parameters, images, f=f: f(images, parameters),
            "gradient": gradient(model)[0],
            **{label: explain.explain for label, explain in explainers.items()},
        }
        images = jax.random.normal(jax.random.key(0), (batch, options.size, options.size, 3), options.dtype)
        ours = {label: compile_call(function, parameters, images) for label, function in functions.items()}
        ours[PEAK] = matrix_product(options.dtype)
        theirs = peer_runs(peers, name, batch, options.size, cores())
        medians = interleaved_medians({**ours, **theirs}, options.repeats, name)
        peak = (ours[PEAK].gflop or float("nan")) / medians[PEAK]
        for label, seconds in medians.items():
            yield {
                "model": name,
                "run": label,
                "batch": None if label == PEAK else batch,
                "ms": 1e3 * seconds,
                **({} if label == PEAK else _ratios(label, seconds, batch, medians)),
                **(limit(ours[label], seconds, ours["gradient"], medians["gradient"]) if label in functions else {}),
                **({"compile_s": ours[label].compile_s} if label in ours else {}),
                **(achieved(ours[label].gflop, seconds, peak) if label in ours else {}),
            }


def defined(model: Callable[..., Any], size: int) -> tuple[str, ...]:
    """Returns those of :data:`TWO_PASSES` that a network has at one of its four layers at least.

    Args:
      model: the network.
      size: height and width of its pictures.
    """
    f, parameters = as_function(model)
    images = jax.ShapeDtypeStruct((1, size, size, 3), "float32")

    def fits(name: str) -> bool:
        kind = xr.METHODS[name].kind
        try:
            return not kind.behind_pooling or bool(layers_of(name, kind, STAGES, f, images, parameters))
        except ValueError:
            return False

    return tuple(filter(fits, TWO_PASSES))


def _beside(model: Any, peers: Collection[str]) -> dict[str, xr.Explainer]:
    """Returns the explainers that only a comparison with these peers needs."""
    explainers = {}
    if "pytorch-grad-cam" in peers or "captum" in peers:
        explainers["grad_cam"] = xr.Explainer(model, ("grad_cam",), STAGES)
    for label, (composite, asked_for_by) in AT_THE_INPUT.items():
        if asked_for_by & set(peers):
            options = {"lrp": {"composite": composite}}
            explainers[f"{label} input"] = xr.Explainer(model, ("lrp",), options=options)
    return explainers


def _ratios(label: str, seconds: float, batch: int, medians: dict[str, float]) -> Row:
    def per(run: str | None) -> float | None:
        return seconds / medians[run] if run in medians else None

    return {
        "images_per_s": batch / seconds,
        "per_gradient": per("gradient"),
        "per_two_passes": seconds / (medians["gradient"] + medians["xrelevance_cam"]),
        "per_torch_gradient": per("torch gradient"),
        "per_torch_relevance_cam": per("torch relevance_cam layer1"),
        "per_ours": per(SAME_WORK.get(label)),
    }
