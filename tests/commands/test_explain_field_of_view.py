"""What ``xrcam explain`` feeds of a raw recording is what training fed of its prepared frames."""

import csv
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

import xrcam_jax as xr
from tests.commands.stand_ins import CONFIG, PretendExplainer, network
from tests.recordings import HEIGHT, WIDTH, disc, write_pictures, write_video
from xrcam_jax.cli import main
from xrcam_jax.data.augment import normalise
from xrcam_jax.data.frames import collate, extract_all
from xrcam_jax.data.pipeline import common_size, read_picture
from xrcam_jax.data.recordings import find_recordings
from xrcam_jax.pictures.preprocessing import Preprocessing, preprocess, to_grey
from xrcam_jax.pictures.read import load_images


def coloured(count, seed=0, **place):
    """Returns frames of coloured noise in a disc, no two alike, the first of them dark."""
    random = np.random.default_rng(seed)
    place = {"height": HEIGHT, "width": WIDTH, **place}
    shape = place["height"], place["width"]
    noise = [[disc(random.integers(40, 250, shape), **place) for _ in range(3)] for _ in range(count)]
    return [np.stack(channels, axis=2) // (1 + 9 * (number < 2)) for number, channels in enumerate(noise)]


@pytest.fixture(scope="module")
def recordings(tmp_path_factory):
    """Writes videos with views of several sizes, and pictures."""
    folder = tmp_path_factory.mktemp("made") / "recordings"
    write_video(folder / "lung" / "p1" / "a.avi", coloured(12, 1), "FFV1")
    write_video(folder / "lung" / "p2" / "b.avi", coloured(12, 2, height=140, centre=(60, 70), radius=57), "MJPG")
    write_video(folder / "lung" / "p3" / "c.avi", coloured(12, 3, radius=30), "MJPG")
    write_pictures(folder / "lung" / "p4", coloured(12, 4), "frame{}.png")
    return folder


@pytest.fixture(scope="module")
def prepared(recordings):
    out = recordings.parent / "prepared"
    return collate(out, extract_all(find_recordings(recordings).found, out, every=3), (1, 0, 0))


@pytest.fixture(scope="module")
def config(prepared):
    """How ``xrcam train`` has a network want its pictures."""
    mean, std = prepared.statistics.mean, prepared.statistics.std
    return Preprocessing(
        (mean,) * 3, (std,) * 3, (common_size(prepared),) * 2, 1.0, "area", field_of_view="auto", grey=True
    )


@pytest.fixture
def explain(tmp_path, monkeypatch):
    """Runs ``xrcam explain`` with a pretended network that wants its pictures so; returns what it was fed."""
    fed, call = [], PretendExplainer.__call__
    monkeypatch.setattr(PretendExplainer, "__call__", lambda *args: fed.append(args[1]) or call(*args))
    monkeypatch.setattr(xr, "Explainer", PretendExplainer)

    def run(config, *arguments, out="out", status=0):
        model = network()
        monkeypatch.setattr(model, "preprocessing", config)
        monkeypatch.setattr(xr, "load_model", lambda name, weights, **_: model)
        fed.clear()
        options = ["--model", "resnet18", "--weights", "w.safetensors", "--layers", "layer4", "--batch-size", "1"]
        assert main(["explain", *options, "--out", str(tmp_path / out), *map(str, arguments)]) == status
        return np.concatenate(fed)

    return run


def summary(folder):
    with (folder / "summary.csv").open(newline="") as file:
        return list(csv.DictReader(file))


@pytest.mark.long(one_in=2)
@pytest.mark.parametrize("place", ["lung/p1/a.avi", "lung/p2/b.avi", "lung/p3/c.avi", "lung/p4"])
def test_the_network_is_fed_what_it_was_trained_on(recordings, prepared, config, explain, tmp_path, place, capsys):
    images = explain(config, recordings / place)
    frames = [frame for frame in prepared.frames if frame.video == place]
    assert [frame.number for frame in frames] == [0, 3, 6, 9]
    size = common_size(prepared)
    pictures = np.stack([read_picture(prepared.folder, frame, size) for frame in frames])[..., None]
    trained = np.asarray(normalise(pictures, prepared.statistics))
    # The pictures of a folder come in order of their names: frame0, frame1, frame10, frame11, frame2, ...
    order = sorted(range(12), key=str) if place == "lung/p4" else range(12)
    places = [list(order).index(frame.number) for frame in frames]
    np.testing.assert_allclose(images[places], trained, rtol=0, atol=1e-6)
    # The prepared frames themselves, which are not cut again, are fed as the same.
    again = explain(config, *(prepared.folder / frame.file for frame in frames))
    np.testing.assert_array_equal(again, images[places])

    crop, rows = frames[0].crop, summary(tmp_path / "out")
    printed = capsys.readouterr().out
    assert printed.startswith("field of view: found, as in training\n")
    line = f"field of view {crop.left},{crop.top},{crop.size} of {crop.width}x{crop.height} pixels, found in 12 frames"
    assert f"{recordings / place}: {line}\n" in printed
    whole = [str(value) for value in (0, 0, crop.size, crop.size)]
    assert [[row[name] for name in ("top", "left", "bottom", "right")] for row in rows] == [whole] * 4


def test_views_are_of_several_sizes(prepared):
    """Otherwise the test above would not see how they are resized."""
    size = common_size(prepared)
    assert {np.sign(frame.size - size) for frame in prepared.frames} == {-1, 0, 1}


def test_the_map_lies_in_the_square(recordings, prepared, config, explain, tmp_path):
    config, crop = replace(config, crop_pct=0.8), prepared.frames[0].crop
    explain(config, recordings / "lung" / "p1" / "a.avi")
    out, originals = tmp_path / "out", load_images(recordings / "lung" / "p1" / "a.avi")
    for row, original in zip(summary(out), originals, strict=True):
        top, left, bottom, right = (int(row[name]) for name in ("top", "left", "bottom", "right"))
        margin = round(0.1 * crop.size)
        wanted = crop.box.top + margin, crop.box.left + margin, crop.box.bottom - margin, crop.box.right - margin
        assert np.abs(np.subtract((top, left, bottom, right), wanted)).max() <= 1
        with np.load(out / "maps" / f"{row['name']}.npz") as arrays:
            assert arrays["box"].tolist() == [top, left, bottom, right]
            assert arrays["xrelevance_cam/layer4"].shape == config.input_size
        with Image.open(out / "overlays" / "xrelevance_cam" / "layer4" / f"{row['name']}.png") as picture:
            changed = (np.asarray(picture) != original).any(axis=2)
        assert changed[top:bottom, left:right].mean() > 0.95
        changed[top:bottom, left:right] = False
        assert not changed.any()


def test_the_overlay_video_keeps_to_the_square(recordings, prepared, config, explain, tmp_path):
    """Its panel of the overlay differs from that of the source only there, but for what encoding changes."""
    explain(config, recordings / "lung" / "p2" / "b.avi", out="out.mkv")
    box = next(frame for frame in prepared.frames if frame.patient == "p2").crop.box
    for frame in load_images(tmp_path / "out.mkv"):
        # Panels of 140 x 120 are enlarged to 256 x 219, of which the first begins 16 from the left.
        source, laid = (frame[64 : 64 + 256, left : left + 219].astype(int) for left in (16, 16 + 219 + 8))
        differs = np.abs(source - laid).mean(axis=2)
        top, left, bottom, right = (round(256 / 140 * side) for side in box)
        assert differs[top:bottom, left:right].mean() > 20
        differs[top - 4 : bottom + 4, left - 4 : right + 4] = 0
        assert differs.max() < 60
        assert differs.mean() < 4


def test_another_field_of_view_can_be_asked_for(recordings, explain, tmp_path, capsys):
    clip, white = recordings / "lung" / "p1" / "a.avi", replace(CONFIG, crop_pct=1.0)
    images = explain(white, clip, "--field-of-view", "30,10,60")
    expected = preprocess([image[10:70, 30:90] for image in load_images(clip)], white)
    np.testing.assert_array_equal(images, expected)
    assert "field of view: 30,10,60, as given\n" in capsys.readouterr().out
    row = summary(tmp_path / "out")[0]
    assert [row[name] for name in ("top", "left", "bottom", "right")] == ["10", "30", "70", "90"]
    none = replace(white, field_of_view="auto")
    np.testing.assert_array_equal(explain(none, clip, "--field-of-view", "none"), explain(white, clip))
    with pytest.raises(AssertionError):
        np.testing.assert_array_equal(explain(white, clip, "--field-of-view", "auto"), explain(white, clip))


def test_a_picture_without_a_view_is_named_and_others_go_on(recordings, config, explain, tmp_path, capsys):
    folder = write_pictures(tmp_path / "dark", [disc(0)])
    explain(config, folder / "0.png", recordings / "lung" / "p1" / "a.avi", status=1)
    out, err = capsys.readouterr()
    assert err.startswith(f"xrcam explain: {folder / '0.png'}: found no view: ")
    assert "--field-of-view none" in err
    assert "12 explained, 1 could not be read." in out


@pytest.mark.parametrize("wrong", ["round", "1,2", "1,2,0", "-1,2,3", "1,2,x", ""])
def test_wrong_fields_of_view_are_refused_before_weights_are_read(tmp_path, capsys, wrong):
    options = ["--model", "resnet18", "--weights", str(tmp_path / "none.safetensors"), f"--field-of-view={wrong}"]
    assert main(["explain", str(tmp_path), *options]) == 2
    expected = f"expected auto, none or x,y,size in pixels, found {wrong!r}"
    assert capsys.readouterr().err == (
        f"xrcam explain: error: --field-of-view: {expected} (see xrcam explain --help)\n"
    )


def test_grey_of_a_grey_picture_is_itself():
    levels = np.repeat(np.arange(256, dtype=np.uint8).reshape(16, 16, 1), 3, axis=2)
    np.testing.assert_array_equal(to_grey(levels), levels[..., 0])
    config = replace(CONFIG, input_size=(16, 16), crop_pct=1.0)
    np.testing.assert_array_equal(preprocess([levels], replace(config, grey=True)), preprocess([levels], config))
