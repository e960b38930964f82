"""Drawn recordings as files: a folder for each class, in it one for each patient with videos, and COCO annotations."""

import json
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from jaxtyping import Bool, Int32, UInt8
from tqdm import tqdm

from xrcam_jax.data.manifest import ORIGIN
from xrcam_jax.data.synthetic import LABELS, View, draw_look, draw_tissue, frame_shape, record
from xrcam_jax.pictures.video_kinds import PCLE_FRAME_RATE, WRITTEN, lacking
from xrcam_jax.runtime.files import write_whole

RECORDINGS, ANNOTATIONS = "recordings", "annotations.json"
# Nobody would outline a structure of fewer pixels.
_LEAST_AREA = 12


@dataclass(frozen=True)
class Cohort:
    """Says how much is drawn.

    Attributes:
      gbm: number of patients with a glioblastoma, from 1.
      meningioma: number of patients with a meningioma, from 1.
      videos: of each patient, from 1.
      frames: of each video, from 2; every other one repeats its neighbour.
      side: of the square in the round view, in pixels, from 32.
      annotate_every: one of so many different frames with a meningioma is annotated.
      suffix: of the video files, ``".avi"`` (Motion JPEG), ``".mp4"``, ``".mov"`` or ``".mkv"`` (H.264).
      seed: the same seed gives the same recordings.

    Raises:
      ValueError: naming the attribute that is out of range.
    """

    gbm: int = 16
    meningioma: int = 18
    videos: int = 3
    frames: int = 236
    side: int = 230
    annotate_every: int = 10
    suffix: str = ".avi"
    seed: int = 0

    def __post_init__(self) -> None:
        least = {"gbm": 1, "meningioma": 1, "videos": 1, "frames": 2, "side": 32, "annotate_every": 1, "seed": 0}
        for name, bound in least.items():
            if getattr(self, name) < bound:
                raise ValueError(f"{name}: {getattr(self, name)} is less than {bound}")
        if self.suffix not in WRITTEN:
            raise ValueError(f"suffix: {self.suffix!r} is none of {', '.join(WRITTEN)}")

    @property
    def patients(self) -> list[tuple[str, str]]:
        """Class and name of each patient."""
        labels = [LABELS[0]] * self.gbm + [LABELS[1]] * self.meningioma
        return [(label, f"P{number:02}") for number, label in enumerate(labels, start=1)]


#: The cohort of the demo: 20 patients, 960 different frames of 96 x 96 pixels.
SMALL = Cohort(gbm=10, meningioma=10, videos=2, frames=48, side=96, annotate_every=4)


@dataclass(frozen=True)
class Scan:
    """One video of a cohort, which need not be drawn yet.

    Attributes:
      label: the class of its patient.
      patient: name of the patient.
      video: its number among the patient's videos, from 0.
    """

    label: str
    patient: str
    video: int

    @property
    def stem(self) -> str:
        """Name of the video file, without suffix."""
        return f"scan{self.video + 1}"


def scans(cohort: Cohort) -> list[Scan]:
    """Lists all videos of a cohort.

    Args:
      cohort: how much is drawn.

    Returns:
      The videos, in the order in which they are drawn.

    Example:
      >>> from xrcam_jax.data.cohort import Cohort, scans
      >>> [(scan.patient, scan.stem) for scan in scans(Cohort(gbm=1, meningioma=1, videos=2))]
      [('P01', 'scan1'), ('P01', 'scan2'), ('P02', 'scan1'), ('P02', 'scan2')]
    """
    return [Scan(label, patient, v) for label, patient in cohort.patients for v in range(cohort.videos)]


def views(cohort: Cohort, scan: Scan) -> Iterator[View]:
    """Draws the frames of one video; they do not depend on which others are drawn.

    Args:
      cohort: what the video belongs to.
      scan: one of its :func:`scans`.

    Returns:
      The frames, one after the other.

    Example:
      >>> from xrcam_jax.data.cohort import Cohort, scans, views
      >>> cohort = Cohort(gbm=1, meningioma=1, frames=2, side=32)
      >>> [view.picture.shape for view in views(cohort, scans(cohort)[0])]
      [(50, 60), (50, 60)]
    """
    number = int(scan.patient[1:])
    look = draw_look(np.random.default_rng((cohort.seed, number)))
    rng = np.random.default_rng((cohort.seed, number, 1 + scan.video))
    return record(rng, draw_tissue(rng, scan.label, cohort.side, look), cohort.side, look, cohort.frames)


def write_cohort(out: str | os.PathLike[str], cohort: Cohort, *, progress: bool = True) -> Path:
    """Draws a cohort into ``out/recordings/CLASS/PATIENT/*`` and ``out/annotations.json``.

    Each video is written under a hidden name and then renamed, so that an interrupted run leaves whole videos only.
    What a killed run left under hidden names is removed where the same video is drawn again.

    Args:
      out: folder that is made where it is missing.
      cohort: how much is drawn.
      progress: whether to show a bar on a terminal.

    Returns:
      The folder of recordings.

    Raises:
      OSError: names the video that cannot be written.

    Example:
      >>> import tempfile
      >>> from xrcam_jax.data.cohort import Cohort, write_cohort
      >>> cohort = Cohort(gbm=1, meningioma=1, videos=1, frames=2, side=32)
      >>> with tempfile.TemporaryDirectory() as out:
      ...     folder = write_cohort(out, cohort, progress=False)
      ...     sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*.avi"))
      ['GBM/P01/scan1.avi', 'Meningioma/P02/scan1.avi']
    """
    out = Path(out)
    coco = _Coco()
    # It is hidden, since it is no recording.
    write_whole(out / RECORDINGS / f".{ORIGIN}", f"drawn by xrcam synth, seed {cohort.seed}\n".encode())
    for scan in tqdm(scans(cohort), desc="draw", unit="video", disable=None if progress else True):
        folder = out / RECORDINGS / scan.label / scan.patient
        annotated = _annotating(views(cohort, scan), cohort, scan, coco)
        _write_video(folder / f"{scan.stem}{cohort.suffix}", annotated, cohort.side)
    write_whole(out / ANNOTATIONS, json.dumps(coco.content()).encode())
    return out / RECORDINGS


