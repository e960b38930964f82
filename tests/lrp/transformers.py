"""Small transformers in plain jax.numpy, with the weights of ``tests/references`` under PyTorch's names.

Dense layers are x wᵀ + b, as PyTorch has them. Each layer is under a ``jax.named_scope`` with its name.
"""

from functools import cache

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

import xrcam_jax as xr
from tests import oracle

HEADS = 2


@cache
def reference(name):
    """The arrays of a reference; the weights in float64."""
    with np.load(oracle.DATA / f"{name}.npz") as arrays:
        return {key: value.astype(np.float64) if value.dtype == np.float32 else value for key, value in arrays.items()}


def parameters(arrays, prefix="param/"):
    """The weights among the arrays of a reference, under PyTorch's names."""
    return {key.removeprefix(prefix): jnp.asarray(value) for key, value in arrays.items() if key.startswith(prefix)}


def at(p, name):
    """The weights of one module."""
    return parameters(p, f"{name}.")


def dense(x, p, name):
    with jax.named_scope(name):
        z = x @ p[f"{name}.weight"].T
        return z + p[f"{name}.bias"] if f"{name}.bias" in p else z


def layer_norm(x, p, name, eps=1e-6):
    centred = x - x.mean(-1, keepdims=True)
    variance = jnp.square(centred).mean(-1, keepdims=True)
    return centred * lax.rsqrt(variance + eps) * p[f"{name}.weight"] + p[f"{name}.bias"]


def rms_norm(x, p, name, eps=1e-6):
    return x * lax.rsqrt(jnp.square(x).mean(-1, keepdims=True) + eps) * p[f"{name}.weight"]


def split_heads(x, heads):
    """(b, tokens, width) as (b, heads, tokens, width of a head)."""
    return x.reshape(*x.shape[:2], heads, -1).transpose(0, 2, 1, 3)


def join_heads(x):
    return x.transpose(0, 2, 1, 3).reshape(x.shape[0], x.shape[2], -1)


def mixed(q, k, v, *added):
    """Attention over heads; what is ``added`` to the scores are constants, one after another."""
    scores = q @ jnp.swapaxes(k, -1, -2) * q.shape[-1] ** -0.5
    for constant in added:
        scores = scores + constant
    return join_heads(jax.nn.softmax(scores, -1) @ v)


def attention(x, p, *added):
    q, k, v = (split_heads(part, HEADS) for part in jnp.split(dense(x, p, "attn.qkv"), 3, -1))
    return dense(mixed(q, k, v, *added), p, "attn.proj")


def mlp(x, p):
    return dense(jax.nn.gelu(dense(x, p, "mlp.fc1"), approximate=False), p, "mlp.fc2")


def block(x, p, marked=lambda x, name: x, eps=1e-6):
    """timm's pre-norm block: LayerNorm, attention, LayerNorm, dense layers around an exact GELU."""
    x = x + attention(marked(layer_norm(x, p, "norm1", eps), "attn"), p)
    x = marked(x, "norm2")
    return x + mlp(marked(layer_norm(x, p, "norm2", eps), "fc1"), p)


def marked_block(x, p):
    return block(x, p, xr.mark)


def vit(x, p):
    """timm's ViT of (b, channels, h, w): patch embedding, class token, positions, two blocks, norm and head."""
    kernel = p["patch_embed.proj.weight"]
    patches = lax.conv_general_dilated(x, kernel, kernel.shape[2:], "VALID").transpose(0, 2, 3, 1)
    patches = (patches + p["patch_embed.proj.bias"]).reshape(len(x), -1, len(kernel))
    token = jnp.broadcast_to(p["cls_token"], (len(x), 1, len(kernel)))
    x = jnp.concatenate([token, patches], 1) + p["pos_embed"]
    for number in range(2):
        x = xr.mark(x, f"block{number}")
        x = block(x, at(p, f"blocks.{number}"))
    return dense(layer_norm(x, p, "norm")[:, 0], p, "head")


def rotated(x, cos, sin):
    """Rotary embedding of positions: pairs of features (i, i + half) are turned by angles."""
    half = x.shape[-1] // 2
    return x * cos + jnp.concatenate([-x[..., half:], x[..., :half]], -1) * sin


def decoder(x, p, cos, sin):
    """Hugging Face's Llama, from embedded tokens (b, tokens, width) to the logits of the last one."""
    future = jnp.triu(jnp.ones((x.shape[1], x.shape[1]), bool), 1)
    for number in range(2):
        x = xr.mark(x, f"block{number}")
        each = at(p, f"model.layers.{number}")
        x = x + self_attention(rms_norm(x, each, "input_layernorm"), each, cos, sin, future)
        x = x + swiglu(rms_norm(x, each, "post_attention_layernorm"), each)
    return dense(rms_norm(x, p, "model.norm")[:, -1], p, "lm_head")


def self_attention(x, p, cos, sin, masked):
    """Rotary causal attention; heads of queries share heads of keys and values."""
    q = split_heads(dense(x, p, "self_attn.q_proj"), HEADS)
    k, v = (split_heads(dense(x, p, f"self_attn.{name}_proj"), HEADS // 2) for name in "kv")
    k, v = (jnp.repeat(each, 2, 1) for each in (rotated(k, cos, sin), v))
    scores = rotated(q, cos, sin) @ jnp.swapaxes(k, -1, -2) * q.shape[-1] ** -0.5
    weights = jax.nn.softmax(jnp.where(masked, jnp.finfo(x.dtype).min, scores), -1)
    return dense(join_heads(weights @ v), p, "self_attn.o_proj")


def swiglu(x, p):
    return dense(jax.nn.silu(dense(x, p, "mlp.gate_proj")) * dense(x, p, "mlp.up_proj"), p, "mlp.down_proj")


def swin_block(x, p, masks, position_index):
    """timm's Swin block of (b, h, w, width): attention in windows of 2x2, shifted by one, then dense layers."""
    windows = cut(jnp.roll(layer_norm(x, p, "norm1", 1e-5), (-1, -1), (1, 2)))
    positions = p["attn.relative_position_bias_table"][position_index].transpose(2, 0, 1)
    found = attention(windows, p, positions + masks[:, None])
    x = x + jnp.roll(pasted(found, x.shape), (1, 1), (1, 2))
    return x + mlp(layer_norm(x, p, "norm2", 1e-5), p)


def cut(x):
    """(1, h, w, width) as windows (windows, 4, width)."""
    _, h, w, width = x.shape
    return x.reshape(h // 2, 2, w // 2, 2, width).transpose(0, 2, 1, 3, 4).reshape(-1, 4, width)


def pasted(windows, shape):
    """The inverse of ``cut``."""
    _, h, w, width = shape
    return windows.reshape(h // 2, w // 2, 2, 2, width).transpose(0, 2, 1, 3, 4).reshape(shape)
