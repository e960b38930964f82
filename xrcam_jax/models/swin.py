"""Swin transformers: attention within windows, which are shifted from block to block, in four stages.

There is one class for all of them; the numbers that tell them apart are in :mod:`xrcam_jax.models.swin_specs`. Layers,
names and initialisation follow timm, whose checkpoints they load.

References:
  liu2021
"""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax.typing import DTypeLike
from jaxtyping import Array, Float, Int

from xrcam_jax.marks import mark
from xrcam_jax.models.classifier import Classifier
from xrcam_jax.models.layers import scoped
from xrcam_jax.models.specs import find_spec_of
from xrcam_jax.models.swin_specs import SwinSpec
from xrcam_jax.models.token_layers import LayerNorm, Mlp, PatchEmbed, dense, drawn
from xrcam_jax.models.variant import PLAIN, Variant, pool

#: What is added to the scores of two tokens that shifting has put beside each other.
APART = -100.0


class WindowAttention(nnx.Module):
    """Mixes the tokens of each window by how well queries and keys fit, and by how they lie to each other.

    Args:
      features: channels of a token.
      heads: number of heads.
      window: height and width of a window in tokens.
      **options: as for :func:`xrcam_jax.models.token_layers.dense`.
    """

    def __init__(self, features: int, heads: int, window: tuple[int, int], **options: Any):
        self.heads, self.window = heads, window
        shape = ((2 * window[0] - 1) * (2 * window[1] - 1), heads)
        self.relative_position_bias_table = drawn(shape, options["param_dtype"], options["rngs"])
        self.qkv, self.proj = dense(features, 3 * features, **options), dense(features, features, **options)

    def __call__(self, x: Float[Array, "b m n c"], apart: Float[np.ndarray, "m n n"] | None) -> Float[Array, "b m n c"]:
        split = (*x.shape[:3], 3, self.heads, x.shape[-1] // self.heads)
        q, k, v = jnp.moveaxis(scoped("qkv", self.qkv, x).reshape(split), 3, 0)
        table = self.relative_position_bias_table[...].astype(x.dtype)
        bias = jnp.moveaxis(table[relative_positions(*self.window)], -1, 0)
        if apart is not None:
            bias = bias + apart[:, None].astype(x.dtype)
        scores = jnp.einsum("bwqhd,bwkhd->bwhqk", q * split[-1] ** -0.5, k) + bias
        mixed = jnp.einsum("bwhqk,bwkhd->bwqhd", jax.nn.softmax(scores), v)
        return scoped("proj", self.proj, mixed.reshape(x.shape))


def relative_positions(height: int, width: int) -> Int[np.ndarray, "n n"]:
    """Returns for each two places of a window the row of the table that is for their relative position.

    Args:
      height: of the window in tokens.
      width: of the window in tokens.

    Returns:
      The rows, by the place of the query and that of the key.

    Example:
      >>> relative_positions(1, 2).tolist()
      [[1, 0], [2, 1]]
    """
    places = np.stack(np.meshgrid(np.arange(height), np.arange(width), indexing="ij")).reshape(2, -1)
    down, right = places[:, :, None] - places[:, None, :]
    return (down + height - 1) * (2 * width - 1) + right + width - 1


def set_apart(size: tuple[int, int], window: tuple[int, int], shift: tuple[int, int]) -> Float[np.ndarray, "m n n"]:
    """Returns what is added to the scores of each window's tokens: 0, or :data:`APART` where they are no neighbours.

    Args:
      size: height and width in tokens, multiples of the window's.
      window: height and width of a window in tokens.
      shift: by how many tokens the picture was rolled up and left.

    Returns:
      The numbers by window, query and key.

    Example:
      >>> set_apart((1, 4), (1, 2), (0, 1)).tolist()
      [[[0.0, 0.0], [0.0, 0.0]], [[0.0, -100.0], [-100.0, 0.0]]]
    """
    regions = np.zeros(size, np.int64)
    for axis, (side, each, moved) in enumerate(zip(size, window, shift, strict=True)):
        # What was rolled over the edge is one region, and the rest of the windows there is another.
        of_axis = np.where(np.arange(side) < side - each, 0, 1) + (np.arange(side) >= side - moved)
        regions = 3 * regions + np.expand_dims(of_axis, 1 - axis)
    each = windows(regions[None, ..., None], window)[0, ..., 0]
    return np.where(each[:, :, None] == each[:, None, :], 0.0, APART)


def windows(x: Any, window: tuple[int, int]) -> Any:
    """Cuts pictures into windows.

    Args:
      x: (b, h, w, c), an array of NumPy or JAX.
      window: height and width of a window, which divide those of the pictures.

    Returns:
      The windows, (b, windows, tokens, c).

    Example:
      >>> windows(np.arange(4).reshape(1, 2, 2, 1), (2, 1))[..., 0].tolist()
      [[[0, 2], [1, 3]]]
    """
    b, h, w, c = x.shape
    rows, columns = window
    cut = x.reshape(b, h // rows, rows, w // columns, columns, c).transpose(0, 1, 3, 2, 4, 5)
    return cut.reshape(b, h * w // (rows * columns), rows * columns, c)


def joined(x: Float[Array, "b m n c"], window: tuple[int, int], size: tuple[int, int]) -> Float[Array, "b h w c"]:
    """Puts windows together again.

    Args:
      x: the windows.
      window: height and width of a window.
      size: height and width of the pictures.

    Returns:
      The pictures.

    Example:
      >>> import jax.numpy as jnp
      >>> x = jnp.arange(4.0).reshape(1, 2, 2, 1)
      >>> bool((joined(windows(x, (2, 1)), (2, 1), (2, 2)) == x).all())
      True
    """
    (rows, columns), (h, w) = window, size
    cut = x.reshape(len(x), h // rows, w // columns, rows, columns, x.shape[-1])
    return cut.transpose(0, 1, 3, 2, 4, 5).reshape(len(x), h, w, x.shape[-1])


class Block(nnx.Module):
    """Adds attention within windows and then two dense layers, each of which sees normalised tokens.

    Args:
      features: channels of a token.
      heads: of the attention.
      window: height and width of a window in tokens.
      shift: by how many tokens the windows are shifted down and right.
      **options: as for :func:`xrcam_jax.models.token_layers.dense`.
    """

    def __init__(self, features: int, heads: int, window: tuple[int, int], shift: tuple[int, int], **options: Any):
        norm = partial(LayerNorm, features, epsilon=1e-5, param_dtype=options["param_dtype"], rngs=options["rngs"])
        self.window, self.shift = window, shift
        self.norm1, self.attn = norm(), WindowAttention(features, heads, window, **options)
        self.norm2, self.mlp = norm(), Mlp(features, partial(dense, **options))

    def __call__(self, x: Float[Array, "b h w c"]) -> Float[Array, "b h w c"]:
        x = x + self._attended(scoped("norm1", self.norm1, x))
        return x + scoped("mlp", self.mlp, scoped("norm2", self.norm2, x))

    def _attended(self, x: Float[Array, "b h w c"]) -> Float[Array, "b h w c"]:
        height, width = x.shape[1:3]
        below, right = (-side % each for side, each in zip(x.shape[1:3], self.window, strict=True))
        size, shifted = (height + below, width + right), any(self.shift)
        y = jnp.roll(x, [-moved for moved in self.shift], (1, 2)) if shifted else x
        y = jnp.pad(y, ((0, 0), (0, below), (0, right), (0, 0))) if below or right else y
        apart = set_apart(size, self.window, self.shift) if shifted else None
        y = scoped("attn", partial(self.attn, apart=apart), windows(y, self.window))
        y = joined(y, self.window, size)[:, :height, :width]
        return jnp.roll(y, self.shift, (1, 2)) if shifted else y


class Merging(nnx.Module):
    """Makes one token of four neighbours, with twice as many channels.

    Args:
      features: channels of a token.
      **options: as for :func:`xrcam_jax.models.token_layers.dense`.
    """

    def __init__(self, features: int, **options: Any):
        stored = {"param_dtype": options["param_dtype"], "rngs": options["rngs"]}
        self.norm = LayerNorm(4 * features, epsilon=1e-5, **stored)
        self.reduction = dense(4 * features, 2 * features, bias=False, **options)

    def __call__(self, x: Float[Array, "b h w c"]) -> Float[Array, "b p q d"]:
        below, right = (side % 2 for side in x.shape[1:3])
        x = jnp.pad(x, ((0, 0), (0, below), (0, right), (0, 0))) if below or right else x
        b, h, w, c = x.shape
        # Columns before rows, as in timm.
        x = x.reshape(b, h // 2, 2, w // 2, 2, c).transpose(0, 1, 3, 4, 2, 5).reshape(b, h // 2, w // 2, 4 * c)
        return scoped("reduction", self.reduction, scoped("norm", self.norm, x))


class Stage(nnx.Module):
    """Has blocks in a row, behind a layer that merges tokens.

    Args:
      features: channels of a token within the stage.
      heads: of each attention.
      depth: number of blocks.
      merges: whether tokens are merged before.
      window: height and width of a window in tokens.
      shift: by how many tokens every other block's windows are shifted.
      **options: as for :func:`xrcam_jax.models.token_layers.dense`.
    """

    def __init__(
        self,
        features: int,
        heads: int,
        depth: int,
        *,
        merges: bool,
        window: tuple[int, int],
        shift: tuple[int, int],
        **options: Any,
    ):
        self.downsample = Merging(features // 2, **options) if merges else None
        shifts = [(0, 0) if i % 2 == 0 else shift for i in range(depth)]
        self.blocks = nnx.List(Block(features, heads, window, each, **options) for each in shifts)


class SwinTransformer(Classifier):
    """Maps pictures to class logits through four stages of attention within windows.

    Windows are as large as the checkpoint has them, whatever the size of the pictures, as timm's networks do that are
    made with ``dynamic_img_size=True``. The marked layers are what stages hand on, of which the last is normalised, so
    that it is what the mean before the linear layer sees.
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
        spec = find_spec_of(name, SwinSpec)
        stored: dict[str, Any] = {"param_dtype": self.param_dtype, "rngs": rngs}
        options = {"dtype": self.dtype, **stored}
        self.patch_embed = PatchEmbed(variant.in_channels, spec.width, spec.patch, norm=True, **stored)
        self.layers = nnx.List(
            Stage(
                spec.width * 2**i,
                heads,
                depth,
                merges=i > 0,
                **_windows(spec, i),
                **options,
            )
            for i, (depth, heads) in enumerate(zip(spec.depths, spec.heads, strict=True))
        )
        features = spec.width * 2 ** (len(spec.depths) - 1)
        self.norm = LayerNorm(features, epsilon=1e-5, **stored)
        # One module serves all blocks, since its stream of keys moves on with each use.
        self.dropout = nnx.Dropout(dropout_rate, rngs=rngs if dropout_rate else None)
        features *= 2 if variant.global_pool == "catavgmax" else 1
        self.fc = dense(features, num_classes, **options)

    def logits(self, x: Float[Array, "b h w c"], rngs: nnx.Rngs | None) -> Float[Array, "b n"]:
        """Computes the logits of pictures that are known to be some."""
        x = scoped("patch_embed", self.patch_embed, x)
        for i, stage in enumerate(self.layers):
            if stage.downsample is not None:
                x = scoped(f"layers/{i}/downsample", stage.downsample, x)
            for j, block in enumerate(stage.blocks):
                x = self.dropout(scoped(f"layers/{i}/blocks/{j}", block, x), rngs=rngs)
            x = scoped("norm", self.norm, x) if i == len(self.layers) - 1 else x
            x = mark(x, f"layer{i + 1}")
        return scoped("fc", self.fc, pool(x, self.variant.global_pool))


def _windows(spec: SwinSpec, stage: int) -> dict[str, tuple[int, int]]:
    """Returns the window of a stage and its shift; a stage no larger than a window is one window."""
    sides = [side // spec.patch // 2**stage for side in spec.preprocessing.input_size]
    height, width = (min(spec.window, side) for side in sides)
    down, right = (spec.window // 2 if side > spec.window else 0 for side in sides)
    return {"window": (height, width), "shift": (down, right)}
