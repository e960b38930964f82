"""The metrics of faithfulness: whether the model needs what a map shows."""

from collections.abc import Mapping

from xrcam_jax.evaluation.metric import Metric
from xrcam_jax.evaluation.passes import Scores, deleted, hidden, inserted, kept
from xrcam_jax.metrics import faithfulness
from xrcam_jax.metrics.adcc import Covered, covered
from xrcam_jax.metrics.both import contrast, joint_faithfulness
from xrcam_jax.metrics.faithfulness import area_under
from xrcam_jax.metrics.judged import Figures


def _confidence_drop(scores: Scores) -> Figures:
    return faithfulness.confidence_drop(*scores)


def _average_drop(scores: Scores) -> Figures:
    return faithfulness.average_drop(*scores)


def _increase(scores: Scores) -> Figures:
    return faithfulness.increase(*scores)


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
        (deleted, inserted),
    ),
    "joint_faithfulness": Metric(
        "Joint faithfulness",
        "harmonic mean of agreement with the outline and with the model",
        "faithfulness",
        "the thesis's section 6.2",
        "max",
        joint_faithfulness,
        (deleted, inserted),
    ),
    "confidence_drop": Metric(
        "Confidence drop",
        "share of the score that is lost with hidden what the map shows",
        "faithfulness",
        "Fu et al., XGrad-CAM, BMVC 2020",
        "max",
        _confidence_drop,
        (hidden,),
    ),
    "average_drop": Metric(
        "Average drop",
        "share of the score that is lost with nothing but what the map shows",
        "faithfulness",
        "Chattopadhay et al., Grad-CAM++, WACV 2018",
        "min",
        _average_drop,
        (kept,),
    ),
    "increase": Metric(
        "Increase in confidence",
        "whether the score rises with nothing but what the map shows",
        "faithfulness",
        "Chattopadhay et al., Grad-CAM++, WACV 2018",
        "max",
        _increase,
        (kept,),
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
}
