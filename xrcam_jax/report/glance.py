"""What stands first on a page: each network, how often it is right, and what was found of its maps."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from xrcam_jax.metrics.uncertainty import Estimate, mean, sampling_units
from xrcam_jax.report.findings import Findings, figures_of_networks, findings
from xrcam_jax.report.read import FEWEST, Experiment

TEST = "test"


@dataclass(frozen=True)
class Accuracy:
    """How often a network is right.

    Attributes:
      experiment: its title.
      figure: in percent.
      frames: how many were classified; None where that is not recorded.
      patients: of how many patients they are; None likewise.
      part: of the data, as the settings name it, or empty.
      classes: of each class, how many frames are right and how many there are; empty where only a table says it.
    """

    experiment: str
    figure: Estimate
    frames: int | None
    patients: int | None
    part: str
    classes: tuple[tuple[str, int, int], ...] = ()

    @property
    def unseen(self) -> bool:
        """Whether the network was not trained on these frames."""
        return self.part.startswith(TEST)

    @property
    def too_few(self) -> bool:
        """Whether an interval over its patients would be too narrow to mean anything."""
        return self.patients is not None and 1 < self.patients < FEWEST

    @property
    def unanimous(self) -> bool:
        """Whether all decisions are right, or all wrong: drawn again and again, they are so each time."""
        return self.figure.low == self.figure.high


@dataclass(frozen=True)
class Glance:
    """What a reader came for, of one network.

    Attributes:
      network: its name.
      classes: what it tells apart; none where no frames tell.
      size: height and width of what it is shown; None likewise.
      accuracy: of the most frames, those that no training has seen before others; none where no experiment tells.
        Others follow whose figure is another one.
      found: of its maps.
    """

    network: str
    classes: tuple[str, ...]
    size: tuple[int, int] | None
    accuracy: tuple[Accuracy, ...]
    found: Findings


def glances(experiments: Sequence[Experiment]) -> tuple[Glance, ...]:
    """Returns what there is to say first of each network.

    Args:
      experiments: all of a page.

    Returns:
      One for each network that their settings name, in that order.

    Example:
      >>> from xrcam_jax.report.glance import glances
      >>> from xrcam_jax.report.read import FEWEST, Experiment
      >>> settings = {"data": {"part": "test"}, "networks": {"net": "0123"}}
      >>> looked_at = [{"label": 0, "predicted": i % 2, "patient": "p"} for i in (0, 1)]
      >>> frames = {"classes": ["a", "b"], "size": [96, 96], "frames": looked_at}
      >>> (glance,) = glances([Experiment("gallery", "Pictures", "", 1, (), (), settings, frames)])
      >>> glance.network, glance.accuracy[0].figure.value, glance.accuracy[0].classes
      ('net', 50.0, (('a', 1, 2), ('b', 0, 0)))
    """
    networks = dict.fromkeys(network for one in experiments for network in one.networks)
    return tuple(_glance(experiments, network) for network in networks)


def _glance(experiments: Sequence[Experiment], network: str) -> Glance:
    content = next((one.frames for one in experiments if one.frames is not None and network in one.networks), None)
    classes, size = ((), None) if content is None else (tuple(content["classes"]), tuple(content["size"]))
    return Glance(network, classes, size, _accuracy(experiments, network), findings(experiments, network))


def _accuracy(experiments: Sequence[Experiment], network: str) -> tuple[Accuracy, ...]:
    found = [each for one in experiments if network in one.networks for each in _accuracies(one, network)]
    found.sort(key=lambda one: (one.unseen, one.frames or 0), reverse=True)
    # A figure that several experiments give alike is said once.
    by_figure: dict[float, Accuracy] = {}
    for one in found:
        by_figure.setdefault(one.figure.value, one)
    return tuple(by_figure.values())


def _accuracies(experiment: Experiment, network: str) -> Iterator[Accuracy]:
    part = experiment.settings["data"].get("part")
    part = part if isinstance(part, str) else ""
    # Frames to look through do not say which of several networks classified them.
    if experiment.frames is not None and len(experiment.networks) == 1:
        yield _of_frames(experiment.title, experiment.frames, part)
    figure = figures_of_networks(experiment, "accuracy").get(network)
    if figure is not None:
        yield Accuracy(experiment.title, figure, *experiment.frames_and_patients, part)


def _of_frames(experiment: str, content: dict[str, Any], part: str) -> Accuracy:
    labels, predicted = (np.array([frame[key] for frame in content["frames"]]) for key in ("label", "predicted"))
    patients = [frame["patient"] for frame in content["frames"]]
    right = labels == predicted
    counts = [
        (name, int(right[labels == i].sum()), int((labels == i).sum())) for i, name in enumerate(content["classes"])
    ]
    figure = Estimate(*(100 * value for value in mean(right, sampling_units(patients))))
    return Accuracy(experiment, figure, len(labels), len(set(patients)), part, tuple(counts))
