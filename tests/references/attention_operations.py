"""The single operations of attention networks, as PyTorch, LXT's explicit functions and the equations compute them.

An operation has inputs that get relevance and constants that get none. LXT's functions are those that carry relevance
itself (``lxt.explicit``; LXT 0.6.1 has the same, byte for byte), with stabilisers as good as zero.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, field

import attention_equations as eq
import lxt.explicit.functional as lf
import numpy as np
import torch
import torch.nn.functional as F
from attention_networks import HEADS, TOKENS, WIDTH, normal
from attention_peers import TINY
from lxt.explicit import rules
from numpy import ndarray as Array
from torch import Tensor

EPS = 1e-5
BATCH = 2
#: autoLRP writes masks as a large finite number, LXT's softmax knows -inf.
MASKED = {"autolrp": -1e9, "lxt": -math.inf}


@dataclass(frozen=True)
class Operation:
    """An operation by each library, functions of inputs and constants.

    Attributes:
      torch: the operation, which autoLRP gets as it is.
      lxt: LXT's function for AttnLRP.
      equation: takes a library's equations first and the output's relevance last, returns that of the inputs.
      inputs: what gets relevance, by name.
      constants: what gets none.
      cp: LXT's function for CP-LRP, where it is another.
    """

    torch: Callable[..., Tensor]
    lxt: Callable[..., Tensor]
    equation: Callable[..., Array | tuple[Array, ...]]
    inputs: dict[str, Tensor]
    constants: dict[str, Tensor] = field(default_factory=dict)
    cp: Callable[..., Tensor] | None = None


def additive(masked: Tensor, value: float) -> Tensor:
    return torch.where(masked, value, 0.0).double()


def lxt_layer_norm(x: Tensor, w: Tensor, b: Tensor, eps: float = EPS) -> Tensor:
    # lf.layer_norm calls this with a stabiliser of 1e-6.
    return lf.layer_norm_grad_fn.apply(x, w, b, eps, TINY)


def drawn_operations() -> dict[str, Operation]:
    tokens = (BATCH, TOKENS, WIDTH)
    split = (BATCH, HEADS, TOKENS, WIDTH // HEADS)
    square = (BATCH, HEADS, TOKENS, TOKENS)
    scale = (WIDTH // HEADS) ** -0.5
    x, y, scores = normal(20, *tokens), normal(21, *tokens), normal(22, *square)
    w, b, kernel = 0.5 + normal(23, WIDTH).abs(), 0.5 * normal(24, WIDTH), normal(25, WIDTH, WIDTH)
    q, k = normal(26, *split), normal(27, *split)
    future = torch.ones(TOKENS, TOKENS).triu(1).bool()
    norm = Operation(
        lambda x, w, b: F.layer_norm(x, (WIDTH,), w, b, EPS),
        lxt_layer_norm,
        lambda rule, x, w, b, r: rule.norm(x, w, b, EPS, r),
        {"x": x},
        {"w": w, "b": b},
    )
    gated = Operation(
        lambda a, b: F.silu(a) * b,
        lambda a, b: lf.mul2(rules.identity(F.silu, a), b),
        lambda rule, a, b, r: rule.gate(eq.silu(a), b, r),
        {"a": x, "b": y},
        cp=lambda a, b: rules.epsilon_lrp(torch.mul, TINY, F.silu(a).detach(), b),
    )
    return {
        "softmax": Operation(
            lambda x: torch.softmax(x, -1),
            lambda x: lf.softmax(x, -1),
            lambda rule, x, r: rule.softmax(x, r),
            {"x": scores},
        ),
        "masked_softmax": Operation(
            lambda x, masked: torch.softmax(x + additive(masked, MASKED["autolrp"]), -1),
            lambda x, masked: lf.softmax(x + additive(masked, MASKED["lxt"]), -1),
            lambda rule, x, masked, r: rule.softmax(np.where(masked, -np.inf, x), r),
            {"x": scores},
            {"masked": future},
        ),
        "query_key": Operation(
            lambda q, k: q @ k.transpose(-2, -1) * scale,
            lambda q, k: lf.mul2(lf.matmul(q, k.transpose(-2, -1), False, TINY), scale),
            lambda rule, q, k, r: (lambda a, b: (a, eq.transposed(b)))(*eq.products(q, eq.transposed(k), r)),
            {"q": q, "k": k},
        ),
        "attention_values": Operation(
            lambda a, v: a @ v,
            lambda a, v: lf.matmul(a, v, False, TINY),
            lambda rule, a, v, r: rule.attend(a, v, r),
            {"a": torch.softmax(scores, -1), "v": k},
            cp=lambda a, v: rules.epsilon_lrp(torch.matmul, TINY, a.detach(), v),
        ),
        "layer_norm": norm,
        "layer_norm_no_shift": Operation(
            norm.torch, norm.lxt, norm.equation, norm.inputs, {"w": w, "b": torch.zeros_like(b)}
        ),
        "rms_norm": Operation(
            lambda x, w: x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + EPS) * w,
            lambda x, w: lf.rms_norm_identity(x, w, EPS),
            lambda rule, x, w, r: eq.same(x, r),
            {"x": x},
            {"w": w},
        ),
        "gelu": Operation(F.gelu, lambda x: rules.identity(F.gelu, x), lambda rule, x, r: eq.same(x, r), {"x": x}),
        "gated_silu": gated,
        "linear": Operation(
            F.linear,
            lambda x, w, b: lf.linear_epsilon(x, w, b, TINY),
            lambda rule, x, w, b, r: rule.dense(x, w, b, r),
            {"x": x},
            {"w": kernel, "b": b},
        ),
        "residual": Operation(
            torch.add,
            lambda a, b: lf.add2(a, b, False, TINY),
            lambda rule, a, b, r: rule.add(a, b, r),
            {"a": x, "b": y},
        ),
        "constant": Operation(
            torch.add,
            lambda x, c: lf.add2(x, c, False, TINY),
            lambda rule, x, c, r: rule.add(x, c, r)[0],
            {"x": x},
            {"c": normal(28, TOKENS, WIDTH)},
        ),
        "mean": Operation(
            lambda x: x.mean(1),
            lambda x: lf.mean(x, 1, False, TINY),
            lambda rule, x, r: rule.mean(x, r),
            {"x": x},
        ),
    }
