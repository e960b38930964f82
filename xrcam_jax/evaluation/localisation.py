"""The metrics of localisation: whether a map lies on what a person outlined."""

from collections.abc import Callable, Mapping

from jaxtyping import Array

from xrcam_jax.evaluation.metric import Metric
from xrcam_jax.metrics import overlap
from xrcam_jax.metrics.both import mass_over_chance
from xrcam_jax.metrics.judged import Figures, Maps, Masks
from xrcam_jax.metrics.localisation import points_at
from xrcam_jax.metrics.mass import mass_accuracy, rank_accuracy
from xrcam_jax.metrics.overlap import Overlap

_ARRAS = "Arras et al., Information Fusion 2022"
_SALIENT = "of the pixels above mean + standard deviation"


def _salient(ratio: Callable[[Overlap], Array]) -> Callable[[Maps, Masks], Figures]:
    """Returns the ratio of a map's salient pixels."""

    def figure(maps: Maps, masks: Masks) -> Figures:
        return ratio(overlap.overlap(overlap.salient(maps), masks))

    return figure


LOCALISATION: Mapping[str, Metric] = {
    "mass_accuracy": Metric(
        "Relevance mass accuracy",
        "share of the map that lies in the outline",
        "localisation",
        _ARRAS,
        "max",
        mass_accuracy,
    ),
    "mass_over_chance": Metric(
        "Mass over chance",
        "the same above the outline's share of the picture, 1 at best",
        "localisation",
        f"after {_ARRAS}",
        "max",
        mass_over_chance,
    ),
    "rank_accuracy": Metric(
        "Relevance rank accuracy",
        "share of the highest pixels, as many as are outlined, that are",
        "localisation",
        _ARRAS,
        "max",
        rank_accuracy,
    ),
    "pointing_game": Metric(
        "Pointing game",
        "whether the highest pixel lies in the outline",
        "localisation",
        "Zhang et al., Excitation backprop, IJCV 2018",
        "max",
        points_at,
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
        f"share of the outline that is {_SALIENT.removeprefix('of ')}",
        "localisation",
        "the thesis's eq. 5.1",
        "max",
        _salient(overlap.recall),
    ),
}
