"""What the page asks for, computed by one network for one list of pictures.

All of it runs in one thread: JAX's calls follow one another, and a video is read by one hand.
"""

import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import cv2
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, Float, UInt8

import xrcam_jax as xr
from xrcam_jax.cam.saliency import min_max
from xrcam_jax.classes import class_logits, softmax_logits
from xrcam_jax.explain.functional import as_function
from xrcam_jax.explain.methods import METHODS, configure
from xrcam_jax.explain.outline import count_classes, layers_of
from xrcam_jax.explain.signed import is_signed, signed_maps
from xrcam_jax.metrics.mass import mass_accuracy
from xrcam_jax.pictures.by_number import PicturesByNumber
from xrcam_jax.pictures.pages import RGB
from xrcam_jax.pictures.preprocessing import Box, preprocess
from xrcam_jax.view.channels import ACTIVATION, explainer
from xrcam_jax.view.kept import Kept
from xrcam_jax.view.regions import Channel, ranked

#: Bytes of explanations that are kept, and of pictures.
MOST_BYTES = 2**28
#: Pixels of the longer side of what the page is shown of a picture.
LONGEST_SIDE = 1200


class Superseded(Exception):
    """Says that nobody waits for a computation any more."""


@dataclass(frozen=True)
class Seen:
    """Is a picture as the network sees it.

    Attributes:
      name: of the picture.
      source: the file that it comes from.
      pixels: of the part that the network sees, for the page.
      size: (h, w) of the whole picture.
      box: which part of it the network sees.
      fed: what the network is fed.
      logits: what it says.
    """

    name: str
    source: str
    pixels: RGB
    size: tuple[int, int]
    box: Box
    fed: Float[np.ndarray, "1 h w c"]
    logits: Float[np.ndarray, " n"]

    @property
    def nbytes(self) -> int:
        return self.pixels.nbytes + self.fed.nbytes

    @property
    def predicted(self) -> int:
        return int(class_logits(self.logits).argmax())

    @property
    def probabilities(self) -> Float[np.ndarray, " n"]:
        logits = softmax_logits(self.logits.astype(np.float64))
        shares = np.exp(logits - logits.max())
        return shares / shares.sum()


@dataclass(frozen=True)
class Explained:
    """Is what a method says of a picture for a class, by layer.

    Attributes:
      maps: in [0, 1], of the size of what the network is fed.
      raw: signed, at the layer's own size.
      signed: in [-1, 1], of the size of what the network is fed; of methods that tell evidence for the class from
        evidence against it, see :func:`xrcam_jax.explain.signed.is_signed`.
      contributions: of each channel to ``raw``, where the method has channels.
      activations: the layer's values, likewise.
    """

    maps: Mapping[str, Float[np.ndarray, "h w"]]
    raw: Mapping[str, Float[np.ndarray, "_ _"]]
    signed: Mapping[str, Float[np.ndarray, "h w"]]
    contributions: Mapping[str, Float[np.ndarray, "_ _ _"]]
    activations: Mapping[str, Float[np.ndarray, "_ _ _"]]

    @property
    def nbytes(self) -> int:
        return sum(a.nbytes for part in vars(self).values() for a in part.values())

    @property
    def levels(self) -> dict[str, UInt8[np.ndarray, "_ _"]]:
        """Returns what maps are made of, at the layers' own sizes and in 256 levels, as the report's viewer has it."""
        return {layer: _in_levels(np.maximum(raw, 0)) for layer, raw in self.raw.items()}

    @property
    def signed_levels(self) -> dict[str, UInt8[np.ndarray, "h w"]]:
        """Returns the signed maps in 255 levels, of which 127 is zero."""
        return {layer: np.rint(127 * (1 + each)).astype(np.uint8) for layer, each in self.signed.items()}


