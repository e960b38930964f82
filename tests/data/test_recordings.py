"""Frames come in grey, with their numbers, from whatever holds them; what is damaged is named."""

import itertools
import os

import numpy as np
import pytest
from PIL import Image

from tests.pictures.drawn import write_dicom
from tests.recordings import CENTRE, cut, disc, levels, write_by_ffmpeg, write_pictures, write_video
from xrcam_jax.data.recordings import Recording, files_of, find_recordings, grey_frames


def recording(path):
    return Recording("lung", "p1", path, path.name)


def brightness(path, every=1):
    """Returns the number and the brightness in the disc of all frames."""
    column, row = CENTRE
    frames = list(grey_frames(recording(path), every=every))
    assert all(pixels.dtype == np.uint8 and pixels.ndim == 2 for _, pixels in frames)
    return [number for number, _ in frames], [float(pixels[row, column]) for _, pixels in frames]


@pytest.mark.parametrize(
    ("name", "codec"), [("a.mp4", "mp4v"), ("a.avi", "MJPG"), ("a.mov", "mp4v"), ("A.AVI", "XVID")]
)
def test_videos_by_opencv(tmp_path, name, codec):
    numbers, values = brightness(write_video(tmp_path / name, levels(11), codec), every=2)
    assert numbers == [0, 2, 4, 6, 8, 10]
    np.testing.assert_allclose(values, 60 + 8 * np.array(numbers), atol=3)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("a.mp4", ["-c:v", "libx264", "-pix_fmt", "yuv420p"]),
        ("a.mp4", ["-c:v", "libx264", "-pix_fmt", "gray", "-bf", "3"]),
        ("a.avi", ["-c:v", "mpeg4", "-q:v", "2"]),
        ("a.avi", ["-c:v", "rawvideo", "-pix_fmt", "gray"]),
    ],
)
def test_videos_by_ffmpeg(tmp_path, name, options):
    numbers, values = brightness(write_by_ffmpeg(tmp_path / name, levels(11), *options), every=3)
    assert numbers == [0, 3, 6, 9]
    np.testing.assert_allclose(values, 60 + 8 * np.array(numbers), atol=3)


def test_lossless_grey_comes_back_exactly_at_odd_sizes(tmp_path):
    frames = [disc(60 + number, height=91, width=123) for number in range(5)]
    path = write_by_ffmpeg(tmp_path / "a.avi", frames, "-c:v", "ffv1", "-pix_fmt", "gray")
    for (_, pixels), frame in zip(grey_frames(recording(path)), frames, strict=True):
        np.testing.assert_array_equal(pixels, frame)


def test_colour_becomes_luminance(tmp_path):
    folder = write_pictures(
        tmp_path / "a", [np.full((8, 9, 3), colour, np.uint8) for colour in ((200, 0, 0), (0, 0, 200))]
    )
    values = [pixels[0, 0] for _, pixels in grey_frames(recording(folder))]
    assert values == [round(200 * 0.299), round(200 * 0.114)]


def test_pictures_are_numbered_as_their_names_count(tmp_path):
    folder = write_pictures(tmp_path / "a", levels(12), "frame{}.png")
    (folder / "notes.txt").write_text("no frame")
    (folder / ".hidden.png").write_text("no frame")
    numbers, values = brightness(folder, every=2)
    assert numbers == [0, 2, 4, 6, 8, 10]
    assert values == [60 + 8 * number for number in numbers]
    assert [path.name for path in files_of(recording(folder))] == [f"frame{number}.png" for number in range(12)]


def test_frames_are_read_only_when_asked_for(tmp_path):
    folder = write_pictures(tmp_path / "a", levels(3))
    (folder / "2.png").write_text("damaged")
    assert [number for number, _ in itertools.islice(grey_frames(recording(folder)), 2)] == [0, 1]


def test_damaged_recordings_are_named(tmp_path):
    whole = levels(40)
    video = cut(write_video(tmp_path / "cut.avi", whole))
    with pytest.raises(ValueError, match=rf"{video}: damaged or truncated video, ends after \d+ of 40 frames"):
        list(grey_frames(recording(video), every=2))
    with pytest.raises(ValueError, match=r"cut\.mp4: damaged, or not a video"):
        list(grey_frames(recording(cut(write_video(tmp_path / "cut.mp4", whole, "mp4v")))))
    folder = write_pictures(tmp_path / "a", levels(3))
    cut(folder / "1.png")
    with pytest.raises(ValueError, match=rf"{folder / '1.png'}: damaged or truncated picture"):
        list(grey_frames(recording(folder)))


