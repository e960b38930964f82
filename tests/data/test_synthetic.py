"""The drawn recordings: what is promised of them, on what is drawn."""

import hashlib
import json
from dataclasses import replace

import cv2
import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from xrcam_jax.cli import main
from xrcam_jax.data.cohort import ANNOTATIONS, Cohort, draw_frames, scans, views, write_cohort
from xrcam_jax.data.field_of_view import find_view
from xrcam_jax.data.manifest import ORIGIN
from xrcam_jax.data.synthetic import LABELS, frame_shape, view_circle

TINY = Cohort(gbm=1, meningioma=2, videos=1, frames=6, side=48, annotate_every=2, seed=3)


def digests(folder):
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def read(path):
    video = cv2.VideoCapture(str(path))
    frames = []
    while (got := video.read())[0]:
        frames.append(got[1])
    return np.stack(frames)


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
        seen = read(path)
        assert seen.shape == (*drawn.shape, 3)
        assert np.abs(seen - drawn[..., None].astype(float)).mean() < 8


def test_round_view_on_black_with_a_logo_and_repeated_neighbours():
    side = 96
    seen = list(views(replace(TINY, side=side), scans(TINY)[0]))
    column, row, radius = view_circle(side)
    height, width = frame_shape(side)
    rows, columns = np.ogrid[:height, :width]
    outside = (rows - row) ** 2 + (columns - column) ** 2 > (radius + 1) ** 2
    logo = np.zeros((height, width), bool)
    logo[-height // 8 :, : width // 6] = logo[: height // 8, -width // 8 :] = True
    for view in seen:
        assert not view.picture[outside & ~logo].any()
        assert view.picture[outside & logo].max() > 100
        assert view.picture[~outside].mean() > 20
    pictures = [view.picture for view in seen]
    assert all((a == b).all() for a, b in zip(pictures[::2], pictures[1::2], strict=True))
    assert not any((a == b).all() for a, b in zip(pictures[1:-1:2], pictures[2::2], strict=True))


@pytest.mark.parametrize("side", [48, 97, 230])
def test_preparing_finds_the_square_that_was_drawn(side):
    for scan in scans(TINY):
        pictures = [view.picture for view in views(replace(TINY, side=side), scan)]
        height, width = pictures[0].shape
        square = find_view(pictures)
        assert abs(square.left - (width - side) / 2) <= 1
        assert abs(square.top - (height - side) / 2) <= 1
        assert abs(square.size - side) <= side % 2


def test_structures_are_darker_than_what_surrounds_them_and_of_several_scales():
    frames = draw_frames(Cohort(gbm=1, meningioma=4, videos=1, frames=8, side=128, seed=5))
    meningioma = frames.labels == LABELS.index("Meningioma")
    assert not frames.structures[~meningioma].any()
    areas = []
    for picture, mask in zip(frames.pictures[meningioma], frames.structures[meningioma], strict=True):
        assert picture[mask].mean() < 0.8 * picture[~mask].mean()
        areas += list(cv2.connectedComponentsWithStats(mask.astype(np.uint8))[2][1:, cv2.CC_STAT_AREA])
    diameters = 2 * np.sqrt(np.array(areas) / np.pi) / 128
    for low, high in ((0.06, 0.125), (0.13, 0.22), (0.23, 0.5)):
        assert ((low < diameters) & (diameters < high)).any()


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


def global_statistics(picture):
    values = picture.astype(float) / 255
    mean, deviation = values.mean(), values.std()
    z = (values - mean) / deviation
    shares = np.histogram(values, 32, (0, 1))[0] / values.size
    entropy = -(shares[shares > 0] * np.log(shares[shares > 0])).sum()
    slopes = np.hypot(*np.gradient(cv2.GaussianBlur(values, (0, 0), 1.5)))
    quantiles = np.percentile(values, [1, 5, 25, 50, 75, 95, 99])
    return [mean, deviation, (z**3).mean(), (z**4).mean(), entropy, *quantiles, slopes.mean(), slopes.std()]


def test_no_global_statistics_tell_the_classes_apart():
    frames = draw_frames(Cohort(gbm=24, meningioma=24, videos=1, frames=16, side=96, seed=8))
    x = np.array([global_statistics(picture) for picture in frames.pictures])
    patient = np.array([int(name.split("_")[1][1:]) for name in frames.names])
    right = []
    for fold in range(6):
        held_out = patient % 6 == fold
        model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=5000))
        model.fit(x[~held_out], frames.labels[~held_out])
        right.append(model.score(x[held_out], frames.labels[held_out]))
    assert np.mean(right) < 0.65


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--patients", "1"], "--patients: 1 is less than 2, one per class"),
        (["--frames", "0"], "--frames: 0 is less than 1"),
        (["--side", "8"], "--side: 8 is less than 32"),
        (["--suffix", ".gif"], "--suffix: '.gif' is none of .avi, .mp4, .mov, .mkv"),
        (["--seed", "-1"], "--seed: -1 is less than 0"),
    ],
)
def test_bad_arguments_are_one_line(tmp_path, capsys, arguments, complaint):
    assert main(["synth", str(tmp_path / "out"), *arguments]) == 2
    assert capsys.readouterr().err == f"xrcam synth: error: {complaint}\n"
    assert not (tmp_path / "out").exists()


def test_the_command_draws_as_much_as_asked(tmp_path, capsys):
    assert main(["synth", str(tmp_path), "--small", "--patients", "3", "--frames", "10", "--side", "40"]) == 0
    videos = sorted((tmp_path / "recordings").rglob("*.avi"))
    assert len(videos) == 6
    assert len({video.parent for video in videos}) == 3
    assert {len(read(video)) for video in videos} == {4}
    assert "3 patients with 2 videos of 4 frames" in capsys.readouterr().out
