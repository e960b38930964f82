"""Vision transformers: patches of a picture, and tokens that attend to each other.

There is one class for all of them; the numbers that tell them apart are in :mod:`xrcam_jax.models.vit_specs`. Layers,
names and initialisation follow timm, whose checkpoints they load.

References:
  dosovitskiy2021, touvron2021
  touvron2022, with a factor for each branch
  oquab2024, darcet2024
"""

from dataclasses import replace
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jax.typing import DTypeLike
from jaxtyping import Array, Float

from xrcam_jax.marks import mark_tokens
from xrcam_jax.models.classifier import Classifier, Unclassified
from xrcam_jax.models.layers import scoped
from xrcam_jax.models.specs import find_spec_of
from xrcam_jax.models.token_layers import LayerNorm, LayerScale, Mlp, PatchEmbed, dense, drawn
from xrcam_jax.models.variant import PLAIN, Variant, pool
from xrcam_jax.models.vit_specs import VitSpec


class Attention(nnx.Module):
    """Mixes tokens by how well their queries and keys fit, several heads side by side.

    Args:
      features: channels of a token.
      heads: number of heads.
      **options: as for :func:`xrcam_jax.models.token_layers.dense`.
    """

    def __init__(self, features: int, heads: int, **options: Any):
        self.heads = heads
        self.qkv, self.proj = dense(features, 3 * features, **options), dense(features, features, **options)

    def __call__(self, x: Float[Array, "b n c"]) -> Float[Array, "b n c"]:
        split = (*x.shape[:2], 3, self.heads, x.shape[-1] // self.heads)
        q, k, v = jnp.moveaxis(scoped("qkv", self.qkv, x).reshape(split), 2, 0)
        weights = jax.nn.softmax(jnp.einsum("bqhd,bkhd->bhqk", q * split[-1] ** -0.5, k))
        mixed = jnp.einsum("bhqk,bkhd->bqhd", weights, v)
        return scoped("proj", self.proj, mixed.reshape(x.shape))


class Block(nnx.Module):
    """Adds attention and then two dense layers, each of which sees normalised tokens.

    Args:
      spec: the network's shape.
      act: the activation between the dense layers.
      **options: as for :func:`xrcam_jax.models.token_layers.dense`.
    """

    def __init__(self, spec: VitSpec, act: str, **options: Any):
        norm = partial(LayerNorm, spec.width, param_dtype=options["param_dtype"], rngs=options["rngs"])
        self.norm1, self.attn = norm(), Attention(spec.width, spec.heads, **options)
        self.norm2, self.mlp = norm(), Mlp(spec.width, partial(dense, **options), act)
        for name in ("ls1", "ls2"):
            value = spec.layer_scale
            factors = None if value is None else LayerScale(spec.width, value, param_dtype=options["param_dtype"])
            setattr(self, name, factors)

    def __call__(self, x: Float[Array, "b n c"]) -> Float[Array, "b n c"]:
        for norm, branch, scale in (("norm1", "attn", "ls1"), ("norm2", "mlp", "ls2")):
            y = scoped(branch, getattr(self, branch), scoped(norm, getattr(self, norm), x))
            factors = getattr(self, scale)
            x = x + (y if factors is None else scoped(scale, factors, y))
        return x


class VisionTransformer(Classifier):
    """Maps pictures of one size to class logits through tokens that attend to each other.

    Of the tokens, the patches are marked on their grid, after a quarter, a half and three quarters of the blocks. The
    last mark is where patches count for the last time: before the last block if its class token is all that is pooled,
    and else after it.
    """

    def __init__(
        self,
        name: str,
        *,
        num_classes: int,
        dropout_rate: float,
        variant: Variant = PLAIN,
        dtype: DTypeLike,
        rngs: nnx.Rngs,
    ):
        super().__init__(name, num_classes=num_classes, variant=variant, dtype=dtype)
        spec = find_spec_of(name, VitSpec)
        self.img_size = variant.img_size or spec.preprocessing.input_size
        self.preprocessing = replace(self.preprocessing, input_size=self.img_size)
        self.grid = grid_of(spec, self.img_size)
        self.prefix, self.class_has_position = spec.prefix, spec.class_has_position
        self.kind = variant.global_pool or spec.poolings[0]
        stored: dict[str, Any] = {"param_dtype": self.param_dtype, "rngs": rngs}
        options = {"dtype": self.dtype, **stored}
        token = partial(drawn, param_dtype=self.param_dtype, rngs=rngs)
        self.patch_embed = PatchEmbed(variant.in_channels, spec.width, spec.patch, **stored)
        self.cls_token = token((1, 1, spec.width))
        self.reg_token = token((1, spec.registers, spec.width)) if spec.registers else None
        self.pos_embed = token((1, spec.positioned_prefix + self.grid[0] * self.grid[1], spec.width))
        self.blocks = nnx.List(Block(spec, variant.act_layer or "gelu", **options) for _ in range(spec.depth))
        # One module serves all blocks, since its stream of keys moves on with each use.
        self.dropout = nnx.Dropout(dropout_rate, rngs=rngs if dropout_rate else None)
        # timm calls the norm by another name where it comes after pooling.
        norm = LayerNorm(spec.width, **stored)
        self.norm = norm if self.kind == "token" else None
        self.fc_norm = None if self.kind == "token" else norm
        self.fc = dense(spec.width, num_classes, **options) if num_classes else Unclassified()

    @property
    def num_outputs(self) -> int:
        """Returns the number of logits; without a classifier, that of the features."""
        return self.num_classes or self.cls_token.shape[-1]

    def logits(self, x: Float[Array, "b h w c"], rngs: nnx.Rngs | None) -> Float[Array, "b n"]:
        """Computes the logits of pictures that are known to be some; without a classifier, the features."""
        self._check_size(x.shape[1], x.shape[2])
        x = self._tokens(x)
        marks = self._marks()
        for i, block in enumerate(self.blocks):
            x = self._marked(x, marks.get(i, ()))
            x = self.dropout(scoped(f"blocks/{i}", block, x), rngs=rngs)
        x = self._marked(x, marks.get(len(self.blocks), ()))
        return scoped("fc", self.fc, self._pooled(x))

    def _check_size(self, h: int, w: int) -> None:
        height, width = self.img_size
        if (h, w) != (height, width):
            raise ValueError(
                f"{self.name} takes pictures of {height} x {width} pixels, which its positions are for, got {h} x {w}; "
                "img_size= of xr.create_model and xr.load_model makes a network for others"
            )

    def _tokens(self, x: Float[Array, "b h w c"]) -> Float[Array, "b n d"]:
        """Returns the class token, the registers and the patches, with their positions."""
        patches = scoped("patch_embed", self.patch_embed, x)
        patches = patches.reshape(len(x), -1, patches.shape[-1])
        before = [token for token in (self.cls_token, self.reg_token) if token is not None]
        prefix = [jnp.broadcast_to(t[...].astype(x.dtype), (len(x), *t.shape[1:])) for t in before]
        positions = self.pos_embed[...].astype(x.dtype)
        if self.class_has_position:
            return jnp.concatenate([*prefix, patches], axis=1) + positions
        return jnp.concatenate([*prefix, patches + positions], axis=1)

    def _marks(self) -> dict[int, list[str]]:
        """Returns the names of marks by the number of blocks before them."""
        depth = len(self.blocks)
        last = depth - 1 if self.kind == "token" else depth
        marks: dict[int, list[str]] = {}
        for i, place in enumerate((depth // 4, depth // 2, 3 * depth // 4, last), start=1):
            marks.setdefault(place, []).append(f"layer{i}")
        return marks

    def _marked(self, x: Float[Array, "b n d"], names: Any) -> Float[Array, "b n d"]:
        for name in names:
            x = mark_tokens(x, name, grid=self.grid, prefix=self.prefix)
        return x

    def _pooled(self, x: Float[Array, "b n d"]) -> Float[Array, "b d"]:
        if self.norm is not None:
            # What is not pooled needs no norm.
            return scoped("norm", self.norm, x[:, 0])
        assert self.fc_norm is not None
        patches = x[:, self.prefix :].reshape(len(x), *self.grid, x.shape[-1])
        return scoped("fc_norm", self.fc_norm, pool(patches, self.kind))


def grid_of(spec: VitSpec, size: tuple[int, int]) -> tuple[int, int]:
    """Returns how many patches a picture has along each side.

    Args:
      spec: the network's shape.
      size: height and width of the pictures in pixels.

    Returns:
      The numbers of patches.

    Raises:
      ValueError: a side is no multiple of the patch's.

    Example:
      >>> from xrcam_jax.models.vit_specs import VITS
      >>> grid_of(VITS["vit_small_patch14_dinov2"], (518, 224))
      (37, 16)
    """
    height, width = size
    if height % spec.patch or width % spec.patch:
        raise ValueError(f"img_size: {height} x {width} is not made of patches of {spec.patch} x {spec.patch} pixels")
    return height // spec.patch, width // spec.patch
