"""Channels that are known to detect textures have these as references, and a scan that was ended goes on."""

import base64
import csv
import io
import json
import shutil

import cv2
import numpy as np
import pytest
from PIL import Image

from xrcam_jax.cli import main
from xrcam_jax.data import manifest
from xrcam_jax.data.detector import MOTIFS, Detector
from xrcam_jax.data.manifest import Frame, Statistics
from xrcam_jax.models import Classifier
from xrcam_jax.pictures.crop import Crop
from xrcam_jax.pictures.preprocessing import Preprocessing
from xrcam_jax.report.page import page
from xrcam_jax.report.read import read_experiments, unfinished
from xrcam_jax.studies import channels, networks
from xrcam_jax.studies.channels import Channels
from xrcam_jax.studies.networks import Network

SIDE, TEXTURE = 32, 8
PATIENTS = ("p1", "p2", "p3")


class Planted(Detector, Classifier):
    """The network that detects textures, as a study takes networks."""

    def __init__(self):
        Detector.__init__(self)
        self.num_classes, self.labels = 2, None
        self.preprocessing = Preprocessing((0.0,) * 3, (1.0,) * 3, (SIDE, SIDE), 1.0, "area", grey=True)


@pytest.fixture(scope="module")
def textures(tmp_path_factory):
    """Prepared frames, three of each patient, grey but for a square of the texture of their class; and the squares."""
    folder, random = tmp_path_factory.mktemp("textures"), np.random.default_rng(0)
    frames, squares = [], {}
    for number, label in enumerate(("lines", "stripes")):
        (folder / label).mkdir()
        for patient in PATIENTS:
            for count in range(3):
                top, left = (TEXTURE * random.integers(0, SIDE // TEXTURE, 2)).tolist()
                file = f"{label}/{label}_{patient}_{count:06d}.png"
                picture = np.full((SIDE, SIDE), 128, np.uint8)
                picture[top : top + TEXTURE, left : left + TEXTURE] = 255 * np.tile(MOTIFS[number], (4, 4))
                cv2.imwrite(str(folder / file), picture)
                squares[file] = (top, left)
                crop = Crop(0, 0, SIDE, SIDE, SIDE)
                frames.append(Frame(file, label, f"{label[0]}{patient}", f"{label}/clip.avi", count, crop))
    manifest.write_manifest(folder, frames)
    manifest.write_split(folder, {frame.patient: "test" for frame in frames})
    manifest.write_statistics(folder, Statistics(0.5, 0.25))
    manifest.write_origin(folder, "drawn by a test")
    return folder, squares


@pytest.fixture
def concepts(textures, tmp_path, monkeypatch):
    """Runs the command on the network whose first channels detect the textures; returns its status and its folder."""
    model = Planted()

    def read(options, path, *_):
        return Network("detector", model, path, str(path))

    monkeypatch.setattr(networks, "read_network", read)

    def run(*options, out=tmp_path, data=textures[0], weights=("a.safetensors",)):
        usual = [
            "--weights",
            *weights,
            "--out",
            out,
            "--method",
            "lrp+seed=unit",
            "--batch-size",
            4,
            "--layer",
            "layer2",
        ]
        return main(["concepts", *map(str, (data, *usual, *options))]), out / "concepts"

    return run


def rows(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def decoded(picture):
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(picture))))


def files(folder):
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_planted_concepts_come_out(concepts, textures):
    status, folder = concepts("--references", 5)
    assert status == 0
    _, squares = textures
    found = rows(folder / "references.csv")
    for concept, label in ((0, "lines"), (1, "stripes")):
        for by in ("relevance", "activation"):
            some = [row for row in found if (row["concept"], row["by"]) == (str(concept), by)]
            # Three patients, two frames of each at most.
            assert [row["class"] for row in some] == [label] * 5
            assert sorted(row["patient"] for row in some)[::2] == [f"{label[0]}{patient}" for patient in PATIENTS]
            for row in some:
                top, left = squares[row["file"]]
                box = [int(row[name]) for name in ("top", "left", "bottom", "right")]
                # A place of the second layer sees 4 x 4 pixels, and all of them have the texture.
                assert (box[2] - box[0], box[3] - box[1]) == (4, 4)
                assert top <= box[0] <= box[2] <= top + TEXTURE
                assert left <= box[1] <= box[3] <= left + TEXTURE
    # No other channel has any relevance.
    assert {row["concept"] for row in found if row["by"] == "relevance"} == {"0", "1"}
    means = {row["concept"]: row for row in rows(folder / "all_concepts.csv")}
    assert float(means["0"]["mean share, lines"]) == float(means["1"]["among the top, stripes"]) == 1
    assert float(means["1"]["mean share, lines"]) == 0
    assert (means["0"]["patients of references"], means["2"]["patients of references"]) == ("3", "0")


