"""What is decoded from the video of ``xrcam explain`` is compared with the source and with a plain loop."""

import threading
from dataclasses import replace
from types import SimpleNamespace

import cv2
import jax
import numpy as np
import pytest
from PIL import Image

import xrcam_jax as xr
from tests.commands.stand_ins import PretendExplainer, network
from xrcam_jax.checkpoints.packaged import MODEL, WEIGHTS
from xrcam_jax.checkpoints.save import save_timm
from xrcam_jax.cli import main
from xrcam_jax.commands.overlay_video import compose
from xrcam_jax.commands.pace import Pace
from xrcam_jax.figures import strip
from xrcam_jax.figures.overlay import overlay
from xrcam_jax.pictures.preprocessing import crop_box, preprocess
from xrcam_jax.pictures.write_video import CODECS, VideoFile

HEIGHT, WIDTH = 260, 300
#: Above the panels: margin, caption, names.
TOP = strip.MARGIN + strip.LINE + strip.GAP // 2 + strip.LINE
#: What encoding and decoding may change, on average over a panel.
LOSS = 5


def panel(frame, index, height=HEIGHT, width=WIDTH):
    """Returns the panel of that place in a decoded frame, without its borders, which encoders blur."""
    left = strip.MARGIN + index * (width + strip.GAP)
    return frame[TOP : TOP + height, left : left + width][4:-4, 4:-4].astype(float)


def differs(decoded, expected):
    return np.abs(decoded - expected[4:-4, 4:-4]).mean()


def decoded(path):
    """Returns the frames in RGB, and the frames per second."""
    capture = cv2.VideoCapture(str(path))
    rate, frames = capture.get(cv2.CAP_PROP_FPS), []
    while (read := capture.read())[0]:
        frames.append(cv2.cvtColor(read[1], cv2.COLOR_BGR2RGB))
    capture.release()
    return frames, rate


def capture_rate(path):
    return cv2.VideoCapture(str(path)).get(cv2.CAP_PROP_FPS)


def tissue(seed):
    """Returns a frame of grey blobs, which are others for each seed."""
    noise = np.random.default_rng(seed).standard_normal((HEIGHT, WIDTH))
    smooth = cv2.GaussianBlur(noise, (0, 0), 12)
    return np.repeat(np.uint8(np.clip(127 + 90 * smooth / smooth.std(), 0, 255))[..., None], 3, axis=2)


def flat(level, height=HEIGHT, width=WIDTH):
    return np.full((height, width, 3), level, np.uint8)


def record(path, frames, rate=10):
    """Writes a video of nearly lossless frames."""
    height, width = frames[0].shape[:2]
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"FFV1"), rate, (width, height))
    assert writer.isOpened()
    for frame in frames:
        writer.write(np.ascontiguousarray(frame[..., ::-1]))
    writer.release()
    return path


def picture(path, pixels):
    path.parent.mkdir(exist_ok=True)
    Image.fromarray(pixels).save(path)
    return path


@pytest.fixture
def pretend(monkeypatch):
    monkeypatch.setattr(xr, "load_model", lambda name, weights, **_: network())
    monkeypatch.setattr(PretendExplainer, "shapes", [])
    monkeypatch.setattr(xr, "Explainer", PretendExplainer)
    return PretendExplainer


def explain(out, *arguments, weights="weights.safetensors"):
    options = ["--model", MODEL, "--weights", weights, "--out", out]
    return main(["explain", *map(str, (*options, *arguments))])


def levels(path):
    """Returns the mean level of the source's panel in each frame, which tells where the frame comes from."""
    return [panel(frame, 0).mean() for frame in decoded(path)[0]]


def names(folder):
    return sorted(file.name for file in folder.iterdir())


