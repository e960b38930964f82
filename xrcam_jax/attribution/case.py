"""A case to be explained: a model, a batch and the classes in question; and the model from one of its layers on."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import lru_cache

import jax
import jax.numpy as jnp
from jaxtyping import Array, Int, PyTree, Shaped

from xrcam_jax.attribution.asked import INPUT as INPUT
from xrcam_jax.attribution.asked import explained_flags, is_value
from xrcam_jax.attribution.shapes import Shapes, of_shapes, shapes
from xrcam_jax.attribution.tokens import Tokens
from xrcam_jax.lrp.cut import Cut, cut
from xrcam_jax.runtime.compiling import compiled

#: (images, parameters) -> logits (b, n); see :mod:`xrcam_jax.attribution.asked` for other models.
Function = Callable[[Array, PyTree], Array]
#: A batch of images, or its shape and dtype where these are all that counts.
Images = Shaped[Array | jax.ShapeDtypeStruct, "b ..."]
#: (iterable, how many there are, what they are for) -> the same items, perhaps with a bar on the screen.
Progress = Callable[[Iterable, int, str], Iterable]


def no_progress(items: Iterable, total: int, name: str) -> Iterable:
    """Returns the items as they are, and shows nothing.

    Args:
      items: of a long loop.
      total: how many there are.
      name: what the loop is for.

    Example:
      >>> from xrcam_jax.attribution.case import no_progress
      >>> list(no_progress(range(3), 3, "occlusion"))
      [0, 1, 2]
    """
    return items


@dataclass(frozen=True)
class Case:
    """Holds what perturbation and path methods work on.

    Attributes:
      function: (images, parameters) -> logits (b, n); hashable, equal for equal models.
      parameters: of the model.
      images: preprocessed.
      targets: the classes to explain, t for each image; 0 or 1 if the model has one output.
      chunk_size: how many changed versions of the batch run at a time; by default as many as fit into
        :data:`xrcam_jax.attribution.chunks.MEMORY` of each device.
      progress: is told of long loops.
      random_seed: of all that is random.
      tokens: where the tokens of a transformer lie in the images, a :class:`xrcam_jax.Tokens`, if that was said.
    """

    function: Function
    parameters: PyTree
    images: Shaped[Array, "b ..."]
    targets: Int[Array, "b t"]
    chunk_size: int | None = None
    progress: Progress = no_progress
    random_seed: int = 0
    tokens: Tokens | None = None

    @property
    def outputs(self) -> int:
        """Returns how many logits the model gives for each image."""
        return _outputs(self.function, shapes((self.images, self.parameters)))

    @property
    def of_value(self) -> bool:
        """Says whether a target function's value is explained, and no class."""
        return is_value(self.function)

    def at(self, layer: str, images: Shaped[Array, "_b ..."] | None = None) -> tuple[Array, list[Array]]:
        """Returns the activation at a layer, and all else that the model needs to go on from there.

        Args:
          layer: a mark, or ``"input"``.
          images: others than the case's own.

        Raises:
          ValueError: there is no such mark.
        """
        images = self.images if images is None else images
        return activation_at(images, self.parameters, function=self.function, layer=layer)


@lru_cache(maxsize=32)
def _outputs(function: Function, known: Shapes) -> int:
    shape = jax.eval_shape(function, *of_shapes(*known)).shape
    if len(shape) != 2:
        raise ValueError(f"model must give logits of shape (b, n); it gives {shape}")
    return shape[1]


@compiled(static=("function", "layer"))
def activation_at(
    images: Shaped[Array, "b ..."], parameters: PyTree, *, function: Function, layer: str
) -> tuple[Array, list[Array]]:
    """Returns the activation at a layer, and all else that :func:`onwards` needs.

    Args:
      images: preprocessed.
      parameters: of the model.
      function: the model.
      layer: a mark, or ``"input"``.

    Raises:
      ValueError: there is no such mark.

    Example:
      >>> import jax.numpy as jnp
      >>> import xrcam_jax as xr
      >>> from xrcam_jax.attribution.case import activation_at
      >>> model = lambda images, parameters: xr.mark(2 * images, "double").sum((1, 2)) * parameters
      >>> activation, rest = activation_at(jnp.ones((1, 2, 2, 1)), jnp.float32(5), function=model, layer="double")
      >>> activation.ravel().tolist(), [float(a) for a in rest]
      ([2.0, 2.0, 2.0, 2.0], [5.0])
    """
    if layer == INPUT:
        return images, []
    return _cut(function, layer, images, parameters).head(images, parameters)


