"""The channels of a layer over a data set: one pass over all frames keeps their references, and sums for each patient.

What is kept is as large for a hundred frames as for a million. It is written after every batch, each process to a file
of its own, with which batches are in it; started again, a scan goes on with those that are in no file. The files are
joined into one at the end, and at the next start if a run was ended. Since joining does not depend on order, what comes
out has the same bytes however often a scan was ended.
"""

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from functools import cached_property, partial
from pathlib import Path

import jax
import numpy as np
from jaxtyping import Bool, Float, Int
from tqdm import tqdm

from xrcam_jax.classes import class_logits
from xrcam_jax.concepts.measuring import Measured
from xrcam_jax.concepts.references import (
    UNIT,
    References,
    among_top,
    in_units,
    no_references,
    references_of,
)
from xrcam_jax.errors import CommandError
from xrcam_jax.runtime.devices import first_alone, is_first, wait_for_all
from xrcam_jax.runtime.files import write_whole
from xrcam_jax.runtime.names import printable
from xrcam_jax.runtime.prefetch import map_ahead
from xrcam_jax.studies.batches import Batch, judged, laid, read_batch
from xrcam_jax.studies.networks import Network
from xrcam_jax.studies.sealed import Arrays, read_sealed, sealed
from xrcam_jax.studies.settings import BATCHES
from xrcam_jax.studies.study import Study

#: Where everything that is done is kept.
WHOLE = f"{BATCHES}/scan.npz"
#: So many frames are sorted into the references at a time.
_ROWS = 32

#: What is measured of the frames of a batch.
Measure = Callable[[Batch], Measured]


@dataclass(frozen=True, eq=False)
class Groups:
    """Says what the frames of a study are summed by: the patients, those of each class apart.

    Attributes:
      names: class and patient of each group.
      of: the group of each frame.
      patients: the number of each frame's patient, whatever the class; where all are of one, of the frame itself.
    """

    names: tuple[tuple[str, str], ...]
    of: Int[np.ndarray, " n"]
    patients: Int[np.ndarray, " n"]

    @cached_property
    def sizes(self) -> Int[np.ndarray, " g"]:
        """How many frames each group has."""
        return np.bincount(self.of, minlength=len(self.names))


def groups_of(study: Study) -> Groups:
    """Returns the groups of a study's frames."""
    whose = [(frame.label, frame.patient) for frame in study.frames]
    names = tuple(sorted(set(whose)))
    number = {name: place for place, name in enumerate(names)}
    return Groups(names, np.array([number[each] for each in whose], np.int32), study.units)


@dataclass(frozen=True, eq=False)
class Scan:
    """Holds what was found of the k channels of a layer in some batches of a study.

    Attributes:
      done: which batches these are.
      relevant: the frames with most relevance: references of each channel.
      active: the frames with the largest activation.
      shares: of each group, the sum of the frames' shares of relevance, in units of 2**-32.
      tops: of each group, in how many frames the channel is among the most relevant.
      right: of each group, how many frames are classified correctly.
    """

    done: Bool[np.ndarray, " t"]
    relevant: References
    active: References
    shares: Int[np.ndarray, "g k"]
    tops: Int[np.ndarray, "g k"]
    right: Int[np.ndarray, " g"]

    def joined(self, other: "Scan", groups: Groups, each: int) -> "Scan":
        """Returns what was found in the batches of both, none of which may be in both."""
        return Scan(
            self.done | other.done,
            self.relevant.joined(other.relevant, groups.patients, each),
            self.active.joined(other.active, groups.patients, each),
            self.shares + other.shares,
            self.tops + other.tops,
            self.right + other.right,
        )

    def mean_shares(self, groups: Groups) -> Float[np.ndarray, "g k"]:
        """Returns the mean share of the relevance in the frames of each group."""
        return self.shares * UNIT / groups.sizes[:, None]

    def arrays(self) -> Arrays:
        """Returns all of it as arrays by name."""
        plain = {name: getattr(self, name) for name in ("done", "shares", "tops", "right")}
        return plain | {
            f"{kind}_{field.name}": getattr(getattr(self, kind), field.name)
            for kind in ("relevant", "active")
            for field in fields(References)
        }


def of_arrays(arrays: Arrays) -> Scan:
    """Returns what :meth:`Scan.arrays` was made of."""
    relevant, active = (
        References(*(arrays[f"{kind}_{field.name}"] for field in fields(References))) for kind in ("relevant", "active")
    )
    return Scan(arrays["done"], relevant, active, arrays["shares"], arrays["tops"], arrays["right"])


