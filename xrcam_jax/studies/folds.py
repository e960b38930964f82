"""Reads the networks of a cross-validation: each frame is judged by the one that has not seen its patient.

Only runs of ``xrcam train --fold`` will do, which say what they were trained on: one of each fold, and of the very
frames and folds that are looked at. So no frame is judged by a network that was trained on its patient.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

from jax.sharding import Mesh

from xrcam_jax.arguments.parser import Options
from xrcam_jax.checkpoints.labels import BEST
from xrcam_jax.data.checksums import checksum_of_frames, summary_of_parts
from xrcam_jax.data.folds import fold_of_patients, parts_of_fold, read_folds
from xrcam_jax.data.manifest import Prepared
from xrcam_jax.errors import CommandError
from xrcam_jax.runtime.texts import read_json
from xrcam_jax.studies.networks import Network, check_labels, folder_of, names_of_weights, read_network
from xrcam_jax.studies.settings import SETTINGS


@dataclass(frozen=True, eq=False)
class CrossValidated:
    """Holds the networks of all folds, which together count as one network under examination.

    Attributes:
      label: tells it from the others.
      folds: the network of each fold.
      fold_of: the fold of each patient.
    """

    label: str
    folds: tuple[Network, ...]
    fold_of: Mapping[str, int]

    @property
    def checksum(self) -> str:
        """The checksums of the checkpoints."""
        return ", ".join(network.checksum for network in self.folds)

    @property
    def input_size(self) -> tuple[int, int]:
        """Height and width of the pictures that all folds want."""
        return self.folds[0].input_size

    def judge(self, patient: str) -> Network:
        """Returns the network that has not seen a patient."""
        return self.folds[self.fold_of[patient]]


def number_of_networks(options: Options) -> int:
    """Returns how many networks a study is about, of which each has a run for each fold with ``--folds``.

    Raises:
      CommandError: the folds cannot be read.
    """
    if not options.folds:
        return len(options.weights)
    try:
        return len(options.weights) // len(set(read_folds(options.data).values()))
    except ValueError as error:
        raise CommandError(str(error)) from error


def read_cross_validated(options: Options, prepared: Prepared, mesh: Mesh) -> tuple[CrossValidated, ...]:
    """Reads the runs of all folds, network after network, and lays their parameters on all devices.

    Args:
      options: of the study.
      prepared: the data, with its folds.
      mesh: the devices.

    Raises:
      CommandError: a run cannot be read, is of other data or no fold, or a fold has no run or several.
    """
    try:
        fold_of = fold_of_patients(prepared)
        wanted = _wanted(prepared, fold_of)
    except ValueError as error:
        raise CommandError(str(error)) from error
    count = len(wanted)
    runs = [_Run(_fold(path, wanted, options), path, name) for path, name in names_of_weights(options)]
    groups = [sorted(runs[start : start + count], key=lambda run: run.fold) for start in range(0, len(runs), count)]
    for group in groups:
        _check_folds(group, count, options.data)
    found = []
    for group in groups:
        networks = [read_network(options, run.path, run.name, prepared, mesh) for run in group]
        _check_alike(networks)
        label = _label(networks[0], group, alone=len(groups) == 1)
        folds = tuple(replace(each, label=f"{label} fold {fold}") for fold, each in enumerate(networks))
        found.append(CrossValidated(label, folds, fold_of))
    check_labels([network.label for network in found])
    return tuple(found)


class _Run(NamedTuple):
    """Holds a run that is given: its fold, where it is, and the name of its network if that is given too."""

    fold: int
    path: Path
    name: str | None


def _wanted(prepared: Prepared, fold_of: Mapping[str, int]) -> list[dict[str, Any]]:
    """Returns for each fold what a run of it has to say of itself."""
    pictures = checksum_of_frames(prepared.folder, prepared.frames)
    parts = [parts_of_fold(fold_of, fold) for fold in range(max(fold_of.values()) + 1)]
    return [{"data": summary_of_parts(replace(prepared, parts=each)), "pictures": pictures} for each in parts]


def _fold(path: Path, wanted: Sequence[Mapping[str, Any]], options: Options) -> int:
    """Returns the fold that a run has left out, once it is known that its data are these."""
    run = path.parent if path.name == BEST else path
    if not (run / SETTINGS).is_file():
        raise CommandError(f"--weights: {path} is no run of xrcam train: there is no {run / SETTINGS}")
    if not (run / BEST).is_file():
        raise CommandError(f"--weights: {run} has no {BEST}; its training is not finished")
    try:
        settings = read_json(run / SETTINGS)
        fold = settings["fold"]
    except (KeyError, TypeError):
        fold = None
    except (OSError, ValueError) as error:
        raise CommandError(f"--weights: {run / SETTINGS} is not as a run writes it ({error})") from error
    if type(fold) is not int:
        raise CommandError(f"--weights: {run} was not trained with --fold, so it has seen patients of every fold")
    if fold not in range(len(wanted)) or any(settings.get(name) != value for name, value in wanted[fold].items()):
        raise CommandError(
            f"--weights: {run} is of fold {fold} of other data than {options.data}, or of other folds of these"
        )
    return fold


def _check_folds(runs: Sequence[_Run], count: int, data: Path) -> None:
    if [run.fold for run in runs] != list(range(count)):
        found = ", ".join(f"{run.path} (fold {run.fold})" for run in runs)
        raise CommandError(
            f"--weights: expected one run for each of the folds 0 to {count - 1} of {data}, for one network after "
            f"another; found {found}"
        )


def _check_alike(networks: Sequence[Network]) -> None:
    kinds = {(network.model.name, network.input_size): network for network in networks}
    if len(kinds) > 1:
        found = "; ".join(f"{n.weights}: {name}, {size[0]} x {size[1]}" for (name, size), n in kinds.items())
        raise CommandError(f"--weights: the runs of all folds need one architecture and one size of pictures; {found}")


def _label(network: Network, runs: Sequence[_Run], *, alone: bool) -> str:
    """Returns the model's name, followed by that of its runs, without their number, if there are several networks."""
    folder = folder_of(runs[0].path).rstrip("0123456789-_. ")
    return network.model.name if alone or not folder else f"{network.model.name}-{folder}"
