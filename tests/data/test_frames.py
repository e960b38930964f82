"""The right pixels are written, once, and the same whether or not the run was interrupted."""

import dataclasses
import itertools
import json
import os
import tracemalloc
import unicodedata

import numpy as np
import pytest
from PIL import Image

from tests.recordings import disc, textured, write_by_ffmpeg, write_pictures, write_video
from xrcam_jax.data import frames as module
from xrcam_jax.data.frames import collate, extract_all, same_content
from xrcam_jax.data.manifest import read_split, write_split
from xrcam_jax.data.picture_names import picture_names
from xrcam_jax.data.recordings import Recording, find_recordings
from xrcam_jax.pictures.field_of_view import find_view


@pytest.fixture
def cohort(tmp_path):
    """Writes recordings of two classes of three patients: videos of two programs, and pictures."""
    folder = tmp_path / "recordings"
    for number, place in enumerate(["lung/p1/a.avi", "lung/p2/a.avi", "oral/q1/a.mp4"]):
        write_video(folder / place, textured(6, number), "mp4v" if place.endswith("mp4") else "MJPG")
    write_by_ffmpeg(folder / "lung/p3/ä b,c.avi", textured(6, 3), "-c:v", "ffv1", "-pix_fmt", "gray")
    write_pictures(folder / "oral/q2", textured(6, 4))
    write_pictures(folder / "oral/q3/seq.1", textured(6, 5))
    return folder


def prepare(folder, out, **options):
    extracted = extract_all(find_recordings(folder).found, out, **options)
    return collate(out, extracted)


def contents(out):
    return {
        str(path.relative_to(out)): path.read_bytes()
        for path in sorted(out.rglob("*"))
        if path.is_file() and ".progress" not in path.parts
    }


def only(label="lung", patient="p", path="a.avi"):
    return Recording(label, patient, path, f"{label}/{patient}/{path.name}")


def test_all_that_is_written(tmp_path, cohort):
    out = tmp_path / "out"
    prepared = prepare(cohort, out)
    assert [frame.number for frame in prepared.frames] == [0, 2, 4] * 6
    files = {"manifest.csv", "recordings.csv", "split.csv", "statistics.json"}
    assert set(contents(out)) == {f.file for f in prepared.frames} | files
    assert prepared.frames[6].file == "frames/lung/p3/lung_p3_ä b,c_000000.png"
    assert prepared.frames[-1].file == "frames/oral/q3/oral_q3_seq.1_000004.png"
    assert prepared.frames[-1].video == "oral/q3/seq.1"
    assert prepared.frames[-4].file == "frames/oral/q2/oral_q2_q2_000004.png"
    assert sorted(prepared.parts.values()) == ["test", "test", "train", "train", "validation", "validation"]


def test_pixels_are_those_of_the_recording(tmp_path, cohort):
    """They are exactly those where no lossy codec lies in between."""
    out = tmp_path / "out"
    for frame in prepare(cohort, out).frames:
        with Image.open(out / frame.file) as picture:
            assert (picture.mode, picture.size) == ("L", (frame.size, frame.size))
            pixels = np.asarray(picture)
        # The circle about (62, 44) of radius 36 has room for 25 pixels to each side.
        assert abs(frame.size - 51) <= 2
        assert abs(frame.crop.left + frame.size / 2 - 62.5) <= 1
        assert abs(frame.crop.top + frame.size / 2 - 44.5) <= 1
        assert (frame.crop.width, frame.crop.height) == (120, 90)
        seed = {"p3": 3, "q2": 4, "q3": 5}.get(frame.patient)
        if seed is not None:
            drawn = textured(6, seed)[frame.number]
            square = drawn[frame.crop.box.slices]
            np.testing.assert_array_equal(pixels, square)
            assert square.min() >= 40


def test_statistics_are_of_all_pixels_of_the_training_part(tmp_path, cohort):
    out = tmp_path / "out"
    prepared = prepare(cohort, out)
    pixels = np.concatenate([np.asarray(Image.open(out / f.file)).ravel() for f in prepared.part("train")]) / 255
    assert prepared.statistics.mean == pytest.approx(pixels.mean(), abs=1e-12)
    assert prepared.statistics.std == pytest.approx(pixels.std(), abs=1e-12)


