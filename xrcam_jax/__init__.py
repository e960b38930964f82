"""Layer-wise Relevance Propagation as a JAX transformation, and the explanation methods built on it."""

from xrcam_jax import plot
from xrcam_jax.explain.explainer import Explainer, attribute
from xrcam_jax.explain.explanation import Explanation
from xrcam_jax.explain.methods import METHODS
from xrcam_jax.images import load_images
from xrcam_jax.lrp import composites, rules, seeds
from xrcam_jax.lrp.conservation import Balance, Conservation, conservation
from xrcam_jax.lrp.transform import Taps, lrp, taps
from xrcam_jax.marks import mark
from xrcam_jax.models import create_model, list_models
from xrcam_jax.preprocessing import Preprocessing, preprocess

# Last: weights_convert builds on the modules above.
from weights_convert.load import load_model  # isort: skip

__all__ = [
    "METHODS",
    "Balance",
    "Conservation",
    "Explainer",
    "Explanation",
    "Preprocessing",
    "Taps",
    "attribute",
    "composites",
    "conservation",
    "create_model",
    "list_models",
    "load_images",
    "load_model",
    "lrp",
    "mark",
    "plot",
    "preprocess",
    "rules",
    "seeds",
    "taps",
]