def test_the_source_beside_what_a_plain_loop_finds(tmp_path, capsys):
    """Nine frames come in batches of four, of which the last one is short."""
    model = xr.load_model(MODEL, WEIGHTS)
    model.preprocessing = replace(model.preprocessing, input_size=(32, 32), crop_pct=0.9)
    save_timm(model, tmp_path / "weights.safetensors")
    sources = [tissue(seed) for seed in range(9)]
    clip, out = record(tmp_path / "clip.avi", sources), tmp_path / "out.mp4"
    arguments = ["--method", "xrelevance_cam,grad_cam", "--layers", "layer4,layer3", "--batch-size", 4]
    arguments += ["--field-of-view", "none"]
    assert explain(out, clip, *arguments, weights=tmp_path / "weights.safetensors") == 0

    frames, rate = decoded(out)
    assert (len(frames), rate) == (9, 10)
    assert frames[0].shape == (TOP + HEIGHT + strip.MARGIN, 3 * WIDTH + 2 * strip.GAP + 2 * strip.MARGIN, 3)
    # On as many devices as the command, and below as large as its batches, which saves a compilation.
    devices = jax.local_devices()[:4]
    loop = xr.Explainer(model, ("xrelevance_cam", "grad_cam"), ("layer4", "layer3"), devices=devices)
    box = crop_box(HEIGHT, WIDTH, model.preprocessing)
    for source, frame in zip(sources, frames, strict=True):
        e = loop(preprocess([source] * 4, model.preprocessing))
        expected = [source, *(overlay(source, e.aggregate(m)[0], box=box) for m in loop.methods)]
        assert [differs(panel(frame, place), each) < LOSS for place, each in enumerate(expected)] == [True] * 3
        # What the loss is to be compared with: overlays of other frames, and the two of this one, are far away.
        assert min(differs(panel(frame, 0), other) for other in sources if other is not source) > 4 * LOSS
        assert differs(panel(frame, 1), expected[1]) < 0.7 * differs(panel(frame, 1), expected[2])
    printed = capsys.readouterr().out
    assert printed.startswith("field of view: none, as given\n")
    assert f"\n9 explained, 0 could not be read. Look at {out}\n9 frames in " in printed
    assert "frames/s without the first batch, for which it is compiled" in printed
    assert names(tmp_path) == ["clip.avi", "out.mp4", "out.settings.toml", "weights.safetensors"]


def test_panels_are_not_touched_and_sides_are_even():
    """This holds before encoding; and there is ink above the panels."""
    panels = [np.random.default_rng(seed).integers(0, 256, (301, 257, 3), dtype=np.uint8) for seed in range(3)]
    frame = compose(panels, ["a", "b", "c"], "predicted class 1", (301, 257))
    assert frame.shape == (TOP + 301 + strip.MARGIN + 1, 3 * 257 + 2 * strip.GAP + 2 * strip.MARGIN + 1, 3)
    for place, each in enumerate(panels):
        left = strip.MARGIN + place * (257 + strip.GAP)
        np.testing.assert_array_equal(frame[TOP : TOP + 301, left : left + 257], each)
    assert (frame[:TOP] < 100).any()
    other = compose(panels, ["a", "b", "c"], "predicted class 0", (301, 257))
    assert (frame[:TOP] != other[:TOP]).any()
    np.testing.assert_array_equal(frame[TOP:], other[TOP:])


def test_videos_and_pictures_in_the_order_given(tmp_path, pretend):
    """The video has the frame rate of the first one, less by what is left out."""
    first = record(tmp_path / "b.avi", [flat(level) for level in range(0, 140, 20)], rate=24)
    second = record(tmp_path / "a.avi", [flat(level) for level in range(150, 180, 10)], rate=7)
    still = picture(tmp_path / "still.png", flat(240))
    assert explain(tmp_path / "out.mkv", first, still, second, "--every", "2", "--batch-size", "3") == 0
    np.testing.assert_allclose(levels(tmp_path / "out.mkv"), [0, 40, 80, 120, 240, 150, 170], atol=LOSS)
    assert decoded(tmp_path / "out.mkv")[1] == 12


