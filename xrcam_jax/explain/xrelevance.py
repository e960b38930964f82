"""XRelevance-CAM as the thesis uses it, or with the weights that solve one of the axioms that it is derived from.

References:
  you2024
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

from xrcam_jax.cam.axiom_cams import conserving_weights, sensitive_weights
from xrcam_jax.explain import multi_pass
from xrcam_jax.explain.kinds import Kind, split
from xrcam_jax.explain.multi_pass import MultiPass
from xrcam_jax.explain.passes import Cam

#: By the axiom that is solved, the function that gives the weights.
AXIOMS: dict[str, Callable] = {"conservation": conserving_weights, "sensitivity": sensitive_weights}


@dataclass(frozen=True)
class XRelevanceCam(Cam):
    """Is XRelevance-CAM, whose option ``axiom`` asks for φ (``"conservation"``) or Ψ (``"sensitivity"``)."""

    def options_known(self) -> dict[str, Any]:
        return {**super().options_known(), "axiom": Literal["conservation", "sensitivity"] | None}

    def configured(self, options: Mapping[str, Any]) -> Kind:
        chosen, others = split(options, ("axiom",))
        axiom = chosen.get("axiom")
        if axiom is None:
            return super().configured(others)
        if axiom not in tuple(AXIOMS):
            raise ValueError(f"axiom must be {', '.join(AXIOMS)} or None; got {axiom!r}")
        if "seed" in others:
            raise ValueError("seed cannot be chosen with axiom: the axioms are solved for the contrastive seed")
        function = partial(AXIOMS[axiom], **{"composite": self.signal.composite, **others})
        return MultiPass(function, gives=multi_pass.weights, changes_input=False)
