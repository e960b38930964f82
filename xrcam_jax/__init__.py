"""Layer-wise Relevance Propagation as a JAX transformation, and the explanation methods built on it."""

from xrcam_jax.checkpoints.load import load_model
from xrcam_jax.explain.explainer import Explainer, attribute
from xrcam_jax.explain.explanation import Explanation
from xrcam_jax.explain.methods import METHODS
from xrcam_jax.lrp import composites, rules, seeds
from xrcam_jax.lrp.conservation import Balance, Conservation, conservation
from xrcam_jax.lrp.transform import Taps, lrp, taps
from xrcam_jax.marks import mark
from xrcam_jax.models import create_model, list_models
from xrcam_jax.pictures import plot
from xrcam_jax.pictures.preprocessing import Preprocessing, preprocess
from xrcam_jax.pictures.read import load_images

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
