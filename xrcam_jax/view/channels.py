"""Explainers that also tell what each channel of a layer says."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from jaxtyping import Array, Float

import xrcam_jax as xr
from xrcam_jax.attribution.case import Case
from xrcam_jax.attribution.shapes import at_least_float32
from xrcam_jax.explain import multi_pass
from xrcam_jax.explain.kinds import Found, Kind, Where
from xrcam_jax.explain.methods import GRADIENT
from xrcam_jax.explain.multi_pass import MultiPass
from xrcam_jax.explain.passes import Cam, SinglePass

#: Under this name an explanation has the layers' own values.
ACTIVATION = "activation"


def explainer(model: Callable, method: str, layers: Sequence[str], progress: Callable = lambda items, *_: items) -> Any:
    """Returns an Explainer of one method whose ``attributions`` are what each channel contributes to its map.

    They have the layers' activations too, under the name :data:`ACTIVATION`. Methods that make a map without channels,
    such as perturbations, have no attributions.

    Args:
      model: as for :class:`xrcam_jax.Explainer`.
      method: its name, which may have options.
      layers: names of layers.
      progress: as for the Explainer.

    Returns:
      The Explainer.

    Raises:
      ValueError: there is no such method or option.
    """
    explain = xr.Explainer(model, (method,), layers, check_finite=False, progress=progress)
    kind = explain.kinds[method]
    explain.kinds = {method: by_channel(kind)}
    if kind.where != "input":
        # The signal of the method itself needs no other pass.
        signal = kind.signal if isinstance(kind, SinglePass) else GRADIENT
        explain.kinds[ACTIVATION] = Activation(signal, kind.where)
    explain.methods = tuple(explain.kinds)
    return explain


def by_channel(kind: Kind) -> Kind:
    """Returns a method that gives what each channel contributes, C_k = weight_k · A_k, where it gave their sum.

    Args:
      kind: any method; those that are no class activation maps from weights come back as they are.
    """
    if isinstance(kind, Cam):
        return ChannelCam(**vars(kind))
    if isinstance(kind, MultiPass) and kind.gives is multi_pass.weights:
        return replace(kind, gives=_weighted)
    return kind


class ChannelCam(Cam):
    """Is a class activation map as the channels that it is the sum of."""

    def find(self, value: Array, signal: Array) -> Found:
        a, s = at_least_float32(value), at_least_float32(signal)
        return Found(values=self.weighed(a, s) * self.weights(a, s, **dict(self.options)))


@dataclass(frozen=True)
class Activation(SinglePass):
    """Is what a layer itself has, whatever is propagated to it.

    Attributes:
      at: where, see :class:`xrcam_jax.explain.kinds.Kind`.
    """

    at: Where = "marks"

    @property
    def where(self) -> Where:
        return self.at

    def find(self, value: Array, signal: Array) -> Found:
        return Found(values=at_least_float32(value))


def _weighted(found: Float[Array, "b t *one k"], case: Case, layer: str) -> Found:
    activation, _ = case.at(layer)
    return Found(values=found * activation[:, None])
