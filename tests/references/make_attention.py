"""Writes ``attention_*.npz``: relevances by LXT and autoLRP through operations, a block and whole small transformers.

    PYTHONPATH=. python tests/references/make_attention.py [--check] [--out FOLDER]

torch 2.13.0 on CPU, timm 1.0.31, transformers 4.57.6, LXT 2.1, zennit 0.5.1, autoLRP 0.2.0 (called, not copied). Takes
ten seconds of one core. All is in float64 and stored so, but weights in float32, which holds them exactly.

Peers, the part of a key before ``R_``, all with stabilisers as good as zero:
  ``lxt_attn``, ``lxt_cp``: LXT's AttnLRP and CP-LRP. In ``attention_operations.npz`` they are its explicit functions,
  elsewhere its patches (``lxt.efficient``), which compute gradients: what is not patched gets the epsilon rule, and in
  sums each summand its signed share, constants too. The two sets of rules differ in attention weights and gates alone,
  which are constants in CP-LRP.
  ``lxt_explicit``: AttnLRP of the block by LXT's explicit functions. It is ``lxt_attn`` but for rounding.
  ``lxt_KIND_LIBRARY_gamma``: with zennit's Gamma within LXT, 0.25 on the convolution, 0.1 on dense layers. In
  torchvision's ViT, for which LXT documents it, the projections of attention are no modules and get the epsilon rule;
  in timm's they get Gamma. Without Gamma CP-LRP finds the same in both, which is checked.
  ``autolrp_default``, ``autolrp_attnlrp``, ``autolrp_cplrp``: autoLRP's defaults and its recipes. Its recipe for
  AttnLRP also has its gamma rule, 0.25, on convolutions, and multiplies relevance by y / x at activations, where LXT
  keeps it. For single operations a recipe's key is absent where it gives what the defaults do. autoLRP seeds with ones,
  in whose place the seed is put.

Keys, of all files ``x`` or other inputs, ``z``, the output, and ``seed``, its relevance, which for a whole network is
the largest logit at its place; ``param/NAME``, weights under the library's names; ``PEER/R_x``, the input's relevance:
  ``attention_operations.npz``: the same under ``OPERATION/``. Norms have 1e-5 under the root; ``query_key`` is scaled;
  in ``masked_softmax`` scores where ``masked`` is true are masked, for autoLRP by -1e9, as its own attention does.
  ``attention_block.npz``: timm's block on (1, 5, 8), two heads, 1e-6 in LayerNorm. ``R_attn``, ``R_norm2`` and
  ``R_fc1`` are of the inputs of attention, of the second norm and of the first dense layer after it.
  ``attention_vit.npz``: timm's ViT on two pictures, channels first. ``R_block0`` and ``R_block1`` are of the blocks'
  inputs.
  ``attention_decoder.npz``: Llama, from embedded tokens (1, 5, 8) to the logits of the last one, 1e-6 in RMSNorm; it
  rotates with ``cos`` and ``sin`` (5, 4), which come rounded to float32. ``R_block1`` is of the second block's input.
  ``attention_swin.npz``: timm's Swin block on (1, 4, 4, 8), windows of 2x2, shifted, by autoLRP alone. ``masks`` (4, 4,
  4) and ``position_index`` are tables that it computes.

``attention_equations.py`` confirms each operation and the block; the script fails where it does not.
"""

from collections.abc import Callable, Mapping

import attention_equations as eq
import autolrp
import lxt.explicit.functional as lf
import numpy as np
import torch
import torch.nn.functional as F
from attention_networks import block, llama, normal, parameters, swin_block, torchvision_vit, vit
from attention_operations import Operation, drawn_operations, lxt_layer_norm
from attention_peers import AUTOLRP, TINY, Relevances, by_autolrp, by_lxt, gammas, lxt
from lxt.explicit import rules
from timm.models.vision_transformer import Block
from torch import Tensor, nn
from writing import Arrays, main

GAMMAS = (0.25, 0.1)
EQUATIONS = {"lxt_attn": eq.LXT, "lxt_cp": eq.LXT_CP, "lxt_explicit": eq.LXT, "autolrp_default": eq.AUTOLRP}


