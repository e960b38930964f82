"""What a method consists of: the kinds of methods, by what they have to run.

References:
  smilkov2017: Smilkov et al., SmoothGrad: removing noise by adding noise, arXiv:1706.03825.
  selvaraju2017: Selvaraju et al., Grad-CAM: visual explanations from deep networks, ICCV 2017.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from inspect import signature
from typing import Any, Literal, NamedTuple

from jax import Array, export
from jaxtyping import Float, Int

from xrcam_jax.lrp.composites import Composite

Family = Literal["activation", "propagation", "perturbation"]


@dataclass(frozen=True)
class Signal:
    """What is propagated from the logits to the layers: all methods of equal signal share one backward pass.

    Attributes:
      composite: the rules.
      seed: (logits, targets) -> what is put at the logits.
    """

    composite: Composite
    seed: Callable[[Float[Array, "b n"], Int[Array, " b"]], Float[Array, "b n"]]


def unchanged(a: Array, s: Array) -> Array:
    """A itself."""
    return a


@dataclass(frozen=True)
class Cam:
    """A class activation map: sum_k weight · A_k, weights from the activation and a signal.

    Attributes:
      signal: what arrives at the layer.
      weights: (activation, signal, **options) -> weights, see :mod:`xrcam_jax.cam.weights`.
      weighed: (activation, signal) -> what the weights are of, A itself but for Eigen-CAM.
      behind_pooling: whether it is defined only where nothing but global pooling and a linear layer follows.
      options: of ``weights``, by name.
    """

    signal: Signal
    weights: Callable[..., Array]
    weighed: Callable[[Array, Array], Array] = unchanged
    behind_pooling: bool = False
    options: tuple[tuple[str, Any], ...] = ()


@dataclass(frozen=True)
class Propagation:
    """The signal itself, at a mark or at the input, element by element.

    Attributes:
      signal: what arrives.
      times_value: whether it is multiplied with the layer's values.
      channels: how a map is made of it: ``"sum"`` over the channels, or the ``"largest"`` absolute value.
    """

    signal: Signal
    times_value: bool = False
    channels: Literal["sum", "largest"] = "sum"


class Found(NamedTuple):
    """What a method finds at a layer, for t targets of each image.

    Attributes:
      maps: signed, at the layer's own size (b, t, p, q); None if ``values`` says it all.
      values: element by element (b, t, p, q, k), if the method does so.
      error: completeness error (b, t), where the method promises a sum.
    """

    maps: Array | None = None
    values: Array | None = None
    error: Array | None = None


export.register_namedtuple_serialization(Found, serialized_name="xrcam_jax.Found")


@dataclass(frozen=True)
class Search:
    """A method that runs the model again and again, in chunks.

    Attributes:
      run: (case, layer, **options) -> :class:`Found`.
      options: the function whose keyword arguments are the method's options.
      where: the layers it can be asked for: marks, the input, or both.
      channels: as for :class:`Propagation`.
    """

    run: Callable[..., Found]
    options: Callable
    where: Literal["marks", "input", "both"]
    channels: Literal["sum", "largest"] = "sum"


@dataclass(frozen=True)
class Smooth:
    """SmoothGrad around a method: the mean of what it finds on noisy copies of the image (smilkov2017).

    Attributes:
      base: the method.
      samples: number of copies.
      noise: standard deviation of the noise, as a share of each image's range.
    """

    base: "Kind"
    samples: int = 16
    noise: float = 0.15

    def __post_init__(self) -> None:
        if self.samples < 1 or self.noise < 0:
            raise ValueError(f"samples must be at least 1 and noise not negative; got {self.samples} and {self.noise}")


@dataclass(frozen=True)
class Guided:
    """Guided backprop at the input times a CAM of a layer, pixel by pixel (selvaraju2017, section 3.2).

    Attributes:
      cam: a method whose maps are of marked layers.
      channels: as for :class:`Propagation`.
    """

    cam: "Kind"
    channels: Literal["sum", "largest"] = "largest"


Kind = Cam | Propagation | Search | Smooth | Guided


def where(kind: Kind) -> Literal["marks", "input", "both"]:
    """The layers that a method can be asked for."""
    if isinstance(kind, Smooth):
        return where(kind.base)
    if isinstance(kind, Search):
        return kind.where
    return "both" if isinstance(kind, Propagation) else "marks"


def is_single_pass(kind: Kind) -> bool:
    """Whether one forward pass and shared backward passes are all it needs."""
    return isinstance(kind, (Cam, Propagation))


def channels(kind: Kind) -> Literal["sum", "largest"]:
    """How a map is made of values element by element."""
    return channels(kind.base) if isinstance(kind, Smooth) else "sum" if isinstance(kind, Cam) else kind.channels


@dataclass(frozen=True)
class Method:
    """A row of the table of methods.

    Attributes:
      summary: one line.
      family: of the thesis's table 2.1.
      source: where it comes from.
      kind: what it consists of.
    """

    summary: str
    family: Family
    source: str
    kind: Kind


def option_names(kind: Kind) -> tuple[str, ...]:
    """The options that a method has, but for the choice of another method inside it."""
    if isinstance(kind, Search):
        return _keywords(kind.options)
    if isinstance(kind, Smooth):
        return ("samples", "noise", *option_names(kind.base))
    if isinstance(kind, Guided):
        return option_names(kind.cam)
    return ("composite", "seed", *(_keywords(kind.weights) if isinstance(kind, Cam) else ()))


def _keywords(function: Callable) -> tuple[str, ...]:
    return tuple(p.name for p in signature(function).parameters.values() if p.kind is p.KEYWORD_ONLY)


def configured(kind: Kind, options: Mapping[str, Any]) -> Kind:
    """``kind`` with ``options``, which it has."""
    if isinstance(kind, Search):
        return replace(kind, run=partial(kind.run, **options))
    if isinstance(kind, Guided):
        return replace(kind, cam=configured(kind.cam, options))
    if isinstance(kind, Smooth):
        own = {key: value for key, value in options.items() if key in ("samples", "noise")}
        rest = {key: value for key, value in options.items() if key not in own}
        return replace(kind, base=configured(kind.base, rest), **own)
    changed = {key: value for key, value in options.items() if key in ("composite", "seed")}
    kind = replace(kind, signal=replace(kind.signal, **changed))
    rest = {key: value for key, value in options.items() if key not in changed}
    return replace(kind, options=tuple(sorted(rest.items()))) if isinstance(kind, Cam) and rest else kind