def test_exact_duplicates_are_left_out(tmp_path):
    a, b, c = textured(3)
    other_logo = a.copy()
    other_logo[:10, :10] = 99
    folder = write_pictures(tmp_path / "a", [a, a, b, other_logo, c, a])
    (entry,) = extract_all([only(path=folder)], tmp_path / "out", every=1)
    assert entry.numbers == [0, 2, 4]
    assert entry.duplicates == 3
    assert [frame.number for frame in entry.frames()] == [0, 2, 4]


def test_the_same_frames_under_two_patients_are_noticed(tmp_path):
    one, other = (write_pictures(tmp_path / name, textured(3)) for name in "ab")
    different = write_pictures(tmp_path / "c", textured(3, seed=1))
    recordings = [only(patient=path.name, path=path) for path in (one, other, different)]
    ((first, second),) = same_content(extract_all(recordings, tmp_path / "out"))
    assert (first.patient, second.patient) == ("a", "b")
    alone = [dataclasses.replace(entry, patient="a") for entry in (first, second)]
    assert same_content(alone) == []


@pytest.mark.long(one_in=2)
@pytest.mark.parametrize("written", [0, 1, 4, 11])
def test_an_interrupted_run_goes_on(tmp_path, cohort, monkeypatch, written):
    undisturbed, out = tmp_path / "undisturbed", tmp_path / "out"
    prepare(cohort, undisturbed)
    pictures = itertools.count()
    write_whole = module.write_whole

    def interrupted(path, content, **options):
        if path.suffix == ".png" and next(pictures) == written:
            # A power cut leaves such a file.
            path.parent.mkdir(parents=True, exist_ok=True)
            path.with_name(f".{path.name}.1234").write_bytes(content[:10])
            raise KeyboardInterrupt
        write_whole(path, content, **options)

    with monkeypatch.context() as patch:
        patch.setattr(module, "write_whole", interrupted)
        with pytest.raises(KeyboardInterrupt):
            prepare(cohort, out)
    assert len([path for path in out.rglob("*.png") if not path.name.startswith(".")]) == written
    assert not (out / "manifest.csv").exists()

    opened = []
    grey_frames = module.grey_frames
    monkeypatch.setattr(module, "grey_frames", lambda r, every: opened.append(r.video) or grey_frames(r, every=every))
    prepare(cohort, out)
    assert contents(out) == contents(undisturbed)
    # Recordings have three frames each, and those that were whole are not read again.
    assert len(opened) == 6 - written // 3


def test_same_seed_same_bytes(tmp_path, cohort):
    one, other = tmp_path / "one", tmp_path / "other"
    prepare(cohort, one)
    for path in cohort.rglob("*.avi"):
        path.touch()
    prepare(cohort, other)
    assert contents(one) == contents(other)


def test_only_what_has_changed_is_done_again(tmp_path, cohort):
    out = tmp_path / "out"
    prepare(cohort, out)
    times = {path: path.stat().st_mtime_ns for path in out.rglob("*.png")}
    write_video(cohort / "lung/p1/a.avi", textured(3, seed=9))
    next((out / "frames/oral/q1").glob("*.png")).unlink()
    prepared = prepare(cohort, out)
    again = {p.relative_to(out).parts[2] for p in out.rglob("*.png") if p.stat().st_mtime_ns != times.get(p)}
    assert again == {"p1", "q1"}
    assert [frame.number for frame in prepared.frames if frame.patient == "p1"] == [0, 2]
    assert {str(path.relative_to(out)) for path in out.rglob("*.png")} == {frame.file for frame in prepared.frames}


def test_other_settings_and_recordings_leave_nothing_behind(tmp_path, cohort):
    out, fresh = tmp_path / "out", tmp_path / "fresh"
    prepare(cohort, out)
    (cohort / "lung/p1/a.avi").rename(cohort / "lung/p1/b.avi")
    prepare(cohort, out, every=3)
    prepare(cohort, fresh, every=3)
    assert contents(out) == contents(fresh)


def test_what_no_longer_holds_is_no_prepared_folder(tmp_path, cohort):
    out = tmp_path / "out"
    prepare(cohort, out)
    (cohort / "lung/p1/a.avi").write_text("damaged")
    lines = []
    extracted = extract_all(find_recordings(cohort).found, out, report=lines.append)
    assert len(extracted) == 5
    (line,) = lines
    assert line.startswith(f"{cohort / 'lung/p1/a.avi'}: damaged, or not a video")
    assert not (out / "manifest.csv").exists()
    assert not list((out / "frames/lung/p1").iterdir())
    with pytest.raises(ValueError, match=r"p1.a\.avi: damaged"):
        extract_all(find_recordings(cohort).found, out)