def confirm(name: str, found: np.ndarray, expected: np.ndarray) -> None:
    """Raises if a library's result is not what the equation says, but for rounding."""
    difference, largest = np.abs(found - expected).max(), np.abs(expected).max()
    if not difference <= 1e-10 * largest:
        raise ArithmeticError(f"{name}: {difference:.1e} from what it ought to be, which has {largest:.1e}")


def named(peer: str, relevances: Relevances) -> Arrays:
    return {f"{peer}/R_{name}": relevance for name, relevance in relevances.items()}


# Single operations.


def operation(name: str, op: Operation, number: int) -> Arrays:
    given = [*op.inputs.values(), *op.constants.values()]
    z = op.torch(*given)
    seed = normal(number, *z.shape)
    if "masked" in op.constants:
        # The products behind a softmax give no relevance to a weight of zero.
        seed = torch.where(op.constants["masked"], 0.0, seed)
    found = {"lxt_attn": explicit(op.lxt, op, seed)}
    if op.cp is not None:
        found["lxt_cp"] = explicit(op.cp, op, seed)
    for recipe, config in AUTOLRP.items():
        wrapped = [autolrp.tensor(x) for x in op.inputs.values()]
        out = op.torch(*wrapped, *op.constants.values())
        out.register_hook(lambda _: seed)
        out.lrp(config=config)
        found[f"autolrp_{recipe}"] = [np.asarray(x.relevance.as_subclass(Tensor)) for x in wrapped]
    for peer in found.keys() & EQUATIONS.keys():
        expected = op.equation(EQUATIONS[peer], *(x.numpy() for x in given), seed.numpy())
        for one, other in zip(found[peer], expected if isinstance(expected, tuple) else (expected,), strict=True):
            confirm(f"{name}, {peer}", one, other)
    default = found["autolrp_default"]
    arrays = {**op.inputs, **op.constants, "z": z, "seed": seed}
    stored = {key: value.numpy() for key, value in arrays.items()}
    for peer, relevances in found.items():
        if relevances is default or not all(map(np.array_equal, relevances, default)) or peer.startswith("lxt"):
            stored |= named(peer, dict(zip(op.inputs, relevances, strict=True)))
    return {f"{name}/{key}": value for key, value in stored.items()}


def explicit(function: Callable[..., Tensor], op: Operation, seed: Tensor) -> list[np.ndarray]:
    """The relevance of the inputs by an explicit function of LXT, whose gradients are relevances."""
    inputs = [x.clone().requires_grad_() for x in op.inputs.values()]
    function(*inputs, *op.constants.values()).backward(seed)
    return [np.zeros(x.shape) if x.grad is None else x.grad.numpy() for x in inputs]


def operations() -> Arrays:
    arrays: Arrays = {}
    for number, (name, op) in enumerate(drawn_operations().items()):
        arrays |= operation(name, op, 40 + number)
    return arrays


# A block and whole networks.


def peers(model: nn.Module, x: Tensor, seed: Tensor, at: Mapping[str, nn.Module]) -> Arrays:
    """By LXT's two sets of rules for timm's networks, and by autoLRP."""
    arrays: Arrays = {}
    for kind in ("attn", "cp"):
        with lxt("timm", f"{kind}_lrp"):
            arrays |= named(f"lxt_{kind}", by_lxt(model, x, seed, at))
    return arrays | autolrps(model, x, seed, at)


def autolrps(model: nn.Module, x: Tensor, seed: Tensor, at: Mapping[str, nn.Module]) -> Arrays:
    arrays: Arrays = {}
    for recipe, config in AUTOLRP.items():
        # One picture at a time: what autoLRP finds out about an operation may hold for one and not for the other.
        one_by_one = [by_autolrp(model, x[i : i + 1], seed[i : i + 1], config, at) for i in range(len(x))]
        arrays |= named(f"autolrp_{recipe}", {k: np.concatenate([r[k] for r in one_by_one]) for k in one_by_one[0]})
    return arrays


