"""A vision transformer in Flax NNX, as ViT-B/16 or smaller, with random weights: something to measure on."""

import jax
import jax.numpy as jnp
from flax import nnx
from jax import Array
from jaxtyping import Float


class Block(nnx.Module):
    """A layer of attention and one of two dense layers, each after a norm and beside a residual connection."""

    def __init__(self, width: int, heads: int, rngs: nnx.Rngs):
        self.heads = heads
        self.norm1, self.norm2 = (nnx.LayerNorm(width, epsilon=1e-6, rngs=rngs) for _ in range(2))
        self.qkv, self.proj = nnx.Linear(width, 3 * width, rngs=rngs), nnx.Linear(width, width, rngs=rngs)
        self.fc1, self.fc2 = nnx.Linear(width, 4 * width, rngs=rngs), nnx.Linear(4 * width, width, rngs=rngs)

    def __call__(self, x: Float[Array, "b n d"]) -> Float[Array, "b n d"]:
        """Applies the block to n tokens."""
        split = (*x.shape[:2], 3, self.heads, x.shape[-1] // self.heads)
        q, k, v = jnp.moveaxis(self.qkv(self.norm1(x)).reshape(split), 2, 0)
        attention = jax.nn.softmax(jnp.einsum("bqhd,bkhd->bhqk", q * split[-1] ** -0.5, k))
        x = x + self.proj(jnp.einsum("bhqk,bkhd->bqhd", attention, v).reshape(x.shape))
        return x + self.fc2(jax.nn.gelu(self.fc1(self.norm2(x)), approximate=False))


class VisionTransformer(nnx.Module):
    """Patches, a class token, an embedding of positions, blocks, a norm, and a head on the class token.

    Args:
      size: height and width of the pictures.
      patch: height and width of a patch.
      width: channels of a token.
      depth: how many blocks there are.
      heads: of each attention.
      classes: how many logits there are.
      rngs: draws the weights.
    """

    def __init__(
        self,
        size: int = 224,
        patch: int = 16,
        width: int = 768,
        depth: int = 12,
        heads: int = 12,
        classes: int = 1000,
        *,
        rngs: nnx.Rngs,
    ):
        self.patches = nnx.Conv(3, width, (patch, patch), strides=patch, padding="VALID", rngs=rngs)
        self.token = nnx.Param(0.02 * jax.random.normal(rngs(), (1, 1, width)))
        self.positions = nnx.Param(0.02 * jax.random.normal(rngs(), (1, (size // patch) ** 2 + 1, width)))
        self.blocks = nnx.List([Block(width, heads, rngs) for _ in range(depth)])
        self.norm, self.head = nnx.LayerNorm(width, epsilon=1e-6, rngs=rngs), nnx.Linear(width, classes, rngs=rngs)

    def __call__(self, images: Float[Array, "b h w 3"]) -> Float[Array, "b n"]:
        """Returns the logits."""
        patches = self.patches(images)
        x = patches.reshape(len(images), -1, patches.shape[-1])
        token = jnp.broadcast_to(self.token[...], (len(images), 1, x.shape[-1]))
        x = jnp.concatenate([token, x], axis=1) + self.positions[...]
        for block in self.blocks:
            x = block(x)
        return self.head(self.norm(x)[:, 0])
