"""The Explainer: saliency maps of several methods at several layers for a batch."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Array, Bool, Float, Int, PyTree

from xrcam_jax.attribution.case import Case, Progress, no_progress
from xrcam_jax.cam.saliency import saliency
from xrcam_jax.errors import unknown
from xrcam_jax.explain import kinds
from xrcam_jax.explain.evaluate import Task, assign_layers, requests, search
from xrcam_jax.explain.explanation import Explanation
from xrcam_jax.explain.functional import as_function
from xrcam_jax.explain.kinds import Cam, Found, Kind, Propagation
from xrcam_jax.explain.methods import RELEVANCE, configure
from xrcam_jax.explain.passes import is_behind_pooling, outline, single_pass
from xrcam_jax.lrp.composites import Composite
from xrcam_jax.runtime.compiling import compiled
from xrcam_jax.runtime.devices import data_mesh, lay, partitioned_by_compiler, replicate


class Explainer:
    """Explains a model's decisions, by as many methods as asked for.

    One forward pass, one pullback of the gradient and one of the relevance serve all methods that need no more, at
    all layers, compiled once per shape of the batch. The others run the model again, in chunks::

        explain = Explainer(model, methods=("xrelevance_cam", "grad_cam"))
        e = explain(images)
        e.maps["xrelevance_cam"]["layer3"]

    Args:
      model: an NNX module, a bound Linen module or a function, from images to logits (b, n), whose layers are
        marked with :func:`xrcam_jax.mark`; for class activation maps they must have shape (b, h, w, k).
      methods: names in ``xrcam_jax.METHODS``.
      layers: names of marks, and ``"input"``. By default all marks for maps of activations and the input for
        methods that work there; methods that work on the image alone are computed there in any case.
      options: by method, its keyword arguments: ``{"grad_cam_pp": {"variant": "inside"}}``.
      composite: the rules of all methods that propagate relevance, unless their options say otherwise.
      relu: whether evidence against the target is cut off before a map is scaled.
      check_finite: whether NaN and infinity in the images are refused (a look at every pixel).
      chunk_size: how many changed versions of the batch run at a time, in methods that make some; as many as fit
        into a gibibyte by default.
      progress: (iterable, its length, a name) -> the iterable; shows a bar for long loops.
      random_seed: of noise and random masks.
      devices: each batch is laid across them, e.g. ``jax.local_devices()``; the default one by default. Images that
        lie across devices already, along the first axis of a mesh, are explained where they are, without this.

    Raises:
      ValueError: a method or option is unknown; when called, a layer is.
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
        devices: Sequence[jax.Device] | None = None,
    ):
        self.methods = (methods,) if isinstance(methods, str) else tuple(methods)
        self.layers = (layers,) if isinstance(layers, str) else layers and tuple(layers)
        options = options or {}
        for name in options:
            if name not in self.methods:
                raise unknown("method in options", name, self.methods)
        self.kinds = {name: _kind(name, options.get(name, {}), composite) for name in self.methods}
        if chunk_size is not None and chunk_size < 1:
            raise ValueError(f"chunk_size must be at least 1; got {chunk_size}")
        self.relu, self.check_finite = relu, check_finite
        self.chunk_size, self.progress, self.random_seed = chunk_size, progress, random_seed
        self._function, self.parameters = as_function(model)
        self._mesh = None if devices is None else data_mesh(devices)
        if self._mesh is not None:
            self.parameters = replicate(self._mesh, self.parameters)

    def __call__(
        self,
        images: Float[ArrayLike, "b h w c"],
        targets: Int[ArrayLike, "b *t"] | None = None,
        *,
        top_k: int | None = None,
    ) -> Explanation:
        """Explain a batch.

        Args:
          images: preprocessed.
          targets: which class of each image to explain, or which t classes; the predicted one by default.
          top_k: explain the k likeliest classes of each image instead.

        Raises:
          ValueError: images that are not a finite floating-point batch, targets out of range or of another
            batch's shape, a layer that the model does not have, both ``targets`` and ``top_k``.
        """
        if isinstance(images, jax.core.Tracer) or isinstance(targets, jax.core.Tracer):
            chosen = None if targets is None else jnp.asarray(targets)
            return self.explain(self.parameters, jnp.asarray(images), chosen, top_k=top_k)
        images = self._checked(images)
        outputs = outline(self._function, images, self.parameters).outputs
        if outputs is None or len(outputs) != 2:
            raise ValueError(f"the model must return logits (b, n), got {outputs or 'a tree of arrays'}")
        classes = outputs[1]
        if targets is not None and top_k is not None:
            raise ValueError("give targets or top_k, not both")
        if top_k is not None and not 1 <= top_k <= classes:
            raise ValueError(f"top_k must be between 1 and the number of classes, {classes}; got {top_k}")
        if targets is not None:
            targets = check_targets(targets, len(images), classes)
        if self._mesh is None:
            return self.explain(self.parameters, images, targets, top_k=top_k)
        laid = lay(self._mesh, images)
        chosen = None if targets is None else lay(self._mesh, targets)
        e = self.explain(self.parameters, laid, chosen, top_k=top_k)
        return e if len(laid) == len(images) else _first(e, len(images))

    def explain(
        self,
        parameters: Any,
        images: Float[Array | np.ndarray, "b h w c"],
        targets: Int[Array | np.ndarray, "b *t"] | None = None,
        *,
        top_k: int | None = None,
    ) -> Explanation:
        """The pure function behind the call, to be used inside jit, vmap or shard_map; checks no values."""
        images = jnp.asarray(images)
        tasks = self._tasks(images, parameters)
        single = targets.ndim == 1 if targets is not None else top_k is None
        logits, chosen, maps, found = _explain(
            images, parameters, targets[:, None] if targets is not None and single else targets,
            function=self._function, requests=requests(tasks), top_k=top_k or 1, relu=self.relu,
        )  # fmt: skip
        case = Case(
            self._function, parameters, images, chosen, self.chunk_size, self.progress, self.random_seed
        )  # fmt: skip
        for task in tasks:
            if not kinds.is_single_pass(task.kind):
                found[task.name] = search(task, case)
                maps[task.name] = _maps(
                    found[task.name], size=images.shape[1:3], relu=self.relu, channels=kinds.channels(task.kind)
                )
        if single:
            chosen, maps, found = _only_target((chosen, maps, found))
        return _explanation(logits, chosen, _in_order(maps, tasks), _in_order(found, tasks), relu=self.relu)

    def _tasks(self, images: Array, parameters: Any) -> list[Task]:
        model = outline(self._function, images, parameters)
        tasks = []
        for name, kind in self.kinds.items():
            layers = assign_layers(name, kind, self.layers, model)
            if isinstance(kind, Cam) and kind.behind_pooling:
                fitting = [x for x in layers if is_behind_pooling(self._function, images, parameters, x)]
                if not fitting:
                    raise ValueError(
                        f"{name} is defined for a layer that only global pooling and a linear layer follow; none of "
                        f"{', '.join(layers)} is one"
                    )
                layers = tuple(fitting)
            tasks.append(Task(name, kind, layers))
        return tasks

    def _checked(self, images: ArrayLike) -> Array | np.ndarray:
        images = images if isinstance(images, (jax.Array, np.ndarray)) else np.asarray(images)
        if images.ndim != 4 or not jnp.issubdtype(images.dtype, jnp.floating) or 0 in images.shape:
            raise ValueError(
                f"images must be a floating-point batch (b, h, w, c), got {images.dtype} of shape {images.shape}"
            )
        if self.check_finite and (bad := [int(i) for i in np.flatnonzero(~np.asarray(_are_finite(images)))]):
            raise ValueError(f"images must be finite; found NaN or infinity in images {bad} of the batch")
        return partitioned_by_compiler(images) if isinstance(images, jax.Array) else images


