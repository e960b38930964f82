"""The metrics that explain again: how steady maps are, and whether they depend on what they ought to depend on."""

from collections.abc import Mapping

from jaxtyping import Array, Float

from xrcam_jax.evaluation.metric import Metric
from xrcam_jax.metrics.axioms import completeness, input_invariance, missed_patches, patch_influences
from xrcam_jax.metrics.continuity import Moved, moved
from xrcam_jax.metrics.judged import Figures
from xrcam_jax.metrics.randomisation import efficient_mprt, mprt_curve, random_logit, smooth_mprt
from xrcam_jax.metrics.sensitivity import NoisyDistances, noisy_distances
from xrcam_jax.metrics.stability import Neighbours, neighbours


def _representation_stability(found: Neighbours, *, layer: str) -> Figures:
    # The passes have the layer; here it stands as an option that has to be given.
    return found.relative_representation_stability()


def _mean(curve: Float[Array, "l m b"]) -> Figures:
    return curve.mean(0)


_ADEBAYO, _HEDSTROM = "Adebayo et al., NeurIPS 2018", "Hedström et al., XAI in Action 2023"
_AGARWAL, _YEH = "Agarwal et al., ICLR workshop 2022", "Yeh et al., NeurIPS 2019"

ROBUSTNESS: Mapping[str, Metric] = {
    "local_lipschitz": Metric(
        "Local Lipschitz estimate",
        "largest change of the map over that of the picture, under noise",
        "robustness",
        "Alvarez-Melis and Jaakkola, 2018",
        "min",
        NoisyDistances.local_lipschitz,
        (noisy_distances,),
    ),
    "max_sensitivity": Metric(
        "Max-sensitivity",
        "largest change of the map under noise, relative to the map",
        "robustness",
        _YEH,
        "min",
        NoisyDistances.max_sensitivity,
        (noisy_distances,),
    ),
    "avg_sensitivity": Metric(
        "Avg-sensitivity",
        "mean change of the map under noise, relative to the map",
        "robustness",
        _YEH,
        "min",
        NoisyDistances.avg_sensitivity,
        (noisy_distances,),
    ),
    "continuity": Metric(
        "Continuity",
        "largest change of the map over that of the picture, while the picture is moved",
        "robustness",
        "Montavon et al., Digital Signal Processing 2018",
        "min",
        Moved.continuity,
        (moved,),
    ),
    "continuity_correlation": Metric(
        "Continuity, correlation",
        "how the relevance of patches goes with the score, while the picture is moved",
        "robustness",
        "after Montavon et al., 2018",
        "max",
        Moved.continuity_correlation,
        (moved,),
    ),
    "relative_input_stability": Metric(
        "Relative input stability",
        "largest relative change of the map over that of the picture, under noise",
        "robustness",
        _AGARWAL,
        "min",
        Neighbours.relative_input_stability,
        (neighbours,),
        signed=True,
    ),
    "relative_output_stability": Metric(
        "Relative output stability",
        "largest relative change of the map over the change of the logits, under noise",
        "robustness",
        _AGARWAL,
        "min",
        Neighbours.relative_output_stability,
        (neighbours,),
        signed=True,
    ),
    "relative_representation_stability": Metric(
        "Relative representation stability",
        "largest relative change of the map over that of a layer, which has to be named, under noise",
        "robustness",
        _AGARWAL,
        "min",
        _representation_stability,
        (neighbours,),
        signed=True,
    ),
}
RANDOMISATION: Mapping[str, Metric] = {
    "mprt": Metric(
        "Model parameter randomisation",
        "how alike maps stay while weights are drawn anew, layer by layer",
        "randomisation",
        _ADEBAYO,
        "min",
        _mean,
        (mprt_curve,),
    ),
    "smooth_mprt": Metric(
        "Smooth MPRT",
        "how alike maps that are averaged over noise stay while weights are drawn anew",
        "randomisation",
        _HEDSTROM,
        "min",
        smooth_mprt,
    ),
    "efficient_mprt": Metric(
        "Efficient MPRT",
        "rise of the map's entropy when all weights are drawn anew",
        "randomisation",
        _HEDSTROM,
        "max",
        efficient_mprt,
    ),
    "random_logit": Metric(
        "Random logit",
        "how alike the maps of the class and of another one are",
        "randomisation",
        "Sixt et al., ICML 2020",
        "min",
        random_logit,
    ),
}
AXIOMS: Mapping[str, Metric] = {
    "completeness": Metric(
        "Completeness error",
        "by how much attributions at the input miss the difference of scores",
        "axiomatic",
        "Sundararajan et al., ICML 2017",
        "min",
        completeness,
        signed=True,
    ),
    "non_sensitivity": Metric(
        "Non-sensitivity",
        "patches that are zero and matter, or matter not and are none",
        "axiomatic",
        "Nguyen and Martínez, 2020",
        "min",
        missed_patches,
        (patch_influences,),
        signed=True,
    ),
    "input_invariance": Metric(
        "Input invariance",
        "change of the map when pictures are shifted, and the model takes the shift off",
        "axiomatic",
        "Kindermans et al., 2017",
        "min",
        input_invariance,
        signed=True,
    ),
}
