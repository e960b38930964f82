"""How explanations are shown: in words, as pictures with their maps, and as a part of a notebook."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np
from jaxtyping import Float, PyTree, UInt8

from xrcam_jax.classes import class_logits, softmax_logits
from xrcam_jax.errors import unknown
from xrcam_jax.pictures.preprocessing import Preprocessing

#: How many layers and targets are named, and how many pictures a figure shows.
NAMED, PICTURES = 6, 8


@dataclass(frozen=True)
class Drawable:
    """Holds what a figure shows: each picture once for each of its targets.

    Attributes:
      pictures: as they can be looked at.
      maps: by method and layer, in [0, 1], or in [-1, 1].
      titles: of each picture, what is explained.
      signed: the methods whose maps are in [-1, 1].
    """

    pictures: UInt8[np.ndarray, "n h w 3"]
    maps: dict[str, dict[str, Float[np.ndarray, "n _ _"]]]
    titles: list[str]
    signed: tuple[str, ...] = ()


def maps_in_words(maps: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Returns lines that say which maps there are: methods with the same layers share one.

    Args:
      maps: by method and layer.

    Example:
      >>> import numpy as np
      >>> from xrcam_jax.explain.showing import maps_in_words
      >>> layers = {"layer3": np.zeros((1, 4, 4)), "layer4": np.zeros((1, 4, 4))}
      >>> maps_in_words({"grad_cam": layers, "layer_cam": layers, "gradient": {"input": np.zeros((1, 4, 4))}})
      ['grad_cam, layer_cam: layer3, layer4', 'gradient: input']
    """
    alike: dict[tuple[str, ...], list[str]] = {}
    for method, by_layer in maps.items():
        alike.setdefault(tuple(by_layer), []).append(method)
    return [f"{', '.join(methods)}: {_listed(layers)}" for layers, methods in alike.items()]


def _listed(names: Sequence[str]) -> str:
    more = len(names) - NAMED
    return ", ".join(names[:NAMED]) + (f" and {more} more" if more > 0 else "")


def targets_in_words(logits: Any, targets: Any, labels: Sequence[str] | None) -> list[str]:
    """Returns a line that says what is explained, and one of logits that are no numbers, if there are some.

    Args:
      logits: of each picture, (b, n).
      targets: the explained classes, (b,) or (b, t).
      labels: names of the classes.

    Returns:
      The lines; none of values that are not at hand, as while a program is traced.

    Example:
      >>> import numpy as np
      >>> from xrcam_jax.explain.showing import targets_in_words
      >>> targets_in_words(np.zeros((2, 2)), np.array([1, 0]), ("glioma", "meningioma"))
      ['targets: meningioma (0.50), glioma (0.50)']
    """
    try:
        named = [" and ".join(each) for each in captions(np.asarray(logits), np.asarray(targets), labels)]
        wrong = not_finite(np.asarray(logits))
    # Whatever it holds, and wherever that lies, an explanation can be printed.
    except Exception:
        return []
    lines = [f"targets: {_listed(named)}"]
    if wrong:
        lines.append(
            f"the logits of pictures {_listed(list(map(str, wrong)))} are NaN or infinite: their maps say nothing"
        )
    return lines


def not_finite(logits: Float[np.ndarray, "b n"]) -> list[int]:
    """Returns the numbers of the pictures whose logits are NaN or infinite.

    Args:
      logits: of each picture.

    Example:
      >>> import numpy as np
      >>> from xrcam_jax.explain.showing import not_finite
      >>> not_finite(np.array([[0.0, 1.0], [0.0, np.inf]]))
      [1]
    """
    return np.flatnonzero(~np.isfinite(logits.astype(np.float32)).all(1)).tolist()