def _kind(name: str, options: Mapping[str, Any], composite: Composite | None) -> Kind:
    kind = configure(name, options)
    return kind if "composite" in options else _with_rules(kind, composite)


def _with_rules(kind: Kind, composite: Composite | None) -> Kind:
    """``kind`` with ``composite`` for its relevance, if it propagates any by the default rules."""
    if composite is None:
        return kind
    if isinstance(kind, kinds.Smooth):
        return replace(kind, base=_with_rules(kind.base, composite))
    if isinstance(kind, kinds.Guided):
        return replace(kind, cam=_with_rules(kind.cam, composite))
    if isinstance(kind, (Cam, Propagation)) and kind.signal.composite == RELEVANCE.composite:
        return replace(kind, signal=replace(kind.signal, composite=composite))
    return kind


@compiled(static=("function", "requests", "top_k", "relu"), keep_trace=True)
def _explain(images: Array, parameters: Any, targets: Array | None, *, function, requests, top_k: int, relu: bool):
    logits, targets, found = single_pass(images, parameters, targets, function=function, requests=requests, top_k=top_k)
    maps = {
        r.name: _maps(found[r.name], size=images.shape[1:3], relu=relu, channels=kinds.channels(r.kind))
        for r in requests
    }
    return logits, targets, maps, found


