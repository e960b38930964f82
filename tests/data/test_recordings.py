"""Frames come in grey, with their numbers, from whatever holds them; what is damaged is named."""

import itertools

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