def captions(logits: np.ndarray, targets: np.ndarray, labels: Sequence[str] | None) -> list[list[str]]:
    """Returns for each picture what is explained: the class of each target with its probability.

    Args:
      logits: of each picture, (b, n). If n is 1, it is their value that is told.
      targets: (b,) or (b, t).
      labels: names of the classes.

    Example:
      >>> import numpy as np
      >>> from xrcam_jax.explain.showing import captions
      >>> captions(np.array([[0.0, np.log(3.0)]]), np.array([[1, 0]]), None)
      [['class 1 (0.75)', 'class 0 (0.25)']]
      >>> captions(np.array([[-2.5]]), np.array([1]), None)
      [['value -2.5']]
    """
    logits = logits.astype(np.float64)
    targets = targets.reshape(len(targets), -1)
    if logits.shape[1] == 1:
        values = np.take_along_axis(class_logits(logits), targets, axis=1)
        # Of a target function this is its value, which has no class.
        return [
            [f"{labels[t]} ({v:.3g})" if labels else f"value {v:.3g}" for t, v in zip(*row, strict=True)]
            for row in zip(targets, values, strict=True)
        ]
    with np.errstate(invalid="ignore"):
        shifted = np.exp(softmax_logits(logits) - logits.max(1, keepdims=True))
        shares = np.take_along_axis(shifted / shifted.sum(1, keepdims=True), targets, axis=1)
    return [
        [f"{labels[t] if labels else f'class {t}'} ({share:.2f})" for t, share in zip(*row, strict=True)]
        for row in zip(targets, shares, strict=True)
    ]


def as_pictures(images: Float[Any, "b h w c"], preprocessing: Preprocessing | None) -> UInt8[np.ndarray, "b h w 3"]:
    """Returns images as they looked before they were prepared for a network.

    Args:
      images: a batch of them.
      preprocessing: how they were prepared. Without it, intensities in [0, 1] stay as they are, and others are scaled
        from the smallest to the largest of each image.

    Returns:
      RGB; of one channel it is grey, and so is the mean of more than three.

    Example:
      >>> import numpy as np
      >>> from xrcam_jax.explain.showing import as_pictures
      >>> from xrcam_jax.pictures.preprocessing import Preprocessing
      >>> images = np.array([-1.0, 0.0, 1.0]).reshape(1, 1, 3, 1)
      >>> as_pictures(images, None)[0, 0, :, 0].tolist()
      [0, 128, 255]
      >>> as_pictures(images, Preprocessing(mean=(0.4,), std=(0.2,)))[0, 0, :, 0].tolist()
      [51, 102, 153]
    """
    values = np.asarray(images, np.float32)
    if preprocessing is not None and len(preprocessing.mean) == values.shape[-1]:
        values = values * np.asarray(preprocessing.std, np.float32) + np.asarray(preprocessing.mean, np.float32)
    elif values.min() < 0 or values.max() > 1:
        places = tuple(range(1, values.ndim))
        low, high = values.min(places, keepdims=True), values.max(places, keepdims=True)
        values = (values - low) / np.where(high > low, high - low, 1)
    if values.shape[-1] != 3:
        values = np.repeat(values.mean(-1, keepdims=True), 3, axis=-1)
    return np.rint(255 * np.clip(values, 0, 1)).astype(np.uint8)


def the_pictures(images: PyTree, what: str) -> Any:
    """Returns what can be shown of images: a batch (b, h, w, c), the first of several inputs.

    Args:
      images: what an Explainer was called with.
      what: is to be shown, for messages.

    Raises:
      ValueError: there are no images, or none that can be drawn.

    Example:
      >>> import numpy as np
      >>> from xrcam_jax.explain.showing import the_pictures
      >>> the_pictures({"age": np.zeros((2, 1)), "scan": np.zeros((2, 4, 4, 1))}, "plot").shape
      (2, 4, 4, 1)
    """
    if images is None:
        raise ValueError(
            f"{what}: the explanation has no images, since it was made inside a program; give it some by "
            "dataclasses.replace(e, images=images)"
        )
    found = next((a for a in jax.tree.leaves(images) if np.ndim(a) == 4), None)
    if found is None:
        shapes = ", ".join(str(np.shape(a)) for a in jax.tree.leaves(images))
        raise ValueError(f"{what}: pictures (b, h, w, c) can be shown; the explained inputs are {shapes}")
    return found


