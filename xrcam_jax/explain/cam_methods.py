"""The class activation maps among the methods, by name: see :mod:`xrcam_jax.explain.methods`.

References:
  you2024, lee2021, zhou2016, selvaraju2017, chattopadhay2018, fu2020, draelos2020, jiang2021, gildenblat2021,
  muhammad2020, zhang2025, karmani2024, omeiza2019, sattarzadeh2021, jung2021, cai2025, desai2020, wang2020, naidu2020
"""

from dataclasses import dataclass
from typing import Literal

from jaxtyping import Array

from xrcam_jax.cam import channel_cams, path_cams, weights
from xrcam_jax.cam.components import centred
from xrcam_jax.cam.kpca_cam import kpca_cam
from xrcam_jax.cam.shapley_cam import shapley_cam
from xrcam_jax.explain import multi_pass
from xrcam_jax.explain.composed import Guided
from xrcam_jax.explain.finer import Finer, FinerCam
from xrcam_jax.explain.kinds import Kind
from xrcam_jax.explain.multi_pass import MultiPass
from xrcam_jax.explain.passes import Cam, Signal
from xrcam_jax.explain.xrelevance import XRelevanceCam
from xrcam_jax.lrp import composites, seeds
from xrcam_jax.titles import TITLES

Family = Literal["activation", "propagation", "perturbation"]


@dataclass(frozen=True)
class Method:
    """Describes a method.

    Attributes:
      title: its name in tables and figures.
      summary: what it computes, in one line.
      family: where the thesis's table 2.1 has it.
      source: the paper or code that it comes from.
      kind: what it consists of.
    """

    title: str
    summary: str
    family: Family
    source: str
    kind: Kind


GRADIENT = Signal(composites.gradient(), seeds.unit)
# The scale of the seed does not change a map, and the contrastive seed explains the target even where its logit is
# negative.
RELEVANCE = Signal(composites.relevance_cam(), seeds.contrastive, is_relevance=True)


def _centred_product(a: Array, g: Array) -> Array:
    return centred(g * a)


def _centred(a: Array, g: Array) -> Array:
    return centred(a)


_GRAD_CAM = Cam(GRADIENT, weights.grad_cam)