def test_the_glossary_shows_the_texture_in_other_patients(concepts, textures):
    status, folder = concepts()
    assert status == 0
    glossary = json.loads((folder / "glossary.json").read_text())
    assert len(glossary["frames"]) == 6
    for frame in glossary["frames"]:
        (concept,) = frame["concepts"]
        assert concept["concept"] == frame["label"] == frame["predicted"]
        assert len(concept["references"]) == 4
        assert frame["patient"] not in {reference["patient"] for reference in concept["references"]}
        for reference in concept["references"]:
            cut = decoded(reference["picture"])
            # One more pixel, darkened, makes it as large as cuts are at least.
            np.testing.assert_array_equal(cut[:4, :4], 255 * np.tile(MOTIFS[frame["label"]], (2, 2)))
            assert cut.shape == (5, 5)
            assert cut[4].max() < 128
        top, left = textures[1][f"{glossary['classes'][frame['label']]}/{frame['name']}"]
        coloured = np.ptp(decoded(concept["picture"]).astype(int), axis=2) > 60
        assert coloured[top : top + TEXTURE, left : left + TEXTURE].mean() > 0.5
        coloured[max(0, top - 1) : top + TEXTURE + 1, max(0, left - 1) : left + TEXTURE + 1] = False
        assert not coloured.any()
    html = page(read_experiments(folder.parent)).decode()
    assert html.count("with where concept 0 lies in it") == 3
    assert html.count("<img") == html.count("alt=")
    assert "What the network saw: layer 2" in html


def test_of_a_frame_that_is_wrong_the_glossary_shows_what_spoke_for_that(concepts, monkeypatch):
    """Nothing speaks for the labelled class, and the other one's texture is what the network takes for it."""

    class Swapped(Planted):
        def __call__(self, images):
            return super().__call__(images)[:, ::-1]

    monkeypatch.setattr(networks, "read_network", lambda _, path, *__: Network("detector", Swapped(), path, str(path)))
    status, folder = concepts()
    assert status == 0
    glossary = json.loads((folder / "glossary.json").read_text())
    for frame in glossary["frames"]:
        (concept,) = frame["concepts"]
        assert concept["concept"] == frame["label"] == 1 - frame["predicted"]
        assert concept["share"] == 1
    assert page(read_experiments(folder.parent)).decode().count("100.0 % of the relevance of lines") == 3
    assert concepts("--target", "lines", out=folder.parent / "lines")[0] == 0
    glossary = json.loads((folder.parent / "lines" / "concepts" / "glossary.json").read_text())
    assert [bool(frame["concepts"]) for frame in glossary["frames"]] == [frame["label"] for frame in glossary["frames"]]


def test_batches_of_another_size_find_the_same(concepts, tmp_path):
    first, second = (concepts("--batch-size", size, out=tmp_path / str(size))[1] for size in (4, 7))
    for name in ("references.csv", "all_concepts.csv", "by_patient.csv", "glossary.json"):
        assert (first / name).read_bytes() == (second / name).read_bytes()


