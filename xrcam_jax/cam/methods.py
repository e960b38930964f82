"""The methods by name: what each one propagates and how it weighs the activations."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from jax import Array

from xrcam_jax.cam import weights


@dataclass(frozen=True)
class Method:
    """A class activation map.

    Attributes:
      summary: one line.
      family: of the survey: ``"activation"``.
      source: where it comes from.
      signal: what arrives at the layer, the logit's gradient or its relevance.
      weights: (activation, signal) -> weights, see :mod:`xrcam_jax.cam.weights`.
    """

    summary: str
    family: str
    source: str
    signal: Literal["gradient", "relevance"]
    weights: Callable[[Array, Array], Array]


METHODS: dict[str, Method] = {
    "xrelevance_cam": Method(
        summary="relevance of a channel over its total activation; conserves relevance",
        family="activation",
        source="You et al., XRelevanceCAM, IJCARS 2024",
        signal="relevance",
        weights=weights.xrelevance_cam,
    ),
    "relevance_cam": Method(
        summary="mean relevance of a channel",
        family="activation",
        source="Lee et al., Relevance-CAM, CVPR 2021",
        signal="relevance",
        weights=weights.relevance_cam,
    ),
    "grad_cam": Method(
        summary="mean gradient of a channel",
        family="activation",
        source="Selvaraju et al., Grad-CAM, ICCV 2017",
        signal="gradient",
        weights=weights.grad_cam,
    ),
}
