"""What figures, tables and pages call methods and layers: the names as people write them."""

import re

#: What stands before each option of a method, as in ``rise+samples=500``. It is no part of names and numbers, and every
#: file system and shell takes it.
SIGN = "+"

TITLES = {
    "xrelevance_cam": "XRelevance-CAM",
    "relevance_cam": "Relevance-CAM",
    "cam": "CAM",
    "grad_cam": "Grad-CAM",
    "grad_cam_pp": "Grad-CAM++",
    "x_grad_cam": "XGrad-CAM",
    "hires_cam": "HiResCAM",
    "layer_cam": "LayerCAM",
    "elementwise_grad_cam": "Elementwise Grad-CAM",
    "eigen_cam": "Eigen-CAM",
    "eigen_grad_cam": "Eigen-Grad-CAM",
    "finer_cam": "Finer-CAM",
    "guided_grad_cam": "Guided Grad-CAM",
    "kpca_cam": "KPCA-CAM",
    "smooth_grad_cam_pp": "Smooth Grad-CAM++",
    "integrated_grad_cam": "Integrated Grad-CAM",
    "lift_cam": "LIFT-CAM",
    "shapley_cam": "ShapleyCAM",
    "ablation_cam": "Ablation-CAM",
    "score_cam": "Score-CAM",
    "smoothed_score_cam": "Smoothed Score-CAM",
    "gradient": "Gradient",
    "gradient_x_input": "Gradient × input",
    "guided_backprop": "Guided backpropagation",
    "deconvnet": "DeconvNet",
    "smooth_grad": "SmoothGrad",
    "integrated_gradients": "Integrated Gradients",
    "expected_gradients": "Expected Gradients",
    "blur_integrated_gradients": "Blur Integrated Gradients",
    "xrai": "XRAI",
    "deep_lift": "DeepLIFT",
    "full_grad": "FullGrad",
    "lrp": "LRP",
    "clrp": "CLRP",
    "sglrp": "SGLRP",
    "chefer": "Chefer",
    "legrad": "LeGrad",
    "occlusion": "Occlusion",
    "rise": "RISE",
    "lime": "LIME",
    "kernel_shap": "KernelSHAP",
    "prediction_difference": "Prediction difference analysis",
}

_LAYERS = {"aggregate": "all layers"}


def method_title(name: str) -> str:
    """Returns what tables and figures call a method, with its options if its name has some.

    Args:
      name: of a method, or any other text, which stays as it is.

    Example:
      >>> from xrcam_jax.titles import method_title
      >>> method_title("xrelevance_cam"), method_title("rise+samples=500"), method_title("(noise)")
      ('XRelevance-CAM', 'RISE, samples=500', '(noise)')
    """
    method, *options = name.split(SIGN)
    return ", ".join([TITLES[method], *options]) if method in TITLES else name


def layer_title(name: str) -> str:
    """Returns what figures call a layer: a word and a number are written apart, and an aggregate says of what.

    Args:
      name: of a layer, ``"input"`` or ``"aggregate"``.

    Example:
      >>> from xrcam_jax.titles import layer_title
      >>> layer_title("layer3"), layer_title("aggregate"), layer_title("features/denseblock2")
      ('layer 3', 'all layers', 'features/denseblock2')
    """
    return _LAYERS.get(name) or re.sub(r"^([a-z]+)(\d[\d+]*)$", r"\1 \2", name)
