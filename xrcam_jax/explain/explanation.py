"""What an explanation holds, and the maps that are made of what methods find."""

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import export
from jaxtyping import Array, Float, Int, PyTree, UInt8

from xrcam_jax.cam.saliency import Aggregation, Size, aggregate, saliency
from xrcam_jax.classes import class_logits
from xrcam_jax.errors import unknown
from xrcam_jax.explain import drawing, showing
from xrcam_jax.explain.explained import Explained
from xrcam_jax.explain.kinds import Channels, Found
from xrcam_jax.explain.signed import is_signed, signed_map
from xrcam_jax.pictures.preprocessing import Preprocessing
from xrcam_jax.runtime.compiling import compiled


@dataclass(frozen=True, repr=False)
class Explanation(Explained[Array]):
    """Holds what an :class:`xrcam_jax.Explainer` finds out about a batch; all arrays stay on the device.

    ``e["grad_cam", "layer4"]`` is a map of each picture (b, h, w), ``e["grad_cam"]`` the method's maps by layer,
    ``e[2]`` the explanation of the third picture, and ``e[1:4]`` of three. ``e.plot()`` shows it, as notebooks do by
    themselves, and ``e.save(folder)`` writes it.

    Attributes:
      logits: what the model returns, (b, n); with a target function its value, (b, 1).
      targets: the explained classes, (b,), or (b, t) when several were asked for; 0 or 1 if n is 1, and 1 with a target
        function.
      maps: saliency maps in [0, 1] by method and layer, (b, *space) or (b, t, *space): space is (h, w) for images.
      raw: what the maps show, signed and at the layer's own size, by method and layer: the weighted sum of
        activations, or an attribution's sum (or largest absolute value) over the channels.
      relu: whether evidence against the target was cut off.
      attributions: attributions (b, *t, *layer, k) by method and layer, of the methods that give them element by
        element.
      errors: by how much attributions miss the difference of logits to which they are to sum, (b, *t), by method and
        layer.
      images: what was explained, as it was given; None of an explanation that was made inside jit.
      labels: names of the classes; None where they have none.
      preprocessing: how the images were prepared, so that they can be shown as they were; None where that is unknown.
    """

    logits: Float[Array, "b n"]
    targets: Int[Array, "b *t"]
    maps: dict[str, dict[str, Float[Array, "b *rest"]]]
    raw: dict[str, dict[str, Float[Array, "b *_rest"]]]
    relu: bool = True
    attributions: dict[str, dict[str, Float[Array, "b *_rest"]]] = field(default_factory=dict)
    errors: dict[str, dict[str, Float[Array, "b *t"]]] = field(default_factory=dict)
    images: PyTree = None
    labels: tuple[str, ...] | None = None
    preprocessing: Preprocessing | None = None

    @property
    def value(self) -> Float[Array, "b *t"]:
        """Returns the number that is explained: the logit of the target, or the value of the target function."""
        targets = self.targets.reshape(len(self.targets), -1)
        return jnp.take_along_axis(class_logits(self.logits), targets, axis=1).reshape(self.targets.shape)

    def aggregate(
        self,
        method: str,
        layers: Sequence[str] | None = None,
        *,
        how: Aggregation = "mean",
        weights: Sequence[float] | None = None,
    ) -> Float[Array, "b *rest"]:
        """Returns one map of a method's maps at several layers, scaled to [0, 1] (the thesis's section 4.4).

        Args:
          method: one that was asked for.
          layers: those of its layers that count; all by default.
          how: ``"mean"``, ``"maximum"``, ``"weighted"`` or ``"product"``, see :func:`xrcam_jax.cam.saliency.fused`.
          weights: of ``"weighted"``, one for each of the layers; by default the deeper the more, see
            :func:`xrcam_jax.cam.saliency.stride`.

        Raises:
          ValueError: a method or layer that was not computed, an unknown ``how``, or weights that do not fit.
        """
        if method not in self.raw:
            raise unknown("method", method, self.raw)
        by_layer = self.raw[method]
        for layer in layers or ():
            if layer not in by_layer:
                raise unknown("layer", layer, by_layer)
        size = next(iter(self.maps[method].values())).shape[self.targets.ndim :]
        chosen = [by_layer[layer] for layer in layers or by_layer]
        given = None if weights is None else tuple(float(w) for w in weights)
        return _aggregate(chosen, size=size, relu=self.relu, how=str(how), weights=given)

    def plot(
        self,
        methods: Sequence[str] | str | None = None,
        layers: Sequence[str] | str | None = None,
        *,
        signed: bool | None = None,
        style: Any = None,
    ) -> Any:
        """Returns a matplotlib ``Figure`` of the pictures with their maps, of many pictures the first eight.

        Args:
          methods: those that are shown; all by default.
          layers: likewise; a method that has none of them is shown at all of its own.
          signed: whether evidence for and against is shown, as ``raw`` has it, rather than the maps in [0, 1]; by
            default of those methods that tell one from the other, such as LRP.
          style: an :class:`xrcam_jax.Style`: colours, opacity, contours.

        Raises:
          ValueError: a method or layer was not asked for, or there are no pictures that can be shown.
          ImportError: matplotlib is not installed.
        """
        first = self[: showing.PICTURES] if len(self) > showing.PICTURES else self
        chosen = first._with_signs(showing.chosen_maps(first.maps, methods, layers), signed)
        return drawing.figure(first._drawable("plot", *chosen), style, of=len(self))

    def overlay(
        self,
        image: Any = None,
        method: str | None = None,
        layer: str | None = None,
        *,
        signed: bool | None = None,
        style: Any = None,
    ) -> UInt8[np.ndarray, "h w 3"]:
        """Returns a map laid over its picture, for an explanation of one picture: ``e[0].overlay()``.

        Args:
          image: the picture in its own size, RGB of bytes; by default what the network was fed. Where ``preprocessing``
            is known, the map lies where the network has seen it.
          method: whose map; the first by default.
          layer: where; the last of the method's by default.
          signed: as of :meth:`plot`.
          style: an :class:`xrcam_jax.Style`: colours, opacity, contours.

        Raises:
          ValueError: there are several pictures, a method or layer was not asked for, or there is nothing to show.
          ImportError: matplotlib is not installed.
        """
        if len(self) != 1:
            raise ValueError(f"overlay: there are {len(self)} pictures; choose one, as e[0].overlay()")
        method = next(iter(self.maps)) if method is None else method
        chosen, names = self._with_signs(showing.chosen_maps(self.maps, method, layer), signed)
        if image is None:
            drawn = self._drawable("overlay", chosen, names)
            return drawing.laid_over(drawn.pictures[0], _last(drawn.maps)[0], style, signed=bool(names))
        found = np.asarray(_last(chosen), np.float32)
        one = found.reshape(-1, *found.shape[-2:])[0]
        return drawing.laid_over(np.asarray(image), one, style, self.preprocessing, signed=bool(names))

    def save(self, folder: str | os.PathLike[str], *, names: Sequence[str] | None = None, style: Any = None) -> None:
        """Writes a folder: a sheet, overlays as PNG and maps as .npz (:func:`xrcam_jax.explain.drawing.save`).

        Args:
          folder: is made, whole or not at all. One that an explanation was saved to before is replaced.
          names: of the pictures' files; their numbers by default.
          style: an :class:`xrcam_jax.Style`: colours, opacity, contours.

        Raises:
          ValueError: there are no pictures that can be shown, or names that do not fit.
          FileExistsError: the folder holds something else.
          ImportError: matplotlib is not installed.
        """
        drawn, targets = self._drawn("save"), np.asarray(self.targets)
        each = [f"{place:04}" for place in range(len(self))] if names is None else list(names)
        if len(each) != len(self):
            raise ValueError(f"names: expected {len(self)}, one for each picture; got {each}")
        if targets.ndim == 2:
            each = [f"{name}_class{t}" for name, some in zip(each, targets, strict=True) for t in some]
        count = len(drawn.pictures)
        flat: dict[str, np.ndarray] = {"target": targets.reshape(-1)}
        flat["logits"] = np.repeat(np.asarray(self.logits), count // len(self), axis=0)
        for method, by_layer in self.maps.items():
            flat |= {f"{method}/{layer}": _one_by_one(m, targets.ndim) for layer, m in by_layer.items()}
        drawing.save(Path(folder), drawn, [{k: a[i] for k, a in flat.items()} for i in range(count)], each, style)

    def _with_signs(
        self, maps: dict[str, dict[str, Any]], signed: bool | None = None
    ) -> tuple[dict[str, dict[str, Any]], tuple[str, ...]]:
        """Returns maps, those of some methods with evidence for and against in [-1, 1], and the names of these."""
        wanted = [name for name in maps if (is_signed(name) if signed is None else signed)]
        # What several passes show together is known without its signs.
        names = tuple(name for name in wanted if set(maps[name]) <= set(self.raw.get(name, {})))
        found = dict(maps)
        for name in names:
            found[name] = {
                layer: signed_map(self.raw[name][layer], each.shape[self.targets.ndim :])
                for layer, each in maps[name].items()
            }
        return found, names

    def _drawn(self, what: str) -> showing.Drawable:
        return self._drawable(what, *self._with_signs(self.maps))


def _one_by_one(maps: Any, axes: int) -> np.ndarray:
    """Returns maps with one axis for pictures and targets together."""
    return np.asarray(maps).reshape(-1, *np.shape(maps)[axes:])


def _last(maps: dict[str, dict[str, Any]]) -> Any:
    """Returns the map at the last layer of the first method."""
    return list(next(iter(maps.values())).values())[-1]


_aggregate = compiled(static=("size", "relu", "how", "weights"), keep_trace=True)(aggregate)


def register(kind: type, parts: Sequence[str], fixed: Sequence[str]) -> None:
    """Makes a dataclass a tree of JAX's.

    Args:
      kind: the dataclass.
      parts: its attributes that hold arrays.
      fixed: those that belong to the structure.

    Example:
      >>> import jax
      >>> from dataclasses import dataclass
      >>> from xrcam_jax.explain.explanation import register
      >>> @dataclass(frozen=True)
      ... class Scaled:
      ...     values: list
      ...     unit: str
      >>> register(Scaled, ["values"], ["unit"])
      >>> jax.tree.map(lambda v: 2 * v, Scaled([1, 2], "mm"))
      Scaled(values=[2, 4], unit='mm')
    """

    def flatten(e: Any) -> tuple[list[tuple[Any, Any]], tuple[Any, ...]]:
        leaves = [(jax.tree_util.GetAttrKey(part), getattr(e, part)) for part in parts]
        return leaves, tuple(getattr(e, name) for name in fixed)

    def unflatten(also: tuple[Any, ...], values: Iterable[Any]) -> Any:
        # Not by __init__: where JAX works on trees, the leaves may be other things than arrays of these shapes.
        e: Any = object.__new__(kind)
        for name, value in zip((*parts, *fixed), (*values, *also), strict=True):
            object.__setattr__(e, name, value)
        return e

    jax.tree_util.register_pytree_with_keys(kind, flatten, unflatten)


register(
    Explanation,
    ("logits", "targets", "maps", "raw", "attributions", "errors", "images"),
    ("relu", "labels", "preprocessing"),
)


class Shown(NamedTuple):
    """Holds what an explanation has of a method at a layer, for t targets of each image.

    Attributes:
      map: in [0, 1], at the picture's size.
      raw: signed, at the layer's own size.
      values: attributions, see :class:`xrcam_jax.explain.kinds.Found`.
      error: their completeness error, likewise.
    """

    map: Float[Array, "b t *space"]
    raw: Float[Array, "b t *layer"]
    values: Float[Array, "b t *layer k"] | None
    error: Float[Array, "b t"] | None


export.register_namedtuple_serialization(Shown, serialized_name="xrcam_jax.Shown")


@compiled(static=("size", "relu", "channels"))
def with_maps(found: dict[str, Found], *, size: Size, relu: bool, channels: Channels) -> dict[str, Shown]:
    """Returns what a method finds together with its maps, by layer.

    Args:
      found: what the method finds, by layer.
      size: of the pictures: (height, width) for images.
      relu: whether evidence against the target is cut off before a map is scaled.
      channels: how a map is made of values, see :class:`xrcam_jax.explain.kinds.Kind`.

    Example:
      >>> import jax.numpy as jnp
      >>> from xrcam_jax.explain.explanation import with_maps
      >>> from xrcam_jax.explain.kinds import Found
      >>> found = {"input": Found(values=jnp.array([[1.0, -2.0], [3.0, 1.0]]).reshape(1, 1, 1, 2, 2))}
      >>> shown = with_maps(found, size=(1, 2), relu=True, channels="sum")["input"]
      >>> shown.raw.ravel().tolist(), shown.map.ravel().tolist()
      ([-1.0, 4.0], [0.0, 1.0])
    """

    def show(at: Found) -> Shown:
        raw = at.maps
        if raw is None:
            assert at.values is not None
            # The elements of a vector are its places, of one channel each.
            values = at.values[..., None] if at.values.ndim == 3 else at.values
            raw = values.sum(-1) if channels == "sum" else jnp.abs(values).max(-1)
        return Shown(saliency(raw, size, relu=relu), raw, at.values, at.error)

    return {layer: show(at) for layer, at in found.items()}


def collect(
    logits: Float[Array, "b n"],
    targets: Int[Array, "b *t"],
    shown: dict[str, dict[str, Shown]],
    relu: bool,
    labels: tuple[str, ...] | None = None,
    preprocessing: Preprocessing | None = None,
) -> Explanation:
    """Returns the explanation that holds what is shown.

    Args:
      logits: of the model.
      targets: the explained classes.
      shown: what there is by method and layer; without the axis of the targets if ``targets`` have none.
      relu: whether evidence against the target was cut off.
      labels: names of the classes.
      preprocessing: how the images were prepared.

    Example:
      >>> import jax.numpy as jnp
      >>> from xrcam_jax.explain.explanation import Shown, collect
      >>> shown = {"grad_cam": {"layer4": Shown(jnp.ones((1, 4, 4)), jnp.ones((1, 2, 2)), None, None)}}
      >>> e = collect(jnp.zeros((1, 3)), jnp.array([0]), shown, relu=True)
      >>> e.maps["grad_cam"]["layer4"].shape, e.attributions
      ((1, 4, 4), {})
    """

    def parts(name: str) -> dict[str, dict[str, Array]]:
        found = {
            method: {layer: part for layer, at in by_layer.items() if (part := getattr(at, name)) is not None}
            for method, by_layer in shown.items()
        }
        return {method: by_layer for method, by_layer in found.items() if by_layer}

    return Explanation(
        logits,
        targets,
        parts("map"),
        parts("raw"),
        relu,
        parts("values"),
        parts("error"),
        labels=labels,
        preprocessing=preprocessing,
    )
