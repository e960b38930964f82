"""Which pictures show best what a concept is: those with most relevance or activation, found batch by batch.

What is kept does not grow with the number of pictures, and does not depend on how they are divided into batches, nor on
their order: the best of some pictures and the best of others give the best of both, and sums are of whole numbers.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int

#: Sums of shares are in units of 2**-32, so that they are exact.
UNIT = 2.0**-32
#: Stands where a concept has fewer references than there is room for.
NONE = -1


@dataclass(frozen=True, eq=False)
class References:
    """Holds for each of n concepts the pictures that score highest, the best first.

    Attributes:
      scores: how high; 0 where there is no picture.
      pictures: their numbers; -1 where there is none.
      places: where in the layer the picture shows it.
    """

    scores: Float[np.ndarray, "n m"]
    pictures: Int[np.ndarray, "n m"]
    places: Int[np.ndarray, "n m"]

    def joined(self, other: "References", units: Int[np.ndarray, " p"], each: int) -> "References":
        """Returns the best of two sets of pictures, as many as this one has room for.

        Args:
          other: of the same concepts, of other pictures.
          units: the number of the patient of each picture of the data.
          each: how many of one patient at most.
        """
        both = References(
            np.concatenate([self.scores, other.scores], axis=1),
            np.concatenate([self.pictures, other.pictures], axis=1),
            np.concatenate([self.places, other.places], axis=1),
        )
        return _best(both, units, self.scores.shape[1], each)


def no_references(concepts: int, room: int) -> References:
    """Returns the references of concepts of which no picture has been seen yet.

    Args:
      concepts: how many.
      room: how many pictures are kept of each.

    Example:
      >>> from xrcam_jax.concepts.references import no_references
      >>> no_references(1, 2).pictures.tolist()
      [[-1, -1]]
    """
    none = np.full((concepts, room), NONE, np.int32)
    return References(np.zeros((concepts, room), np.float32), none, none)


def references_of(
    scores: Float[np.ndarray, "b n"], pictures: Int[np.ndarray, " b"], places: Int[np.ndarray, "b n"]
) -> References:
    """Returns some pictures as references of all concepts, those with a score of 0 or less as none.

    Args:
      scores: of each picture and concept.
      pictures: their numbers.
      places: where each shows each concept.

    Returns:
      All pictures, in no order; :meth:`References.joined` finds the best.

    Example:
      >>> import numpy as np
      >>> from xrcam_jax.concepts.references import no_references, references_of
      >>> scores = np.array([[0.5], [0.75], [0.25], [-1]], np.float32)
      >>> found = references_of(scores, np.arange(4, dtype=np.int32), np.zeros((4, 1), np.int32))
      >>> patients = np.array([0, 0, 1, 1])
      >>> no_references(1, 3).joined(found, patients, each=1).pictures.tolist()
      [[1, 2, -1]]
    """
    there = scores.T > 0
    numbers = np.broadcast_to(pictures.astype(np.int32), there.shape)
    return References(
        np.where(there, scores.T, 0).astype(np.float32),
        np.where(there, numbers, NONE),
        np.where(there, places.T, NONE).astype(np.int32),
    )


def _best(found: References, units: Int[np.ndarray, " p"], room: int, each: int) -> References:
    """Returns the best of some references, and at most so many of a patient."""
    order = np.lexsort((found.pictures, -found.scores), axis=1)
    scores, pictures, places = (
        np.take_along_axis(column, order, 1) for column in (found.scores, found.pictures, found.places)
    )
    there = pictures != NONE
    unit = np.where(there, units[pictures], NONE)
    # With as many before it of the same patient, a picture is no reference.
    before = np.tril(unit[:, :, None] == unit[:, None, :], -1).sum(2)
    kept = there & (before < each)
    first = np.argsort(~kept, axis=1, kind="stable")[:, :room]

    def chosen(column: np.ndarray, none: int) -> np.ndarray:
        values = np.take_along_axis(column, first, 1)
        return np.where(np.take_along_axis(kept, first, 1), values, none).astype(column.dtype)

    return References(chosen(scores, 0), chosen(pictures, NONE), chosen(places, NONE))


def among_top(share: Float[np.ndarray, "b n"], top: int) -> Bool[np.ndarray, "b n"]:
    """Returns whether each concept is among those with the largest shares of a picture, and has more than 0.

    Args:
      share: of each picture and concept.
      top: how many concepts count; of equal ones the first.

    Example:
      >>> import numpy as np
      >>> from xrcam_jax.concepts.references import among_top
      >>> among_top(np.array([[0.5, -0.25, 0.25], [0.0, 1.0, 0.0]], np.float32), 2).tolist()
      [[True, False, True], [False, True, False]]
    """
    first = np.argsort(-share, axis=1, kind="stable")[:, :top]
    found = np.zeros(share.shape, bool)
    np.put_along_axis(found, first, True, 1)
    return found & (share > 0)


def in_units(share: Float[np.ndarray, "b n"]) -> Int[np.ndarray, "b n"]:
    """Returns shares as whole numbers of :data:`UNIT`.

    Args:
      share: from -1 to 1.

    Example:
      >>> import numpy as np
      >>> from xrcam_jax.concepts.references import in_units
      >>> (in_units(np.array([[0.5]], np.float32)) >> 31).tolist()
      [[1]]
    """
    return np.rint(share.astype(np.float64) / UNIT).astype(np.int64)


def patients_of(pictures: Int[np.ndarray, " m"], patients: Sequence[str]) -> list[str]:
    """Returns the patients that the references of a concept come from, each once, that of the best first.

    Args:
      pictures: the numbers of its references; those below 0 do not count.
      patients: of all pictures.

    Example:
      >>> import numpy as np
      >>> from xrcam_jax.concepts.references import patients_of
      >>> patients_of(np.array([2, 0, -1]), ["p1", "p1", "p2"])
      ['p2', 'p1']
    """
    return list(dict.fromkeys(patients[number] for number in pictures.tolist() if number != NONE))