@compiled(static=("size", "relu", "channels"))
def _maps(
    found: dict[str, Found], *, size: tuple[int, int], relu: bool, channels: str
) -> dict[str, tuple[Array, Array]]:
    """By layer: the signed map at the layer's size, and the saliency map."""

    def raw(at_layer: Found) -> Array:
        if at_layer.maps is not None:
            return at_layer.maps
        assert at_layer.values is not None
        return at_layer.values.sum(-1) if channels == "sum" else jnp.abs(at_layer.values).max(-1)

    raws = {layer: raw(at_layer) for layer, at_layer in found.items()}
    return {layer: (r, saliency(r, size, relu=relu)) for layer, r in raws.items()}


@compiled()
def _only_target(found: PyTree) -> PyTree:
    """Without the axis of the targets, where there is one."""
    return jax.tree.map(lambda a: a[:, 0], found)


def _explanation(
    logits: Array, targets: Array, maps: dict, found: dict[str, dict[str, Found]], *, relu: bool
) -> Explanation:
    def collect(part: str) -> dict[str, dict[str, Array]]:
        collected = {
            name: {layer: value for layer, at in by_layer.items() if (value := getattr(at, part)) is not None}
            for name, by_layer in found.items()
        }
        return {name: by_layer for name, by_layer in collected.items() if by_layer}

    return Explanation(
        logits,
        targets,
        {name: {layer: pair[1] for layer, pair in by_layer.items()} for name, by_layer in maps.items()},
        {name: {layer: pair[0] for layer, pair in by_layer.items()} for name, by_layer in maps.items()},
        relu,
        collect("values"),
        collect("error"),
    )


def _in_order(found: dict[str, dict[str, Any]], tasks: Sequence[Task]) -> dict[str, dict[str, Any]]:
    """As the methods and layers were asked for: compiled functions return dictionaries sorted by name."""
    return {task.name: {layer: found[task.name][layer] for layer in task.layers} for task in tasks}


@partial(jax.jit, static_argnums=1)
def _first(e: Explanation, count: int) -> Explanation:
    return jax.tree.map(lambda a: a[:count], e)


@jax.jit
def _are_finite(images: Float[Array, "b h w c"]) -> Bool[Array, " b"]:
    """Image by image, so that devices need not wait for each other."""
    return jnp.isfinite(images).all((1, 2, 3))


def check_targets(targets: ArrayLike, batch: int, classes: int) -> Int[np.ndarray, "b *t"]:
    """``targets`` as an array, if they are classes of a batch of that size.

    Raises:
      ValueError: they are not.
    """
    array = np.asarray(targets)
    if array.ndim not in (1, 2) or len(array) != batch or not np.issubdtype(array.dtype, np.integer):
        raise ValueError(
            f"targets must be integers of shape ({batch},) or ({batch}, t), got {array.dtype} of shape {array.shape}"
        )
    wrong = array[(array < 0) | (array >= classes)]
    if wrong.size:
        raise ValueError(f"targets must be classes 0 to {classes - 1}, found {int(wrong[0])}")
    return array


def attribute(
    model: Callable,
    images: Float[ArrayLike, "b h w c"],
    method: str,
    targets: Int[ArrayLike, "b *t"] | None = None,
    layers: Sequence[str] | None = None,
    *,
    top_k: int | None = None,
    relu: bool = True,
    chunk_size: int | None = None,
    progress: Progress = no_progress,
    random_seed: int = 0,
    **options: Any,
) -> Explanation:
    """Explain a batch by one method: ``Explainer(model, method, layers, ...)(images, targets)``.

    What was compiled for a model serves all models of the same structure, and later calls too.

    Args:
      model: see :class:`Explainer`.
      images: preprocessed.
      method: a name in ``xrcam_jax.METHODS``.
      targets: which class of each image to explain, or which t classes; the predicted one by default.
      layers: see :class:`Explainer`.
      top_k: explain the k likeliest classes of each image instead.
      relu: see :class:`Explainer`.
      chunk_size: see :class:`Explainer`.
      progress: see :class:`Explainer`.
      random_seed: see :class:`Explainer`.
      **options: the method's own, e.g. ``samples=50``, or of LRP ``composite=xr.composites.epsilon_plus()`` and
        ``seed=xr.seeds.clrp_zero_sum``.

    Raises:
      ValueError: as the Explainer does, naming what is wrong.
    """
    explain = Explainer(
        model,
        method,
        layers,
        options={method: options},
        relu=relu,
        chunk_size=chunk_size,
        progress=progress,
        random_seed=random_seed,
    )
    return explain(images, targets, top_k=top_k)
