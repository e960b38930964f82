"""The methods by name: the thesis's table 2.1 and what has come since."""

from collections.abc import Callable, Mapping
from typing import Any

from jaxtyping import Array

from xrcam_jax.attribution import gradients, perturbations
from xrcam_jax.attribution.case import Case
from xrcam_jax.attribution.lime import lime
from xrcam_jax.attribution.prediction_difference import prediction_difference
from xrcam_jax.cam import channel_cams as channels
from xrcam_jax.cam import path_cams, weights
from xrcam_jax.cam.components import centred
from xrcam_jax.errors import unknown
from xrcam_jax.explain import kinds
from xrcam_jax.explain.evaluate import GUIDED_BACKPROP
from xrcam_jax.explain.kinds import Cam, Found, Guided, Kind, Method, Propagation, Search, Signal, Smooth
from xrcam_jax.lrp import composites, seeds

GRADIENT = Signal(composites.gradient(), seeds.unit)
# A map does not change with the seed's scale, and the contrastive one explains the target even where its
# logit is negative.
RELEVANCE = Signal(composites.relevance_cam(), seeds.contrastive)


def _centred_product(a: Array, g: Array) -> Array:
    return centred(g * a)


def _centred(a: Array, g: Array) -> Array:
    return centred(a)


def _channel_weights(find: Callable[..., Array]) -> Search:
    """A CAM whose weights (b, t, 1, 1, k) are found by running the model again."""

    def run(case: Case, layer: str, **options: Any) -> Found:
        activation, _ = case.at(layer)
        return Found(maps=(find(case, layer, **options) * activation[:, None]).sum(-1))

    return Search(run, find, "marks")


def _layer_maps(find: Callable[..., Array]) -> Search:
    return Search(lambda case, layer, **options: Found(maps=find(case, layer, **options)), find, "marks")


def _contributions(find: Callable[..., gradients.Contributions]) -> Search:
    def run(case: Case, layer: str, **options: Any) -> Found:
        contributions = find(case, layer, **options)
        return Found(values=contributions.values, error=contributions.error)

    return Search(run, find, "both")


def _pixel_maps(find: Callable[..., Array]) -> Search:
    return Search(lambda case, _, **options: Found(maps=find(case, **options)), find, "input")


_GRAD_CAM = Cam(GRADIENT, weights.grad_cam)
_GRADIENT = Propagation(GRADIENT, channels="largest")

