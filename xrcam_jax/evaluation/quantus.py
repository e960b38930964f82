"""Quantus's own metrics, on the models and maps of this package: ``xr.quantus``.

A metric of Quantus gets ``model(explain)`` in the place of a PyTorch model, and :func:`explain_func` as its function
that explains. Pictures are channels first there, and arrays are NumPy's; what runs is compiled by JAX.

References:
  quantus2023
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from importlib import import_module
from typing import Any, ClassVar, Literal

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Array, Float, Int, PyTree

from xrcam_jax.attribution.case import Case, Function, activation_at
from xrcam_jax.classes import class_logits, softmax_logits
from xrcam_jax.errors import unknown
from xrcam_jax.explain.again import explain_again, stacked_maps
from xrcam_jax.explain.explainer import Explainer
from xrcam_jax.lrp.layers import layers
from xrcam_jax.metrics.randomisation import Order, layers_in_order, steps_of
from xrcam_jax.metrics.sanity import exchanged, randomised
from xrcam_jax.runtime.compiling import compiled

EXTRA = "pip install 'xrcam-jax[quantus]'"
#: What is handed to Quantus: maps in [0, 1], what they show with its sign, or attributions channel by channel.
Kind = Literal["maps", "raw", "attributions"]


# JAX and Quantus print what they hold, and a network may print all of its parameters: no repr.
@dataclass(frozen=True, eq=False, repr=False)
class QuantusModel:
    """Is a model as Quantus wants to be given one: it has what Quantus's ``ModelInterface`` has.

    Attributes:
      explainer: that has the model, and its methods.
      parameters: of the model.
      softmax: whether probabilities are predicted, or logits.
      shape: of a batch of pictures (b, *space, c), if it is known.
    """

    explainer: Explainer
    parameters: PyTree
    softmax: bool = False
    shape: tuple[int, ...] | None = None
    channel_first: ClassVar[bool] = True
    get_ml_framework_name: ClassVar[str] = "jax"

    def predict(self, x: ArrayLike, **_: Any) -> Float[np.ndarray, "b n"]:
        """Returns the classes' probabilities, or with ``softmax=False`` their logits.

        Args:
          x: pictures (b, c, *space).
          **_: what other models would be given.
        """
        images = self.images(x)
        return np.array(_scores(images, self.parameters, function=self.explainer.function, softmax=self.softmax))

    def images(self, x: ArrayLike) -> Float[Array, "b *space c"]:
        """Returns pictures as the model takes them, of the dtype of its parameters.

        Args:
          x: pictures (b, c, *space).
        """
        return jnp.moveaxis(jnp.asarray(x, self._dtype), 1, -1)

    @property
    def _dtype(self) -> Any:
        dtypes = [leaf.dtype for leaf in jax.tree.leaves(self.parameters) if jnp.issubdtype(leaf.dtype, jnp.floating)]
        return dtypes[0] if dtypes else float

    def shape_input(
        self, x: np.ndarray, shape: tuple[int, ...], channel_first: bool | None = None, batched: bool = False
    ) -> np.ndarray:
        """Returns pictures in the given shape, still with their channels first.

        Args:
          x: pictures (b, c, *space), or one with ``batched=False``.
          shape: that they ought to have, without the batch if ``batched`` is False.
          channel_first: is what they are in all of Quantus.
          batched: whether there are several.
        """
        return np.reshape(x, shape if batched else (1, *shape))

    def get_model(self) -> "QuantusModel":
        """Returns what :func:`explain_func` is called with."""
        return self

    def get_softmax_arg_model(self) -> "QuantusModel":
        """Returns the model that predicts what ``softmax`` says: this one."""
        return self

    def state_dict(self) -> dict[str, np.ndarray]:
        """Returns the parameters by their paths."""
        leaves, _ = jax.tree_util.tree_flatten_with_path(self.parameters)
        return {jax.tree_util.keystr(path, simple=True, separator="/"): np.array(leaf) for path, leaf in leaves}

    @property
    def random_layer_generator_length(self) -> int:
        """Returns how many layers have a kernel."""
        return len(self._parts())

    def get_random_layer_generator(
        self, order: Order = "top_down", seed: int = 42
    ) -> Iterator[tuple[str, "QuantusModel"]]:
        """Yields the layers in turn, each with a model in which its kernel, and by order those before, is drawn anew.

        What is drawn is as wide as what networks start from, see :func:`xrcam_jax.metrics.sanity.randomised`. Biases
        and norms stay, where those of PyTorch models are reset.

        Args:
          order: ``"top_down"``, ``"bottom_up"`` or ``"independent"``.
          seed: of the draws.

        Raises:
          ValueError: the shape of the pictures is not known, by which the layers are found; or there are none.
        """
        parts = self._parts()
        drawn = randomised(self.parameters, parts, jax.random.key(seed), draw="own")
        for part, changed in zip(parts[::-1] if order == "top_down" else parts, steps_of(parts, order), strict=True):
            yield part, replace(self, parameters=exchanged(self.parameters, drawn, changed))

    def _parts(self) -> tuple[str, ...]:
        if self.shape is None:
            raise ValueError("layers are found by the shape of the pictures: give xr.quantus.model(explain, images)")
        images = jnp.zeros(self.shape, self._dtype)
        targets = jnp.zeros((self.shape[0], 1), jnp.int32)
        return layers_in_order(Case(self.explainer.function, self.parameters, images, targets))

    def add_mean_shift_to_first_layer(self, input_shift: float, shape: tuple[int, ...]) -> "QuantusModel":
        """Returns the model that says of shifted pictures what this one says of them unshifted.

        It takes the shift off its input, and so needs no look at its first layer.

        Args:
          input_shift: that is added to all pixels.
          shape: of the pictures.
        """
        return replace(self, explainer=explain_again(self.explainer, shift=float(input_shift)).explainer)

    def get_hidden_representations(
        self, x: ArrayLike, layer_names: list[str] | None = None, layer_indices: list[int] | None = None
    ) -> Float[np.ndarray, "b k"]:
        """Returns the values of some layers, flattened and side by side.

        Args:
          x: pictures (b, c, *space).
          layer_names: names and globs, as :func:`xrcam_jax.layers` lists them.
          layer_indices: numbers in the list of the layers that have a name. By default, and without names, these are
            the layers of the Explainer, or the model's marks if it has none.

        Raises:
          ValueError: there is no such layer.
        """
        images, function = self.images(x), self.explainer.function
        known = layers(function, images, self.parameters)
        named = [name for name, layer in known.items() if layer.kind != "value"]
        wanted = [*(layer_names or ()), *(named[i] for i in layer_indices or ())]
        wanted = wanted or list(self.explainer.layers or known.marks)
        found = tuple(dict.fromkeys(name for each in wanted for name in known.select(each)))
        if not found:
            raise ValueError("layer_names: expected at least one, found none, and the model has no marks")
        return np.array(_values(images, self.parameters, function=function, names=found))


def model(explain: Explainer | Callable, images: ArrayLike | None = None) -> QuantusModel:
    """Returns a model for the metrics of Quantus.

    Quantus 0.6 takes models of PyTorch and TensorFlow alone: the function by which it does so,
    ``quantus.helpers.utils.get_wrapped_model``, is replaced by one that lets these models through and does as before
    with all others. So is ``quantus.explain``, which Quantus's smooth MPRT calls whatever it is given to explain with.

    Args:
      explain: an Explainer of classes, whose maps :func:`explain_func` makes; or any model that an Explainer takes, for
        metrics that explain nothing themselves.
      images: of which only the shape counts, (b, *space, c); the randomisation of layers needs it.

    Returns:
      The model, for ``metric(model=...)``.

    Raises:
      ImportError: Quantus is not installed.
      ValueError: the Explainer has a target function.

    Example:
      >>> import quantus  # doctest: +SKIP
      >>> explain = xr.Explainer(network, "lrp")  # doctest: +SKIP
      >>> metric = quantus.MaxSensitivity(nr_samples=10)  # doctest: +SKIP
      >>> metric(xr.quantus.model(explain), x, y, None, explain_func=xr.quantus.explain_func)  # doctest: +SKIP

    References:
      quantus2023
    """
    explainer = explain if isinstance(explain, Explainer) else Explainer(explain, ())
    if explainer.target is not None:
        raise ValueError("explain: expected an Explainer of classes, found one with a target of its own")
    try:
        import quantus
    except ImportError as error:
        # Quantus imports PyTorch and others that it finds, and may fail at what these miss.
        found = "" if error.name == "quantus" else f"; it is there, and fails: {error}"
        raise ImportError(f"xr.quantus.model needs Quantus: {EXTRA}{found}") from error
    for place, name, here in (
        (import_module("quantus.helpers.utils"), "get_wrapped_model", _wrapped),
        (quantus, "explain", _explained),
    ):
        known = getattr(place, name)
        if not isinstance(known, _Other):
            setattr(place, name, _Other(known, here))
    return QuantusModel(explainer, explainer.parameters, shape=None if images is None else np.shape(images))


@dataclass(frozen=True)
class _Other:
    """Is a function of Quantus that does something else with our models."""

    known: Callable
    here: Callable

    def __call__(self, model: Any, *arguments: Any, **options: Any) -> Any:
        function = self.here if isinstance(model, QuantusModel) else self.known
        return function(model, *arguments, **options)


def _wrapped(
    model: QuantusModel, channel_first: bool = True, softmax: bool | None = None, *_: Any, **__: Any
) -> QuantusModel:
    return replace(model, softmax=bool(softmax))


def _explained(model: QuantusModel, inputs: np.ndarray, targets: np.ndarray, **options: Any) -> np.ndarray:
    known = {name: options[name] for name in ("method", "layer", "kind") if name in options}
    return explain_func(model, inputs, targets, **known)


def explain_func(
    model: QuantusModel,
    inputs: Float[np.ndarray, "b c *space"],
    targets: Int[np.ndarray, " b"],
    *,
    method: str | None = None,
    layer: str | None = None,
    kind: Kind = "maps",
    device: str | None = None,
) -> Float[np.ndarray, "b ..."]:
    """Returns maps as the metrics of Quantus want them: give it to a metric as ``explain_func``.

    Args:
      model: of :func:`model`.
      inputs: the pictures.
      targets: the class of each.
      method: one of the Explainer's; needed if it has several. Give these options by ``explain_func_kwargs``.
      layer: one of the method's layers; needed if it has several.
      kind: ``"maps"`` in [0, 1], ``"raw"`` for what they show with its sign, or ``"attributions"`` for each channel.
      device: is what Quantus adds for PyTorch, and does nothing.

    Returns:
      Maps (b, *space), or attributions (b, c, *space); arrays of their own, as Quantus writes into them.

    Raises:
      ValueError: an unknown method, layer or kind, several of which none was chosen, or attributions of a method that
        has none of the input.

    Example:
      >>> import jax.numpy as jnp
      >>> import numpy as np
      >>> import xrcam_jax as xr
      >>> from xrcam_jax.evaluation.quantus import QuantusModel
      >>> explain = xr.Explainer(lambda images: (images**2).sum((1, 2)), "gradient_x_input")
      >>> model = QuantusModel(explain, explain.parameters)
      >>> x = np.array([1.0, 3.0], np.float32).reshape(1, 1, 1, 2)
      >>> xr.quantus.explain_func(model, x, np.array([1]), kind="raw").ravel().tolist()
      [2.0, 18.0]
    """
    explainer = model.explainer
    if method is None and len(explainer.methods) != 1:
        raise ValueError(f"method: expected one of {', '.join(explainer.methods) or 'an Explainer with methods'}")
    method = explainer.methods[0] if method is None else method
    if method not in explainer.methods:
        raise unknown("method", method, explainer.methods)
    images = model.images(inputs)
    e = explainer.explain(model.parameters, images, jnp.asarray(targets, jnp.int32), methods=(method,))
    if kind == "attributions":
        if method not in e.attributions or e.attributions[method].keys() != {"input"}:
            raise ValueError(f"kind: expected maps or raw of {method}, which has no attributions of the input alone")
        return np.array(jnp.moveaxis(e.attributions[method]["input"], -1, 1))
    if kind not in ("maps", "raw"):
        raise unknown("kind", kind, ("maps", "raw", "attributions"))
    if layer is None and len(e.maps[method]) != 1:
        raise ValueError(f"layer: expected one of {', '.join(e.maps[method])}")
    if layer is not None and layer not in e.maps[method]:
        raise unknown("layer", layer, e.maps[method])
    places = None if layer is None else (layer,)
    return np.array(stacked_maps(e, (method,), places, raw=kind == "raw", size=images.shape[1:-1])[0])


@compiled(static=("function", "softmax"))
def _scores(
    images: Float[Array, "b *space c"], parameters: PyTree, *, function: Function, softmax: bool
) -> Float[Array, "b n"]:
    logits = function(images, parameters)
    return jax.nn.softmax(softmax_logits(logits), axis=-1) if softmax else class_logits(logits)


@compiled(static=("function", "names"))
def _values(
    images: Float[Array, "b *space c"], parameters: PyTree, *, function: Function, names: tuple[str, ...]
) -> Float[Array, "b k"]:
    values = [activation_at(images, parameters, function=function, layer=name)[0] for name in names]
    return jnp.concatenate([each.reshape(len(images), -1) for each in values], axis=1)
