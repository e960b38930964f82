"""What the functions of all methods have in common."""

from collections.abc import Callable, Sequence
from inspect import signature
from typing import Any, TypedDict

from xrcam_jax.attribution.case import Progress
from xrcam_jax.attribution.tokens import Tokens
from xrcam_jax.explain.attribute import attribute
from xrcam_jax.explain.explanation import Explanation
from xrcam_jax.explain.given import Inputs as Inputs
from xrcam_jax.explain.given import Target
from xrcam_jax.explain.given import Targets as Targets
from xrcam_jax.pictures.preprocessing import Preprocessing

#: Names and globs of layers.
Layers = Sequence[str] | str


class Call(TypedDict, total=False):
    """Holds what all methods take beside model, images, targets and layers, see :class:`xrcam_jax.Explainer`.

    Attributes:
      top_k: explain the k likeliest classes of each image.
      target: explain what this function says of the model's output, or a class for all, by number or name.
      labels: names of the classes.
      preprocessing: how the images were prepared, so that they can be shown as they were.
      explain: which of several inputs are explained.
      relu: whether evidence against the target is cut off.
      chunk_size: how many changed versions of the batch run at a time.
      progress: shows a bar for long loops.
      random_seed: of noise and random masks.
      tokens: where the tokens of a transformer's layers lie in the images.
    """

    top_k: int | None
    target: Target | None
    labels: Sequence[str] | None
    preprocessing: Preprocessing | None
    explain: Sequence[str] | None
    relu: bool
    chunk_size: int | None
    progress: Progress
    random_seed: int
    tokens: Tokens | None


def ask(
    method: Callable,
    model: Callable,
    images: Inputs,
    targets: Targets | None,
    layers: Layers | None,
    call: Any,
    **options: Any,
) -> Explanation:
    """Explains a batch by the method that a function is called after.

    Args:
      method: the function.
      model: see :func:`xrcam_jax.attribute`.
      images: likewise.
      targets: likewise.
      layers: likewise.
      call: what all methods take.
      **options: of the method. Those that have their default are left to it, so that this and the Explainer without
        options share what is compiled.

    Returns:
      The explanation.

    Example:
      >>> import jax.numpy as jnp
      >>> from xrcam_jax.explain.calls.common import ask
      >>> from xrcam_jax.explain.calls.propagation import gradient
      >>> ask(gradient, lambda images: images.sum((1, 2)), jnp.ones((1, 2, 2, 2)), 1, None, {}).targets.tolist()
      [1]
    """
    usual = {name: each.default for name, each in signature(method).parameters.items()}
    chosen = {name: value for name, value in options.items() if not _same(value, usual[name])}
    return attribute(model, images, method.__name__, targets, layers, **call, **chosen)


def _same(value: Any, usual: Any) -> bool:
    # Arrays are told apart by none of these, and 1.0 is another option than 1.
    plain = type(value) is type(usual) and isinstance(value, (bool, int, float, str))
    return value is usual or (plain and value == usual)
