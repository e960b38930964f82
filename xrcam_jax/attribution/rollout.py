"""Rollout of attention: how the tokens that a class is read from depend on those of the patches, layer after layer.

References:
  chefer2021
"""

from collections.abc import Sequence
from math import isqrt

import jax
import jax.numpy as jnp
from jax.extend.core import ClosedJaxpr
from jaxtyping import Array, Float, Int, PyTree

from xrcam_jax.attribution.asked import explained_flags
from xrcam_jax.attribution.case import Case, Function
from xrcam_jax.attribution.shapes import at_least_float32
from xrcam_jax.attribution.targets import over_targets
from xrcam_jax.attribution.tokens import Tokens
from xrcam_jax.lrp import seeds
from xrcam_jax.lrp.attention import Weights, find_attention, tap_attention
from xrcam_jax.lrp.program import trace
from xrcam_jax.runtime.compiling import compiled

#: A class token and registers come before the patches: not more than this many.
_EXTRA = 16


def chefer(case: Case) -> Float[Array, "b t *grid"]:
    """Returns the rollout of attention weights times their gradients (chefer2021, eq. 5, 6, 13 and 14).

    R ← R + E[(∇A ⊙ A)+] R from layer to layer, beginning with the identity, where A are the attention weights of a
    layer, ∇A the gradient of the target's logit, and E the mean over the heads. The map is the row of the class token,
    which comes first, without the tokens before the patches. Without a class token it is the mean over the rows. Where
    the patches lie is said by ``case.tokens``; of images it is otherwise found by the number of tokens.

    Args:
      case: what is explained: a transformer whose tokens all attend to each other.

    Returns:
      Maps >= 0 on the grid of the patches.

    Raises:
      NotImplementedError: the model has no attention from which the target's logit depends, or its attention is within
        windows, changes the number of tokens, or is inside a loop; or it is not known where the tokens lie.
      ValueError: there are not as many tokens as ``case.tokens`` says.

    Example:
      >>> import jax
      >>> import jax.numpy as jnp
      >>> from xrcam_jax.attribution.case import Case
      >>> from xrcam_jax.attribution.rollout import chefer
      >>> def model(images, parameters):
      ...     tokens = images.reshape(len(images), -1, 2)
      ...     scores = jnp.einsum("bqd,bkd->bqk", tokens, tokens)
      ...     return (jax.nn.softmax(scores) @ tokens).mean(1)
      >>> images = jnp.zeros((1, 2, 2, 2)).at[0, 1, 0].set(2.0)
      >>> maps = chefer(Case(model, (), images, jnp.array([[0]])))
      >>> maps.shape, int(maps.argmax())
      ((1, 1, 2, 2), 2)
    """
    return _chefer(case.images, case.parameters, case.targets, function=case.function, tokens=case.tokens)


@compiled(static=("function", "tokens"))
def _chefer(
    images: Float[Array, "b *space c"],
    parameters: PyTree,
    targets: Int[Array, "b t"],
    *,
    function: Function,
    tokens: Tokens | None,
) -> Float[Array, "b t *grid"]:
    closed, found = with_attention("chefer", function, images, parameters)
    (logits,), weights, pullback = tap_attention(closed, found, jax.tree.leaves((images, parameters)))
    check_weights(weights)
    n = weights[0].shape[-1]
    places = places_of(n, images.shape[1:-1], tokens)

    def find(target: Int[Array, " b"]) -> Float[Array, "b *grid"]:
        gradients = pullback([seeds.unit(logits, target)])
        rollout = jnp.broadcast_to(jnp.eye(n), (len(images), n, n))
        for a, gradient in zip(map(at_least_float32, weights), map(at_least_float32, gradients), strict=True):
            mean = jnp.maximum(gradient * a, 0).reshape(len(images), -1, n, n).mean(1)
            rollout = rollout + mean @ rollout
        return _on_grid(rollout, *places)

    return over_targets(find, targets, axis=1)


