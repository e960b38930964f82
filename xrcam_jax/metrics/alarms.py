"""Is a cluster of pictures that of one patient, or of one recording device? The alarm of a shortcut, with its p-value.

Two tests stand behind it, which differ in what chance may do.

- Of *patients*: the frames of a cluster are drawn at random from all frames. Of K frames of a patient among N, a
  cluster of n has hypergeometrically many, and p is the probability of as many or more.
- Of *groups of patients*, such as a device: frames of one patient are alike and so share a cluster whatever they were
  recorded with, so the groups are dealt to patients anew, and p is the share of deals in which the cluster has as many
  frames of the group or more.

All pairs of a cluster and a group are tested, and :func:`corrected` corrects p-values for their number by Holm's
procedure: the probability that there is any false alarm at all is at most the level.

References:
  holm1979, phipson2010
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import comb

import numpy as np
from jaxtyping import Float, Int

EXTRA = "pip install 'xrcam-jax[evaluate]'"
LEVEL, DRAWS = 0.01, 99_999

Labels = Int[np.ndarray, " n"]
Counts = Int[np.ndarray, "c g"]


@dataclass(frozen=True)
class Suspicion:
    """A cluster and one of the groups of its frames.

    Attributes:
      cluster: its number.
      group: its name.
      frames: how many of the cluster's frames are of the group.
      size: how many frames the cluster has.
      share_of_all: share of the group in the frames of all clusters.
      p_value: probability of as many by chance; after :func:`corrected`, for all that was tested.
    """

    cluster: int
    group: str
    frames: int
    size: int
    share_of_all: float
    p_value: float

    @property
    def share(self) -> float:
        """Share of the group in the cluster."""
        return self.frames / self.size

    def alarming(self, level: float = LEVEL) -> bool:
        """Tells whether most of the cluster is of the group, and more than chance would put there.

        Args:
          level: of the corrected p-value.
        """
        return 2 * self.frames > self.size and self.p_value <= level


def hypergeometric(counts: Counts) -> Float[np.ndarray, "c g"]:
    """Returns how probable as many frames of each group or more are in each cluster, if chance deals out the frames.

    Args:
      counts: frames of each cluster by group; all frames are among them.

    Returns:
      P(X >= x) with X ~ Hypergeometric(N, K, n) for x of the K frames of a group among the n of a cluster, of N.

    Raises:
      ImportError: SciPy is not installed.

    Example:
      >>> import numpy as np
      >>> from xrcam_jax.metrics.alarms import hypergeometric
      >>> hypergeometric(np.array([[3, 0], [0, 3]])).round(3).tolist()
      [[0.05, 1.0], [1.0, 0.05]]
    """
    try:
        from scipy.stats import hypergeom
    except ImportError:
        raise ImportError(f"the alarm needs SciPy: {EXTRA}") from None
    of_cluster, of_group = counts.sum(1, keepdims=True), counts.sum(0, keepdims=True)
    return hypergeom.sf(counts - 1, counts.sum(), of_group, of_cluster)


def permuted(
    counts: Int[np.ndarray, "c p"], groups: Int[np.ndarray, " p"], *, draws: int = DRAWS, seed: int = 0
) -> Float[np.ndarray, "c g"]:
    """Returns how often each cluster has as many frames of each group or more, if chance deals groups to patients.

    Args:
      counts: frames of each cluster by patient.
      groups: the number of each patient's group, from 0.
      draws: how many deals are drawn.
      seed: of the deals.

    Returns:
      (1 + the deals with as many or more) / (1 + the deals), which counts that of the data among them (phipson2010).

    Example:
      >>> import numpy as np
      >>> from xrcam_jax.metrics.alarms import permuted
      >>> counts = np.array([[5, 5, 0, 0, 0, 0], [0, 0, 5, 5, 5, 5]])
      >>> permuted(counts, np.array([0, 0, 1, 1, 1, 1])).round(2).tolist()
      [[0.07, 1.0], [1.0, 0.07]]

    References:
      phipson2010
    """
    random = np.random.default_rng(seed)
    dealt = random.permuted(np.tile(groups, (draws, 1)), axis=1)
    by_group = []
    for group in range(int(groups.max()) + 1):
        found = counts @ (groups == group)
        # Numbers of frames are whole, and exact in floating point, whose products are the fast ones.
        drawn = (dealt == group).astype(np.float64) @ counts.T.astype(np.float64)
        by_group.append((1 + (drawn >= found).sum(0)) / (1 + draws))
    return np.stack(by_group, axis=1)


def holm(p_values: Float[np.ndarray, "*n"]) -> Float[np.ndarray, "*n"]:
    """Returns p-values corrected for their number: none of what chance does is at or below a level α, but for α.

    Args:
      p_values: in [0, 1].

    Returns:
      Of the ith smallest of m, the largest of (m - j + 1) p_j over j <= i, and no more than 1.

    Example:
      >>> import numpy as np
      >>> from xrcam_jax.metrics.alarms import holm
      >>> holm(np.array([0.02, 0.001, 0.5])).tolist()
      [0.04, 0.003, 0.5]

    References:
      holm1979
    """
    flat = p_values.ravel()
    order = np.argsort(flat, kind="stable")
    corrected = np.maximum.accumulate(flat[order] * np.arange(len(flat), 0, -1))
    result = np.empty_like(flat)
    result[order] = np.minimum(corrected, 1)
    return result.reshape(p_values.shape)


def of_patients(labels: Labels, patients: Sequence[str]) -> list[Suspicion]:
    """Tests whether clusters are of single patients.

    Args:
      labels: the cluster of each frame, from 0, each with some frame.
      patients: the patient of each frame.

    Returns:
      All pairs of a cluster and a patient, not corrected for their number.

    Raises:
      ValueError: the arguments differ in length.
      ImportError: SciPy is not installed.

    Example:
      >>> import numpy as np
      >>> from xrcam_jax.metrics.alarms import corrected, of_patients
      >>> tested = corrected(of_patients(np.repeat([0, 1], [20, 8]), ["a"] * 10 + ["b"] * 10 + ["c"] * 8))
      >>> [(each.cluster, each.group, f"{each.p_value:.0e}") for each in tested if each.alarming()]
      [(1, 'c', '2e-06')]
    """
    names, counts = _counted(labels, patients)
    return _paired(names, counts, hypergeometric(counts))


def of_groups(
    labels: Labels, patients: Sequence[str], groups: Sequence[str], *, draws: int = DRAWS, seed: int = 0
) -> list[Suspicion]:
    """Tests whether clusters are of single groups of patients, such as those recorded with one device.

    Args:
      labels: the cluster of each frame, from 0, each with some frame.
      patients: the patient of each frame.
      groups: the group of each frame, the same for all frames of a patient.
      draws: how many deals of groups to patients are drawn.
      seed: of the deals.

    Returns:
      All pairs of a cluster and a group, not corrected for their number. With few patients no p-value can
      be small: of 2 patients among 6, one deal in 15 is that of the data.

    Raises:
      ValueError: the arguments differ in length, or a patient has several groups.

    Example:
      >>> import numpy as np
      >>> from xrcam_jax.metrics.alarms import corrected, of_groups
      >>> patients = np.repeat([f"p{i}" for i in range(14)], 3).tolist()
      >>> devices = ["old" if int(name[1:]) < 5 else "new" for name in patients]
      >>> tested = corrected(of_groups(np.array([int(name == "old") for name in devices]), patients, devices))
      >>> [(each.cluster, each.group) for each in tested if each.alarming()]
      [(0, 'new'), (1, 'old')]
    """
    group_of = one_each(patients, groups)
    people, by_patient = _counted(labels, patients)
    names, numbers = np.unique([group_of[patient] for patient in people], return_inverse=True)
    counts = _counted(labels, groups)[1]
    return _paired(names.tolist(), counts, permuted(by_patient, numbers, draws=draws, seed=seed))


def corrected(suspicions: Sequence[Suspicion]) -> list[Suspicion]:
    """Returns the same with p-values corrected for their number, see :func:`holm`.

    Args:
      suspicions: all that were tested, also those that nobody would suspect, and of all classes.

    Returns:
      The same in the same order.

    Example:
      >>> from xrcam_jax.metrics.alarms import Suspicion, corrected
      >>> tested = [Suspicion(0, "p1", 9, 9, 0.3, 0.001), Suspicion(1, "p1", 0, 9, 0.3, 1.0)]
      >>> [each.p_value for each in corrected(tested)]
      [0.002, 1.0]

    References:
      holm1979
    """
    p_values = holm(np.array([each.p_value for each in suspicions], np.float64))
    return [replace(each, p_value=float(p)) for each, p in zip(suspicions, p_values, strict=True)]


def least_p_values(sizes: Mapping[str, int]) -> dict[str, float]:
    """Returns the smallest p-value that a cluster can have, of each group: it holds all of the group, and no others.

    With few patients it is large, and no cluster can give an alarm, whatever the maps are.

    Args:
      sizes: how many each group has of what is dealt out: frames of each patient, or patients of each device.

    Returns:
      1 / (n over k) for k of n, by group.

    Example:
      >>> from xrcam_jax.metrics.alarms import least_p_values
      >>> {name: round(p, 3) for name, p in least_p_values({"old": 2, "new": 4, "lent": 1}).items()}
      {'old': 0.048, 'new': 0.029, 'lent': 0.143}
    """
    total = sum(sizes.values())
    return {name: 1 / comb(total, size) for name, size in sizes.items()}


def one_each(patients: Sequence[str], groups: Sequence[str]) -> dict[str, str]:
    """Returns the group of each patient.

    Args:
      patients: the patient of each frame.
      groups: the group of each frame.

    Returns:
      The group by patient.

    Raises:
      ValueError: the arguments differ in length, or names a patient with several groups.

    Example:
      >>> from xrcam_jax.metrics.alarms import one_each
      >>> one_each(["p1", "p1", "p2"], ["old", "old", "new"])
      {'p1': 'old', 'p2': 'new'}
    """
    if len(patients) != len(groups):
        raise ValueError(f"groups: expected one for each of {len(patients)} frames; got {len(groups)}")
    found: dict[str, str] = {}
    for patient, group in zip(patients, groups, strict=True):
        if found.setdefault(patient, group) != group:
            raise ValueError(
                f"groups: expected one for all frames of a patient; {patient!r:.200} has {found[patient]!r:.200} and "
                f"{group!r:.200}"
            )
    return found


def _counted(labels: Labels, names: Sequence[str]) -> tuple[list[str], Counts]:
    """Returns the names, sorted, and how many frames each cluster has of each."""
    if len(labels) != len(names):
        raise ValueError(f"labels: expected one for each of {len(names)} frames; got {len(labels)}")
    known, numbers = np.unique(list(names), return_inverse=True)
    counts = np.zeros((int(labels.max()) + 1, len(known)), np.int64)
    np.add.at(counts, (labels, numbers), 1)
    return known.tolist(), counts


def _paired(names: Sequence[str], counts: Counts, p_values: Float[np.ndarray, "c g"]) -> list[Suspicion]:
    sizes, shares = counts.sum(1), counts.sum(0) / counts.sum()
    return [
        Suspicion(c, name, int(counts[c, g]), int(sizes[c]), float(shares[g]), float(p_values[c, g]))
        for c in range(len(counts))
        for g, name in enumerate(names)
    ]