@dataclass(frozen=True)
class Answer:
    """Says what speaks for a region.

    Attributes:
      area: the region's share of what the network sees.
      mass: by layer, the share of its map that lies within the region.
      channels: of one layer, see :func:`xrcam_jax.view.regions.ranked`; none of a method without channels.
      activation: of that layer.
    """

    area: float
    mass: Mapping[str, float]
    channels: Sequence[Channel]
    activation: Float[np.ndarray, "r c k"] | None

    def levels(self, channel: Channel) -> UInt8[np.ndarray, "r c"]:
        """Returns the activation of a channel, scaled by itself to 256 levels."""
        assert self.activation is not None
        return _in_levels(self.activation[..., channel.number])


class Session:
    """Explains pictures by a network, and keeps what it has found last.

    Args:
      model: a network with its ``preprocessing``, such as :func:`xrcam_jax.load_model` gives.
      pictures: what there is to look at.
      methods: those that may be asked for.
      layers: names of those at which maps are made; by default its marks, or the last layer of each size if there are
        none, and the input.
      labels: names of the classes; their numbers by default.
      others: methods that may be asked for too, unless the network cannot have them.
      described: says in the page which network and pictures these are.
      most_bytes: of what is kept.

    Raises:
      ValueError: a method cannot be had at these layers.
      NotImplementedError: a layer is inside a branch or a loop of unknown length.
    """

    def __init__(
        self,
        model: Any,
        pictures: PicturesByNumber,
        methods: Sequence[str],
        layers: Sequence[str] | None = None,
        labels: Sequence[str] | None = None,
        *,
        others: Sequence[str] = (),
        described: str = "",
        most_bytes: int = MOST_BYTES,
    ):
        self.pictures, self.config, self.described = pictures, model.preprocessing, described
        self._model, (self._function, self._parameters) = model, as_function(model)
        picture = jax.ShapeDtypeStruct((1, *self.config.input_size, self.config.channels), np.float32)
        network = self._function, picture, self._parameters
        self.layers = tuple(layers or (*_usual(*network), "input"))
        self.methods = _possible(methods, others, self.layers, network)
        self.labels = tuple(labels or map(str, range(count_classes(*network))))
        self.progress = ("", 0, 0)
        self._seen, self._explained = Kept[Seen](most_bytes), Kept[Explained](most_bytes)
        self._explainers: dict[str, xr.Explainer] = {}
        self._classify = jax.jit(self._function)
        self._is_wanted: Callable[[], bool] = lambda: True

    def seen(self, number: int) -> Seen:
        """Returns a picture and what the network says of it.

        Raises:
          ValueError: the picture cannot be read, or the network's output has NaN or infinity.
        """
        return self._seen.get(number, lambda: self._look(number))

    def explained(
        self, number: int, method: str, target: int, is_wanted: Callable[[], bool] = lambda: True
    ) -> Explained:
        """Returns the maps of a picture.

        Args:
          number: of the picture.
          method: one of ``methods``.
          target: the class that is explained.
          is_wanted: says, while methods run the network again and again, whether somebody still waits for them.

        Raises:
          ValueError: the picture cannot be read, or the method says something else than numbers.
          NotImplementedError: an operation of the network has no rule.
          Superseded: nobody waits any more.
        """
        self._is_wanted = is_wanted
        return self._explained.get((number, method, target), lambda: self._explain(number, method, target))

    def region(self, number: int, method: str, target: int, layer: str, region: Bool[np.ndarray, "h w"]) -> Answer:
        """Says what speaks for a region.

        Args:
          number: of the picture.
          method: one of ``methods``.
          target: the class that is explained.
          layer: the one whose channels are asked for.
          region: of the size of what the network is fed.

        Raises:
          ValueError: the region has no pixels, or as :meth:`explained` does.
        """
        if not region.any():
            raise ValueError("the region is too small: it holds the centre of no pixel that the network sees")
        found = self.explained(number, method, target)
        shares = np.asarray(mass_accuracy(np.stack([*found.maps.values()]), region[None]))
        mass = dict(zip(found.maps, shares.tolist(), strict=True))
        if layer not in found.contributions:
            return Answer(float(region.mean()), mass, [], None)
        channels = ranked(found.contributions[layer], region)
        return Answer(float(region.mean()), mass, channels, found.activations[layer])

    def _look(self, number: int) -> Seen:
        picture = self.pictures.read(number)
        fed = preprocess([picture.shown], self.config)
        logits = np.asarray(jax.device_get(self._classify(fed, self._parameters)))[0]
        if not np.isfinite(logits).all():
            raise ValueError(f"{picture.source}: the network's output has NaN or infinity")
        height, width = picture.pixels.shape[:2]
        box = picture.seen(self.config)
        fill = np.array([round(255 * mean) for mean in self.config.mean], np.uint8)
        pixels = _at_most(box.cut(picture.pixels, fill), LONGEST_SIDE)
        return Seen(picture.name, picture.source.name, pixels, (height, width), box, fed, logits)

    def _explain(self, number: int, method: str, target: int) -> Explained:
        seen = self.seen(number)
        if not self._is_wanted():
            raise Superseded
        if method not in self._explainers:
            self._explainers[method] = explainer(self._model, method, self.methods[method], self._watched)
        try:
            e = self._explainers[method](seen.fed, np.array([target], np.int32))
            signed = {method: signed_maps(e.raw[method], seen.fed.shape[1:3])} if is_signed(method) else {}
            maps, raw, signed, attributions = jax.device_get((e.maps, e.raw, signed, e.attributions))
        finally:
            self.progress = ("", 0, 0)
        order = self.methods[method]

        def by_layer(part: Mapping[str, Any], name: str) -> dict[str, np.ndarray]:
            return {layer: np.asarray(part[name][layer][0]) for layer in order if layer in part.get(name, ())}

        found = Explained(
            by_layer(maps, method),
            by_layer(raw, method),
            by_layer(signed, method),
            by_layer(attributions, method),
            by_layer(attributions, ACTIVATION),
        )
        if not all(np.isfinite(raw).all() for raw in found.raw.values()):
            raise ValueError(f"{seen.source}: maps of {method} have NaN or infinity")
        return found

    def _watched(self, items: Iterable, total: int, name: str) -> Iterator[Any]:
        """Goes through the steps of a long method, says how far it is, and gives it up when nobody waits any more."""
        for done, item in enumerate(items):
            if not self._is_wanted():
                raise Superseded
            self.progress = (name, done, total)
            yield item


