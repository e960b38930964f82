"""The metrics of faithfulness: whether the model needs what a map shows."""

from collections.abc import Mapping

from jaxtyping import Array, Float

from xrcam_jax.attribution.case import Case
from xrcam_jax.attribution.superpixels import slic_regions
from xrcam_jax.attribution.targets import Score
from xrcam_jax.evaluation.metric import Metric
from xrcam_jax.evaluation.passes import deleted, hidden, inserted, intact, kept
from xrcam_jax.metrics.adcc import Covered, covered
from xrcam_jax.metrics.both import contrast, joint_faithfulness, scores_left
from xrcam_jax.metrics.faithfulness import area_under, average_drop, confidence_drop, increase
from xrcam_jax.metrics.flipping import aopc, flipped_scores, region_scores, selectivity
from xrcam_jax.metrics.irof import Fill, irof
from xrcam_jax.metrics.judged import Figures, Maps
from xrcam_jax.metrics.monotonicity import faithfulness_estimate, monotonicity_nguyen, never_rises
from xrcam_jax.metrics.road import road_scores
from xrcam_jax.metrics.subsets import faithfulness_correlation, infidelity, sensitivity_n
from xrcam_jax.metrics.sufficiency import consistency, sufficiency

#: As many as LIME has here.
SUPERPIXELS = 50


def _irof(
    case: Case, maps: Maps, *, superpixels: int = SUPERPIXELS, fill: Fill = 0.0, score: Score = "probability"
) -> Figures:
    segments = slic_regions(case.images, superpixels)
    return irof(case, maps, segments, fill=fill, score=score)


def _mean(scores: Float[Array, "m s b"]) -> Figures:
    return scores.mean(1)


FAITHFULNESS: Mapping[str, Metric] = {
    "deletion": Metric(
        "Deletion",
        "area under the score as salient pixels are hidden first",
        "faithfulness",
        "Petsiuk et al., RISE, BMVC 2018",
        "min",
        area_under,
        (deleted,),
    ),
    "insertion": Metric(
        "Insertion",
        "area under the score as salient pixels are shown first",
        "faithfulness",
        "Petsiuk et al., RISE, BMVC 2018",
        "max",
        area_under,
        (inserted,),
    ),
    "contrast": Metric(
        "Insertion/deletion contrast",
        "how far insertion and deletion are apart, 0 for what chance gives and 1 at best",
        "faithfulness",
        "after Petsiuk et al., BMVC 2018",
        "max",
        contrast,
        (scores_left, inserted),
    ),
    "joint_faithfulness": Metric(
        "Joint faithfulness",
        "harmonic mean of agreement with the outline and with the model",
        "faithfulness",
        "the thesis's section 6.2",
        "max",
        joint_faithfulness,
        (scores_left, inserted),
    ),
    "confidence_drop": Metric(
        "Confidence drop",
        "share of the score that is lost with hidden what the map shows",
        "faithfulness",
        "Fu et al., XGrad-CAM, BMVC 2020",
        "max",
        confidence_drop,
        (intact, hidden),
    ),
    "average_drop": Metric(
        "Average drop",
        "share of the score that is lost with nothing but what the map shows",
        "faithfulness",
        "Chattopadhay et al., Grad-CAM++, WACV 2018",
        "min",
        average_drop,
        (intact, kept),
    ),
    "increase": Metric(
        "Increase in confidence",
        "whether the score rises with nothing but what the map shows",
        "faithfulness",
        "Chattopadhay et al., Grad-CAM++, WACV 2018",
        "max",
        increase,
        (intact, kept),
    ),
    "adcc": Metric(
        "ADCC",
        "harmonic mean of coherency, simplicity and what is kept of the score",
        "faithfulness",
        "Poppi et al., CVPRW 2021",
        "max",
        Covered.adcc,
        (covered,),
    ),
    "pixel_flipping": Metric(
        "Pixel flipping",
        "area under the score as pixels are replaced, the most relevant first",
        "faithfulness",
        "Bach et al., PLOS ONE 2015",
        "min",
        area_under,
        (flipped_scores,),
    ),
    "region_perturbation": Metric(
        "Region perturbation",
        "area over the score as regions are replaced by noise, the most relevant first",
        "faithfulness",
        "Samek et al., IEEE TNNLS 2017",
        "max",
        aopc,
        (region_scores,),
    ),
    "selectivity": Metric(
        "Selectivity",
        "area under the score as patches are removed, the most relevant first",
        "faithfulness",
        "Montavon et al., Digital Signal Processing 2018",
        "min",
        selectivity,
    ),
    "faithfulness_correlation": Metric(
        "Faithfulness correlation",
        "how the drop of the score without random pixels goes with what the map has there",
        "faithfulness",
        "Bhatt et al., IJCAI 2020",
        "max",
        faithfulness_correlation,
    ),
    "faithfulness_estimate": Metric(
        "Faithfulness estimate",
        "how the drop of the score without a patch goes with what the map has there",
        "faithfulness",
        "Alvarez-Melis and Jaakkola, NeurIPS 2018",
        "max",
        faithfulness_estimate,
    ),
    "sensitivity_n": Metric(
        "Sensitivity-n",
        "how the drop of the score without n random pixels goes with what the map has there, averaged over n",
        "faithfulness",
        "Ancona et al., ICLR 2018",
        "max",
        sensitivity_n,
        signed=True,
    ),
    "infidelity": Metric(
        "Infidelity",
        "mean square of what the map misses of the drop of the score, over random squares",
        "faithfulness",
        "Yeh et al., NeurIPS 2019",
        "min",
        infidelity,
        signed=True,
    ),
    "monotonicity_arya": Metric(
        "Monotonicity (Arya)",
        "whether the score never falls as pixels are added, the least relevant first",
        "faithfulness",
        "Arya et al., 2019",
        "max",
        never_rises,
        (flipped_scores,),
    ),
    "monotonicity_nguyen": Metric(
        "Monotonicity (Nguyen)",
        "whether patches of more relevance are those without which the score is less certain",
        "faithfulness",
        "Nguyen and Martínez, 2020",
        "max",
        monotonicity_nguyen,
    ),
    "irof": Metric(
        "IROF",
        "area over the score as superpixels are removed, the most relevant first",
        "faithfulness",
        "Rieger and Hansen, 2020",
        "max",
        _irof,
    ),
    "road": Metric(
        "ROAD",
        "whether the class stays the predicted one without the most relevant pixels, which are imputed",
        "faithfulness",
        "Rong et al., ICML 2022",
        "min",
        _mean,
        (road_scores,),
    ),
    "sufficiency": Metric(
        "Sufficiency",
        "share of the pictures explained alike that are predicted alike, among those of the batch",
        "faithfulness",
        "Dasgupta et al., ICML 2022",
        "max",
        sufficiency,
        of_set=True,
    ),
    "consistency": Metric(
        "Consistency",
        "share of the pictures with the same most relevant patch that are predicted alike, among those of the batch",
        "faithfulness",
        "Dasgupta et al., ICML 2022",
        "max",
        consistency,
        of_set=True,
    ),
}