def explicit_block(model: Block, x: Tensor) -> Tensor:
    """The block in LXT's explicit functions for AttnLRP."""

    def dense(layer: nn.Linear, x: Tensor) -> Tensor:
        return lf.linear_epsilon(x, layer.weight, layer.bias, TINY)

    def norm(layer: nn.LayerNorm, x: Tensor) -> Tensor:
        return lxt_layer_norm(x, layer.weight, layer.bias, layer.eps)

    attention = model.attn
    joint = dense(attention.qkv, norm(model.norm1, x))
    shape = (*x.shape[:2], 3, attention.num_heads, attention.head_dim)
    q, k, v = joint.reshape(shape).permute(2, 0, 3, 1, 4).unbind(0)
    scores = lf.mul2(lf.matmul(q, k.transpose(-2, -1), False, TINY), attention.scale)
    mixed = lf.matmul(lf.softmax(scores, -1), v, False, TINY).transpose(1, 2).reshape(x.shape)
    x = lf.add2(x, dense(attention.proj, mixed), False, TINY)
    hidden = rules.identity(F.gelu, dense(model.mlp.fc1, norm(model.norm2, x)))
    return lf.add2(x, dense(model.mlp.fc2, hidden), False, TINY)


def attention_block() -> Arrays:
    model = block()
    x, seed = normal(2, 1, 5, 8), normal(3, 1, 5, 8)
    found = peers(model, x, seed, {"attn": model.attn, "norm2": model.norm2, "fc1": model.mlp.fc1})
    start = x.clone().requires_grad_()
    explicit_block(model, start).backward(seed)
    found["lxt_explicit/R_x"] = start.grad.numpy()
    weights = {key: value.numpy() for key, value in model.state_dict().items()}
    for peer, equations in EQUATIONS.items():
        expected = eq.block(equations, weights, x[0].numpy(), seed[0].numpy(), model.attn.num_heads, model.norm1.eps)
        confirm(f"block, {peer}", found[f"{peer}/R_x"][0], expected)
    z = model(x).detach().numpy()
    return parameters(model, "param") | {"x": x.numpy(), "z": z, "seed": seed.numpy()} | found


def largest(logits: Tensor) -> Tensor:
    """The seed of a whole network: the largest logit at its place."""
    return torch.where(logits == logits.max(1, keepdim=True).values, logits, 0.0).detach()


def attention_vit() -> Arrays:
    model, x = vit(), normal(4, 2, 3, 16, 16)
    logits = model(x).detach()
    seed = largest(logits)
    found = peers(model, x, seed, {f"block{i}": layer for i, layer in enumerate(model.blocks)})
    twin = torchvision_vit(model)
    with lxt("torchvision", "cp_lrp"):
        confirm("torchvision's ViT", by_lxt(twin, x, seed)["x"], found["lxt_cp/R_x"])
    for library, network, kind in (("timm", model, "attn"), ("timm", model, "cp"), ("torchvision", twin, "cp")):
        with lxt(library, f"{kind}_lrp"), gammas(network, *GAMMAS):
            found |= named(f"lxt_{kind}_{library}_gamma", by_lxt(network, x, seed))
    return parameters(model, "param") | {"x": x.numpy(), "z": logits.numpy(), "seed": seed.numpy()} | found


def attention_decoder() -> Arrays:
    model, x = llama(), normal(5, 1, 5, 8)

    def last(x: Tensor) -> Tensor:
        return model(inputs_embeds=x).logits[:, -1]

    found: Arrays = {}
    for kind in ("attn", "cp"):
        with lxt("llama", f"{kind}_lrp"):
            # Without LXT's patches RMSNorm would be computed in float32.
            logits = last(x).detach()
            seed = largest(logits)
            found |= named(f"lxt_{kind}", by_lxt(last, x, seed, {"block1": model.model.layers[1]}))
    cos, sin = model.model.rotary_emb(x, torch.arange(x.shape[1])[None])
    tables = {"cos": cos[0].numpy(), "sin": sin[0].numpy()}
    return parameters(model, "param") | {"x": x.numpy(), "z": logits.numpy(), "seed": seed.numpy()} | tables | found


def attention_swin() -> Arrays:
    model, x, seed = swin_block(), normal(6, 1, 4, 4, 8), normal(7, 1, 4, 4, 8)
    tables = {"masks": model.attn_mask.numpy(), "position_index": model.attn.relative_position_index.numpy()}
    arrays = {"x": x.numpy(), "z": model(x).detach().numpy(), "seed": seed.numpy()}
    return parameters(model, "param") | arrays | tables | autolrps(model, x, seed, {})


if __name__ == "__main__":
    makers = {f"attention_{f.__name__.removeprefix('attention_')}": f for f in (operations, attention_block)}
    makers |= {f.__name__: f for f in (attention_vit, attention_decoder, attention_swin)}
    main(__doc__, makers, tolerance=1e-9)
