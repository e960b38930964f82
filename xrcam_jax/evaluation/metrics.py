"""The metrics by name."""

from collections.abc import Mapping

from xrcam_jax.evaluation.faithfulness import FAITHFULNESS
from xrcam_jax.evaluation.localisation import COMPLEXITY, LOCALISATION
from xrcam_jax.evaluation.metric import Metric
from xrcam_jax.evaluation.robustness import AXIOMS, RANDOMISATION, ROBUSTNESS

METRICS: Mapping[str, Metric] = {**FAITHFULNESS, **LOCALISATION, **COMPLEXITY, **ROBUSTNESS, **RANDOMISATION, **AXIOMS}
#: Those that are measured if none is named: a few dozens of passes for each map.
USUAL = (
    "deletion",
    "insertion",
    "contrast",
    "confidence_drop",
    "average_drop",
    "increase",
    "relevance_mass_accuracy",
    "relevance_rank_accuracy",
    "pointing_game",
    "iou",
    "joint_faithfulness",
)
