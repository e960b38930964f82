"""Layer-wise Relevance Propagation as a JAX transformation, and the explanation methods built on it."""

from xrcam_jax.cam.explainer import Explainer, Explanation
from xrcam_jax.cam.methods import METHODS
from xrcam_jax.lrp import composites, rules, seeds
from xrcam_jax.lrp.conservation import Balance, Conservation, conservation
from xrcam_jax.lrp.transform import Taps, lrp, taps
from xrcam_jax.marks import mark
from xrcam_jax.models.resnet import create_model
from xrcam_jax.models.specs import list_models

__all__ = [
    "METHODS",
    "Balance",
    "Conservation",
    "Explainer",
    "Explanation",
    "Taps",
    "composites",
    "conservation",
    "create_model",
    "list_models",
    "lrp",
    "mark",
    "rules",
    "seeds",
    "taps",
]