CAMS: dict[str, Method] = {
    "xrelevance_cam": Method(
        TITLES["xrelevance_cam"],
        "relevance of a channel over its total activation; conserves relevance",
        "activation",
        "You et al., XRelevanceCAM, IJCARS 2024",
        XRelevanceCam(RELEVANCE, weights.xrelevance_cam),
    ),
    "relevance_cam": Method(
        TITLES["relevance_cam"],
        "mean relevance of a channel",
        "activation",
        "Lee et al., Relevance-CAM, CVPR 2021",
        Cam(RELEVANCE, weights.relevance_cam),
    ),
    "cam": Method(
        TITLES["cam"],
        "classifier weight of a channel; last layer only",
        "activation",
        "Zhou et al., CAM, CVPR 2016",
        Cam(GRADIENT, weights.cam, behind_pooling=True),
    ),
    "grad_cam": Method(
        TITLES["grad_cam"],
        "mean gradient of a channel",
        "activation",
        "Selvaraju et al., Grad-CAM, ICCV 2017",
        _GRAD_CAM,
    ),
    "grad_cam_pp": Method(
        TITLES["grad_cam_pp"],
        "weighted sum of a channel's positive gradients",
        "activation",
        "Chattopadhay et al., Grad-CAM++, WACV 2018",
        Cam(GRADIENT, weights.grad_cam_pp),
    ),
    "x_grad_cam": Method(
        TITLES["x_grad_cam"],
        "gradient of a channel, averaged by its activation",
        "activation",
        "Fu et al., XGrad-CAM, BMVC 2020",
        Cam(GRADIENT, weights.x_grad_cam),
    ),
    "hires_cam": Method(
        TITLES["hires_cam"],
        "gradient times activation, place by place",
        "activation",
        "Draelos and Carin, HiResCAM, 2020",
        Cam(GRADIENT, weights.hires_cam),
    ),
    "layer_cam": Method(
        TITLES["layer_cam"],
        "positive gradient times activation, place by place",
        "activation",
        "Jiang et al., LayerCAM, IEEE TIP 2021",
        Cam(GRADIENT, weights.layer_cam),
    ),
    "elementwise_grad_cam": Method(
        TITLES["elementwise_grad_cam"],
        "positive part of gradient times activation, place by place",
        "activation",
        "Gildenblat et al., pytorch-grad-cam, 2021",
        Cam(GRADIENT, weights.elementwise_grad_cam),
    ),
    "eigen_cam": Method(
        TITLES["eigen_cam"],
        "first principal component of the activations, whatever the class",
        "activation",
        "Muhammad and Yeasin, Eigen-CAM, IJCNN 2020",
        Cam(GRADIENT, weights.eigen_cam, _centred),
    ),
    "eigen_grad_cam": Method(
        TITLES["eigen_grad_cam"],
        "first principal component of gradient times activation",
        "activation",
        "Gildenblat et al., pytorch-grad-cam, 2021",
        Cam(GRADIENT, weights.eigen_grad_cam, _centred_product),
    ),
    "finer_cam": Method(
        TITLES["finer_cam"],
        "Grad-CAM of the logit against those of similar classes",
        "activation",
        "Zhang et al., Finer-CAM, CVPR 2025",
        FinerCam(Signal(composites.gradient(), Finer()), weights.grad_cam),
    ),
    "guided_grad_cam": Method(
        TITLES["guided_grad_cam"],
        "guided backprop times Grad-CAM, or the CAM named by cam=",
        "activation",
        "Selvaraju et al., Grad-CAM, ICCV 2017",
        Guided(_GRAD_CAM),
    ),
    "kpca_cam": Method(
        TITLES["kpca_cam"],
        "first component of kernel PCA of the activations, whatever the class",
        "activation",
        "Karmani et al., KPCA-CAM, 2024",
        MultiPass(kpca_cam, changes_input=False),
    ),
    "smooth_grad_cam_pp": Method(
        TITLES["smooth_grad_cam_pp"],
        "Grad-CAM++ with gradients averaged over noisy images",
        "activation",
        "Omeiza et al., Smooth Grad-CAM++, 2019",
        MultiPass(path_cams.smooth_grad_cam_pp),
    ),
    "integrated_grad_cam": Method(
        TITLES["integrated_grad_cam"],
        "Grad-CAM averaged on the way from a baseline",
        "activation",
        "Sattarzadeh et al., Integrated Grad-CAM, ICASSP 2021",
        MultiPass(path_cams.integrated_grad_cam),
    ),
    "lift_cam": Method(
        TITLES["lift_cam"],
        "DeepLIFT's contribution of a channel",
        "activation",
        "Jung and Oh, LIFT-CAM, ICCV 2021",
        MultiPass(path_cams.lift_cam, changes_input=False),
    ),
    "shapley_cam": Method(
        TITLES["shapley_cam"],
        "mean of the gradient less half the Hessian times the activation: a Shapley value of second order",
        "activation",
        "Cai, CAMs as Shapley value-based explainers, 2025",
        MultiPass(shapley_cam, gives=multi_pass.weights, changes_input=False),
    ),
    "ablation_cam": Method(
        TITLES["ablation_cam"],
        "drop of the score when a channel is set to zero",
        "activation",
        "Desai and Ramaswamy, Ablation-CAM, WACV 2020",
        MultiPass(channel_cams.ablation_cam, gives=multi_pass.weights, changes_input=False),
    ),
    "score_cam": Method(
        TITLES["score_cam"],
        "score of the image seen through a channel",
        "activation",
        "Wang et al., Score-CAM, CVPRW 2020",
        MultiPass(channel_cams.score_cam, gives=multi_pass.weights),
    ),
    "smoothed_score_cam": Method(
        TITLES["smoothed_score_cam"],
        "Score-CAM averaged over noise",
        "activation",
        "Naidu and Michael, SS-CAM, 2020",
        MultiPass(channel_cams.smoothed_score_cam, gives=multi_pass.weights),
    ),
}