def _write_video(path: Path, frames: Iterable[View], side: int) -> None:
    try:
        from xrcam_jax.pictures.write_video import VideoFile
    except ModuleNotFoundError as error:
        raise lacking(error, path) from error
    path.parent.mkdir(parents=True, exist_ok=True)
    # Those of runs that were killed.
    for left in path.parent.glob(f".{path.stem}.[0-9]*{path.suffix}"):
        left.unlink(missing_ok=True)
    aside = path.with_name(f".{path.stem}.{os.getpid()}{path.suffix}")
    video = VideoFile(path, PCLE_FRAME_RATE, *frame_shape(side), aside=aside)
    try:
        for view in frames:
            video.write(np.repeat(view.picture[..., None], 3, axis=2))
        video.finish()
    finally:
        video.close()
        aside.unlink(missing_ok=True)


def _annotating(frames: Iterable[View], cohort: Cohort, scan: Scan, coco: "_Coco") -> Iterator[View]:
    for number, view in enumerate(frames):
        if scan.label == "Meningioma" and number % (2 * cohort.annotate_every) == 0:
            coco.add(f"{scan.label}_{scan.patient}_{scan.stem}_{number:06d}.png", view)
        yield view


class _Coco:
    """Collects annotations in the layout that MakeSense.ai exports: a polygon and its box for each structure."""

    def __init__(self) -> None:
        self.images: list[dict[str, Any]] = []
        self.annotations: list[dict[str, Any]] = []

    def add(self, name: str, view: View) -> None:
        """Outlines every structure of a view that is large enough to see."""
        height, width = view.picture.shape
        image = len(self.images) + 1
        self.images.append({"id": image, "width": width, "height": height, "file_name": name})
        for structure in np.unique(view.structures[view.structures > 0]):
            mask = (view.structures == structure).astype(np.uint8)
            outlines, _ = cv2.findContours(mask, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
            for outline in outlines:
                self._outline(image, outline)

    def _outline(self, image: int, outline: np.ndarray) -> None:
        area = cv2.contourArea(outline)
        if area < _LEAST_AREA:
            return
        left, top, width, height = cv2.boundingRect(outline)
        annotation = {
            "id": len(self.annotations) + 1,
            "iscrowd": 0,
            "image_id": image,
            "category_id": 1,
            "segmentation": [outline.reshape(-1).tolist()],
            "bbox": [left, top, width, height],
            "area": area,
        }
        self.annotations.append(annotation)

    def content(self) -> dict[str, Any]:
        """Returns what the JSON file holds."""
        return {
            "info": {"description": "drawn structures, not tissue"},
            "images": self.images,
            "annotations": self.annotations,
            "categories": [{"id": 1, "name": "tumour structure"}],
        }


@dataclass(frozen=True, eq=False)
class Frames:
    """The squares that ``xrcam prepare`` would cut out, with what was drawn in them.

    Attributes:
      pictures: grey pictures.
      structures: whether each pixel shows a structure.
      labels: numbers of the classes, their places in ``LABELS``.
      names: of each square, made of class, patient, video and frame.
    """

    pictures: UInt8[np.ndarray, "n side side"]
    structures: Bool[np.ndarray, "n side side"]
    labels: Int32[np.ndarray, "n"]
    names: list[str]


def draw_frames(cohort: Cohort) -> Frames:
    """Draws all different frames of a cohort, without videos in between.

    Args:
      cohort: how much is drawn.

    Returns:
      The squares in their round views.

    Example:
      >>> from xrcam_jax.data.cohort import Cohort, draw_frames
      >>> frames = draw_frames(Cohort(gbm=1, meningioma=1, videos=1, frames=4, side=32))
      >>> frames.pictures.shape, frames.labels.tolist(), frames.names[-1]
      ((4, 32, 32), [0, 0, 1, 1], 'Meningioma_P02_scan1_000002')
    """
    height, width = frame_shape(cohort.side)
    top, left = (height - cohort.side) // 2, (width - cohort.side) // 2
    square = np.s_[top : top + cohort.side, left : left + cohort.side]
    seen = [(r, number, view) for r in scans(cohort) for number, view in enumerate(views(cohort, r))]
    seen = [(r, number, view) for r, number, view in seen if number % 2 == 0]
    return Frames(
        np.stack([view.picture[square] for _, _, view in seen]),
        np.stack([view.structures[square] > 0 for _, _, view in seen]),
        np.array([LABELS.index(r.label) for r, _, _ in seen], np.int32),
        [f"{r.label}_{r.patient}_{r.stem}_{number:06d}" for r, number, _ in seen],
    )
