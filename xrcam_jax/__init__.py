"""Layer-wise Relevance Propagation as a JAX transformation, and the explanation methods built on it."""

import sys
from collections.abc import Callable
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from xrcam_jax import concepts
    from xrcam_jax.attribution.tokens import Tokens
    from xrcam_jax.checkpoints.load import load_model
    from xrcam_jax.data import datasets
    from xrcam_jax.evaluation import quantus
    from xrcam_jax.evaluation.evaluate import evaluate
    from xrcam_jax.evaluation.evaluation import Evaluation
    from xrcam_jax.evaluation.metrics import METRICS
    from xrcam_jax.explain import adapters, targets
    from xrcam_jax.explain.attribute import attribute
    from xrcam_jax.explain.calls.cams import (
        cam,
        eigen_cam,
        eigen_grad_cam,
        elementwise_grad_cam,
        grad_cam,
        grad_cam_pp,
        hires_cam,
        layer_cam,
        relevance_cam,
        x_grad_cam,
        xrelevance_cam,
    )
    from xrcam_jax.explain.calls.more_cams import (
        ablation_cam,
        finer_cam,
        full_grad,
        guided_grad_cam,
        integrated_grad_cam,
        kpca_cam,
        lift_cam,
        score_cam,
        shapley_cam,
        smooth_grad_cam_pp,
        smoothed_score_cam,
    )
    from xrcam_jax.explain.calls.paths import blur_integrated_gradients, expected_gradients, xrai
    from xrcam_jax.explain.calls.perturbation import kernel_shap, lime, occlusion, prediction_difference, rise
    from xrcam_jax.explain.calls.propagation import (
        chefer,
        clrp,
        deconvnet,
        deep_lift,
        gradient,
        gradient_x_input,
        guided_backprop,
        integrated_gradients,
        legrad,
        sglrp,
        smooth_grad,
    )
    from xrcam_jax.explain.disturbances import Dropout, Ensemble, Noise
    from xrcam_jax.explain.explainer import Explainer
    from xrcam_jax.explain.explanation import Explanation
    from xrcam_jax.explain.methods import METHODS
    from xrcam_jax.explain.repeated import Repeated, RepeatedExplanation
    from xrcam_jax.figures.overlay import overlay
    from xrcam_jax.figures.sheet import sheet
    from xrcam_jax.figures.style import Style
    from xrcam_jax.lrp import composites, rules, seeds
    from xrcam_jax.lrp.conservation import Balance, Conservation, conservation
    from xrcam_jax.lrp.layers import layers
    from xrcam_jax.lrp.sides import two_sided
    from xrcam_jax.lrp.transform import Taps, lrp, taps
    from xrcam_jax.marks import mark, mark_tokens
    from xrcam_jax.models import create_model, list_models
    from xrcam_jax.onnx.load import from_onnx
    from xrcam_jax.pictures.preprocessing import Preprocessing, preprocess
    from xrcam_jax.pictures.read import load_images
    from xrcam_jax.pictures.volumes import load_volume, save_volume

__all__ = [
    "METHODS",
    "METRICS",
    "Balance",
    "Conservation",
    "Dropout",
    "Ensemble",
    "Evaluation",
    "Explainer",
    "Explanation",
    "Noise",
    "Preprocessing",
    "Repeated",
    "RepeatedExplanation",
    "Style",
    "Taps",
    "Tokens",
    "__version__",
    "ablation_cam",
    "adapters",
    "attribute",
    "blur_integrated_gradients",
    "cam",
    "chefer",
    "clrp",
    "composites",
    "concepts",
    "conservation",
    "create_model",
    "datasets",
    "deconvnet",
    "deep_lift",
    "eigen_cam",
    "eigen_grad_cam",
    "elementwise_grad_cam",
    "evaluate",
    "expected_gradients",
    "finer_cam",
    "from_onnx",
    "full_grad",
    "grad_cam",
    "grad_cam_pp",
    "gradient",
    "gradient_x_input",
    "guided_backprop",
    "guided_grad_cam",
    "hires_cam",
    "integrated_grad_cam",
    "integrated_gradients",
    "kernel_shap",
    "kpca_cam",
    "layer_cam",
    "layers",
    "legrad",
    "lift_cam",
    "lime",
    "list_models",
    "load_images",
    "load_model",
    "load_volume",
    "lrp",
    "mark",
    "mark_tokens",
    "occlusion",
    "overlay",
    "prediction_difference",
    "preprocess",
    "quantus",
    "relevance_cam",
    "rise",
    "rules",
    "save_volume",
    "score_cam",
    "seeds",
    "sglrp",
    "shapley_cam",
    "sheet",
    "smooth_grad",
    "smooth_grad_cam_pp",
    "smoothed_score_cam",
    "taps",
    "targets",
    "two_sided",
    "x_grad_cam",
    "xrai",
    "xrelevance_cam",
]

