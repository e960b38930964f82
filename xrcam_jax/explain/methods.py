"""The methods by name: the thesis's table 2.1 and what has come since, with the class activation maps first.

References:
  simonyan2014, shrikumar2016, springenberg2015, zeiler2014, smilkov2017, sundararajan2017, shrikumar2017,
  srinivas2019, bach2015, gu2019, iwana2019, petsiuk2018, ribeiro2016, zintgraf2017, chefer2021, bousselham2025,
  erion2021, xu2020, kapishnikov2019, lundberg2017
"""

from collections.abc import Callable, Mapping
from typing import Any

from jaxtyping import Array

from xrcam_jax.attribution import gradients, perturbations
from xrcam_jax.attribution.blur_integrated_gradients import blur_integrated_gradients
from xrcam_jax.attribution.expected_gradients import expected_gradients
from xrcam_jax.attribution.kernel_shap import kernel_shap
from xrcam_jax.attribution.legrad import legrad
from xrcam_jax.attribution.lime import lime
from xrcam_jax.attribution.prediction_difference import prediction_difference
from xrcam_jax.attribution.rollout import chefer
from xrcam_jax.attribution.xrai import xrai
from xrcam_jax.cam.full_grad import full_grad
from xrcam_jax.errors import unknown
from xrcam_jax.explain import multi_pass
from xrcam_jax.explain.cam_methods import CAMS
from xrcam_jax.explain.cam_methods import GRADIENT as GRADIENT
from xrcam_jax.explain.cam_methods import RELEVANCE as RELEVANCE
from xrcam_jax.explain.cam_methods import Method as Method
from xrcam_jax.explain.composed import GUIDED_BACKPROP, Smooth
from xrcam_jax.explain.kinds import Kind
from xrcam_jax.explain.multi_pass import MultiPass
from xrcam_jax.explain.passes import Propagation, Signal
from xrcam_jax.explain.variants import base, value_of, written_options
from xrcam_jax.lrp import composites, seeds
from xrcam_jax.lrp.composites import Composite
from xrcam_jax.titles import TITLES


def _lrp(seed: Callable[[Array, Array], Array]) -> Propagation:
    return Propagation(Signal(composites.relevance_cam(), seed, is_relevance=True))


_GRADIENT = Propagation(GRADIENT, channels="largest")
_CONTRIBUTIONS: dict[str, Any] = {
    "gives": multi_pass.contributions,
    "where": "both",
    "changes_input": False,
    "signed": True,
}

METHODS: dict[str, Method] = {
    **CAMS,
    "gradient": Method(
        TITLES["gradient"],
        "derivative of the logit",
        "propagation",
        "Simonyan et al., Deep inside convolutional networks, 2014",
        _GRADIENT,
    ),
    "gradient_x_input": Method(
        TITLES["gradient_x_input"],
        "derivative of the logit times the input",
        "propagation",
        "Shrikumar et al., Not just a black box, 2016",
        Propagation(GRADIENT, times_value=True),
    ),
    "guided_backprop": Method(
        TITLES["guided_backprop"],
        "gradient that passes ReLUs only where it is positive",
        "propagation",
        "Springenberg et al., Striving for simplicity, 2015",
        GUIDED_BACKPROP,
    ),
    "deconvnet": Method(
        TITLES["deconvnet"],
        "gradient with a ReLU on the way back",
        "propagation",
        "Zeiler and Fergus, ECCV 2014",
        Propagation(Signal(composites.deconvnet(), seeds.unit), channels="largest"),
    ),
    "smooth_grad": Method(
        TITLES["smooth_grad"],
        "mean over noisy images of the gradient, or of the method named by base=",
        "propagation",
        "Smilkov et al., SmoothGrad, 2017",
        Smooth(_GRADIENT),
    ),
    "integrated_gradients": Method(
        TITLES["integrated_gradients"],
        "gradients integrated from a baseline; sums to the difference of the logits",
        "propagation",
        "Sundararajan et al., ICML 2017",
        MultiPass(gradients.integrated_gradients, **_CONTRIBUTIONS),
    ),
    "expected_gradients": Method(
        TITLES["expected_gradients"],
        "gradients integrated from pictures that are drawn; sums to the difference from their mean logit",
        "propagation",
        "Erion et al., Expected gradients, Nature Machine Intelligence 2021",
        MultiPass(expected_gradients, **_CONTRIBUTIONS),
    ),
    "blur_integrated_gradients": Method(
        TITLES["blur_integrated_gradients"],
        "gradients integrated while a blurred image sharpens; sums to the difference of the logits",
        "propagation",
        "Xu et al., Attribution in scale and space, CVPR 2020",
        MultiPass(blur_integrated_gradients, gives=multi_pass.contributions, where="input", signed=True),
    ),
    "xrai": Method(
        TITLES["xrai"],
        "regions of like pixels, ranked by the density of integrated gradients from black and white",
        "propagation",
        "Kapishnikov et al., XRAI, ICCV 2019",
        MultiPass(xrai, where="input"),
    ),
    "deep_lift": Method(
        TITLES["deep_lift"],
        "rescaled differences from a baseline; sums to the difference of the logits",
        "propagation",
        "Shrikumar et al., DeepLIFT, ICML 2017",
        MultiPass(gradients.deep_lift, **_CONTRIBUTIONS),
    ),
    "full_grad": Method(
        TITLES["full_grad"],
        "gradients times the input and times all biases, each by size",
        "propagation",
        "Srinivas and Fleuret, FullGrad, NeurIPS 2019",
        MultiPass(full_grad, gives=multi_pass.maps_with_error, where="input", changes_input=False),
    ),
    "lrp": Method(
        TITLES["lrp"],
        "layer-wise relevance, by the rules of any composite",
        "propagation",
        "Bach et al., PLOS ONE 2015",
        _lrp(seeds.one_hot),
    ),
    "clrp": Method(
        TITLES["clrp"],
        "relevance of the class against all others",
        "propagation",
        "Gu et al., ACCV 2018",
        _lrp(seeds.clrp),
    ),
    "sglrp": Method(
        TITLES["sglrp"],
        "relevance of the class against the others, each by its probability",
        "propagation",
        "Iwana et al., ICCVW 2019",
        # Its map is that of seeds.sglrp, which leaves nothing where the network is sure.
        _lrp(seeds.sglrp_unit),
    ),
    "chefer": Method(
        TITLES["chefer"],
        "attention weights times their positive gradients, rolled out over the layers; transformers only",
        "propagation",
        "Chefer et al., Generic attention-model explainability, ICCV 2021",
        MultiPass(chefer, where="input", needs_attention=True, changes_input=False),
    ),
    "legrad": Method(
        TITLES["legrad"],
        "positive gradients at attention weights, of what each layer's tokens say; transformers only",
        "propagation",
        "Bousselham et al., LeGrad, ICCV 2025",
        MultiPass(legrad, where="input", needs_attention=True),
    ),
    "occlusion": Method(
        TITLES["occlusion"],
        "drop of the score when a window is hidden",
        "perturbation",
        "Zeiler and Fergus, ECCV 2014",
        MultiPass(perturbations.occlusion, where="input", signed=True),
    ),
    "rise": Method(
        TITLES["rise"],
        "mean of random masks, weighted by the score of what they leave",
        "perturbation",
        "Petsiuk et al., RISE, BMVC 2018",
        MultiPass(perturbations.rise, where="input"),
    ),
    "lime": Method(
        TITLES["lime"],
        "linear model of the score on visible superpixels",
        "perturbation",
        "Ribeiro et al., LIME, KDD 2016",
        MultiPass(lime, where="input", signed=True),
    ),
    "kernel_shap": Method(
        TITLES["kernel_shap"],
        "Shapley values of superpixels; sums to the difference of the scores with all and with none",
        "perturbation",
        "Lundberg and Lee, SHAP, NeurIPS 2017",
        MultiPass(kernel_shap, where="input", signed=True),
    ),
    "prediction_difference": Method(
        TITLES["prediction_difference"],
        "weight of evidence of a patch against patches that would fit there",
        "perturbation",
        "Zintgraf et al., ICLR 2017",
        MultiPass(prediction_difference, where="input", signed=True),
    ),
}


