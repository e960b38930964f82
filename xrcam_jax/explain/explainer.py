"""The Explainer, which makes saliency maps of several methods at several layers for a batch."""

from collections.abc import Callable, Mapping, Sequence
from numbers import Integral
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, PyTree, Shaped

from xrcam_jax.attribution.asked import Asked, is_ids, is_value
from xrcam_jax.attribution.case import INPUT, Case, Function, Progress, no_progress
from xrcam_jax.attribution.tokens import Tokens
from xrcam_jax.errors import unknown
from xrcam_jax.explain.explained import in_order, with_images
from xrcam_jax.explain.explanation import Explanation, Shown, collect
from xrcam_jax.explain.functional import as_function
from xrcam_jax.explain.given import (
    Inputs,
    Target,
    Targets,
    as_array,
    asked_of,
    checked_labels,
    checked_targets,
    class_numbers,
    cure,
    refusal,
    warn_of_channels_first,
)
from xrcam_jax.explain.inputs import (
    View,
    check_finite,
    checked_inputs,
    first_rows,
    input_name,
    is_tree,
    laid,
    shown_by_size,
    views_of,
)
from xrcam_jax.explain.kinds import Found, Kind
from xrcam_jax.explain.methods import configure
from xrcam_jax.explain.outline import count_classes, layers_of, on_grid
from xrcam_jax.explain.passes import Request, requests, single_pass
from xrcam_jax.lrp.composites import Composite
from xrcam_jax.pictures.preprocessing import Preprocessing
from xrcam_jax.runtime.compiling import compiled
from xrcam_jax.runtime.devices import data_mesh, partitioned_by_compiler, replicate

_WANTED = "images must be a floating-point batch (b, h, w, c), or (b, w, c) of signals and (b, d, h, w, c) of volumes"