def test_a_scan_that_was_ended_goes_on(concepts, tmp_path, monkeypatch):
    status, whole = concepts(out=tmp_path / "whole")
    assert status == 0
    counts, measure = [], Channels.measure

    def ended(self, batch):
        counts.append(batch.start)
        if len(counts) == 4:
            raise RuntimeError("ended")
        return measure(self, batch)

    with monkeypatch.context() as patch:
        patch.setattr(Channels, "measure", ended)
        with pytest.raises(RuntimeError, match="ended"):
            concepts()
    assert counts == [0, 4, 8, 12]
    assert unfinished(tmp_path) == ("concepts",)
    (part,) = (tmp_path / "concepts" / "batches").iterdir()
    left = part.read_bytes()
    counts.clear()
    with monkeypatch.context() as patch:
        patch.setattr(Channels, "measure", lambda self, batch: counts.append(batch.start) or measure(self, batch))
        status, folder = concepts()
    assert status == 0
    assert unfinished(tmp_path) == ()
    # Two batches of frames are left, and the frames that the glossary shows.
    assert counts[:2] == [12, 16]
    settings = {name: content for name, content in files(folder).items() if name != "settings.toml"}
    assert settings == {name: content for name, content in files(whole).items() if name != "settings.toml"}
    # It was ended when all was joined, and not yet removed: nothing counts twice. What is damaged is computed again.
    part.write_bytes(left)
    assert concepts()[0] == 0
    assert {name: files(folder)[name] for name in settings} == settings
    (folder / "batches" / "scan.npz").write_bytes(left[:-40])
    assert concepts()[0] == 0
    assert {name: files(folder)[name] for name in settings} == settings


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--layer", "layer9"], "--layer: "),
        (["--layer", "fc"], "--layer: fc has shape (1, 2), and references need places"),
        (["--method", "grad_cam"], "--method: expected lrp, with options behind it or without, found 'grad_cam'"),
        (["--method", "lrp+composite=none"], "--method: unknown value of composite of lrp 'none'"),
        (["--target", "dots"], "--target: "),
        (["--target", "2"], "--target: 2 is not a class; there are 0 to 1"),
        (["--top", "0"], "--top: 0 is less than 1"),
        (["--top", "1000"], "--top: expected no more than the 6 channels of layer2, found 1000"),
        (["--weights", "a", "--weights", "b"], "--weights: one network at a time"),
        (["--part", "train"], "--part: "),
    ],
)
def test_what_is_wrong_is_said_before_any_pass(concepts, options, said, monkeypatch, capsys):
    monkeypatch.setattr(Channels, "measure", lambda *_: pytest.fail("it ran"))
    assert concepts(*options)[0] == 2
    error = capsys.readouterr().err
    assert said in error
    assert error.count("\n") == 1


def test_fields_that_are_not_to_be_found_are_said_before_any_pass(concepts, monkeypatch, capsys):
    def no_fields(*_):
        raise NotImplementedError("no derivative")

    monkeypatch.setattr(channels, "receptive_fields", no_fields)
    monkeypatch.setattr(Channels, "measure", lambda *_: pytest.fail("it ran"))
    assert concepts()[0] == 2
    assert capsys.readouterr().err == "xrcam concepts: error: --layer: no derivative\n"


def test_one_frame_of_another_class_than_the_target(concepts):
    """Nothing in a frame of lines speaks for stripes, and of a class without frames there is no figure."""
    status, folder = concepts("--limit", 1, "--target", 1)
    assert status == 0
    means = rows(folder / "all_concepts.csv")
    assert {float(row["mean share, lines"]) <= 0 for row in means} == {True}
    assert {row["mean share, stripes"] for row in means} == {row["among the top, stripes"] for row in means} == {""}
    assert "class stripes explained" in json.loads((folder / "contents.json").read_text())["text"]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--top", 6], "Of each channel 8 references at most, 2 of a patient at most."),
        (["--limit", 4, "--per-patient", 1], "Of each channel 4 references at most, 1 of a patient at most."),
        (["--references", 3], "Of each channel 3 references at most, 2 of a patient at most."),
        (["--limit", 1], "Of each channel 1 reference at most."),
    ],
)
def test_no_more_references_are_said_than_there_can_be(concepts, options, said):
    status, folder = concepts(*options)
    assert status == 0
    assert said in json.loads((folder / "contents.json").read_text())["text"]


def test_what_is_no_prepared_folder_or_of_another_network_is_said(concepts, tmp_path, monkeypatch, capsys):
    assert concepts()[0] == 0
    monkeypatch.setattr(Channels, "measure", lambda *_: pytest.fail("it ran"))
    capsys.readouterr()
    assert concepts(weights=["b.safetensors"])[0] == 2
    assert "holds results of other settings (networks: " in capsys.readouterr().err
    shutil.rmtree(tmp_path / "concepts")
    assert concepts(data=tmp_path / "gone")[0] == 2
    assert "manifest.csv" in capsys.readouterr().err
