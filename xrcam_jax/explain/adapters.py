"""Models of other libraries as functions from pictures (b, h, w, c) to logits (b, n), at inference.

NNX and Linen modules and plain functions need none of these. What comes out is a model for the Explainer, with its
parameters as arguments of its programs, and a function of pictures for :func:`xrcam_jax.lrp` and the others. No model
has to be marked: :func:`xrcam_jax.layers` lists its layers.
"""

from collections.abc import Callable
from dataclasses import dataclass
from inspect import signature
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PyTree

from xrcam_jax.explain.torch_scopes import named_scopes
from xrcam_jax.runtime.named_modules import named


# JAX prints what it traces if it has no name, and a network may print all of its parameters: no repr.
@dataclass(frozen=True, eq=False, repr=False)
class Adapted:
    """Holds a model of another library.

    Attributes:
      function: (pictures, parameters) -> logits.
      parameters: of the model.
    """

    function: Callable[[Array, PyTree], Array]
    parameters: PyTree

    def __call__(self, images: Float[Array, "b *space c"]) -> Float[Array, "b n"]:
        return self.function(images, self.parameters)


def equinox(model: Callable, state: Any = None, *, axis_name: str = "batch", channels_first: bool = True) -> Adapted:
    """Adapts an Equinox module, which maps one picture (c, h, w) to the logits (n,).

    Args:
      model: the module, taken in inference mode; it is not changed.
      state: of a module made by ``eqx.nn.make_with_state``, which maps (picture, state) to (logits, state).
      axis_name: the name of the axis of the batch, as its batch norms know it.
      channels_first: whether pictures are (c, h, w), as Equinox's own layers have them, or (h, w, c).

    Returns:
      The model. Its layers have the names of the attributes that hold the modules.

    Example:
      >>> from xrcam_jax.explain import adapters
      >>> explain = xr.Explainer(adapters.equinox(model))  # doctest: +SKIP
    """
    import equinox as eqx

    arrays, static = eqx.partition(eqx.nn.inference_mode(model), eqx.is_array)

    def function(images: Array, parameters: PyTree) -> Array:
        arrays, state = parameters
        network = named(eqx.combine(arrays, static))
        pictures = jnp.moveaxis(images, -1, 1) if channels_first else images
        if state is None:
            return jax.vmap(network, axis_name=axis_name)(pictures)
        mapped = jax.vmap(network, in_axes=(0, None), out_axes=(0, None), axis_name=axis_name)
        return mapped(pictures, state)[0]

    return Adapted(function, (arrays, state))


def haiku(transformed: Any, params: PyTree, state: PyTree = None, **options: Any) -> Adapted:
    """Adapts a function that ``hk.transform`` or ``hk.transform_with_state`` has made.

    Args:
      transformed: what they returned.
      params: its parameters.
      state: its state, if it has one.
      **options: further arguments of the function, such as ``is_training=False``.

    Returns:
      The model.

    Raises:
      TypeError: ``transformed`` has no ``apply``, or a state is given to a function that has none, or the other way
        round.

    Example:
      >>> from typing import NamedTuple
      >>> import jax.numpy as jnp
      >>> from xrcam_jax.explain import adapters
      >>> class Transformed(NamedTuple):
      ...     apply: object
      >>> transformed = Transformed(lambda params, rng, x: x.mean((1, 2)) @ params["w"])
      >>> adapters.haiku(transformed, {"w": jnp.ones((3, 2))})(jnp.ones((1, 4, 4, 3))).tolist()
      [[3.0, 3.0]]
    """
    apply = getattr(transformed, "apply", None)
    if not callable(apply):
        raise TypeError(f"transformed must be what hk.transform returns, with a function apply; got {transformed!r}")
    names = tuple(signature(apply).parameters)
    if ("state" in names) != (state is not None):
        raise TypeError(f"state is {'' if state is None else 'not '}None, but apply takes {', '.join(names)}")
    # Without random numbers, at inference, and without the argument if hk.without_apply_rng has taken it away.
    rng = (None,) if "rng" in names else ()

    def function(images: Array, parameters: PyTree) -> Array:
        params, state = parameters
        given = (params,) if state is None else (params, state)
        found = apply(*given, *rng, images, **options)
        return found if state is None else found[0]

    return Adapted(function, (params, state))