def test_frames_are_shown_as_long_as_in_their_videos(tmp_path, pretend):
    """One after the other: a video of an uneven pace, a picture, and the same video again."""
    clip, still = tmp_path / "a.mp4", picture(tmp_path / "still.png", flat(240))
    video, times = VideoFile(clip, 10, HEIGHT, WIDTH), np.array([0, 0.1, 0.2, 1.2, 1.3])
    for time in times:
        video.write(flat(100), time)
    video.finish()
    assert explain(tmp_path / "out.mp4", clip, still, clip) == 0
    capture, found = cv2.VideoCapture(str(tmp_path / "out.mp4")), []
    while capture.grab():
        found.append(capture.get(cv2.CAP_PROP_POS_MSEC) / 1000)
    pace = 1 / capture_rate(clip)
    still_at = times[-1] + pace
    np.testing.assert_allclose(found, [*times, still_at, *(times + still_at + 1 / 12)], atol=2e-3)


def test_pictures_of_other_sizes_are_fitted_in(tmp_path, pretend):
    picture(tmp_path / "in" / "0.png", flat(100, 261, 301))
    picture(tmp_path / "in" / "1.png", flat(20, 400, 100))
    picture(tmp_path / "in" / "2.png", flat(20, 20, 100))
    assert explain(tmp_path / "out.mov", tmp_path / "in") == 0
    frames, rate = decoded(tmp_path / "out.mov")
    assert rate == 12
    assert [frame.shape for frame in frames] == [(TOP + 261 + 16 + 1, 2 * 301 + 8 + 32, 3)] * 3
    dark = [(panel(frame, 0, 261, 301).mean(-1) < 60) for frame in frames]
    assert not dark[0].any()
    # 65 of 301 columns, and 60 of 261 rows, in the middle.
    for covered, expected in ((dark[1], (261 - 8, 65)), (dark[2], (60, 301 - 8))):
        rows, columns = np.flatnonzero(covered.any(1)), np.flatnonzero(covered.any(0))
        np.testing.assert_allclose((len(rows), len(columns)), expected, atol=4)
        assert covered[rows[0] : rows[-1], columns[0] : columns[-1]].mean() > 0.95
        assert abs(rows.mean() - (253 - 1) / 2) < 3
        assert abs(columns.mean() - (293 - 1) / 2) < 3


@pytest.mark.parametrize(("size", "methods"), [((40, 60), 1), ((1500, 3000), 1), ((300, 200), 6)])
def test_frames_are_neither_too_small_to_read_nor_too_wide_to_show(tmp_path, pretend, size, methods):
    chosen = ["xrelevance_cam", "relevance_cam", "grad_cam", "cam", "layer_cam", "lrp"][:methods]
    picture(tmp_path / "a.png", flat(100, *size))
    assert explain(tmp_path / "out.mp4", tmp_path / "a.png", "--method", ",".join(chosen)) == 0
    (frame,), _ = decoded(tmp_path / "out.mp4")
    assert frame.shape[0] >= 200
    assert 400 <= frame.shape[1] <= 4000
    assert frame.shape[0] % 2 == frame.shape[1] % 2 == 0


def test_the_next_batch_is_computed_while_the_last_is_encoded(tmp_path, pretend, monkeypatch):
    """Encoding waits for the third call here: were they to take turns, it would never come."""
    clip = record(tmp_path / "clip.avi", [flat(level) for level in range(0, 240, 40)])
    third, call, write = threading.Event(), PretendExplainer.__call__, VideoFile.write

    def called(self, images, targets=None):
        if len(self.shapes) == 2:
            third.set()
        return call(self, images, targets)

    def waiting(self, frame, time):
        assert third.wait(30)
        write(self, frame, time)

    monkeypatch.setattr(PretendExplainer, "__call__", called)
    monkeypatch.setattr(VideoFile, "write", waiting)
    assert explain(tmp_path / "out.avi", clip, "--batch-size", "1") == 0
    np.testing.assert_allclose(levels(tmp_path / "out.avi"), range(0, 240, 40), atol=LOSS)


