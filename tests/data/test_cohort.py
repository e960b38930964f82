"""A cohort's files show what was drawn, and the same seed gives the same ones."""

import hashlib
import json
import resource
from dataclasses import replace

import cv2
import numpy as np
import pytest

from tests.recordings import read_video
from xrcam_jax.data.cohort import ANNOTATIONS, Cohort, draw_frames, scans, views, write_cohort
from xrcam_jax.data.manifest import ORIGIN
from xrcam_jax.data.synthetic import LABELS

TINY = Cohort(gbm=1, meningioma=2, videos=1, frames=6, side=48, annotate_every=2, seed=3)


def digests(folder):
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def test_same_seed_same_bytes(tmp_path):
    for name, seed in (("a", 3), ("b", 3), ("c", 4)):
        write_cohort(tmp_path / name, replace(TINY, seed=seed), progress=False)
    assert digests(tmp_path / "a") == digests(tmp_path / "b")
    assert not set(digests(tmp_path / "a").values()) & set(digests(tmp_path / "c").values())
    assert sorted(digests(tmp_path / "a")) == [
        "annotations.json",
        f"recordings/.{ORIGIN}",
        "recordings/GBM/P01/scan1.avi",
        "recordings/Meningioma/P02/scan1.avi",
        "recordings/Meningioma/P03/scan1.avi",
    ]


@pytest.mark.parametrize("suffix", [".avi", ".mp4", ".mov"])
def test_videos_show_what_was_drawn(tmp_path, suffix):
    cohort = replace(TINY, gbm=1, meningioma=1, side=96, suffix=suffix)
    write_cohort(tmp_path, cohort, progress=False)
    for scan in scans(cohort):
        drawn = np.stack([view.picture for view in views(cohort, scan)])
        path = tmp_path / "recordings" / scan.label / scan.patient / f"{scan.stem}{suffix}"
        seen = read_video(path)
        assert seen.shape == (*drawn.shape, 3)
        assert np.abs(seen - drawn[..., None].astype(float)).mean() < 8


def test_annotations_outline_the_structures(tmp_path):
    cohort = replace(TINY, side=96)
    write_cohort(tmp_path, cohort, progress=False)
    coco = json.loads((tmp_path / ANNOTATIONS).read_text())
    drawn = {
        f"{r.label}_{r.patient}_{r.stem}_{number:06d}.png": view.structures > 0
        for r in scans(cohort)
        for number, view in enumerate(views(cohort, r))
    }
    assert [image["file_name"] for image in coco["images"]] == [
        f"Meningioma_{patient}_scan1_{number:06d}.png" for patient in ("P02", "P03") for number in (0, 4)
    ]
    for image in coco["images"]:
        height, width = image["height"], image["width"]
        outlined = np.zeros((height, width), bool)
        for annotation in coco["annotations"]:
            if annotation["image_id"] == image["id"]:
                polygons = [np.reshape(points, (-1, 2)) for points in annotation["segmentation"]]
                outlined |= cv2.fillPoly(np.zeros((height, width), np.uint8), polygons, 1).astype(bool)
        truth = drawn[image["file_name"]]
        assert (outlined & truth).sum() > 0.95 * (outlined | truth).sum()


def test_frames_are_the_middles_of_all_different_views():
    frames = draw_frames(TINY)
    drawn = [(scan, number, view) for scan in scans(TINY) for number, view in enumerate(views(TINY, scan))][::2]
    assert frames.pictures.shape == frames.structures.shape == (9, 48, 48)
    assert frames.labels.tolist() == [LABELS.index(scan.label) for scan, _, _ in drawn]
    assert frames.names[:4] == [
        *(f"GBM_P01_scan1_00000{number}" for number in (0, 2, 4)),
        "Meningioma_P02_scan1_000000",
    ]
    for picture, structures, (_, _, view) in zip(frames.pictures, frames.structures, drawn, strict=True):
        height, width = view.picture.shape
        middle = np.s_[(height - 48) // 2 : (height + 48) // 2, (width - 48) // 2 : (width + 48) // 2]
        np.testing.assert_array_equal(picture, view.picture[middle])
        np.testing.assert_array_equal(structures, view.structures[middle] > 0)


def test_a_video_that_cannot_be_finished_leaves_nothing(tmp_path, monkeypatch):
    def interrupted(cohort, scan):
        yield next(iter(views(cohort, scan)))
        raise KeyboardInterrupt

    monkeypatch.setattr("xrcam_jax.data.cohort.views", interrupted)
    with pytest.raises(KeyboardInterrupt):
        write_cohort(tmp_path, TINY, progress=False)
    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == [f".{ORIGIN}"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"gbm": 0}, "gbm: 0 is less than 1"),
        ({"frames": 1}, "frames: 1 is less than 2"),
        ({"side": 31}, "side: 31 is less than 32"),
        ({"seed": -1}, "seed: -1 is less than 0"),
        ({"suffix": ".wmv"}, "suffix: '.wmv' is none of .avi, .mp4, .mov, .mkv"),
    ],
)
def test_wrong_cohorts_are_refused(change, message):
    with pytest.raises(ValueError, match=message):
        Cohort(**change)


def test_what_a_killed_run_left_is_removed(tmp_path):
    """Files of other names stay, hidden ones too."""
    folder = tmp_path / "recordings" / LABELS[0] / "P01"
    folder.mkdir(parents=True)
    for name in (".scan1.4711.avi", ".scan10.4711.avi", ".mine.avi"):
        (folder / name).write_bytes(b"half")
    write_cohort(tmp_path, TINY, progress=False)
    assert sorted(path.name for path in folder.iterdir() if path.name.startswith(".")) == [
        ".mine.avi",
        ".scan10.4711.avi",
    ]


def test_on_a_full_disk_there_is_no_half_a_video(tmp_path):
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (3000, hard))
    try:
        with pytest.raises(OSError, match=r"scan1.*avi: not all of \d+ frames could be written; is the disk full"):
            write_cohort(tmp_path, TINY, progress=False)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert not list(tmp_path.rglob("*.avi"))
