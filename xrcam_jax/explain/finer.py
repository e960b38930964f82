"""Finer-CAM: Grad-CAM of the difference between the target's logit and those of similar classes.

References:
  zhang2025
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from jaxtyping import Array, Float, Int

from xrcam_jax.explain.kinds import Kind, split
from xrcam_jax.explain.passes import Cam
from xrcam_jax.lrp import seeds


@dataclass(frozen=True)
class FinerCam(Cam):
    """Is a class activation map with the seed :func:`xrcam_jax.lrp.seeds.finer`, whose options are its own.

    Attributes:
      alpha: how strongly classes are compared.
      comparison: how many similar classes there are, or which, by number.
    """

    alpha: float = 1.0
    comparison: int | tuple[int, ...] = 3

    def options_known(self) -> dict[str, Any]:
        known = super().options_known()
        known.pop("seed")
        return {**known, "alpha": float, "comparison": int | tuple[int, ...]}

    def configured(self, options: Mapping[str, Any]) -> Kind:
        own, others = split(options, ("alpha", "comparison"))
        if not isinstance(own.get("comparison", 0), int):
            # Programs are kept by their options, of which lists are none.
            own["comparison"] = tuple(own["comparison"])
        chosen = replace(self, **own)
        return super(FinerCam, chosen).configured({**others, "seed": Finer(chosen.alpha, chosen.comparison)})


@dataclass(frozen=True)
class Finer:
    """Is the seed :func:`xrcam_jax.lrp.seeds.finer` with options, equal for equal ones as compiled programs need it.

    Attributes:
      alpha: see there.
      comparison: likewise.
    """

    alpha: float = 1.0
    comparison: int | tuple[int, ...] = 3

    def __call__(self, logits: Float[Array, "b n"], targets: Int[Array, " b"]) -> Float[Array, "b n"]:
        """Returns the relevance of the logits."""
        return seeds.finer(logits, targets, alpha=self.alpha, comparison=self.comparison)
