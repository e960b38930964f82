"""LeGrad: how the logit that each layer would give depends on that layer's attention.

References:
  bousselham2025
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, PyTree

from xrcam_jax.attribution.asked import explained_flags
from xrcam_jax.attribution.case import Case, Function
from xrcam_jax.attribution.rollout import check_weights, places_of, with_attention
from xrcam_jax.attribution.shapes import at_least_float32
from xrcam_jax.attribution.targets import over_targets
from xrcam_jax.attribution.tokens import Tokens
from xrcam_jax.lrp import seeds
from xrcam_jax.lrp.blocks import tap_blocks
from xrcam_jax.runtime.compiling import compiled


def legrad(case: Case) -> Float[Array, "b t *grid"]:
    """Returns the mean over layers of the positive gradients at attention weights (bousselham2025, eq. 4 to 9).

    What a layer's tokens say of the target is the logit s that the model's end, its last norm, pooling and classifier,
    makes of them. The map is E[(∂s/∂A)+], where A are the attention weights of that layer alone, and E the mean over
    layers, heads and queries: one number for each key. Tokens before those of the patches are left out. Where the
    patches lie is said by ``case.tokens``; of images it is otherwise found by the number of tokens.

    Args:
      case: what is explained: a transformer whose tokens all attend to each other, in blocks that add to the tokens.

    Returns:
      Maps >= 0 on the grid of the patches.

    Raises:
      NotImplementedError: the model has no attention from which the target's logit depends, or its attention is within
        windows, changes the number of tokens, is inside a loop, or not in blocks of a residual network.
      ValueError: there are not as many tokens as ``case.tokens`` says.

    Example:
      >>> import jax
      >>> import jax.numpy as jnp
      >>> from xrcam_jax.attribution.case import Case
      >>> from xrcam_jax.attribution.legrad import legrad
      >>> def model(images, parameters):
      ...     tokens = images.reshape(len(images), -1, 2)
      ...     scores = jnp.einsum("bqd,bkd->bqk", tokens, tokens)
      ...     return (tokens + jax.nn.softmax(scores) @ tokens).mean(1)
      >>> images = jnp.zeros((1, 2, 2, 2)).at[0, 1, 0].set(jnp.array([4.0, -1.0]))
      >>> legrad(Case(model, (), images, jnp.array([[0, 1]]))).tolist()  # x_k / 4, the share of a key
      [[[[0.0, 0.0], [1.0, 0.0]], [[0.0, 0.0], [0.0, 0.0]]]]

    References:
      bousselham2025
    """
    return _legrad(case.images, case.parameters, case.targets, function=case.function, tokens=case.tokens)


@compiled(static=("function", "tokens"))
def _legrad(
    images: Float[Array, "b *space c"],
    parameters: PyTree,
    targets: Int[Array, "b t"],
    *,
    function: Function,
    tokens: Tokens | None,
) -> Float[Array, "b t *grid"]:
    closed, found = with_attention("legrad", function, images, parameters)
    blocks = tap_blocks(closed, explained_flags(images, parameters), found, jax.tree.leaves((images, parameters)))

    def find(target: Int[Array, " b"]) -> Float[Array, "b *grid"]:
        arriving = []
        for at_block in blocks.tokens:
            (logits,), pullback = jax.vjp(blocks.head, at_block)
            arriving += pullback([seeds.unit(logits, target)])
        gradients = [jnp.maximum(at_least_float32(g), 0) for g in blocks.pullback(arriving)]
        check_weights(gradients)
        return _on_grid(gradients, *places_of(gradients[0].shape[-1], images.shape[1:-1], tokens))

    return over_targets(find, targets, axis=1)


def _on_grid(
    gradients: list[Float[Array, "b *heads n n"]], extra: int, grid: tuple[int, ...]
) -> Float[Array, "b *grid"]:
    """Returns the mean over layers, heads and queries, as a map of the patches."""
    n = gradients[0].shape[-1]
    keys = jnp.stack([g.reshape(len(g), -1, n).mean(1) for g in gradients]).mean(0)
    return keys[:, extra:].reshape(-1, *grid)