def keras(model: Any) -> Adapted:
    """Adapts a Keras 3 model that runs on JAX, with channels last.

    Args:
      model: the model, which should end in logits: behind a softmax, relevance and gradients tell less.

    Returns:
      The model.

    Raises:
      ValueError: Keras runs on another backend.

    Example:
      >>> from xrcam_jax.explain import adapters
      >>> explain = xr.Explainer(adapters.keras(model))  # doctest: +SKIP
    """
    import keras

    if keras.backend.backend() != "jax":
        raise ValueError(
            f"Keras runs on {keras.backend.backend()}; set the environment variable KERAS_BACKEND to jax before it is "
            "imported"
        )

    def function(images: Array, parameters: PyTree) -> Array:
        return model.stateless_call(*parameters, images, training=False)[0]

    variables = model.trainable_variables, model.non_trainable_variables
    return Adapted(function, tuple([variable.value for variable in some] for some in variables))


def hugging_face(model: Any) -> Adapted:
    """Adapts a Flax model for image classification of Hugging Face's transformers, which takes pictures (b, c, h, w).

    Args:
      model: such as a ``FlaxResNetForImageClassification``, with its parameters.

    Returns:
      The model. Called, it raises a TypeError if its own model returns no logits.

    Raises:
      TypeError: ``model`` takes something else first than pictures, as models of texts do, and of texts with pictures.

    Example:
      >>> from xrcam_jax.explain import adapters
      >>> explain = xr.Explainer(adapters.hugging_face(model))  # doctest: +SKIP
    """
    called, instead = type(model).__name__, "give a function from pictures (b, h, w, c) to logits instead of an adapter"
    takes = tuple(signature(model).parameters) if callable(model) else ()
    if takes[:1] != ("pixel_values",):
        raise TypeError(
            "model must be a Flax model of transformers that takes pixel_values first; got "
            f"{called}, which takes {', '.join(takes) or 'nothing'}: {instead}"
        )

    def function(images: Array, parameters: PyTree) -> Array:
        found = model(jnp.moveaxis(images, -1, 1), params=parameters)
        if not hasattr(found, "logits"):
            raise TypeError(
                f"model must return logits, as those for image classification do; {called} returns "
                f"{', '.join(found)}: {instead}"
            )
        return found.logits

    return Adapted(function, model.params)


def pytorch(model: Any, *, channels_first: bool = True) -> Adapted:
    """Adapts a PyTorch module, which torchax runs on JAX.

    Args:
      model: a ``torch.nn.Module`` in inference mode, from pictures to logits.
      channels_first: whether it takes pictures (b, c, h, w), as PyTorch's own layers do, or (b, h, w, c).

    Returns:
      The model. Its layers have the names of the modules, such as ``layer4/0/conv1``, and their channels last.

    Raises:
      TypeError: ``model`` is no module of PyTorch.
      ValueError: ``model`` is in training mode.

    Example:
      >>> from xrcam_jax.explain import adapters
      >>> explain = xr.Explainer(adapters.pytorch(model.eval()))  # doctest: +SKIP
    """
    if not hasattr(model, "named_modules"):
        raise TypeError(f"model must be a torch.nn.Module; got {model!r}")
    if model.training:
        raise ValueError("model must be in inference mode, as model.eval() has it; it is in training mode")
    import torchax

    parameters, apply = torchax.extract_jax(model)

    def function(images: Array, parameters: PyTree) -> Array:
        pictures = jnp.moveaxis(images, -1, 1) if channels_first else images
        with named_scopes(model):
            return apply(parameters, (pictures,))

    return Adapted(function, parameters)