def with_attention(
    method: str, function: Function, images: Float[Array, "b *space c"], parameters: PyTree
) -> tuple[ClosedJaxpr, tuple[Weights, ...]]:
    """Returns a traced model, and where its attention weights are.

    Args:
      method: what needs them.
      function: the model.
      images: preprocessed.
      parameters: of the model.

    Raises:
      NotImplementedError: there are none outside of loops, or they are of windows.

    Example:
      >>> import jax
      >>> import jax.numpy as jnp
      >>> from xrcam_jax.attribution.rollout import with_attention
      >>> attend = lambda x, parameters: jax.nn.softmax(jnp.einsum("bqd,bkd->bqk", x, x)) @ x
      >>> [found.axes for found in with_attention("chefer", attend, jnp.ones((2, 3, 4)), ())[1]]
      [(0, 1, 2)]
    """
    closed, _ = trace(jax.jit(function), images, parameters)
    found = find_attention(closed, explained_flags(images, parameters), len(images))
    if not found:
        raise NotImplementedError(f"the method {method} needs attention weights, and none were found outside of loops")
    return closed, found


def check_weights(weights: Sequence[Array]) -> None:
    """Refuses attention that is not of all tokens to each other in every layer.

    Args:
      weights: of each layer, (examples, heads..., queries, keys). Windows look like heads, of which there are then not
        as many in all layers.

    Raises:
      NotImplementedError: the shapes differ from layer to layer, or there are not as many queries as keys.

    Example:
      >>> import jax.numpy as jnp
      >>> from xrcam_jax.attribution.rollout import check_weights
      >>> check_weights([jnp.ones((1, 2, 5, 5))] * 3)
    """
    shapes = sorted({a.shape[1:] for a in weights}, key=str)
    if len(shapes) > 1 or shapes[0][-2] != shapes[0][-1]:
        raise NotImplementedError(
            "attention must be of all tokens to each other, with as many heads in all layers; found weights "
            f"(heads, queries, keys) {shapes}"
        )


def _on_grid(rollout: Float[Array, "b n n"], extra: int, grid: tuple[int, ...]) -> Float[Array, "b *grid"]:
    """Returns what is read from the class token, or from all, as a map of the patches."""
    row = rollout[:, 0, extra:] if extra else rollout.mean(1)
    return row.reshape(-1, *grid)


def places_of(count: int, size: tuple[int, ...], tokens: Tokens | None) -> tuple[int, tuple[int, ...]]:
    """Returns how many tokens come before those of the patches, and the grid of the patches.

    Args:
      count: how many tokens there are.
      size: height and width of the picture.
      tokens: where they lie, if that was said.

    Raises:
      ValueError: there are not as many as was said.
      NotImplementedError: nothing was said, and there is no such grid.

    Example:
      >>> from xrcam_jax.attribution.rollout import places_of
      >>> from xrcam_jax.attribution.tokens import Tokens
      >>> places_of(5, (8, 8), None), places_of(5, (8, 8), Tokens((1, 4), prefix=1))
      ((1, (2, 2)), (1, (1, 4)))
    """
    if tokens is None:
        return patch_grid(count, size)
    if count != tokens.count:
        raise ValueError(f"tokens: there are {count} of them in the attention, and the grid says {tokens}")
    return tokens.prefix, tokens.grid


def patch_grid(tokens: int, size: tuple[int, ...]) -> tuple[int, tuple[int, int]]:
    """Returns how many of the tokens come before those of the patches, and the grid of the patches.

    The grid has the proportions of the picture, and as few tokens are left as can be.

    Args:
      tokens: how many there are.
      size: height and width of the picture.

    Raises:
      NotImplementedError: there is no such grid.

    Example:
      >>> from xrcam_jax.attribution.rollout import patch_grid
      >>> patch_grid(197, (224, 224)), patch_grid(32, (64, 128))
      ((1, (14, 14)), (0, (4, 8)))
    """
    if len(size) != 2:
        raise NotImplementedError(
            f"{tokens} tokens in {len(size)} dimensions: say where they lie by tokens=xr.Tokens(...)"
        )
    for extra in range(min(_EXTRA, tokens - 1) + 1):
        patches = tokens - extra
        rows = isqrt(patches * size[0] // size[1])
        if rows and patches % rows == 0 and rows * size[1] == patches // rows * size[0]:
            return extra, (rows, patches // rows)
    raise NotImplementedError(f"{tokens} tokens make no grid of the proportions {size[0]} x {size[1]} of the pictures")
