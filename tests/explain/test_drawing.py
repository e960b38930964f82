"""Explanations are drawn: figures, overlays, parts of a notebook, and folders."""

import dataclasses
import json
from base64 import b64decode
from io import BytesIO
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

import xrcam_jax as xr
from tests.explain import small
from xrcam_jax.explain import drawing
from xrcam_jax.explain.showing import as_pictures

LABELS = ("<b>glioma</b>", "meningioma", "pituitary")


def random_pictures(*shape, seed=0):
    return np.random.default_rng(seed).integers(0, 256, shape, np.uint8)


@pytest.fixture(scope="module")
def e():
    explain = xr.Explainer(small.Network(small.weights()), ("grad_cam", "gradient"), labels=LABELS)
    return explain(small.images(2), "<b>glioma</b>")


@pytest.mark.parametrize("channels", [3, 1])
def test_pictures_look_as_they_did_before_they_were_prepared(channels):
    config = xr.Preprocessing(input_size=(8, 8), crop_pct=1.0).for_channels(channels)
    pictures = np.repeat(random_pictures(2, 8, 8, 1), 3, axis=3) if channels == 1 else random_pictures(2, 8, 8, 3)
    np.testing.assert_array_equal(as_pictures(xr.preprocess(pictures, config), config), pictures)


def test_pictures_of_unknown_preparation_are_scaled_each_by_itself():
    shown = as_pictures(small.images(2), None)
    assert [(each.min(), each.max()) for each in shown] == [(0, 255), (0, 255)]
    np.testing.assert_array_equal(as_pictures(np.full((1, 2, 2, 1), 0.2), None), np.full((1, 2, 2, 3), 51))


def test_an_overlay_lies_where_the_network_has_seen_the_picture(e):
    config = xr.Preprocessing(input_size=(16, 16), crop_pct=0.5)
    full = {"grad_cam": {"last": jnp.ones((1, 16, 16))}}
    one = dataclasses.replace(e[:1], preprocessing=config, maps=full)
    photograph = random_pictures(64, 96, 3)
    changed = (one.overlay(photograph) != photograph).any(-1)
    rows, columns = np.nonzero(changed)
    assert (rows.min(), rows.max(), columns.min(), columns.max()) == (16, 47, 32, 63)
    assert changed[16:48, 32:64].mean() > 0.99
    assert e[0].overlay(method="gradient").shape == e[0].overlay(layer="first").shape == (16, 16, 3)
    with pytest.raises(ValueError, match=r"there are 2 pictures; choose one, as e\[0\].overlay\(\)"):
        e.overlay()


def test_a_figure_has_titles_of_classes_and_methods(e):
    texts = [text.get_text() for text in e.plot().findobj() if hasattr(text, "get_text")]
    assert sum("glioma" in text for text in texts) == 2
    assert "Grad-CAM" in texts
    only = [text.get_text() for text in e.plot("gradient", signed=True).findobj() if hasattr(text, "get_text")]
    assert not any("Grad-CAM" in text for text in only)
    with pytest.raises(ValueError, match="unknown method 'gradcam'"):
        e.plot("gradcam")
    with pytest.raises(ValueError, match="unknown layer 'lst'"):
        e.plot(layers="lst")


def test_of_many_pictures_the_first_are_drawn_and_counted(e):
    many = e[[0, 1] * 5]
    texts = [text.get_text() for text in many.plot("grad_cam", "last").findobj() if hasattr(text, "get_text")]
    assert [sum(text.startswith(f"{n} of 10: ") for text in texts) for n in (1, 8, 9)] == [1, 1, 0]


def test_without_pictures_there_is_one_line(e):
    for images, line in ((None, "has no images"), (np.zeros((2, 5, 1)), r"\(2, 5, 1\)")):
        other = dataclasses.replace(e, images=images)
        with pytest.raises(ValueError, match=line):
            other.plot()
        assert other._repr_html_().startswith("<pre>Explanation of 2 pictures")


def test_a_notebook_shows_thumbnails_that_need_nothing_else(e):
    page = e._repr_html_()
    assert "<b>" not in page
    assert "http" not in page
    sources = [part.split('"')[0] for part in page.split('src="')[1:]]
    # Two pictures, each with two layers of one method and the input of the other.
    assert len(sources) == 2 * (1 + 3)
    thumbnails = [np.asarray(Image.open(BytesIO(b64decode(s.removeprefix("data:image/png;base64,"))))) for s in sources]
    np.testing.assert_array_equal(thumbnails[0], as_pictures(e.images, None)[0])


def test_a_folder_holds_maps_overlays_and_a_sheet(e, tmp_path):
    e.save(tmp_path / "new" / "out", names=["a/1", "b"])
    found = sorted(str(path.relative_to(tmp_path / "new" / "out")) for path in (tmp_path / "new" / "out").rglob("*.*"))
    stem = next(Path(name).stem for name in found if name.startswith("maps/a_1"))
    places = ("grad_cam/first", "grad_cam/last", "gradient/input")
    overlays = [f"overlays/{at}/{name}.png" for at in places for name in (stem, "b")]
    assert found == sorted(["explanation.json", "sheet.png", f"maps/{stem}.npz", "maps/b.npz", *overlays])
    arrays = np.load(tmp_path / "new" / "out" / "maps" / "b.npz")
    np.testing.assert_array_equal(arrays["grad_cam/last"], e["grad_cam", "last"][1])
    np.testing.assert_array_equal(arrays["logits"], e.logits[1])
    assert arrays["target"] == 0
    overlay = np.asarray(Image.open(tmp_path / "new" / "out" / "overlays" / "grad_cam" / "last" / "b.png"))
    np.testing.assert_array_equal(overlay, e[1].overlay(method="grad_cam"))
    assert len(json.loads((tmp_path / "new" / "out" / "explanation.json").read_text())["pictures"]) == 2


def test_a_folder_is_replaced_whole_and_only_if_it_was_saved(e, tmp_path, monkeypatch):
    out = tmp_path / "out"
    e.save(out)
    monkeypatch.setattr(drawing, "png", lambda picture: (_ for _ in ()).throw(OSError(28, "No space left on device")))
    with pytest.raises(OSError, match="No space left"):
        e[:1].save(out)
    assert len(list((out / "maps").iterdir())) == 2
    monkeypatch.undo()
    e[:1].save(out)
    assert len(list((out / "maps").iterdir())) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "thesis.txt").touch()
    with pytest.raises(FileExistsError, match=r"holds something else than a saved explanation \(thesis.txt\)"):
        e.save(tmp_path / "thesis")
    assert [path.name for path in (tmp_path / "thesis").iterdir()] == ["thesis.txt"]
    with pytest.raises(ValueError, match="names: expected 2 that differ"):
        e.save(tmp_path / "other", names=["A", "a"])


def test_several_targets_are_shown_one_by_one(e, tmp_path):
    two = xr.Explainer(small.Network(small.weights()), "grad_cam", "last", labels=LABELS)(small.images(2), top_k=2)
    texts = [text.get_text() for text in two.plot().findobj() if hasattr(text, "get_text")]
    assert sum(any(label in text for label in LABELS) for text in texts) == 4
    two.save(tmp_path / "out")
    names = {path.stem for path in (tmp_path / "out" / "maps").iterdir()}
    assert names == {f"{i:04}_class{t}" for i in (0, 1) for t in two.targets[i].tolist()}