def onwards(
    function: Function, layer: str, images: Images, parameters: PyTree
) -> Callable[[Array, list[Array]], Array]:
    """Returns the model from a layer on.

    Args:
      function: the model.
      layer: a mark, or ``"input"``.
      images: a batch, of which only shape and dtype count.
      parameters: of the model; behind a mark, only shapes and dtypes count.

    Returns:
      A function (activation, the rest) -> logits of what :func:`activation_at` gives.

    Raises:
      ValueError: there is no such mark.

    Example:
      >>> import jax.numpy as jnp
      >>> import xrcam_jax as xr
      >>> from xrcam_jax.attribution.case import activation_at, onwards
      >>> model = lambda images, parameters: xr.mark(2 * images, "double").sum((1, 2)) * parameters
      >>> images, parameters = jnp.ones((1, 2, 2, 1)), jnp.float32(5)
      >>> activation, rest = activation_at(images, parameters, function=model, layer="double")
      >>> onwards(model, "double", images, parameters)(10 * activation, rest).tolist()
      [[400.0]]
    """
    if layer == INPUT:
        return lambda activation, rest: function(activation, parameters)
    return _cut(function, layer, images, parameters).tail


def _cut(function: Function, layer: str, images: Images, parameters: PyTree) -> Cut:
    return cut(function, layer, images, parameters, explained=explained_flags(images, parameters))


def versions_onwards(
    function: Function, layer: str, images: Images, parameters: PyTree, rest: list[Array], count: int
) -> Callable[[Array], Array]:
    """Returns the model from a layer on, for several versions of each image's activation.

    Args:
      function: the model.
      layer: a mark, or ``"input"``.
      images: a batch, of which only shape and dtype count.
      parameters: of the model; behind a mark, only shapes and dtypes count.
      rest: what the model needs beside the activation, see :func:`activation_at`.
      count: number of versions.

    Returns:
      A function: activations (b * count, ...) -> logits (b * count, n). The versions of an image are next to each
      other.

    Example:
      >>> import jax.numpy as jnp
      >>> from xrcam_jax.attribution.case import versions_onwards
      >>> model = lambda images, parameters: images.sum((1, 2)) * parameters
      >>> images = jnp.arange(2.0).reshape(2, 1, 1, 1)
      >>> versions = jnp.array([0.0, 10.0, 1.0, 11.0]).reshape(4, 1, 1, 1)
      >>> versions_onwards(model, "input", images, jnp.float32(2), [], 2)(versions).ravel().tolist()
      [0.0, 20.0, 2.0, 22.0]
    """
    # With an image's versions side by side, as wherever a batch is run in versions, a batch that is laid across devices
    # stays where it is. jax.vmap over the versions would not see to that.
    many = versions_of(images, count)
    _, wanted = jax.eval_shape(lambda i, p: activation_at(i, p, function=function, layer=layer), many, parameters)
    tail = onwards(function, layer, many, parameters)
    repeated = rest_of_versions(rest, wanted, count)
    return lambda activation: tail(activation, repeated)


def versions_of(images: Images, count: int) -> jax.ShapeDtypeStruct:
    """Returns shape and dtype of a batch with several versions of each image.

    Args:
      images: a batch.
      count: number of versions.

    Example:
      >>> import jax.numpy as jnp
      >>> from xrcam_jax.attribution.case import versions_of
      >>> versions_of(jnp.ones((2, 4, 4, 3)), 5).shape
      (10, 4, 4, 3)
    """
    return jax.ShapeDtypeStruct((len(images) * count, *images.shape[1:]), images.dtype)


def rest_of_versions(rest: list[Array], wanted: list[jax.ShapeDtypeStruct], count: int) -> list[Array]:
    """Returns what a model needs beside an activation, for several versions of each image side by side.

    Args:
      rest: what it needs for one, see :func:`activation_at`.
      wanted: the shapes of what it needs for all.
      count: number of versions.

    Example:
      >>> import jax
      >>> import jax.numpy as jnp
      >>> from xrcam_jax.attribution.case import rest_of_versions
      >>> gates, weight = jnp.array([1.0, 2.0]), jnp.array([3.0])
      >>> wanted = [jax.ShapeDtypeStruct((4,), gates.dtype), jax.ShapeDtypeStruct((1,), gates.dtype)]
      >>> [a.tolist() for a in rest_of_versions([gates, weight], wanted, 2)]
      [[1.0, 1.0, 2.0, 2.0], [3.0]]
    """
    return [_repeated(a, like.shape, count) for a, like in zip(rest, wanted, strict=True)]


def _repeated(a: Array, shape: tuple[int, ...], count: int) -> Array:
    """Repeats each example along the axis whose length differs from ``shape``; what has no such axis stays as it is."""
    axis = next((i for i, side in enumerate(shape) if side != a.shape[i]), None)
    return a if axis is None else jnp.repeat(a, count, axis=axis)