class Explainer:
    """Explains a model's decisions, by as many methods as asked for.

    One forward pass, one pullback of the gradient and one of the relevance serve all methods that need no more, at
    all layers, compiled once per shape of the batch. The others run the model again, in chunks.

    Args:
      model: an NNX module, a bound Linen module, a model from :mod:`xrcam_jax.explain.adapters` or a function, from
        images (b, h, w, c), signals (b, w, c) or volumes (b, d, h, w, c) to logits (b, n). One that returns a single
        logit (b, 1) has two classes, see :mod:`xrcam_jax.classes`. One that returns anything else is explained with a
        ``target``.
      methods: names in ``xrcam_jax.METHODS``, which may have options, such as ``rise+samples=500``; so one method can
        be there in several variants.
      layers: names and globs of layers, as :func:`xrcam_jax.layers` lists them, and ``"input"``; they must
        have as many axes as the images. By default all places of :func:`xrcam_jax.mark` for maps of activations, or the
        last layer of each size if there are none, which a warning then says; and the input for methods that work there.
        Methods that work on the image alone are computed there in any case.
      options: by method, its keyword arguments: ``{"grad_cam_pp": {"variant": "inside"}}``.
      composite: the rules of all methods that propagate relevance, unless their options say otherwise.
      relu: whether evidence against the target is cut off before a map is scaled.
      check_finite: whether NaN and infinity in the images are refused (a look at every pixel).
      chunk_size: how many changed versions of the batch run at a time, in methods that make some; as many as fit
        into a gibibyte by default.
      progress: (iterable, its length, a name) -> the iterable; shows a bar for long loops.
      random_seed: of noise and random masks.
      target: what is explained if a call does not say it, see :meth:`__call__`.
      labels: names of the classes, in their order; by default the model's own ``labels``, where it has some.
      preprocessing: how the images are prepared, so that they can be shown as they were; by default the model's own.
      explain: the names of the inputs that are explained, of a model of several: ``"image"`` of a dictionary, ``"0"``
        of a tuple. By default all pictures among them. Each is a layer, ``"input.image"``, and ``"input"`` means all.
      tokens: where the tokens of a transformer's layers (b, n, k) lie in the images, so that these count as layers
        (b, h, w, k); see :class:`xrcam_jax.Tokens`.
      devices: each batch is laid across them, e.g. ``jax.local_devices()``; the default one by default. Images that
        lie across devices already, along the first axis of a mesh, are explained where they are, without this.

    Raises:
      ValueError: a method or option is unknown, ``layers`` names none, or ``chunk_size`` is less than 1.
      TypeError: the model cannot be called, or is a Linen module without variables; ``methods`` is a mapping, whose
        options would be lost.

    Example:
      >>> import jax.numpy as jnp
      >>> import xrcam_jax as xr
      >>> kernel, head = jnp.array([[1.0, -1.0], [0.0, 1.0], [0.0, 0.0]]), jnp.eye(2)
      >>> model = lambda images: xr.mark(jnp.maximum(images @ kernel, 0), "layer").mean((1, 2)) @ head
      >>> explain = xr.Explainer(model, methods=("xrelevance_cam", "grad_cam"))
      >>> e = explain(jnp.zeros((1, 2, 2, 3)).at[0, 1, 1, 0].set(1.0))
      >>> e.targets.tolist(), e.maps["xrelevance_cam"]["layer"].tolist()
      ([0], [[[0.0, 0.0], [0.0, 1.0]]])
    """

    def __init__(
        self,
        model: Callable,
        methods: Sequence[str] = ("xrelevance_cam",),
        layers: Sequence[str] | None = None,
        *,
        options: Mapping[str, Mapping[str, Any]] | None = None,
        composite: Composite | None = None,
        relu: bool = True,
        check_finite: bool = True,
        chunk_size: int | None = None,
        progress: Progress = no_progress,
        random_seed: int = 0,
        target: Target | None = None,
        labels: Sequence[str] | None = None,
        preprocessing: Preprocessing | None = None,
        explain: Sequence[str] | None = None,
        tokens: Tokens | None = None,
        devices: Sequence[jax.Device] | None = None,
    ):
        if isinstance(methods, Mapping):
            raise TypeError(f"methods: expected names, got a mapping of {', '.join(map(str, methods))}; see options=")
        self.methods = (methods,) if isinstance(methods, str) else tuple(methods)
        self.layers = _named(layers)
        options = options or {}
        for name in options:
            if name not in self.methods:
                raise unknown("method in options", name, self.methods)
        self.kinds = {name: configure(name, options.get(name, {}), composite) for name in self.methods}
        if chunk_size is not None and chunk_size < 1:
            raise ValueError(f"chunk_size must be at least 1; got {chunk_size}")
        self.relu, self.check_finite = relu, check_finite
        self.chunk_size, self.progress, self.random_seed = chunk_size, progress, random_seed
        self.target, self.tokens = target, tokens
        self.explained = (explain,) if isinstance(explain, str) else explain and tuple(map(str, explain))
        self.labels, self.preprocessing, self._model_name = _told(model, labels, preprocessing)
        self._function, self.parameters = as_function(model)
        self._mesh = None if devices is None else data_mesh(devices)
        if self._mesh is not None:
            self.parameters = replicate(self._mesh, self.parameters)

    @property
    def function(self) -> Function:
        """The model as a pure function of its inputs and ``parameters``."""
        return self._function

    def __call__(
        self,
        images: Inputs,
        targets: Targets | None = None,
        *,
        top_k: int | None = None,
        target: Target | None = None,
    ) -> Explanation:
        """Explains a batch.

        Args:
          images: preprocessed, an array of JAX, NumPy or PyTorch, or a list of pictures; or a dictionary or tuple of
            arrays, with which the model is called, each with a row for each picture.
          targets: the class to explain, one for all images, one for each, or t for each, by number, or by name where
            the classes have ``labels``; the predicted one by default.
          top_k: explain the k likeliest classes of each image instead.
          target: explain what this function says of the model's output instead, one number for each picture (b,). It
            is compiled once for each function, so a lambda made anew is compiled anew. Arrays that change from call to
            call are held by a ``jax.tree_util.Partial``: those with b rows have one for each picture. A class, by
            number or name, is meant as in ``targets``.

        Raises:
          ValueError: images that are not a finite floating-point batch, targets out of range or of another
            batch's shape, a layer that the model does not have, several of ``targets``, ``top_k`` and ``target``, or a
            target function that returns anything else.
          TypeError: ``target`` is no function, or holds something else than arrays.
          NotImplementedError: a layer inside a branch or a loop of unknown length, or an operation without a rule.
        """
        if any(isinstance(leaf, jax.core.Tracer) for leaf in jax.tree.leaves((images, targets, target))):
            chosen = class_numbers(targets, self.labels)
            return self.explain(self.parameters, images, chosen, top_k=top_k, target=target)
        given = self.as_arrays(images)
        images, chosen, target, batch = self.checked(given, targets, top_k=top_k, target=target)
        e = self.explain(self.parameters, images, chosen, top_k=top_k, target=target)
        return with_images(e if len(e.logits) == batch else in_order(e, first_rows(e, batch)), given)

    def as_arrays(self, images: Inputs) -> PyTree:
        """Returns images as an array, or several inputs as some, without looking at them."""
        if is_tree(images):
            return jax.tree.map_with_path(
                lambda path, a: as_array(input_name(path), a), images, is_leaf=lambda a: isinstance(a, list)
            )
        return as_array("images", images)

    def checked(
        self, images: Inputs, targets: Targets | None, *, top_k: int | None, target: Target | None
    ) -> tuple[PyTree, Any, Callable | None, int]:
        """Returns what a call explains, checked and laid across the devices; and how many pictures there are.

        Args:
          images: as for the call.
          targets: as for the call.
          top_k: as for the call.
          target: as for the call; by default the Explainer's own.

        Raises:
          ValueError: as the call does.
        """
        images = self._checked(self.as_arrays(images))
        if targets is not None and top_k is not None:
            raise ValueError("give targets or top_k, not both")
        if target is not None and (targets is not None or top_k is not None):
            raise ValueError("give a target function, or classes by targets or top_k, not both")
        targets, function = asked_of(self.target, target, targets, top_k)
        name, view = next(iter(views_of(self._function, self.parameters, images, self.explained, function).items()))
        classes, batch = self._classes("images" if name == INPUT else name, view), len(view.images)
        if self.labels and not is_value(view.function) and len(self.labels) != classes:
            raise ValueError(f"labels must be names of the {classes} classes of the model; got {len(self.labels)}")
        if top_k is not None and not (isinstance(top_k, Integral) and 1 <= top_k <= classes):
            raise ValueError(
                f"top_k must be a whole number between 1 and the number of classes, {classes}; got {top_k!r}"
            )
        if targets is not None:
            targets = checked_targets(class_numbers(targets, self.labels), batch, classes)
        if self._mesh is None:
            return images, targets, function, batch
        return *laid(self._mesh, (images, targets, function), batch), batch

    def explain(
        self,
        parameters: Any,
        images: Inputs,
        targets: Int[Array | np.ndarray, "*b_t"] | None = None,
        *,
        top_k: int | None = None,
        target: Target | None = None,
        methods: Sequence[str] | None = None,
    ) -> Explanation:
        """Explains a batch as the call does, but is pure, for use inside jit, vmap or shard_map, and checks no values.

        Args:
          parameters: of the model.
          images: preprocessed; or a dictionary or tuple of arrays.
          targets: the class of each image to explain, t classes for each, or one for all; the predicted one by default.
          top_k: explain the k likeliest classes of each image instead.
          target: explain what this function says of the model's output instead, see :meth:`__call__`.
          methods: those of the Explainer's methods that are wanted; all by default.

        Raises:
          ValueError: a layer that the model does not have, or none where a method can be computed.
        """
        chosen, asked = asked_of(self.target, target, targets, top_k)
        targets = class_numbers(chosen, self.labels)
        views = views_of(self._function, parameters, images, self.explained, asked)
        kinds = {name: self.kinds[name] for name in (self.methods if methods is None else methods)}
        wanted = self.layers
        if self.tokens is not None:
            needed = any(kind.where == "marks" for kind in kinds.values())
            views, wanted = on_grid(views, self.tokens, wanted, needed=needed)
        function, images, parameters = first = next(iter(views.values()))
        layers = {name: layers_of(name, kind, wanted, *first) for name, kind in kinds.items()}
        single = targets.ndim < 2 if targets is not None else top_k is None
        if targets is not None:
            targets = jnp.asarray(targets)
            targets = jnp.full(first.images.shape[:1], targets) if targets.ndim == 0 else targets
            targets = targets[:, None] if single else targets
        fixed = {"requests": requests(kinds, layers), "top_k": top_k or 1, "relu": self.relu}
        logits, chosen, shown = _shown_by_single_pass(images, parameters, targets, function=function, **fixed)
        for name, kind in kinds.items():
            if not kind.single_pass:
                shown[name] = self._shown_by_many_passes(kind, layers[name], views, chosen)
        if single:
            chosen, shown = _only_target((chosen, shown))
        # Methods and layers come as they were asked for: compiled functions return dictionaries sorted by name.
        in_order = {name: {layer: shown[name][layer] for layer in layers[name]} for name in kinds}
        # The value of a target function is of no class.
        labels = None if is_value(function) else self.labels
        return collect(logits, chosen, in_order, self.relu, labels, self.preprocessing)

    def _classes(self, name: str, view: View) -> int:
        """Returns how many classes there are, see :func:`xrcam_jax.explain.outline.count_classes`."""
        try:
            classes = count_classes(*view)
        except Exception as error:
            shape = tuple(view.images.shape)
            line = next(iter(str(error).splitlines()), "")
            if better := cure(name, *view):
                raise ValueError(
                    f"the model does not take {name} of shape {shape}, but {better}; it says: {line}"
                ) from error
            # A single image without the axis of the batch looks like a batch of signals, and few models take both.
            if len(shape) >= 4 or isinstance(view.function, Asked) or not isinstance(error, (TypeError, ValueError)):
                raise
            raise ValueError(f"{_WANTED}, such as the model takes; of shape {shape} it says: {error}") from error
        warn_of_channels_first(*view)
        return classes

    def __repr__(self) -> str:
        where = ", ".join(self.layers) if self.layers else "its default layers"
        named = f"\n  labels: {', '.join(self.labels[:6])}" if self.labels else ""
        named += f" and {len(self.labels) - 6} more" if self.labels and len(self.labels) > 6 else ""
        return f"Explainer of {self._model_name}\n  {', '.join(self.methods)}: {where}{named}"

    def _shown_by_many_passes(
        self, kind: Kind, layers: tuple[str, ...], views: dict[str, View], targets: Int[Array, "b t"]
    ) -> dict[str, Shown]:
        """Returns what a method shows that runs the model again: at an input, with changes of that input alone."""
        first, found = next(iter(views)), dict[str, Found]()
        for name, (function, images, parameters) in views.items():
            here = tuple(layer for layer in layers if layer == name or (layer not in views and name == first))
            if here:
                given = function, parameters, images, targets, self.chunk_size, self.progress, self.random_seed
                found |= kind.run(Case(*given, self.tokens), here)
        return shown_by_size(found, views[first].sizes, relu=self.relu, channels=kind.channels)

    def _checked(self, images: Any) -> PyTree:
        if is_tree(images):
            return checked_inputs(images, finite=self.check_finite)
        if is_ids(images) and images.ndim == 2 and images.size:
            return images
        if images.ndim >= 3 and not len(images):
            raise ValueError(f"images must be a batch of at least one; got none, of shape {images.shape}")
        if images.ndim < 3 or not jnp.issubdtype(images.dtype, jnp.floating) or 0 in images.shape:
            raise ValueError(f"{_WANTED}; got {images.dtype} of shape {images.shape}{refusal(images)}")
        if self.check_finite:
            check_finite("images", images)
        return partitioned_by_compiler(images) if isinstance(images, jax.Array) else images


