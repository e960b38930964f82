"""The metrics of the map alone: whether it lies on what a person outlined, and how complex it is."""

from collections.abc import Callable, Mapping

from jaxtyping import Array

from xrcam_jax.evaluation.metric import Metric
from xrcam_jax.metrics import overlap
from xrcam_jax.metrics.attribution_localisation import attribution_localisation
from xrcam_jax.metrics.both import mass_over_chance
from xrcam_jax.metrics.complexity import complexity, effective_complexity, sparseness
from xrcam_jax.metrics.focus import focus
from xrcam_jax.metrics.judged import Figures, Maps, Masks
from xrcam_jax.metrics.localisation import pointing_game
from xrcam_jax.metrics.mass import relevance_mass_accuracy, relevance_rank_accuracy
from xrcam_jax.metrics.outlined import rows
from xrcam_jax.metrics.overlap import Overlap
from xrcam_jax.metrics.roc import auc
from xrcam_jax.metrics.top_k import top_k_intersection

_ARRAS = "Arras et al., Information Fusion 2022"
_SALIENT = "of the pixels above mean + standard deviation"


def _salient(ratio: Callable[[Overlap], Array]) -> Callable[[Maps, Masks], Figures]:
    """Returns the ratio of a map's salient pixels."""

    def figure(maps: Maps, masks: Masks) -> Figures:
        # As rows, since signals and volumes have no height and width.
        flat, inside = rows(maps, masks)
        return ratio(overlap.overlap(overlap.salient(flat[:, :, None]), inside[:, None]))

    return figure


LOCALISATION: Mapping[str, Metric] = {
    "relevance_mass_accuracy": Metric(
        "Relevance mass accuracy",
        "share of the map that lies in the outline",
        "localisation",
        _ARRAS,
        "max",
        relevance_mass_accuracy,
    ),
    "mass_over_chance": Metric(
        "Mass over chance",
        "share of the map in the outline, above the outline's share of the picture",
        "localisation",
        f"after {_ARRAS}",
        "max",
        mass_over_chance,
    ),
    "relevance_rank_accuracy": Metric(
        "Relevance rank accuracy",
        "share of the highest pixels, as many as are outlined, that are",
        "localisation",
        _ARRAS,
        "max",
        relevance_rank_accuracy,
    ),
    "pointing_game": Metric(
        "Pointing game",
        "whether the highest pixel lies in the outline",
        "localisation",
        "Zhang et al., Excitation backprop, IJCV 2018",
        "max",
        pointing_game,
    ),
    "iou": Metric(
        "IoU",
        f"intersection over union {_SALIENT}",
        "localisation",
        "the thesis's eq. 5.1",
        "max",
        _salient(overlap.iou),
    ),
    "dice": Metric("Dice", f"Dice {_SALIENT}", "localisation", "Dice, Ecology 1945", "max", _salient(overlap.dice)),
    "precision": Metric(
        "Precision",
        f"share that is outlined, {_SALIENT}",
        "localisation",
        "the thesis's eq. 5.1",
        "max",
        _salient(overlap.precision),
    ),
    "recall": Metric(
        "Recall",
        f"share of the outline that is {_SALIENT.replace('of', 'among', 1)}",
        "localisation",
        "the thesis's eq. 5.1",
        "max",
        _salient(overlap.recall),
    ),
    "attribution_localisation": Metric(
        "Attribution localisation",
        "share of the positive relevance in the outline; weighted=true for that over the outline's size",
        "localisation",
        "Kohlbrenner et al., IJCNN 2020",
        "max",
        attribution_localisation,
    ),
    "top_k_intersection": Metric(
        "Top-k intersection",
        "share of the k highest pixels that is outlined",
        "localisation",
        "Theiner et al., WACV 2022",
        "max",
        top_k_intersection,
    ),
    "auc": Metric(
        "AUC",
        "area under the ROC curve of the map as a detector of outlined pixels",
        "localisation",
        "Fawcett, Pattern Recognition Letters 2006",
        "max",
        auc,
    ),
    "focus": Metric(
        "Focus",
        "share of a mosaic's positive relevance on pictures of the class, whose quarters are the masks",
        "localisation",
        "Arias-Duart et al., FUZZ-IEEE 2022",
        "max",
        focus,
    ),
}
COMPLEXITY: Mapping[str, Metric] = {
    "sparseness": Metric(
        "Sparseness", "Gini index of the map", "complexity", "Chalasani et al., ICML 2020", "max", sparseness
    ),
    "complexity": Metric(
        "Complexity",
        "entropy of the shares that pixels have of the map",
        "complexity",
        "Bhatt et al., IJCAI 2020",
        "min",
        complexity,
    ),
    "effective_complexity": Metric(
        "Effective complexity",
        "how many pixels of the map count",
        "complexity",
        "after Nguyen and Martínez, 2020",
        "min",
        effective_complexity,
    ),
}
