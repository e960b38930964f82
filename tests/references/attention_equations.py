"""The rules of LXT and of autoLRP as equations in NumPy, written from the papers and the libraries' documentation.

They confirm what is stored: on each single operation, and composed on a pre-norm transformer block. ``r`` is always the
relevance of an operation's output. Dense layers are x w^T + b, as PyTorch has them. No denominator is stabilised, and
0 / 0 is zero. ``LXT`` and ``AUTOLRP`` hold the two libraries' equations under the same names.

What differs: a constant or a bias takes its share c / (x + c) in LXT, |c| / (|x| + |c|) in autoLRP, which then
distributes what is left over x w^T; autoLRP splits sums and products by absolute values where LXT splits sums by
signed contributions and products by halves; LXT propagates through LayerNorm's centring, autoLRP passes by it; LXT
expands the softmax, autoLRP's defaults take it for the identity.
"""

import math
from types import SimpleNamespace

import numpy as np
from numpy import ndarray as Array


def ratio(a: Array, b: Array) -> Array:
    return np.divide(a, b, out=np.zeros(np.broadcast_shapes(a.shape, b.shape)), where=b != 0)


def transposed(x: Array) -> Array:
    return np.swapaxes(x, -1, -2)


def gelu(x: Array) -> Array:
    return x * (1 + np.vectorize(math.erf)(x / math.sqrt(2))) / 2


def silu(x: Array) -> Array:
    return x / (1 + np.exp(-x))


def softmax(x: Array) -> Array:
    e = np.exp(x - x.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def centred(x: Array) -> Array:
    return x - x.mean(-1, keepdims=True)


def deviation(x: Array, eps: float) -> Array:
    return np.sqrt((centred(x) ** 2).mean(-1, keepdims=True) + eps)


def layer_norm(x: Array, w: Array, b: Array, eps: float) -> Array:
    return centred(x) / deviation(x, eps) * w + b


def products(a: Array, b: Array, r: Array) -> tuple[Array, Array]:
    """Half of r to each operand of a b, by contributions."""
    s = ratio(r, 2 * (a @ b))
    return a * (s @ transposed(b)), b * (transposed(a) @ s)


def to_second(a: Array, b: Array, r: Array) -> tuple[Array, Array]:
    """All of r to b of a b, for which a is a constant."""
    return np.zeros_like(a), b * (transposed(a) @ ratio(r, a @ b))


def taylor(x: Array, r: Array) -> Array:
    """The softmax's first-order expansion at x, whose constant keeps a part; masked scores, -inf, get nothing."""
    return np.where(np.isneginf(x), 0, x) * (r - softmax(x) * r.sum(-1, keepdims=True))


def same(x: Array, r: Array) -> Array:
    return r


def lxt_dense(x: Array, w: Array, b: Array, r: Array) -> Array:
    return x * (ratio(r, x @ w.T + b) @ w)


def lxt_norm(x: Array, w: Array, b: Array, eps: float, r: Array) -> Array:
    """The deviation is a constant; the centring is a matrix; the shift b takes its share."""
    s = w / deviation(x, eps) * ratio(r, layer_norm(x, w, b, eps))
    return x * centred(s)


def lxt_add(a: Array, b: Array, r: Array) -> tuple[Array, Array]:
    return a * ratio(r, a + b), b * ratio(r, a + b)


def autolrp_dense(x: Array, w: Array, b: Array, r: Array) -> Array:
    z = x @ w.T
    return x * (ratio(r * ratio(abs(z), abs(z) + abs(b)), z) @ w)


def autolrp_norm(x: Array, w: Array, b: Array, eps: float, r: Array) -> Array:
    """The identity, but for the shift's share."""
    z = layer_norm(x, w, 0, eps)
    return r * ratio(abs(z), abs(z) + abs(b))


def autolrp_split(a: Array, b: Array, r: Array) -> tuple[Array, Array]:
    whole = abs(a) + abs(b)
    return r * ratio(abs(a), whole), r * ratio(abs(b), whole)


LXT = SimpleNamespace(
    dense=lxt_dense,
    norm=lxt_norm,
    add=lxt_add,
    mean=lambda x, r: x * ratio(r, x.sum(1))[:, None],
    gate=lambda a, b, r: (r / 2, r / 2),
    softmax=taylor,
    attend=products,
)
#: CP-LRP in LXT: the attention weights and the gate are constants, all else is the same.
LXT_CP = SimpleNamespace(**vars(LXT) | {"attend": to_second, "gate": lambda a, b, r: (0 * r, r)})
AUTOLRP = SimpleNamespace(
    dense=autolrp_dense,
    norm=autolrp_norm,
    add=autolrp_split,
    mean=lambda x, r: abs(x) * ratio(r, abs(x).sum(1))[:, None],
    gate=autolrp_split,
    softmax=same,
    attend=products,
)


def heads(x: Array, count: int) -> Array:
    """(tokens, width) as (heads, tokens, width of a head)."""
    return x.reshape(len(x), count, -1).swapaxes(0, 1)


def block(rules: SimpleNamespace, p: dict[str, Array], x: Array, r: Array, count: int, eps: float) -> Array:
    """The relevance of x (tokens, width), the input of a block with parameters p under timm's names."""
    # Forward.
    normed = layer_norm(x, p["norm1.weight"], p["norm1.bias"], eps)
    joint = normed @ p["attn.qkv.weight"].T + p["attn.qkv.bias"]
    q, k, v = (heads(part, count) for part in np.split(joint, 3, axis=-1))
    scores = q @ transposed(k) / math.sqrt(q.shape[-1])
    weights = softmax(scores)
    mixed = (weights @ v).swapaxes(0, 1).reshape(x.shape)
    attention = mixed @ p["attn.proj.weight"].T + p["attn.proj.bias"]
    middle = x + attention
    normed2 = layer_norm(middle, p["norm2.weight"], p["norm2.bias"], eps)
    hidden = normed2 @ p["mlp.fc1.weight"].T + p["mlp.fc1.bias"]
    dense = gelu(hidden) @ p["mlp.fc2.weight"].T + p["mlp.fc2.bias"]
    # Backward.
    r_middle, r_dense = rules.add(middle, dense, r)
    r_hidden = rules.dense(gelu(hidden), p["mlp.fc2.weight"], p["mlp.fc2.bias"], r_dense)
    r_normed2 = rules.dense(normed2, p["mlp.fc1.weight"], p["mlp.fc1.bias"], r_hidden)
    r_middle = r_middle + rules.norm(middle, p["norm2.weight"], p["norm2.bias"], eps, r_normed2)
    r_x, r_attention = rules.add(x, attention, r_middle)
    r_mixed = rules.dense(mixed, p["attn.proj.weight"], p["attn.proj.bias"], r_attention)
    r_weights, r_v = rules.attend(weights, v, heads(r_mixed, count))
    r_q, r_k = products(q, transposed(k), rules.softmax(scores, r_weights))
    r_parts = (part.swapaxes(0, 1).reshape(x.shape) for part in (r_q, transposed(r_k), r_v))
    r_normed = rules.dense(normed, p["attn.qkv.weight"], p["attn.qkv.bias"], np.concatenate([*r_parts], -1))
    return r_x + rules.norm(x, p["norm1.weight"], p["norm1.bias"], eps, r_normed)