def configure(name: str, options: Mapping[str, Any], composite: Composite | None = None) -> Kind:
    """Returns what a method consists of, with options.

    Args:
      name: of a method in :data:`METHODS`; it may have options itself, such as ``rise+samples=500``, see
        :mod:`xrcam_jax.explain.variants`.
      options: of the method. ``base`` and ``cam`` name another method inside it, whose options it has too.
      composite: the rules of all relevance, unless the options name others.

    Raises:
      ValueError: there is no such method or option, or the value of an option is wrong.
      TypeError: a composite is none, or has a rule that is not hashable; or a seed is no function.

    Example:
      >>> from xrcam_jax.explain.methods import configure
      >>> configure("grad_cam_pp", {"variant": "inside"}).options
      (('variant', 'inside'),)
      >>> configure("grad_cam_pp+variant=inside", {}) == configure("grad_cam_pp", {"variant": "inside"})
      True
    """
    method, written = base(name), written_options(name)
    if method not in METHODS:
        raise unknown("method", method, METHODS)
    kind, options = METHODS[method].kind, dict(options)
    for option in written:
        if option in options:
            raise ValueError(f"{name}: the option {option} is given twice")
    if kind.inside in written:
        options[kind.inside] = written.pop(kind.inside)
    if kind.inside in options:
        chosen = options.pop(kind.inside)
        kind = kind.around(chosen, configure(chosen, {}))
    if composite is not None and kind.is_relevance:
        options = {"composite": composite, **options}
    known = kind.options_known()
    for option in (*options, *written):
        if option not in known:
            raise unknown(f"option of {method}", option, known if kind.inside is None else (kind.inside, *known))
    options |= {
        option: value_of(f"value of {option} of {method}", text, known[option]) for option, text in written.items()
    }
    if "composite" in options:
        _check_composite(options["composite"])
    if not callable(options.get("seed", seeds.unit)):
        raise TypeError(
            "seed must be a function of the logits and the targets, such as those of xrcam_jax.seeds; "
            f"got {options['seed']!r}"
        )
    return kind.configured(options)


def _check_composite(composite: Any) -> None:
    """Refuses what compiled programs could not be kept by."""
    if not isinstance(composite, Composite):
        raise TypeError(f"composite must be a Composite, which says which operation gets which rule; got {composite!r}")
    for rule in (*(each.rule for each in composite.assignments), composite.default):
        try:
            hash(rule)
        except TypeError as error:
            raise TypeError(f"the rule {rule} must be hashable, since programs are kept by their rules") from error