def test_interrupted_what_was_encoded_is_kept_aside(tmp_path, pretend, capsys, monkeypatch):
    """The video of the run before stays as well."""
    call = PretendExplainer.__call__

    def interrupted_at_fourth(self, images, targets=None):
        if len(self.shapes) == 3:
            raise KeyboardInterrupt
        return call(self, images, targets)

    monkeypatch.setattr(PretendExplainer, "__call__", interrupted_at_fourth)
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "out.mp4").write_text("old")
    clip = record(tmp_path / "clip.avi", [flat(level) for level in range(0, 240, 20)])
    assert explain(tmp_path / "out" / "out.mp4", clip, "--batch-size", "2") == 130
    assert names(tmp_path / "out") == ["out.mp4", "out.unfinished.mp4"]
    assert (tmp_path / "out" / "out.mp4").read_text() == "old"
    kept = tmp_path / "out" / "out.unfinished.mp4"
    np.testing.assert_allclose(levels(kept), [0, 20, 40, 60], atol=LOSS)
    assert capsys.readouterr().err.splitlines()[0] == f"xrcam explain: 4 frames so far are in {kept}"


def test_interrupted_before_the_first_frame(tmp_path, pretend, monkeypatch):
    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(PretendExplainer, "__call__", interrupted)
    assert explain(tmp_path / "out" / "out.mp4", picture(tmp_path / "a.png", flat(9))) == 130
    assert names(tmp_path / "out") == []


def test_a_disk_that_is_full_from_the_start_leaves_no_video_without_frames(tmp_path, pretend, capsys, monkeypatch):
    monkeypatch.setattr("shutil.disk_usage", lambda folder: SimpleNamespace(free=2**10))
    out = tmp_path / "out" / "out.mp4"
    assert explain(out, picture(tmp_path / "a.png", flat(9))) == 1
    assert names(tmp_path / "out") == []
    assert capsys.readouterr().err == f"xrcam explain: error: {out}: no space left, less than 16 MiB free\n"


def test_a_disk_that_fills_is_one_line(tmp_path, pretend, capsys, monkeypatch):
    free = iter([2**30] * 5 + [2**10] * 100)
    monkeypatch.setattr("shutil.disk_usage", lambda folder: SimpleNamespace(free=next(free)))
    clip = record(tmp_path / "clip.avi", [flat(level) for level in range(0, 240, 20)])
    assert explain(tmp_path / "out" / "out.mp4", clip, "--batch-size", "2") == 1
    out = tmp_path / "out" / "out.mp4"
    assert names(tmp_path / "out") == ["out.unfinished.mp4"]
    assert len(levels(tmp_path / "out" / "out.unfinished.mp4")) == 5
    assert capsys.readouterr().err.splitlines() == [
        f"xrcam explain: 5 frames so far are in {out.with_name('out.unfinished.mp4')}",
        f"xrcam explain: error: {out}: no space left, less than 16 MiB free",
    ]