def test_a_recording_that_is_damaged_further_on_leaves_no_frames(tmp_path):
    """Its last picture is not among those that the view is looked for in."""
    folder = write_pictures(tmp_path / "a", textured(30))
    (folder / "29.png").write_text("damaged")
    lines = []
    assert extract_all([only(path=folder)], tmp_path / "out", every=1, report=lines.append) == []
    assert lines[0].startswith(f"{folder / '29.png'}: neither a picture")
    assert lines[0].endswith(f"; all of {folder} is left out")
    assert not list((tmp_path / "out").rglob("*.png"))


def test_the_view_does_not_depend_on_which_frames_are_kept(tmp_path):
    """The bright frames, of which every third is missing in one half of the view, are others for each distance."""
    frames = [np.where(np.arange(120) < 62 + 36 * (n % 3 > 0), frame, 0) for n, frame in enumerate(textured(40))]
    folder = write_pictures(tmp_path / "a", frames)
    crops = {extract_all([only(path=folder)], tmp_path / f"{n}", every=n)[0].crop for n in (1, 2, 3, 5)}
    assert len(crops) == 1


def test_damaged_notes_are_done_again(tmp_path, cohort):
    out = tmp_path / "out"
    prepare(cohort, out)
    before = contents(out)
    one, other, *_ = (out / ".progress").iterdir()
    one.write_text("{")
    other.write_text('{"video": "of another version"}')
    prepare(cohort, out)
    assert contents(out) == before


def test_an_edited_split_is_kept_and_counts(tmp_path, cohort):
    out = tmp_path / "out"
    before = prepare(cohort, out)
    edited = dict(zip(sorted(before.parts), ["test", "validation", "train"] * 2, strict=True))
    write_split(out, edited)
    with (out / "split.csv").open("a") as file:
        file.write("gone,test\n")
    text = (out / "split.csv").read_text()
    after = prepare(cohort, out)
    assert (out / "split.csv").read_text() == text
    assert after.parts == read_split(out) == {**edited, "gone": "test"}
    assert {frame.patient for frame in after.part("train")} == {"p3", "q3"}
    assert after.statistics != before.statistics


def test_errors_of_collate(tmp_path, cohort):
    out = tmp_path / "out"
    extracted = extract_all(find_recordings(cohort).found, out)
    with pytest.raises(ValueError, match="class 'lung' has 2 patients"):
        collate(out, extracted[1:])
    write_split(out, dict.fromkeys(["p1", "p2", "p3", "q1", "q2", "q3"], "test"))
    with pytest.raises(ValueError, match="the part train has no frames"):
        collate(out, extracted)
    write_split(out, {"p1": "train"})
    with pytest.raises(ValueError, match="not listed: p2, p3, q1, q2, q3"):
        collate(out, extracted)
    flat = write_pictures(tmp_path / "flat", [np.full((40, 40), 128, np.uint8)])
    (entry,) = extract_all([only(patient="p1", path=flat)], tmp_path / "flat_out")
    with pytest.raises(ValueError, match="all pixels of the part train are equal"):
        collate(tmp_path / "flat_out", [entry], (1, 0, 0))


def test_recordings_without_a_view_and_unreadable_names(tmp_path):
    dark = write_pictures(tmp_path / "dark", [np.zeros((40, 40), np.uint8)])
    gone = tmp_path / "gone.avi"
    odd = tmp_path / "odd\udcff"
    lines = []
    recordings = [only(path=dark), only(path=gone), dataclasses.replace(only(path=odd), video="lung/p/odd\udcff")]
    assert extract_all(recordings, tmp_path / "out", report=lines.append) == []
    assert lines[0].startswith(f"{dark}: found no view")
    assert lines[1] == f"{gone}: cannot be read (No such file or directory)"
    assert lines[2].startswith(f"{odd}: the name is not UTF-8")


def test_names_of_pictures_are_unique(tmp_path):
    videos = [
        "a/p/clip.avi",
        "a/p/clip.mp4",
        "a/p/CLIP.mov",
        "a/p/day1/clip.avi",
        "a/p/other.avi",
        "a/p_other/1.avi",
        "a_p/other/1.avi",
        "a/p/other_1.avi",
        f"a/p/{'x' * 240}.avi",
        f"a/p/{'ü' * 120}.avi",
    ]
    recordings = [Recording(*video.split("/")[:2], tmp_path / video, video) for video in videos]
    names = picture_names(recordings)
    assert list(names) == videos
    assert len({name.casefold() for name in names.values()}) == len(videos)
    assert all(len(f".{name}_1234567.png.1234567".encode()) <= 255 for name in names.values())
    assert names["a/p/other.avi"] == "a_p_other"
    assert names["a/p/clip.avi"].startswith("a_p_clip-")
    # Their names do not depend on what else there is, as long as they share one with something.
    assert picture_names(recordings[:2])["a/p/clip.mp4"] == names["a/p/clip.mp4"]