@pytest.mark.parametrize("name", ["a.tif", "a.gif"])
def test_a_file_of_several_pictures_is_a_recording_as_a_video_is(tmp_path, name):
    folder = write_pictures(tmp_path / "lung" / "p1", levels(2))
    first, *others = map(Image.fromarray, levels(5))
    first.save(folder / name, save_all=True, append_images=others)
    stack, pictures = sorted(find_recordings(tmp_path).found, key=lambda found: found.path.is_dir())
    assert (stack.video, pictures.video) == (f"lung/p1/{name}", "lung/p1")
    assert files_of(pictures) == [folder / "0.png", folder / "1.png"]
    assert files_of(stack) == [folder / name]
    assert brightness(stack.path, every=2) == ([0, 2, 4], [60.0, 76.0, 92.0])


def test_dicom_is_known_by_its_content(tmp_path):
    """Scanners give their files any name, and none of it is a suffix."""
    folder = tmp_path / "lung" / "p1"
    folder.mkdir(parents=True)
    frames = np.stack([disc(60 + number) for number in range(4)])
    write_dicom(folder / "IM000001", frames)
    write_dicom(folder / "IM000002", frames[0])
    write_dicom(folder / "1.2.840.4", frames[1])
    (folder / "DICOMDIR").write_bytes((folder / "IM000001").read_bytes())
    recordings = find_recordings(tmp_path)
    assert [found.video for found in recordings.found] == ["lung/p1", "lung/p1/IM000001"]
    assert [path.name for path in files_of(recordings.found[0])] == ["1.2.840.4", "IM000002"]
    assert [path.name for path in recordings.others] == ["DICOMDIR"]
    for (_, pixels), frame in zip(grey_frames(recordings.found[1]), frames, strict=True):
        np.testing.assert_array_equal(pixels, frame)


def test_another_size_is_named(tmp_path):
    folder = write_pictures(tmp_path / "a", [disc(90), disc(90), disc(90, height=80)])
    with pytest.raises(ValueError, match=r"2.png: frame 2 is 120x80, those before are 120x90"):
        list(grey_frames(recording(folder)))


def test_what_a_folder_of_recordings_holds(tmp_path):
    for place in (
        "lung/p1/a.avi",
        "lung/p1/b.MP4",
        "lung/p1/day 2/a.avi",
        "oral/p 2/1.png",
        "oral/p 2/2.jpg",
        "oral/p3/seq.1/001.tif",
        "oral/p3/.cache/1.png",
        ".trash/p1/a.avi",
        "lung/stray.avi",
        "top.png",
        "lung/p1/notes.txt",
    ):
        (tmp_path / place).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / place).touch()
    recordings = find_recordings(tmp_path)
    assert [(r.label, r.patient, r.video) for r in recordings.found] == [
        ("lung", "p1", "lung/p1/a.avi"),
        ("lung", "p1", "lung/p1/b.MP4"),
        ("lung", "p1", "lung/p1/day 2/a.avi"),
        ("oral", "p 2", "oral/p 2"),
        ("oral", "p3", "oral/p3/seq.1"),
    ]
    assert all(r.path == tmp_path / r.video for r in recordings.found)
    assert set(recordings.misplaced) == {tmp_path / "lung/stray.avi", tmp_path / "top.png"}
    assert recordings.others == (tmp_path / "lung/p1/notes.txt",)


@pytest.fixture
def linked(tmp_path):
    """Makes two patients with a clip each, and a store outside of their folder."""
    for place in ("rec/A/P1/c.avi", "rec/A/P2/c.avi", "store/day1/d.avi", "store/day1/seq/1.png", "store/e.avi"):
        (tmp_path / place).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / place).touch()
    return tmp_path


def found_in(folder):
    recordings = find_recordings(folder / "rec")
    links = [path.relative_to(folder / "rec").as_posix() for path in recordings.links]
    return [recording.video for recording in recordings.found], links


