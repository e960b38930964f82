"""How LXT and autoLRP are asked for relevance, with all their stabilisers as good as zero.

Where a library adds a constant to a denominator, it is ``TINY`` here: it changes no sum in float64, and 0 / 0 is zero.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from functools import partial
from types import ModuleType, SimpleNamespace
from unittest.mock import patch

import autolrp
import numpy as np
import timm
import torch
from autolrp import LRPConfig
from lxt.efficient import monkey_patch, patches, zennit_patches
from lxt.efficient.models import llama, vit_torch
from lxt.efficient.rules import identity_rule_implicit_fn
from torch import Tensor, nn
from torchvision.models import vision_transformer
from transformers.models.llama import modeling_llama
from zennit.composites import LayerMapComposite
from zennit.core import BasicHook, stabilize
from zennit.rules import Gamma

TINY = 1e-30
Relevances = dict[str, np.ndarray]

#: autoLRP's rules by the names in the keys: its defaults, and its recipes for AttnLRP and for CP-LRP.
AUTOLRP = {
    "default": LRPConfig(eps=TINY),
    "attnlrp": LRPConfig(rule=LRPConfig.attnlrp().rule, eps=TINY),
    "cplrp": LRPConfig(rule=LRPConfig.cplrp().rule, eps=TINY),
}


def timm_map(wrap: Callable) -> dict:
    """LXT's patches for timm's transformers, for which it has none of its own.

    They are those for torchvision's, except that attention is wrapped at timm's call of the fused function.
    """
    attend = wrap(lambda _, q, k, v, **options: torch.nn.functional.scaled_dot_product_attention(q, k, v, **options))

    def patch_attention(module: ModuleType) -> bool:
        module.F = SimpleNamespace(scaled_dot_product_attention=partial(attend, None))
        return True

    return {
        nn.GELU: partial(patches.patch_method, patches.non_linear_forward, keep_original=True),
        timm.layers.LayerNorm: partial(patches.patch_method, patches.layer_norm_forward),
        timm.layers.attention: patch_attention,
    }


#: LXT's patches by what they patch and the rules' name.
LXT = {
    ("timm", "attn_lrp"): (timm, timm_map(patches.wrap_attention_forward)),
    ("timm", "cp_lrp"): (timm, timm_map(patches.cp_wrap_attention_forward)),
    ("torchvision", "cp_lrp"): (vision_transformer, vit_torch.cp_LRP),
    ("llama", "attn_lrp"): (modeling_llama, llama.attnLRP),
    ("llama", "cp_lrp"): (modeling_llama, llama.cp_LRP),
}
#: All that those patches change for good, which is put back.
FORWARD = (nn.GELU, nn.LayerNorm, nn.MultiheadAttention, nn.Dropout, timm.layers.LayerNorm)
FORWARD += (modeling_llama.LlamaMLP, modeling_llama.LlamaRMSNorm, BasicHook)
PATCHED = (
    *((owner, "forward") for owner in FORWARD),
    (BasicHook, "backward"),
    (timm.layers.attention, "F"),
    (modeling_llama, "eager_attention_forward"),
)


@contextmanager
def lxt(library: str, rules: str) -> Iterator[None]:
    """LXT's rules for ``library``'s networks, with stabilisers as good as zero.

    LXT computes RMSNorm in float32, whatever it is given; here in float64.
    """
    module, patch_map = LXT[library, rules]
    double = SimpleNamespace(float32=torch.float64, rsqrt=torch.rsqrt)

    def exact(function: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
        return identity_rule_implicit_fn.apply(function, x, TINY)

    with ExitStack() as changes:
        for owner, name in PATCHED:
            changes.enter_context(patch.object(owner, name, getattr(owner, name)))
        functions = dict(modeling_llama.ALL_ATTENTION_FUNCTIONS)
        changes.enter_context(patch.object(modeling_llama, "ALL_ATTENTION_FUNCTIONS", functions))
        changes.enter_context(patch.object(patches, "torch", double))
        changes.enter_context(patch.object(patches, "identity_rule_implicit", exact))
        changes.enter_context(patch.object(zennit_patches, "stabilize", lambda x, epsilon: stabilize(x, TINY)))
        monkey_patch(module, patch_map)
        yield


@contextmanager
def gammas(model: nn.Module, convolution: float, dense: float) -> Iterator[None]:
    """LXT's way to the gamma rule: zennit's for modules of these types, within the rules that are in force."""
    zennit_patches.monkey_patch_zennit()
    layers = [(nn.Conv2d, Gamma(convolution, stabilizer=TINY)), (nn.Linear, Gamma(dense, stabilizer=TINY))]
    with LayerMapComposite(layers).context(model):
        yield


@contextmanager
def watched(modules: Mapping[str, nn.Module], found: dict[str, tuple[Tensor, Tensor]]) -> Iterator[None]:
    """Collects each module's input and the signal that arrives there, by the names in ``modules``."""

    def watch(name: str, x: Tensor) -> None:
        x.register_hook(lambda signal: found.update({name: (x.detach(), signal.detach())}))

    hooks = [
        module.register_forward_pre_hook(lambda _, arguments, name=name: watch(name, arguments[0]))
        for name, module in modules.items()
    ]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def by_lxt(model: Callable[[Tensor], Tensor], x: Tensor, seed: Tensor, at: Mapping[str, nn.Module] = {}) -> Relevances:
    """The relevance of ``x`` and of the inputs of the modules ``at``: there, activation times LXT's gradient."""
    found: dict[str, tuple[Tensor, Tensor]] = {}
    x = x.clone().requires_grad_()
    with watched(at, found):
        output = model(x)
    # LXT's signal is relevance divided by activation.
    output.backward(torch.where(seed == 0, seed, seed / output.detach()))
    found["x"] = (x.detach(), x.grad)
    return {name: (value * gradient).numpy() for name, (value, gradient) in found.items()}


def by_autolrp(
    model: Callable[[Tensor], Tensor],
    x: Tensor,
    seed: Tensor,
    config: LRPConfig,
    at: Mapping[str, nn.Module] = {},
) -> Relevances:
    """The same by autoLRP, which seeds with ones: they are replaced on their way to the output's operation."""
    found: dict[str, tuple[Tensor, Tensor]] = {}
    x = autolrp.tensor(x)
    with watched(at, found):
        output = model(x)
    output.register_hook(lambda _: seed)
    output.lrp(config=config)
    relevances = {"x": x.relevance, **{name: relevance for name, (_, relevance) in found.items()}}
    return {name: np.asarray(relevance.as_subclass(Tensor)) for name, relevance in relevances.items()}
