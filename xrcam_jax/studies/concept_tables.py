"""The figures of a scan: how much each concept counts, in frames of which class and which patients."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int

from xrcam_jax.concepts.field import ReceptiveFields
from xrcam_jax.concepts.references import NONE, UNIT, References, patients_of
from xrcam_jax.metrics.uncertainty import Estimate
from xrcam_jax.studies.concept_scan import Groups, Scan
from xrcam_jax.studies.study import Study
from xrcam_jax.studies.tables import Table, scaled

#: So many concepts of each class stand in the overview.
LEADING = 8


def _written(figure: float) -> str:
    """Returns a figure with all its digits; nothing where there is none."""
    return "" if np.isnan(figure) else repr(float(figure))


@dataclass(frozen=True, eq=False)
class Tables:
    """Makes tables of a scan.

    Attributes:
      study: whose frames.
      groups: what they are summed by.
      found: the scan.
    """

    study: Study
    groups: Groups
    found: Scan

    @cached_property
    def of_class(self) -> Bool[np.ndarray, "c g"]:
        """Whether each group is of each class."""
        labels = np.array([label for label, _ in self.groups.names])
        return np.array(self.study.prepared.classes)[:, None] == labels

    @cached_property
    def frames(self) -> Int[np.ndarray, " c"]:
        """How many frames of each class there are."""
        return (self.of_class * self.groups.sizes).sum(1)

    def by_class(self, sums: Int[np.ndarray, "g k"]) -> Float[np.ndarray, "c k"]:
        """Returns the mean over the frames of each class; NaN for a class of which there is none."""
        of_class = np.stack([sums[mine].sum(0) for mine in self.of_class])
        frames = np.where(self.frames, self.frames, np.nan)
        return of_class / frames[:, None]

    @cached_property
    def shares(self) -> Float[np.ndarray, "c k"]:
        """The mean share of the relevance that goes through each concept."""
        return self.by_class(self.found.shares) * UNIT

    @cached_property
    def tops(self) -> Float[np.ndarray, "c k"]:
        """The share of the frames where each concept is among the most relevant ones."""
        return self.by_class(self.found.tops)

    @cached_property
    def leading(self) -> list[int]:
        """The concepts with the largest mean shares in a class, some of each class, the largest first."""
        shares = np.nan_to_num(self.shares)
        best = np.unique(np.argsort(-shares, axis=1, kind="stable")[:, :LEADING])
        best = best[shares[:, best].max(0) > 0]
        return best[np.argsort(-shares[:, best].max(0), kind="stable")].tolist()

    @cached_property
    def _patients(self) -> list[str]:
        return [frame.patient for frame in self.study.frames]

    def patients(self, concept: int) -> tuple[int, int]:
        """Returns how many patients a concept's references are of, and how many have it among the most relevant."""
        tops = self.found.tops[:, concept] > 0
        having = {patient for (_, patient), has in zip(self.groups.names, tops, strict=True) if has}
        return len(patients_of(self.found.relevant.pictures[concept], self._patients)), len(having)

    def accuracy(self) -> Estimate:
        """Returns the share of the frames that are classified correctly."""
        return Estimate(int(self.found.right.sum()) / len(self.study.frames))

    def described(self, concept: int) -> dict[str, Any]:
        """Returns what a glossary says of a concept, as JSON has it."""

        def rounded(values: Float[np.ndarray, " c"]) -> list[float | None]:
            return [None if np.isnan(value) else round(float(value), 6) for value in values]

        shares, tops = rounded(self.shares[:, concept]), rounded(self.tops[:, concept])
        return {"patients": self.patients(concept)[0], "shares": shares, "tops": tops}

    def concepts(self) -> list[dict[str, Any]]:
        """Returns a row for each concept."""
        rows = []
        for concept in range(self.found.shares.shape[1]):
            references, having = self.patients(concept)
            means = zip(self.study.prepared.classes, self.shares[:, concept], self.tops[:, concept], strict=True)
            figures: dict[str, str] = {}
            for name, share, top in means:
                figures |= {f"mean share, {name}": _written(share), f"among the top, {name}": _written(top)}
            counts = {"patients of references": references, "patients with it among the top": having}
            rows.append({"concept": concept, **figures, **counts})
        return rows

    def by_patient(self) -> list[dict[str, Any]]:
        """Returns a row for each patient of each class, with the mean share of each concept."""
        means = self.found.shares * UNIT / self.groups.sizes[:, None]
        return [
            {
                **{"class": label, "patient": patient, "frames": size, "right": right},
                **{f"concept {number}": repr(value) for number, value in enumerate(row)},
            }
            for (label, patient), size, right, row in zip(
                self.groups.names, self.groups.sizes.tolist(), self.found.right.tolist(), means.tolist(), strict=True
            )
        ]

    def references(self, fields: ReceptiveFields) -> list[dict[str, Any]]:
        """Returns a row for each reference of each concept.

        Args:
          fields: what each place of the layer sees.
        """
        kinds = {"relevance": self.found.relevant, "activation": self.found.active}
        return [
            {"concept": concept, "by": name, **row}
            for concept in range(self.found.shares.shape[1])
            for name, kind in kinds.items()
            for row in self._references(kind, concept, fields)
        ]

    def _references(self, kind: References, concept: int, fields: ReceptiveFields) -> Iterator[dict[str, Any]]:
        columns = (kind.pictures[concept].tolist(), kind.places[concept].tolist(), kind.scores[concept].tolist())
        for rank, (number, place, score) in enumerate(zip(*columns, strict=True), 1):
            if number == NONE:
                return
            frame, (row, column) = self.study.frames[number], divmod(place, len(fields.columns))
            said = {"rank": rank, "file": frame.file, "class": frame.label, "patient": frame.patient}
            yield {**said, "score": repr(score), "row": row, "column": column, **fields.box(place)._asdict()}

    def table(self, leading: Sequence[int]) -> Table:
        """Returns the table of some concepts."""
        top, rows = self.study.settings["top"], {}
        for concept in leading:
            references, having = self.patients(concept)
            pairs = zip(self.shares[:, concept].tolist(), self.tops[:, concept].tolist(), strict=True)
            figures = [scaled(Estimate(value)) for pair in pairs for value in pair]
            rows[str(concept), str(references), str(having)] = figures
        whats = ("mean share", f"in top {top}")
        columns = [f"{what}, {name}" for name in self.study.prepared.classes for what in whats]
        return Table(
            "concepts",
            "How much of the relevance goes through each concept, and in how many frames it is among the most relevant",
            rows,
            columns,
            ("concept", "patients of its references", f"patients with it in their top {top}"),
            best=None,
            decimals=1,
        )

    def _most_references(self) -> str:
        """Says how many references a channel can have in these frames."""
        each = self.study.settings["per_patient"]
        room = min(self.study.settings["references"], int(np.minimum(np.bincount(self.groups.patients), each).sum()))
        text = f"{room} reference{'s' if room > 1 else ''} at most"
        # Where all frames are of one patient, none is left out for that.
        several = len({patient for _, patient in self.groups.names}) > 1
        return f"{text}, {each} of a patient at most" if several else text

    def said(self, explained: str) -> str:
        """Says what was looked at, and of how many patients the references are.

        Args:
          explained: which class.
        """
        few = [concept for concept in self.leading if self.patients(concept)[0] == 1]
        settings, patients = self.study.settings, len({patient for _, patient in self.groups.names})
        frames, channels = len(self.study.frames), self.found.shares.shape[1]
        text = (
            f"{channels} channels of {settings['layers'][0]} in {frames} frames of {patients} patients, "
            f"{explained} explained; {int(self.found.right.sum())} frames are classified correctly. "
            f"Of each channel {self._most_references()}."
        )
        if few and patients > 1:
            text += f" All references of one patient: {', '.join(map(str, few))}."
        return text