METHODS: dict[str, Method] = {
    "xrelevance_cam": Method(
        "relevance of a channel over its total activation; conserves relevance",
        "activation", "You et al., XRelevanceCAM, IJCARS 2024",
        Cam(RELEVANCE, weights.xrelevance_cam),
    ),
    "relevance_cam": Method(
        "mean relevance of a channel",
        "activation", "Lee et al., Relevance-CAM, CVPR 2021",
        Cam(RELEVANCE, weights.relevance_cam),
    ),
    "cam": Method(
        "classifier weight of a channel; last layer only",
        "activation", "Zhou et al., CAM, CVPR 2016",
        Cam(GRADIENT, weights.cam, behind_pooling=True),
    ),
    "grad_cam": Method(
        "mean gradient of a channel",
        "activation", "Selvaraju et al., Grad-CAM, ICCV 2017",
        _GRAD_CAM,
    ),
    "grad_cam_pp": Method(
        "weighted sum of a channel's positive gradients",
        "activation", "Chattopadhay et al., Grad-CAM++, WACV 2018",
        Cam(GRADIENT, weights.grad_cam_pp),
    ),
    "x_grad_cam": Method(
        "gradient of a channel, averaged by its activation",
        "activation", "Fu et al., XGrad-CAM, BMVC 2020",
        Cam(GRADIENT, weights.x_grad_cam),
    ),
    "hires_cam": Method(
        "gradient times activation, place by place",
        "activation", "Draelos and Carin, HiResCAM, 2020",
        Cam(GRADIENT, weights.hires_cam),
    ),
    "layer_cam": Method(
        "positive gradient times activation, place by place",
        "activation", "Jiang et al., LayerCAM, IEEE TIP 2021",
        Cam(GRADIENT, weights.layer_cam),
    ),
    "elementwise_grad_cam": Method(
        "positive part of gradient times activation, place by place",
        "activation", "Gildenblat et al., pytorch-grad-cam, 2021",
        Cam(GRADIENT, weights.elementwise_grad_cam),
    ),
    "eigen_cam": Method(
        "first principal component of the activations, whatever the class",
        "activation", "Muhammad and Yeasin, Eigen-CAM, IJCNN 2020",
        Cam(GRADIENT, weights.eigen_cam, _centred),
    ),
    "eigen_grad_cam": Method(
        "first principal component of gradient times activation",
        "activation", "Gildenblat et al., pytorch-grad-cam, 2021",
        Cam(GRADIENT, weights.eigen_grad_cam, _centred_product),
    ),
    "guided_grad_cam": Method(
        "guided backprop times Grad-CAM, or the CAM named by cam=",
        "activation", "Selvaraju et al., Grad-CAM, ICCV 2017",
        Guided(_GRAD_CAM),
    ),
    "smooth_grad_cam_pp": Method(
        "Grad-CAM++ with gradients averaged over noisy images",
        "activation", "Omeiza et al., Smooth Grad-CAM++, 2019",
        _layer_maps(path_cams.smooth_grad_cam_pp),
    ),
    "integrated_grad_cam": Method(
        "Grad-CAM averaged on the way from a baseline",
        "activation", "Sattarzadeh et al., Integrated Grad-CAM, ICASSP 2021",
        _layer_maps(path_cams.integrated_grad_cam),
    ),
    "lift_cam": Method(
        "DeepLIFT's contribution of a channel",
        "activation", "Jung and Oh, LIFT-CAM, ICCV 2021",
        _layer_maps(path_cams.lift_cam),
    ),
    "ablation_cam": Method(
        "drop of the score when a channel is set to zero",
        "activation", "Desai and Ramaswamy, Ablation-CAM, WACV 2020",
        _channel_weights(channels.ablation_cam),
    ),
    "score_cam": Method(
        "score of the image seen through a channel",
        "activation", "Wang et al., Score-CAM, CVPRW 2020",
        _channel_weights(channels.score_cam),
    ),
    "smoothed_score_cam": Method(
        "Score-CAM averaged over noise",
        "activation", "Naidu and Michael, SS-CAM, 2020",
        _channel_weights(channels.smoothed_score_cam),
    ),
    "gradient": Method(
        "derivative of the logit",
        "propagation", "Simonyan et al., Deep inside convolutional networks, 2014",
        _GRADIENT,
    ),
    "gradient_x_input": Method(
        "derivative of the logit times the input",
        "propagation", "Shrikumar et al., Not just a black box, 2016",
        Propagation(GRADIENT, times_value=True),
    ),
    "guided_backprop": Method(
        "gradient that passes ReLUs only where it is positive",
        "propagation", "Springenberg et al., Striving for simplicity, 2015",
        GUIDED_BACKPROP.kind,
    ),
    "deconvnet": Method(
        "gradient with a ReLU on the way back",
        "propagation", "Zeiler and Fergus, ECCV 2014",
        Propagation(Signal(composites.deconvnet(), seeds.unit), channels="largest"),
    ),
    "smooth_grad": Method(
        "mean over noisy images of the gradient, or of the method named by base=",
        "propagation", "Smilkov et al., SmoothGrad, 2017",
        Smooth(_GRADIENT),
    ),
    "integrated_gradients": Method(
        "gradients integrated from a baseline; sums to the difference of the logits",
        "propagation", "Sundararajan et al., ICML 2017",
        _contributions(gradients.integrated_gradients),
    ),
    "deep_lift": Method(
        "rescaled differences from a baseline; sums to the difference of the logits",
        "propagation", "Shrikumar et al., DeepLIFT, ICML 2017",
        _contributions(gradients.deep_lift),
    ),
    "lrp": Method(
        "layer-wise relevance, by the rules of any composite",
        "propagation", "Bach et al., PLOS ONE 2015",
        Propagation(Signal(composites.relevance_cam(), seeds.one_hot)),
    ),
    "clrp": Method(
        "relevance of the class against all others",
        "propagation", "Gu et al., ACCV 2018",
        Propagation(Signal(composites.relevance_cam(), seeds.clrp)),
    ),
    "sglrp": Method(
        "relevance of the class against the others, each by its probability",
        "propagation", "Iwana et al., ICCVW 2019",
        Propagation(Signal(composites.relevance_cam(), seeds.sglrp)),
    ),
    "occlusion": Method(
        "drop of the score when a window is hidden",
        "perturbation", "Zeiler and Fergus, ECCV 2014",
        _pixel_maps(perturbations.occlusion),
    ),
    "rise": Method(
        "mean of random masks, weighted by the score of what they leave",
        "perturbation", "Petsiuk et al., RISE, BMVC 2018",
        _pixel_maps(perturbations.rise),
    ),
    "lime": Method(
        "linear model of the score on visible superpixels",
        "perturbation", "Ribeiro et al., LIME, KDD 2016",
        _pixel_maps(lime),
    ),
    "prediction_difference": Method(
        "weight of evidence of a patch against patches that would fit there",
        "perturbation", "Zintgraf et al., ICLR 2017",
        _pixel_maps(prediction_difference),
    ),
}  # fmt: skip


def configure(name: str, options: Mapping[str, Any]) -> Kind:
    """What the method ``name`` consists of, with ``options``; ``base=`` and ``cam=`` name another method inside it.

    Raises:
      ValueError: a method or an option that there is not.
    """
    if name not in METHODS:
        raise unknown("method", name, METHODS)
    kind, rest = METHODS[name].kind, dict(options)
    if isinstance(kind, Smooth) and "base" in rest:
        kind = Smooth(configure(rest.pop("base"), {}))
    if isinstance(kind, Guided) and "cam" in rest:
        kind = Guided(configure(rest.pop("cam"), {}))
        if kinds.where(kind.cam) != "marks":
            raise ValueError(f"cam must name a class activation map; got {options['cam']!r}")
    known = kinds.option_names(kind)
    for option in rest:
        if option not in known:
            raise unknown(f"option of {name}", option, known)
    return kinds.configured(kind, rest)