def test_a_video_that_ends_early(tmp_path, pretend, capsys):
    """It is named, and what it had is shown, before what comes after it."""
    clip = record(tmp_path / "clip.avi", [tissue(level) for level in range(20)])
    clip.write_bytes(clip.read_bytes()[: clip.stat().st_size // 2])
    still = picture(tmp_path / "still.png", flat(240))
    assert explain(tmp_path / "out.mp4", clip, still, "--batch-size", "4") == 1
    frames, _ = decoded(tmp_path / "out.mp4")
    assert 5 < len(frames) < 15
    for seed, frame in enumerate(frames[:-1]):
        assert differs(panel(frame, 0), tissue(seed)) < LOSS
    assert panel(frames[-1], 0).mean() == pytest.approx(240, abs=LOSS)
    out, err = capsys.readouterr()
    assert err == (f"xrcam explain: {clip}: damaged or truncated video, ends after {len(frames) - 1} of 20 frames\n")
    assert f"\n{len(frames)} explained, 1 could not be read. Look at {tmp_path / 'out.mp4'}" in out


@pytest.mark.parametrize(("out", "left"), [("out.mp4", ["clip.mp4"]), ("folder", ["clip.mp4", "folder"])])
def test_nothing_that_can_be_read(out, left, tmp_path, pretend, capsys):
    (tmp_path / "clip.mp4").write_text("no video")
    assert explain(tmp_path / out, tmp_path / "clip.mp4") == 1
    assert capsys.readouterr().out.splitlines()[-1] == "0 explained, 1 could not be read. There is nothing to show"
    assert names(tmp_path) == left


@pytest.mark.parametrize("suffix", [".webm", ".gif", ".m4v", ".WMV"])
def test_other_videos_are_refused(tmp_path, pretend, capsys, suffix):
    out = tmp_path / "new" / f"out{suffix}"
    assert explain(out, picture(tmp_path / "a.png", flat(9))) == 2
    assert capsys.readouterr().err == (
        f"xrcam explain: error: --out: {out} is no video that can be written; expected {', '.join(CODECS)}\n"
    )
    assert names(tmp_path) == ["a.png"]


@pytest.mark.parametrize("several", ["--distributed", "--coordinator localhost:1 --processes 2 --process 0"])
def test_several_processes_are_refused(tmp_path, capsys, several):
    out = tmp_path / "new" / "out.mp4"
    assert explain(out, picture(tmp_path / "a.png", flat(9)), *several.split()) == 2
    assert capsys.readouterr().err == (
        f"xrcam explain: error: --out: {out} is a video, which one process writes; name a folder, or leave out "
        "--distributed and --coordinator\n"
    )
    assert names(tmp_path) == ["a.png"]


@pytest.mark.parametrize("name", ["clip.avi", "in/clip.avi", "in"])
def test_inputs_are_not_replaced(tmp_path, pretend, capsys, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "in").mkdir()
    clip = record(tmp_path / name / "clip.avi" if name == "in" else tmp_path / name, [flat(9)])
    content = clip.read_bytes()
    assert explain(clip, name) == 2
    assert (
        capsys.readouterr().err == f"xrcam explain: error: --out: {clip} is one of the inputs and would be replaced\n"
    )
    unfinished = clip.rename(clip.with_name("clip.unfinished.avi"))
    assert explain(clip, clip.parent) == 2
    assert f"--out: {unfinished} is one of the inputs" in capsys.readouterr().err
    assert unfinished.read_bytes() == content


def test_a_folder_of_that_name(tmp_path, pretend, capsys):
    (tmp_path / "out.mp4").mkdir()
    assert explain(tmp_path / "out.mp4", picture(tmp_path / "a.png", flat(9))) == 2
    assert capsys.readouterr().err == (
        f"xrcam explain: error: --out: {tmp_path / 'out.mp4'} is a folder, expected a file\n"
    )


@pytest.mark.parametrize(
    ("now", "sentence"),
    [
        (27.0, "108 frames in 17.0 s; 20.0 frames/s without the first batch, for which it is compiled: faster than"),
        (34.0, "108 frames in 24.0 s; 8.3 frames/s without the first batch, for which it is compiled: not faster than"),
    ],
)
def test_the_pace_leaves_out_the_first_batch(now, sentence):
    pace = Pace(frames=108, begun=10.0, first=8, compiled=22.0)
    assert pace.describe(now) == f"{sentence} the 12 frames/s of pCLE"
    alone = replace(pace, frames=8).describe(now)
    assert alone.endswith("too few for a rate: all were in the first batch, for which it is compiled")
