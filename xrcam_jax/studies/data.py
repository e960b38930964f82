"""Reads the data of a study: the prepared frames that are looked at, and what a person outlined in them."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from xrcam_jax.arguments.parser import Options
from xrcam_jax.data.checksums import checksum_of_frames
from xrcam_jax.data.coco import Annotations, read_annotations
from xrcam_jax.data.manifest import Frame, Prepared, read_origin, read_prepared
from xrcam_jax.errors import CommandError
from xrcam_jax.studies.settings import checksum

#: What the report says of a cross-validation in the place of a part.
FOLDS = "test, of all folds: each frame is judged by a network that has not seen its patient"


def read_data(options: Options, *, annotated: bool) -> tuple[Prepared, Annotations | None]:
    """Reads the prepared folder and the annotations, if there are any.

    Args:
      options: of the study.
      annotated: whether the study cannot do without annotations.

    Raises:
      CommandError: a file cannot be read, annotations are needed and not given, or none is of a frame's name.
    """
    try:
        prepared = read_prepared(options.data)
        if options.annotations is not None:
            annotations = read_annotations(options.annotations, prepared.frames)
            if annotations.mismatch is not None:
                raise CommandError(
                    f"--annotations: {options.annotations}: {annotations.mismatch}. What became of them:",
                    str(annotations.report),
                )
            return prepared, annotations
    except ValueError as error:
        raise CommandError(str(error)) from error
    if annotated:
        raise CommandError("--annotations: is missing; expected a JSON file (COCO) with outlines to compare with")
    return prepared, None


def chosen_frames(prepared: Prepared, annotations: Annotations | None, options: Options) -> tuple[Frame, ...]:
    """Returns the frames of the part that is asked for, at most ``--limit`` of them, spread over it.

    With ``--folds`` these are all frames, since each is in the test part of one fold.

    Args:
      prepared: the data.
      annotations: where given, only annotated frames are chosen.
      options: of the study.

    Raises:
      CommandError: there is no such frame.
    """
    frames = list(prepared.frames) if options.folds or options.part == "all" else prepared.part(options.part)
    if not frames:
        raise CommandError(f"--part: {options.data} has no frames in {options.part!r}")
    if annotations is not None:
        marked = set(annotations.annotated)
        frames = [frame for frame in frames if frame.file in marked]
        if not frames:
            raise CommandError(
                f"--annotations: {options.annotations} has no usable annotation of a frame in the part "
                f"{options.part!r}. What became of them:",
                str(annotations.report),
            )
    limit = min(options.limit or len(frames), len(frames))
    return tuple(frames[i] for i in np.linspace(0, len(frames) - 1, limit).astype(int))


def origin_settings(folder: Path) -> dict[str, Any]:
    """Returns where the frames of a prepared folder come from, and whether they were drawn: None if nobody knows."""
    origin = read_origin(folder)
    return {"origin": origin, "synthetic": None if origin is None else origin.startswith("drawn")}


def data_settings(options: Options, prepared: Prepared, frames: Sequence[Frame]) -> dict[str, Any]:
    """Returns which data the outcome depends on, as JSON has it."""
    return {
        **origin_settings(options.data),
        "part": FOLDS if options.folds else options.part,
        "frames": len(frames),
        "patients": len({frame.patient for frame in frames}),
        "classes": prepared.classes,
        "checksum": checksum_of_frames(prepared.folder, frames),
        "annotations": None if options.annotations is None else checksum(options.annotations),
    }