def chosen_maps(
    maps: Mapping[str, Mapping[str, Any]], methods: Sequence[str] | str | None, layers: Sequence[str] | str | None
) -> dict[str, dict[str, Any]]:
    """Returns the maps of some methods at some layers; of a method that has none of these, all.

    Args:
      maps: by method and layer.
      methods: those that are wanted; all by default.
      layers: likewise.

    Raises:
      ValueError: a method or layer was not asked for.

    Example:
      >>> from xrcam_jax.explain.showing import chosen_maps
      >>> chosen_maps({"grad_cam": {"a": 1, "b": 2}, "gradient": {"input": 3}}, None, "b")
      {'grad_cam': {'b': 2}, 'gradient': {'input': 3}}
    """
    methods = [methods] if isinstance(methods, str) else list(maps) if methods is None else methods
    layers = [layers] if isinstance(layers, str) else layers
    known = dict.fromkeys(layer for by_layer in maps.values() for layer in by_layer)
    for what, names, there in (("method", methods, maps), ("layer", layers or (), known)):
        for name in names:
            if name not in there:
                raise unknown(what, name, there)
    found: dict[str, dict[str, Any]] = {}
    for method in methods:
        by_layer = maps[method]
        found[method] = {layer: by_layer[layer] for layer in layers or by_layer if layer in by_layer} or dict(by_layer)
    return found


def drawable(
    images: PyTree,
    maps: Mapping[str, Mapping[str, Any]],
    titles: Sequence[Sequence[str]],
    preprocessing: Preprocessing | None,
    what: str,
    signed: tuple[str, ...] = (),
) -> Drawable:
    """Returns pictures and their maps on the host, ready to be drawn.

    Args:
      images: what was explained.
      maps: by method and layer, (b, h, w), or (b, t, h, w) of t targets. Those of vectors and volumes are left out.
      titles: of each picture, what is explained: t texts.
      preprocessing: how the images were prepared.
      what: is to be drawn, for messages.
      signed: the methods whose maps have evidence for and against.

    Raises:
      ValueError: there is nothing that can be drawn.

    Example:
      >>> import numpy as np
      >>> from xrcam_jax.explain.showing import drawable
      >>> maps = {"grad_cam": {"layer4": np.zeros((1, 2, 4, 4))}}
      >>> found = drawable(np.zeros((1, 4, 4, 3)), maps, [["cat", "dog"]], None, "plot")
      >>> found.pictures.shape, found.maps["grad_cam"]["layer4"].shape, found.titles
      ((2, 4, 4, 3), (2, 4, 4), ['cat', 'dog'])
    """
    pictures, targets = the_pictures(images, what), len(titles[0])
    shown: dict[str, dict[str, np.ndarray]] = {}
    for method, by_layer in maps.items():
        flat = {layer: np.asarray(m, np.float32) for layer, m in by_layer.items() if np.ndim(m) in (3, 4)}
        flat = {layer: m.reshape(-1, *m.shape[-2:]) for layer, m in flat.items()}
        if fitting := {layer: m for layer, m in flat.items() if len(m) == targets * len(pictures)}:
            shown[method] = fitting
    if not shown:
        raise ValueError(f"{what}: there is no map of a picture among {', '.join(maps) or 'the methods'}")
    each = [title for some in titles for title in some]
    signed = tuple(name for name in signed if name in shown)
    return Drawable(np.repeat(as_pictures(pictures, preprocessing), targets, axis=0), shown, each, signed)


def scaled(raw: Any, axes: int) -> Float[np.ndarray, "..."]:
    """Returns values over the largest absolute one of each picture, in [-1, 1].

    Args:
      raw: the values.
      axes: how many leading axes are those of pictures and targets.

    Example:
      >>> import numpy as np
      >>> from xrcam_jax.explain.showing import scaled
      >>> scaled(np.array([[-2.0, 1.0], [0.0, 0.0]]), 1).tolist()
      [[-1.0, 0.5], [0.0, 0.0]]
    """
    values = np.asarray(raw, np.float32)
    largest = np.abs(values).max(tuple(range(axes, values.ndim)), keepdims=True)
    return values / np.where(largest > 0, largest, 1)