@pytest.mark.parametrize(
    ("link", "target"),
    [
        ("A/P1/up", ".."),
        ("A/P1/top", "../.."),
        ("A/P1/above", "../../.."),
        ("A/P1/self", "self"),
        ("A/P1/gone", "nowhere"),
        ("A/P1/gone.avi", "nowhere.avi"),
        ("A/P1/other", "../P2"),
        ("A/P1/other.avi", "../P2/c.avi"),
        ("A/P1/again.avi", "c.avi"),
        ("A/P3", "P2"),
        ("B", "A"),
        ("A/P1/root", "/"),
    ],
)
def test_links_to_what_is_found_anyway_and_to_nothing_are_passed_over(linked, link, target):
    (linked / "rec" / link).symlink_to(target)
    assert found_in(linked) == (["A/P1/c.avi", "A/P2/c.avi"], [link])


def test_two_links_that_lead_through_each_other_end(linked):
    for name in ("up", "down"):
        (linked / "rec/A/P1" / name).symlink_to("..")
    assert found_in(linked) == (["A/P1/c.avi", "A/P2/c.avi"], ["A/P1/down", "A/P1/up"])


def test_what_lies_elsewhere_is_followed_once(linked):
    """Patients' folders may be links, and so may videos, as archives have them; the first to lead somewhere has it."""
    (linked / "rec/A/P3").symlink_to(linked / "store/day1")
    (linked / "rec/A/P4").mkdir()
    (linked / "rec/A/P4/e.avi").symlink_to(linked / "store/e.avi")
    (linked / "rec/A/P4/f.avi").symlink_to(linked / "store/day1/d.avi")
    (linked / "rec/B").mkdir()
    (linked / "rec/B/P5").symlink_to(linked / "store")
    (linked / "store/day1/loop").symlink_to(linked / "store")
    videos = ["A/P1/c.avi", "A/P2/c.avi", "A/P3/d.avi", "A/P3/loop/e.avi", "A/P3/seq"]
    assert found_in(linked) == (videos, ["A/P3/loop/day1", "A/P4/e.avi", "A/P4/f.avi", "B/P5"])


def test_links_to_hidden_contents_are_followed(linked):
    """Git-annex keeps all contents in a hidden folder."""
    (linked / "rec/.git").mkdir()
    (linked / "rec/.git/contents").touch()
    (linked / "rec/A/P2/d.avi").symlink_to("../../.git/contents")
    assert found_in(linked) == (["A/P1/c.avi", "A/P2/c.avi", "A/P2/d.avi"], [])


def test_pictures_of_another_patient_are_no_frames(tmp_path):
    write_pictures(tmp_path / "rec/A/P1", levels(3))
    write_pictures(tmp_path / "rec/A/P2", levels(1))
    (tmp_path / "rec/A/P2/7.png").symlink_to("../P1/2.png")
    one, other = find_recordings(tmp_path / "rec").found
    assert [path.name for path in files_of(one)] == ["0.png", "1.png", "2.png"]
    assert [path.name for path in files_of(other)] == ["0.png"]
    assert [number for number, _ in grey_frames(other)] == [0]


def test_a_folder_that_cannot_be_listed_does_not_end_the_search(linked, monkeypatch):
    iterdir = type(linked).iterdir

    def closed(self):
        if self.name == "P1":
            raise PermissionError(13, "Permission denied", str(self))
        return iterdir(self)

    monkeypatch.setattr(type(linked), "iterdir", closed)
    recordings = find_recordings(linked / "rec")
    assert [recording.video for recording in recordings.found] == ["A/P2/c.avi"]
    assert recordings.closed == (linked / "rec/A/P1",)


def test_a_pipe_beside_pictures_is_not_opened(tmp_path):
    folder = write_pictures(tmp_path / "a", [disc(60)])
    os.mkfifo(folder / "pipe")
    assert len(files_of(recording(folder))) == 1


def test_what_is_no_file_is_left_alone(linked):
    os.mkfifo(linked / "rec/A/P1/pipe.avi")
    assert found_in(linked) == (["A/P1/c.avi", "A/P2/c.avi"], [])
    assert [path.name for path in find_recordings(linked / "rec").others] == ["pipe.avi"]