def _named(layers: str | Sequence[str] | None) -> tuple[str, ...] | None:
    if layers is None or isinstance(layers, str):
        return None if layers is None else (layers,)
    if not len(layers):
        raise ValueError("layers: expected at least one name, got none; leave it out for those by default")
    return tuple(layers)


def _told(
    model: Callable, labels: Sequence[str] | None, preprocessing: Preprocessing | None
) -> tuple[tuple[str, ...] | None, Preprocessing | None, str]:
    """Returns the names of a model's classes, how its pictures are prepared, and what it is called."""
    own = getattr(model, "preprocessing", None)
    named = checked_labels(getattr(model, "labels", None) if labels is None else labels)
    name = str(getattr(model, "name", None) or type(model).__name__)
    return named, preprocessing or (own if isinstance(own, Preprocessing) else None), name


@compiled(static=("function", "requests", "top_k", "relu"), keep_trace=True)
def _shown_by_single_pass(
    images: Shaped[Array, "b ..."],
    parameters: PyTree,
    targets: Int[Array, "b t"] | None,
    *,
    function: Function,
    requests: tuple[Request, ...],
    top_k: int,
    relu: bool,
) -> tuple[Float[Array, "b n"], Int[Array, "b t"], dict[str, dict[str, Shown]]]:
    """Returns the logits, the targets, and what all single-pass methods show, by method and layer."""
    logits, chosen, found = single_pass(images, parameters, targets, function=function, requests=requests, top_k=top_k)
    sizes = View(function, images, parameters).sizes
    shown = {r.name: shown_by_size(found[r.name], sizes, relu=relu, channels=r.kind.channels) for r in requests}
    return logits, chosen, shown


@compiled()
def _only_target(shown: PyTree) -> PyTree:
    """Returns arrays of a single target without the axis of the targets."""
    return jax.tree.map(lambda a: a[:, 0], shown)
