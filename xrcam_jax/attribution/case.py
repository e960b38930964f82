"""A case to be explained: a model, a batch and the classes in question; and the model from one of its layers on."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, PyTree

from xrcam_jax.lrp.cut import cut
from xrcam_jax.runtime.compiling import compiled

#: The name under which the images themselves are a layer.
INPUT = "input"

Function = Callable[[Array, PyTree], Array]
#: (iterable, how many there are, what they are for) -> the same items, perhaps with a bar on the screen.
Progress = Callable[[Iterable, int, str], Iterable]


def no_progress(items: Iterable, total: int, name: str) -> Iterable:
    """Shows nothing."""
    return items


@dataclass(frozen=True)
class Case:
    """What perturbation and path methods work on.

    Attributes:
      function: (images, parameters) -> logits (b, n); hashable, equal for equal models.
      parameters: of the model.
      images: preprocessed.
      targets: the classes to explain, t for each image.
      chunk_size: how many changed versions of the batch run at a time; as many as fit into
        ``MEMORY`` of each device by default.
      progress: is told of long loops.
      random_seed: of all that is random.
    """

    function: Function
    parameters: PyTree
    images: Float[Array, "b h w c"]
    targets: Int[Array, "b t"]
    chunk_size: int | None = None
    progress: Progress = no_progress
    random_seed: int = 0

    def at(self, layer: str, images: Float[Array, "b h w c"] | None = None) -> tuple[Array, list[Array]]:
        """The activation at ``layer`` (a mark, or ``"input"``), and what else :func:`onwards` needs."""
        images = self.images if images is None else images
        return activation_at(images, self.parameters, function=self.function, layer=layer)


@compiled(static=("function", "layer"))
def activation_at(images: Array, parameters: PyTree, *, function: Function, layer: str) -> tuple[Array, list[Array]]:
    if layer == INPUT:
        return images, []
    return cut(function, layer, images, parameters).head(images, parameters)


def onwards(
    function: Function, layer: str, images: Float[Array, "b h w c"], parameters: PyTree
) -> Callable[[Array, list[Array]], Array]:
    """The model from ``layer`` on: (activation, the rest that :meth:`Case.at` gives) -> logits.

    Of ``images`` only the shape counts.
    """
    if layer == INPUT:
        return lambda activation, rest: function(activation, parameters)
    return cut(function, layer, images, parameters).tail


def versions_onwards(
    function: Callable, layer: str, images: Float[Array, "b h w c"], parameters: PyTree, rest: list[Array], count: int
) -> Callable[[Array], Array]:
    """The model from ``layer`` on, for ``count`` versions of each image's activation: (b * count, ...) -> logits.

    The versions of an image come next to each other, here and wherever a batch is run in versions: so a batch that
    is laid across devices stays where it is, which ``jax.vmap`` over the versions would not see to.
    """
    many = jax.ShapeDtypeStruct((len(images) * count, *images.shape[1:]), images.dtype)
    _, wanted = jax.eval_shape(lambda i, p: activation_at(i, p, function=function, layer=layer), many, parameters)
    tail = onwards(function, layer, many, parameters)  # type: ignore[arg-type]
    repeated = [_repeated(a, like.shape, count) for a, like in zip(rest, wanted, strict=True)]
    return lambda activation: tail(activation, repeated)


def _repeated(a: Array, shape: tuple[int, ...], count: int) -> Array:
    """``a`` with each example ``count`` times, as ``shape`` has it; what is not of the batch stays as it is."""
    axis = next((i for i, side in enumerate(shape) if side != a.shape[i]), None)
    return a if axis is None else jnp.repeat(a, count, axis=axis)