def scan(study: Study, network: Network, channels: int, measure: Measure) -> Scan:
    """Returns what is found of all frames; batches that are done already are read, not computed.

    Several processes take the batches in turn.

    Args:
      study: its settings have ``references``, how many frames are kept of each channel, ``per_patient``, how many of
        one patient at most, and ``top``, how many channels count as the most relevant of a frame.
      network: whose channels these are.
      channels: how many the layer has.
      measure: a function of a batch whose arrays lie across the devices.

    Raises:
      ConnectionError: another process has failed.
      CommandError: a batch cannot be read, or what is found is not finite.
    """
    groups = groups_of(study)
    batches = [places for _, places in judged(study, network)]
    nothing = _nothing(study, len(batches), len(groups.names), channels)
    gather = partial(_gather, study, groups, nothing)
    first_alone(gather)
    done = _read(study, study.folder / WHOLE, nothing).done
    wait_for_all("batches that are done")
    missing = np.flatnonzero(~done).tolist()[jax.process_index() :: jax.process_count()]
    bar = tqdm(missing, desc=f"{study.name} {network.label}", unit="batch", disable=None)
    read = map_ahead(lambda number: read_batch(study, network, batches[number]), missing, 1)
    own, path = nothing, study.folder / BATCHES / f"scan_{jax.process_index():06d}.npz"
    for number, batch in zip(bar, read, strict=True):
        found = jax.device_get(measure(laid(study, batch)))
        of_batch = _found(study, groups, nothing, number, batches[number], found)
        own = own.joined(of_batch, groups, study.settings["per_patient"])
        write_whole(path, sealed(own.arrays(), study.settings), synced=False)
    wait_for_all(f"{study.name} {network.label}")
    first_alone(gather)
    return _read(study, study.folder / WHOLE, nothing)


def _nothing(study: Study, batches: int, groups: int, channels: int) -> Scan:
    """Returns what is found in no batch."""
    none = no_references(channels, study.settings["references"])
    zeros = np.zeros((groups, channels), np.int64)
    return Scan(np.zeros(batches, bool), none, none, zeros, zeros, np.zeros(groups, np.int64))


def _found(study: Study, groups: Groups, nothing: Scan, number: int, places: Sequence[int], found: Measured) -> Scan:
    """Returns what was found in one batch, whose frames have these places among those of the study."""
    count = len(places)
    share, activation = found.share[:count], found.activation[:count]
    finite = np.isfinite(share).all(1) & np.isfinite(activation).all(1)
    if not finite.all():
        file = study.frames[places[int(finite.argmin())]].file
        raise CommandError(f"--weights: the network's activations or relevances of {file} are not finite")
    each, numbers = study.settings["per_patient"], np.array(places, np.int32)
    relevant, active = nothing.relevant, nothing.active
    for start in range(0, count, _ROWS):
        some = slice(start, min(start + _ROWS, count))
        of_share = references_of(share[some], numbers[some], found.relevant_place[some])
        of_activation = references_of(activation[some], numbers[some], found.active_place[some])
        relevant = relevant.joined(of_share, groups.patients, each)
        active = active.joined(of_activation, groups.patients, each)
    done = nothing.done.copy()
    done[number] = True
    right = class_logits(found.logits[:count]).argmax(1) == study.labels[numbers]
    summed = partial(_summed, groups.of[numbers], len(groups.names))
    counted = (in_units(share), among_top(share, study.settings["top"]).astype(np.int64), right.astype(np.int64))
    return Scan(done, relevant, active, *map(summed, counted))


def _summed(group: Int[np.ndarray, " b"], count: int, values: Int[np.ndarray, "b *k"]) -> Int[np.ndarray, "g *k"]:
    """Returns sums over the frames of each group."""
    sums = np.zeros((count, *values.shape[1:]), np.int64)
    np.add.at(sums, group, values)
    return sums


def _gather(study: Study, groups: Groups, nothing: Scan) -> None:
    """Joins what processes have written into one file, and removes theirs."""
    whole = study.folder / WHOLE
    found = _read(study, whole, nothing)
    parts = sorted(whole.parent.glob(f"{whole.stem}_*.npz"))
    for path in parts:
        part = _read(study, path, nothing)
        # A run that was ended before it could remove a file has all of it in the whole.
        if not (part.done & found.done).any():
            found = found.joined(part, groups, study.settings["per_patient"])
    if found.done.any():
        write_whole(whole, sealed(found.arrays(), study.settings))
    for path in parts:
        path.unlink()


def _read(study: Study, path: Path, nothing: Scan) -> Scan:
    """Returns what is in a file; nothing if there is none, or says so if it is damaged."""
    if not path.exists():
        return nothing
    try:
        return of_arrays(read_sealed(path, study.settings))
    except CommandError as error:
        if is_first():
            print(printable(f"xrcam concepts: {error}; it is computed again"), file=sys.stderr)
        return nothing