def test_same_stem_in_one_patient(tmp_path):
    folder = tmp_path / "recordings"
    for seed, place in enumerate(["a/p/clip.avi", "a/p/clip.mp4", "a/p/day1/clip.avi", "a/q/1/1.avi", "a/r/1.avi"]):
        write_video(folder / place, textured(3, seed), "mp4v" if place.endswith("mp4") else "MJPG")
    prepared = prepare(folder, tmp_path / "out", every=1)
    assert len({frame.file.rpartition("/")[2] for frame in prepared.frames}) == 15
    assert len(contents(tmp_path / "out")) == 15 + 4


def test_memory_does_not_grow_with_the_length_of_a_video(tmp_path):
    def peak(count):
        frames = [
            disc(60 + number % 150, height=180, width=240, centre=(120, 90), radius=80) for number in range(count)
        ]
        video = write_video(tmp_path / f"{count}.avi", frames)
        del frames
        tracemalloc.start()
        extract_all([only(path=video)], tmp_path / str(count), every=1)
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return most

    frame = 180 * 240
    assert peak(200) - peak(50) < 10 * frame


def test_the_view_is_found_once_for_all_frames(tmp_path, monkeypatch):
    seen = []
    monkeypatch.setattr(module, "find_view", lambda frames: seen.append(len(frames)) or find_view(frames))
    folder = write_pictures(tmp_path / "a", [disc(0)] * 10 + textured(60))
    (entry,) = extract_all([only(path=folder)], tmp_path / "out", every=1)
    assert len(seen) == 1
    assert seen[0] <= 24
    assert entry.numbers == [0, *range(10, 70)]


@pytest.mark.long(one_in=2)
@pytest.mark.parametrize(
    "change",
    [
        lambda path: path.write_bytes(b""),
        lambda path: path.unlink(),
        lambda path: path.write_bytes(path.read_bytes()[:-1] + bytes([path.read_bytes()[-1] ^ 1])),
        lambda path: path.write_bytes(path.with_name("lung_p1_a_000000.png").read_bytes()),
    ],
    ids=["emptied", "missing", "one bit", "another frame's"],
)
def test_frames_that_changed_are_written_anew(tmp_path, cohort, change):
    """Neither size nor time need tell: both are as they were."""
    out, lines = tmp_path / "out", []
    prepare(cohort, out)
    before = contents(out)
    path = out / "frames/lung/p1/lung_p1_a_000002.png"
    times = path.stat().st_atime_ns, path.stat().st_mtime_ns
    change(path)
    if path.exists():
        os.utime(path, ns=times)
    prepare(cohort, out, remark=lines.append)
    assert contents(out) == before
    assert lines == [f"{cohort / 'lung/p1/a.avi'}: 1 of its frames in {out} are not as they were written; all are anew"]
    prepare(cohort, out, remark=lines.append)
    assert len(lines) == 1


def test_names_that_some_systems_do_not_tell_apart(tmp_path):
    stems = ("\u00c4", "A\u0308", "a\u0308", "b")
    recordings = [Recording("x", "p", tmp_path / f"{stem}.avi", f"x/p/{stem}.avi") for stem in stems]
    found = list(picture_names(recordings).values())
    assert found[3] == "x_p_b"
    assert len({unicodedata.normalize("NFC", name).casefold() for name in found}) == 4


def test_damaged_notes_are_as_good_as_none(tmp_path, cohort):
    """Numbers of a note go into the statistics; one flipped bit in a sum would be in them unnoticed."""
    out = tmp_path / "out"
    prepare(cohort, out)
    before = contents(out)
    for path, change in zip(sorted((out / ".progress").iterdir()), (b"[]", b"", b"\xff", None), strict=False):
        content = json.loads(path.read_bytes())
        content["note"]["total"] += 1
        path.write_bytes(json.dumps(content).encode() if change is None else change)
    prepare(cohort, out)
    assert contents(out) == before