# Modules of the public names that are imported when a name is first asked for: JAX, Flax and OpenCV among them take
# seconds, in which the command line could not yet be told to stop.
_LATER = {
    "METHODS": "explain.methods",
    "METRICS": "evaluation.metrics",
    "Balance": "lrp.conservation",
    "Conservation": "lrp.conservation",
    "Dropout": "explain.disturbances",
    "Ensemble": "explain.disturbances",
    "Evaluation": "evaluation.evaluation",
    "Explainer": "explain.explainer",
    "Explanation": "explain.explanation",
    "Noise": "explain.disturbances",
    "Preprocessing": "pictures.preprocessing",
    "Repeated": "explain.repeated",
    "RepeatedExplanation": "explain.repeated",
    "Style": "figures.style",
    "Taps": "lrp.transform",
    "Tokens": "attribution.tokens",
    "adapters": "explain.adapters",
    "attribute": "explain.attribute",
    "composites": "lrp.composites",
    "concepts": "concepts",
    "conservation": "lrp.conservation",
    "create_model": "models",
    "datasets": "data.datasets",
    "evaluate": "evaluation.evaluate",
    "from_onnx": "onnx.load",
    "layers": "lrp.layers",
    "list_models": "models",
    "load_images": "pictures.read",
    "load_model": "checkpoints.load",
    "load_volume": "pictures.volumes",
    "mark": "marks",
    "mark_tokens": "marks",
    "overlay": "figures.overlay",
    "preprocess": "pictures.preprocessing",
    "quantus": "evaluation.quantus",
    "rules": "lrp.rules",
    "save_volume": "pictures.volumes",
    "seeds": "lrp.seeds",
    "sheet": "figures.sheet",
    "taps": "lrp.transform",
    "targets": "explain.targets",
    "two_sided": "lrp.sides",
}
# Each method as a function. The method lrp has none here: that is the name of the transformation.
_CALLS = {
    "explain.calls.cams": (
        "eigen_cam",
        "eigen_grad_cam",
        "elementwise_grad_cam",
        "grad_cam",
        "grad_cam_pp",
        "hires_cam",
        "layer_cam",
        "relevance_cam",
        "x_grad_cam",
        "xrelevance_cam",
    ),
    "explain.calls.more_cams": (
        "ablation_cam",
        "finer_cam",
        "full_grad",
        "guided_grad_cam",
        "integrated_grad_cam",
        "kpca_cam",
        "lift_cam",
        "score_cam",
        "shapley_cam",
        "smooth_grad_cam_pp",
        "smoothed_score_cam",
    ),
    "explain.calls.propagation": (
        "chefer",
        "clrp",
        "deconvnet",
        "deep_lift",
        "gradient",
        "gradient_x_input",
        "guided_backprop",
        "integrated_gradients",
        "legrad",
        "sglrp",
        "smooth_grad",
    ),
    "explain.calls.paths": ("blur_integrated_gradients", "expected_gradients", "xrai"),
    "explain.calls.perturbation": ("kernel_shap", "lime", "occlusion", "prediction_difference", "rise"),
}
_LATER |= {name: module for module, names in _CALLS.items() for name in names}


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import version

        return version("xrcam-jax")
    if name not in _LATER:
        raise AttributeError(f"module 'xrcam_jax' has no attribute {name!r}")
    module = import_module(f"xrcam_jax.{_LATER[name]}")
    return globals().setdefault(name, getattr(module, name, module))


def __dir__() -> list[str]:
    return __all__


class _Face(ModuleType):
    """Shows the functions ``lrp`` and ``cam``, in whose place importing the folders of these names would put them."""

    @property
    def lrp(self) -> Callable:
        return import_module("xrcam_jax.lrp.transform").lrp

    @lrp.setter
    def lrp(self, folder: ModuleType) -> None:
        pass

    @property
    def cam(self) -> Callable:
        return import_module("xrcam_jax.explain.calls.cams").cam

    @cam.setter
    def cam(self, folder: ModuleType) -> None:
        pass


sys.modules[__name__].__class__ = _Face