def _usual(*network: Any) -> tuple[str, ...]:
    """Returns the layers at which class activation maps are made if nothing else is said."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="the model has no marked layers")
        return layers_of("grad_cam", METHODS["grad_cam"].kind, None, *network)


def _possible(
    methods: Sequence[str], others: Sequence[str], layers: tuple[str, ...], network: tuple
) -> dict[str, tuple[str, ...]]:
    """Returns the layers of each method, and of those of the others that the network can have."""
    found = {name: layers_of(name, configure(name, {}), layers, *network) for name in methods}
    for name in others:
        with suppress(ValueError, NotImplementedError):
            found[name] = layers_of(name, configure(name, {}), layers, *network)
    return found


def _in_levels(values: Float[np.ndarray, "r c"]) -> UInt8[np.ndarray, "r c"]:
    """Returns a map scaled to 256 levels."""
    return np.rint(255 * np.asarray(min_max(jnp.asarray(values)))).astype(np.uint8)


def _at_most(picture: RGB, side: int) -> RGB:
    ratio = side / max(picture.shape[:2])
    if ratio >= 1:
        return np.ascontiguousarray(picture)
    height, width = (max(1, round(ratio * length)) for length in picture.shape[:2])
    return cv2.resize(picture, (width, height), interpolation=cv2.INTER_AREA)
