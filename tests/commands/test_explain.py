"""``xrcam explain`` is run with a network and an explainer that only pretend; the real ones come last."""

import csv
import json
import unicodedata
from dataclasses import replace
from types import SimpleNamespace

import cv2
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image
from safetensors.numpy import save_file

import xrcam_jax as xr
from tests import oracle
from tests.commands.stand_ins import CONFIG, PretendExplainer, network
from xrcam_jax.arguments.checks import read_labels
from xrcam_jax.cli import main
from xrcam_jax.commands import explaining, results
from xrcam_jax.commands.explain import _expanded
from xrcam_jax.commands.results import Result, Results
from xrcam_jax.errors import CommandError
from xrcam_jax.pictures.preprocessing import Preprocessing, preprocess
from xrcam_jax.pictures.read import load_images

LAYERS = ("layer1", "layer2", "layer3", "layer4")


@pytest.fixture
def pretend(monkeypatch):
    monkeypatch.setattr(PretendExplainer, "shapes", [])
    kind = SimpleNamespace(single_pass=True)
    method = SimpleNamespace(title="A title", summary="a summary", source="a source", family="activation", kind=kind)
    replacements = {
        "list_models": lambda: ["resnet18", "skresnext50_32x4d"],
        "METHODS": {"xrelevance_cam": method, "grad_cam": method},
        "load_model": lambda name, weights, **_: network(),
        "Explainer": PretendExplainer,
    }
    for name, replacement in replacements.items():
        monkeypatch.setattr(xr, name, replacement, raising=False)
    return PretendExplainer


def draw(path, height=40, width=60, seed=0):
    noise = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    path.parent.mkdir(exist_ok=True)
    Image.fromarray(cv2.GaussianBlur(noise, (0, 0), 4)).save(path)
    return path


def explain(tmp_path, *arguments):
    options = ["--model", "resnet18", "--weights", "weights.safetensors", "--out", str(tmp_path / "out")]
    return main(["explain", *options, *map(str, arguments)])


def summary(tmp_path):
    with (tmp_path / "out" / "summary.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def names(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def test_all_that_is_written(tmp_path, pretend, capsys):
    picture = draw(tmp_path / "a.png")
    assert explain(tmp_path, picture, "--method", "xrelevance_cam,grad_cam", "--layers", "layer4,layer2") == 0
    out = tmp_path / "out"
    overlays = [
        f"overlays/{method}/{layer}/a.png"
        for method in ("grad_cam", "xrelevance_cam")
        for layer in ("aggregate", "layer2", "layer4")
    ]
    comparison = ["comparison/a.png", "comparison/a_masks.png"]
    assert names(out) == [*comparison, "maps/a.npz", *overlays, "settings.toml", "sheets/a.png", "summary.csv"]
    with Image.open(out / "comparison" / "a.png") as compared, Image.open(out / "sheets" / "a.png") as sheet:
        # Two columns of methods and three rows of layers, or the other way round, and the picture beside them.
        assert compared.height > compared.width * 2 / 3
        assert sheet.height < sheet.width * 2 / 3
    with Image.open(out / overlays[0]) as laid:
        assert laid.size == (60, 40)
    with np.load(out / "maps" / "a.npz") as arrays:
        assert [key for key in arrays if "/" in key] == [
            f"{method}/{layer}"
            for method in ("xrelevance_cam", "grad_cam")
            for layer in ("layer4", "layer2", "aggregate")
        ]
        assert arrays["xrelevance_cam/layer2"].shape == (32, 32)
        assert arrays["grad_cam/aggregate"].max() == 1
        assert arrays["target"] == 1
        np.testing.assert_array_equal(arrays["logits"], [0, 2, 1])
        top, left, bottom, right = arrays["box"]
        assert (bottom - top, right - left) == (36, 36)
    (row,) = summary(tmp_path)
    assert row["file"] == str(picture)
    assert (row["name"], row["predicted"], row["label"], row["target"]) == ("a", "1", "", "1")
    assert float(row["score"]) == pytest.approx(np.exp(2) / (1 + np.e + np.exp(2)), abs=1e-6)
    printed = capsys.readouterr().out
    assert "a: predicted class 1, score 0.665\n" in printed
    assert f"1 explained, 0 could not be read. Look into {out / 'sheets'}\n" in printed


def test_target_and_labels(tmp_path, pretend, capsys):
    picture, labels = draw(tmp_path / "a.png"), tmp_path / "labels.txt"
    labels.write_text("glioma\nmeningioma\nneither\n")
    assert explain(tmp_path, picture, "--target", "Neither", "--labels", labels) == 0
    assert "a: predicted class 1 (meningioma), score 0.665; explained class 2 (neither), score 0.245\n" in (
        capsys.readouterr().out
    )
    assert (summary(tmp_path)[0]["label"], summary(tmp_path)[0]["target"]) == ("meningioma", "2")


@pytest.mark.parametrize(
    "content",
    [["a", "b", "c"], {"0": "a", "1": "b", "2": "c"}, {"0": ["n1", "a"], "1": ["n2", "b"], "2": ["n3", "c"]}],
)
def test_labels_in_json(tmp_path, pretend, content):
    labels = tmp_path / "labels.json"
    labels.write_text(json.dumps(content))
    assert explain(tmp_path, draw(tmp_path / "a.png"), "--labels", labels) == 0
    assert summary(tmp_path)[0]["label"] == "b"


def test_a_folder_with_damaged_files(tmp_path, pretend, capsys):
    folder = tmp_path / "pictures"
    for seed in range(3):
        draw(folder / f"{seed}.png", 40 + seed, 50 - seed, seed)
    (folder / "1.png").write_bytes((folder / "1.png").read_bytes()[:500])
    (folder / "notes.txt").write_text("not a picture")
    assert explain(tmp_path, folder, tmp_path / "gone.png") == 1
    assert [row["name"] for row in summary(tmp_path)] == ["0", "2"]
    out, err = capsys.readouterr()
    assert err.splitlines() == [
        f"xrcam explain: {folder / '1.png'}: damaged or truncated picture (image file is truncated)",
        f"xrcam explain: {folder / 'notes.txt'}: neither a picture "
        "(BMP, DICOM, GIF, JPEG, NIfTI, PNG, PPM, TIFF, WEBP) nor a video",
        f"xrcam explain: {tmp_path / 'gone.png'}: no such file",
    ]
    assert "2 explained, 3 could not be read." in out


def test_an_empty_folder(tmp_path, pretend, capsys):
    """A folder of folders counts as empty, and the message says so: pictures may lie deeper than one thinks."""
    (tmp_path / "empty" / "deeper").mkdir(parents=True)
    (tmp_path / "empty" / "deeper" / "scan.png").touch()
    assert explain(tmp_path, tmp_path / "empty") == 2
    assert capsys.readouterr().err == (
        f"xrcam explain: error: no files in {tmp_path / 'empty'}; folders inside of a folder are not searched\n"
    )


def test_an_empty_folder_beside_a_picture_is_named(tmp_path, pretend, capsys):
    (tmp_path / "empty" / "deeper").mkdir(parents=True)
    draw(tmp_path / "a.png", 40, 50, 1)
    assert explain(tmp_path, tmp_path / "a.png", tmp_path / "empty") == 0
    assert capsys.readouterr().err == (
        f"xrcam explain: {tmp_path / 'empty'}: no files in it; folders inside of a folder are not searched\n"
    )


def test_a_video(tmp_path, pretend):
    writer = cv2.VideoWriter(str(tmp_path / "clip.avi"), cv2.VideoWriter_fourcc(*"MJPG"), 10, (64, 48))
    for level in range(7):
        writer.write(np.full((48, 64, 3), 30 * level, np.uint8))
    writer.release()
    assert explain(tmp_path, tmp_path / "clip.avi", "--every", "3", "--layers", "layer4") == 0
    frames = ["clip_000000.png", "clip_000003.png", "clip_000006.png"]
    assert names(tmp_path / "out" / "overlays" / "xrelevance_cam" / "layer4") == frames
    assert [row["name"] + ".png" for row in summary(tmp_path)] == frames


def test_pages_of_a_file_and_what_it_says_of_them(tmp_path, pretend):
    first, *others = (Image.fromarray(np.full((48, 64, 3), 60 * level, np.uint8)) for level in range(4))
    first.save(tmp_path / "stack.tif", save_all=True, append_images=others)
    deep = np.full((48, 64), 9999, np.uint16)
    Image.fromarray(deep).save(tmp_path / "deep.png")
    inputs = [tmp_path / "stack.tif", tmp_path / "deep.png", "--every", "2", "--layers", "layer4"]
    assert explain(tmp_path, *inputs) == 0
    found = [(row["name"], row["depth"], row["pages"], row["window"]) for row in summary(tmp_path)]
    assert found == [("stack#1", "8", "4", ""), ("stack#3", "8", "4", ""), ("deep", "16", "1", "")]
    sheets = ["deep.png", "stack#1.png", "stack#3.png"]
    assert names(tmp_path / "out" / "sheets") == sheets


def test_huge_pictures_are_drawn_smaller(tmp_path, pretend, monkeypatch):
    monkeypatch.setattr(results, "LARGEST_SIDE", 30)
    assert explain(tmp_path, draw(tmp_path / "a.png"), "--layers", "layer4") == 0
    with Image.open(tmp_path / "out" / "overlays" / "xrelevance_cam" / "layer4" / "a.png") as laid:
        assert laid.size == (30, 20)
    # What the network saw is in the pixels of the picture itself.
    with np.load(tmp_path / "out" / "maps" / "a.npz") as arrays:
        assert arrays["box"].max() > 30


def test_batches_of_huge_pictures_are_smaller(tmp_path, pretend, monkeypatch):
    monkeypatch.setattr(explaining, "MOST_BYTES", 2 * 40 * 60 * 3)
    pictures = [draw(tmp_path / f"{seed}.png", *side) for seed, side in enumerate([(40, 60)] * 3 + [(8, 8)] * 4)]
    assert explain(tmp_path, *pictures) == 0
    # The third goes with the small ones, of which more fit; smaller batches are padded to the size of those before.
    assert pretend.shapes == [(2, 32, 32, 3), (5, 32, 32, 3)]
    assert [row["name"] for row in summary(tmp_path)] == [str(number) for number in range(7)]


def test_batches_have_one_size(tmp_path, pretend):
    for seed in range(5):
        draw(tmp_path / "pictures" / f"{seed}.png", seed=seed)
    assert explain(tmp_path, tmp_path / "pictures", "--batch-size", "2") == 0
    assert pretend.shapes == [(2, 32, 32, 3)] * 3
    assert len(summary(tmp_path)) == 5
    pretend.shapes.clear()
    assert explain(tmp_path, tmp_path / "pictures", "--batch-size", "64") == 0
    assert pretend.shapes == [(5, 32, 32, 3)]


def test_batch_size_found_automatically(tmp_path, pretend, capsys, monkeypatch):
    asked = []
    monkeypatch.setattr(explaining, "largest_batch_size", lambda *arguments: asked.append(arguments) or 2)
    pictures = [draw(tmp_path / f"{i}.png") for i in range(3)]
    assert explain(tmp_path, *pictures, "--batch-size", "auto") == 0
    assert [shape[0] for shape in pretend.shapes] == [2, 2]
    assert asked[0][1:] == (CONFIG.input_size, 8, 3)
    assert capsys.readouterr().out.startswith("batch size 2\nfield of view: none, as the weights say nothing of one\n")


def test_layers_by_name_and_glob(tmp_path, pretend):
    picture = draw(tmp_path / "a.png")
    assert explain(tmp_path, picture, "--layers", "layer4/*,layer2") == 0
    assert names(tmp_path / "out" / "overlays" / "xrelevance_cam") == [
        "aggregate/a.png", "layer2/a.png", "layer4/0/a.png", "layer4/1/a.png",
    ]  # fmt: skip


def test_each_picture_gets_its_own_maps(tmp_path, pretend):
    """The maps of a picture are the same whether it comes alone or in a batch with others."""
    pictures = [draw(tmp_path / f"{seed}.png", 40 + 9 * seed, 50, seed) for seed in range(3)]
    assert explain(tmp_path, *pictures, "--batch-size", "2") == 0
    together = [np.load(tmp_path / "out" / "maps" / f"{seed}.npz") for seed in range(3)]
    for seed, picture in enumerate(pictures):
        assert explain(tmp_path, picture) == 0
        with together[seed], np.load(tmp_path / "out" / "maps" / f"{seed}.npz") as alone:
            for key in alone:
                np.testing.assert_array_equal(together[seed][key], alone[key])


WRONG = {
    "--method xrelevance_can": "--method: unknown name 'xrelevance_can'; did you mean 'xrelevance_cam'? "
    "known: xrelevance_cam, grad_cam",
    "--method grad_cam,grad_cam": "--method: a name is given twice in grad_cam,grad_cam",
    "--layers layer5": "--layers: unknown layer 'layer5'; did you mean 'layer4'? known: layer1, layer2, layer3, "
    "layer4, input, conv1, fc, conv1/conv, conv1/bn, layer1/0, layer1/1, layer2/0 and 62 more",
    "--layers layer4.9": "--layers: unknown layer 'layer4.9'; did you mean 'layer4/1'? known: layer1, layer2, layer3, "
    "layer4, input, conv1, fc, conv1/conv, conv1/bn, layer1/0, layer1/1, layer2/0 and 62 more",
    "--layers layer4/1/conv?,layer4,bn": "--layers: layer 'bn' could be one of conv1/bn, layer1/0/conv1/bn, "
    "layer1/0/conv2/bn, layer1/1/conv1/bn, layer1/1/conv2/bn and 15 more; write more of its name, or a glob for all",
    "--layers fc": "--layers: fc has shape (1, 1000), and maps need (b, h, w, k)",
    "--chunk-size 0": "--chunk-size: 0 is less than 1",
    "--layers ,": "--layers: no name is given",
    "--model resnet81": "--model: unknown name 'resnet81'; did you mean 'resnet18'? known: resnet18, skresnext50_32x4d",
    "--target 3": "--target: 3 is not a class; there are 0 to 2",
    "--target -1": "--target: -1 is not a class; there are 0 to 2",
    "--target x": "--target: 'x' is neither a class number nor 'predicted', and the names of the classes are not "
    "known; give them by --labels",
    "--labels LABELS --target c": "--target: unknown class 'c'; known: a, b",
    "--num-classes 2": "--num-classes: 2, but the weights are for 3 classes",
    "--batch-size 0": "--batch-size: 0 is less than 1",
    "--every 0": "--every: 0 is less than 1",
    "--labels LABELS": "--labels: LABELS names 2 classes, the network has 3",
    "--labels LABELS.json": "--labels: cannot read LABELS.json (No such file or directory)",
    "--out LABELS": "--out: LABELS is a file, expected a folder",
    "--out LABELS/out": "--out: cannot write to LABELS/out (Not a directory)",
}


@pytest.mark.parametrize("arguments", WRONG)
def test_wrong_arguments(tmp_path, pretend, capsys, monkeypatch, arguments):
    draw(tmp_path / "a.png")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "LABELS").write_text("a\nb\n")
    assert explain(tmp_path, "a.png", *arguments.split()) == 2
    assert capsys.readouterr().err == f"xrcam explain: error: {WRONG[arguments]}\n"
    assert pretend.shapes == []


@pytest.mark.parametrize("size", ["1", "auto"])
def test_a_method_that_cannot_be_had_at_a_layer_is_one_line(tmp_path, pretend, capsys, monkeypatch, size):
    def refuse(*arguments, **options):
        raise ValueError("grad_cam needs a layer of activations, not the input")

    monkeypatch.setattr(pretend, "__call__", refuse)
    monkeypatch.setattr(explaining, "largest_batch_size", refuse)
    assert explain(tmp_path, draw(tmp_path / "a.png"), "--layers", "input", "--batch-size", size) == 2
    told = "xrcam explain: error: --method, --layers: grad_cam needs a layer of activations, not the input"
    assert [line for line in capsys.readouterr().err.splitlines() if line.startswith("xrcam")] == [told]


def test_missing_weights_and_inputs(tmp_path, pretend, capsys, monkeypatch):
    picture = draw(tmp_path / "a.png")
    assert main(["explain", str(picture), "--model", "resnet18"]) == 2
    assert capsys.readouterr().err == (
        "xrcam explain: error: --weights: give a timm .safetensors or .pth file, an Orbax directory or a hub "
        "name such as timm/resnet50.a1_in1k (to try without, run xrcam demo)\n"
    )
    assert explain(tmp_path, "gone.png", "away") == 2
    assert capsys.readouterr().err == "xrcam explain: error: no such file or folder: gone.png, away\n"

    def load(name, weights, **_):
        raise ValueError("these are not the weights of resnet18: 2 tensors differ\n  missing: a\n  missing: b")

    monkeypatch.setattr(xr, "load_model", load)
    assert explain(tmp_path, picture) == 2
    assert capsys.readouterr().err == (
        "xrcam explain: error: --weights: these are not the weights of resnet18: 2 tensors differ; missing: a\n"
    )


def test_wrong_labels_file(tmp_path, pretend, capsys):
    labels = tmp_path / "labels.json"
    for content in ("[", "3", '{"1": "a"}', '["a", []]'):
        labels.write_text(content)
        assert explain(tmp_path, draw(tmp_path / "a.png"), "--labels", labels) == 2
        complaint = capsys.readouterr().err
        assert f"--labels: {labels}: expected " in complaint
        assert complaint.count("\n") == 1


def test_interrupted_in_the_middle(tmp_path, pretend, capsys, monkeypatch):
    """What was written before stays, and the summary agrees with it."""
    call = PretendExplainer.__call__

    def interrupted_at_third(self, images, targets=None):
        if len(self.shapes) == 2:
            raise KeyboardInterrupt
        return call(self, images, targets)

    monkeypatch.setattr(PretendExplainer, "__call__", interrupted_at_third)
    pictures = [draw(tmp_path / f"{seed}.png", seed=seed) for seed in range(4)]
    assert explain(tmp_path, *pictures, "--batch-size", "1") == 130
    assert capsys.readouterr().err.endswith("interrupted; what was written is whole and stays\n")
    assert names(tmp_path / "out" / "sheets") == [f"{row['name']}.png" for row in summary(tmp_path)] == ["0.png"]


def test_a_full_disk_is_one_line(tmp_path, pretend, capsys, monkeypatch):
    def full(path, *_, **__):
        raise OSError(28, "No space left on device", str(path))

    monkeypatch.setattr("xrcam_jax.pictures.write.write_whole", full)
    assert explain(tmp_path, draw(tmp_path / "a.png")) == 1
    path = tmp_path / "out/overlays/xrelevance_cam/layer1/a.png"
    assert capsys.readouterr().err == f"xrcam explain: error: {path}: No space left on device\n"


def test_a_full_disk_leaves_whole_rows(tmp_path, pretend):
    results = Results(tmp_path, CONFIG, None)

    class Full:
        """Takes some bytes of the second row, as a disk does that fills, and then no more."""

        def __init__(self, file):
            self._file, self._room = file, 20

        def __getattr__(self, name):
            return getattr(self._file, name)

        def write(self, content):
            if not self._room:
                raise OSError(28, "No space left on device")
            taken, self._room = self._file.write(content[: self._room]), 0
            return taken

    with results:
        results._append("a,1\r\n")
        before = (tmp_path / "summary.csv").read_bytes()
        results._file = Full(results._file)
        with pytest.raises(OSError, match=r"No space left on device: '.*summary\.csv'"):
            results._append(f"{'b' * 50},2\r\n")
    assert (tmp_path / "summary.csv").read_bytes() == before


def test_one_file_that_cannot_be_written_does_not_end_the_run(tmp_path, pretend, capsys):
    pictures = [draw(tmp_path / f"{seed}.png", seed=seed) for seed in range(3)]
    in_the_way = tmp_path / "out/maps/1.npz"
    in_the_way.mkdir(parents=True)
    assert explain(tmp_path, *pictures) == 1
    out, err = capsys.readouterr()
    assert err == f"xrcam explain: {in_the_way}: Is a directory; {pictures[1]} is left out\n"
    assert "2 explained, 0 could not be read, 1 not be written." in out
    assert [row["name"] for row in summary(tmp_path)] == ["0", "2"]


HOSTILE = (
    *(
        "\u4e00" * 83,
        "नमस्ते",
        "=cmd|calc",
        "\x1b[31mred",
        "two\nlines",
        "\u202egpj",
        "tab\there",
        "<script>alert(1)",
        "a b",
    ),
    *("A B", "\u00e4", "a\u0308", 'quo"te', "-1", "caf\udce9"),
)


def test_hostile_names(tmp_path, pretend, capsys):
    """Pictures with all sorts of names are explained, and nothing that a terminal or spreadsheet obeys comes out."""
    folder = tmp_path / "in"
    folder.mkdir()
    plain = draw(tmp_path / "plain.png")
    for name in HOSTILE:
        (folder / f"{name}.png").write_bytes(plain.read_bytes())
    assert explain(tmp_path, folder, "--labels", _labels(tmp_path, ["one", "\x1b[2J=two", "three"])) == 0
    printed = capsys.readouterr().out
    assert f"{len(HOSTILE)} explained, 0 could not be read" in printed
    rows = summary(tmp_path)
    assert len(rows) == len({unicodedata.normalize("NFC", row["name"]).casefold() for row in rows}) == len(HOSTILE)
    files = names(tmp_path / "out/maps")
    assert sorted(f"{row['name'].removeprefix(chr(39))}.npz" for row in rows) == files
    content = (tmp_path / "out/summary.csv").read_text(encoding="utf-8")
    for text in (printed, content):
        assert not set(text) & set("\x1b\u202e\t\udce9")
    assert not [cell for row in rows for cell in row.values() if cell.startswith(("=", "+", "@"))]
    assert rows[0]["label"].startswith("\\x1b[2J")


def _labels(tmp_path, labels):
    (tmp_path / "labels.json").write_text(json.dumps(labels))
    return tmp_path / "labels.json"


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_labels_from_any_editor(tmp_path, pretend, encoding):
    for name, text in (
        ("l.txt", "GBM\r\nMeningiom\u00e4\r\nnone\r\n"),
        ("l.json", '["GBM", "Meningiom\u00e4", "none"]'),
    ):
        (tmp_path / name).write_bytes(text.encode(encoding))
        assert read_labels("--labels", tmp_path / name) == ["GBM", "Meningiom\u00e4", "none"]


def test_labels_in_another_encoding_are_refused(tmp_path):
    for name in ("l.txt", "l.json"):
        (tmp_path / name).write_bytes('["GBM",\n"Meningiom\u00e4"]'.encode("latin-1"))
        with pytest.raises(
            CommandError, match=rf"--labels: .*{name}: expected text in UTF-8, found byte 0xe4 in line 2"
        ):
            read_labels("--labels", tmp_path / name)


@pytest.mark.parametrize(
    ("group", "first", "number"),
    [("all", "xrelevance_cam", 40), ("fast", "xrelevance_cam", 19), ("perturbation", "occlusion", 5)],
)
def test_methods_by_group(group, first, number, monkeypatch):
    assert _expanded([group])[0] == first
    assert len(_expanded([group])) == number
    assert len(_expanded([first, group])) == number
    assert _expanded(["grad_cam"]) == ["grad_cam"]


def test_lime_without_its_libraries(tmp_path, pretend, capsys, monkeypatch):
    monkeypatch.setitem(xr.METHODS, "lime", xr.METHODS["grad_cam"])
    monkeypatch.setattr("xrcam_jax.commands.explain.find_spec", lambda name: None)
    assert explain(tmp_path, draw(tmp_path / "a.png"), "--method", "lime") == 2
    assert "--method: lime needs scikit-image and scikit-learn" in capsys.readouterr().err


@pytest.fixture(scope="module")
def resnet18(tmp_path_factory):
    """Writes a checkpoint for small pictures, with seeded weights."""
    config = {"architecture": "resnet18", "pretrained_cfg": {"input_size": [3, 64, 64]}}
    path = tmp_path_factory.mktemp("weights") / "resnet18.safetensors"
    save_file(oracle.seeded_state("resnet18"), path, metadata={"config": json.dumps(config)})
    return path


@pytest.mark.long
def test_the_real_network(tmp_path, resnet18, monkeypatch):
    """What is stored is what the explainer says of the pictures, whose network is read from a checkpoint."""
    calls = []

    class Recorded(xr.Explainer):
        def __call__(self, images, targets=None):
            calls.append((images, super().__call__(images, targets)))
            return calls[-1][1]

    monkeypatch.setattr(xr, "Explainer", Recorded)
    pictures = [draw(tmp_path / f"{seed}.png", 70 + 20 * seed, 100, seed) for seed in range(3)]
    arguments = ["--model", "resnet18", "--weights", resnet18, "--method", "xrelevance_cam,grad_cam"]
    arguments += ["--batch-size", 2, "--num-classes", 1000, "--aggregate", "product", "--out", tmp_path / "out"]
    assert main(["explain", *map(str, pictures), *map(str, arguments)]) == 0

    images, e = calls[0]
    np.testing.assert_array_equal(
        images, preprocess(load_images(pictures[:2]), Preprocessing(input_size=(64, 64), crop_pct=0.95))
    )
    for index in range(2):
        with np.load(tmp_path / "out" / "maps" / f"{index}.npz") as arrays:
            np.testing.assert_array_equal(arrays["logits"], e.logits[index])
            for method in ("xrelevance_cam", "grad_cam"):
                np.testing.assert_array_equal(arrays[f"{method}/aggregate"], e.aggregate(method, how="product")[index])
                for layer in LAYERS:
                    np.testing.assert_array_equal(arrays[f"{method}/{layer}"], e.maps[method][layer][index])
    with Image.open(tmp_path / "out" / "overlays" / "grad_cam" / "layer1" / "2.png") as laid:
        assert laid.size == (100, 110)


def test_the_wrong_checkpoint(tmp_path, resnet18, capsys):
    arguments = ["--model", "resnet34", "--weights", str(resnet18), "--out", str(tmp_path / "out")]
    assert main(["explain", str(draw(tmp_path / "a.png")), *arguments]) == 2
    assert capsys.readouterr().err == (
        f"xrcam explain: error: --weights: {resnet18}: a checkpoint of resnet18, not of resnet34\n"
    )


def test_one_output_has_the_score_of_its_sigmoid_and_two_classes():
    maps = {"grad_cam": {"layer4": np.ones((2, 2))}, "lrp": {"input": np.zeros((2, 2))}}
    for z, predicted in ((-1.97, 0), (1.5, 1), (0.0, 0)):
        p = 1 / (1 + np.exp(-z))
        for target in (0, 1):
            result = Result(np.array([z], np.float32), target, maps)
            assert result.predicted == predicted
            assert result.score(0) == pytest.approx(p, rel=1e-6)
            assert [result.probability(t) for t in (0, 1)] == pytest.approx([1 - p, p], rel=1e-6)
            assert result.blank == ["lrp"]
            names = ["class 0 (well)", "class 1 (ill)"]
            explained = "" if target == predicted else f"; explained {names[target]}"
            assert result.describe(["well", "ill"]) == f"score {p:.3f}, predicted {names[predicted]}{explained}"


def test_a_method_by_which_nothing_speaks_for_a_class_is_named(tmp_path, pretend, capsys):
    Image.fromarray(np.full((40, 40, 3), 99, np.uint8)).save(tmp_path / "even.png")
    assert explain(tmp_path, tmp_path / "even.png", "--method", "xrelevance_cam,grad_cam") == 0
    assert "score 0.665; nothing speaks for class 1 by xrelevance_cam, grad_cam\n" in capsys.readouterr().out


def test_pictures_without_numbers_are_left_out_with_a_word(tmp_path, pretend, monkeypatch, capsys):
    """Their maps were blank, and their class was the first, without a word."""

    class Broken(pretend):
        def __call__(self, images, targets=None):
            e = super().__call__(images, targets)
            maps = {name: {x: m.at[2].set(jnp.nan) for x, m in by.items()} for name, by in e.maps.items()}
            return replace(e, logits=e.logits.at[0, 1].set(jnp.inf), maps=maps)

    monkeypatch.setattr(xr, "Explainer", Broken)
    pictures = [draw(tmp_path / f"{name}.png", seed=seed) for seed, name in enumerate("abc")]
    assert explain(tmp_path, *pictures) == 1
    assert [row["name"] for row in summary(tmp_path)] == ["b"]
    out, err = capsys.readouterr()
    assert f"{pictures[0]}: the network's output has NaN or infinity; a is left out" in err
    assert f"{pictures[2]}: maps of xrelevance_cam have NaN or infinity; c is left out" in err
    assert "1 explained, 0 could not be read, 2 not be written" in out


def test_a_run_knows_its_classes(tmp_path, pretend, capsys):
    run = tmp_path / "run"
    run.mkdir()
    settings = {"model": "resnet18", "classes": ["glioma", "meningioma", "other"]}
    (run / "settings.json").write_text(json.dumps(settings))
    picture = draw(tmp_path / "a.png")
    assert explain(tmp_path, picture, "--weights", run) == 2
    assert f"--weights: {run} is a run of xrcam train that has not come to its best.safetensors yet" in (
        capsys.readouterr().err
    )
    assert explain(tmp_path, picture, "--weights", run / "best.safetensors") == 0
    assert [row["label"] for row in summary(tmp_path)] == ["meningioma"]
    labels = tmp_path / "labels.txt"
    labels.write_text("x\ny\nz\n")
    assert explain(tmp_path, picture, "--weights", run / "best.safetensors", "--labels", labels) == 0
    assert [row["label"] for row in summary(tmp_path)] == ["y"]
    assert explain(tmp_path, picture, "--weights", run / "other.safetensors") == 0
    assert [row["label"] for row in summary(tmp_path)] == [""]
    (run / "settings.json").write_text(json.dumps({"classes": ["glioma", "meningioma"]}))
    capsys.readouterr()
    assert explain(tmp_path, picture, "--weights", run / "best.safetensors") == 2
    assert "names 2 classes, the network has 3; give their names by --labels" in capsys.readouterr().err


def test_the_folder_of_a_run_is_all_that_need_be_named(tmp_path, pretend, capsys, monkeypatch):
    """Its weights, its network and its classes are those of the run."""
    run, loaded = tmp_path / "run", []
    run.mkdir()
    (run / "best.safetensors").touch()
    (run / "settings.json").write_text(json.dumps({"model": "resnet18", "classes": ["glioma", "meningioma", "other"]}))
    load = xr.load_model
    monkeypatch.setattr(xr, "load_model", lambda *given, **_: loaded.append(given) or load(*given), raising=False)
    words = ["explain", draw(tmp_path / "a.png"), "--weights", run, "--target", "OTHER", "--out", tmp_path / "out"]
    assert main([str(word) for word in words]) == 0
    assert loaded == [("resnet18", str(run / "best.safetensors"))]
    assert (summary(tmp_path)[0]["label"], summary(tmp_path)[0]["target"]) == ("meningioma", "2")
    told = capsys.readouterr().out
    assert f"names of 3 classes: {run / 'settings.json'}\n" in told
    assert "compiling for batches of 8 comes first" in told
    assert main([str(word) for word in words[:2]]) == 2
    assert "--model: is missing" in capsys.readouterr().err


def test_what_is_done_with_the_input_is_told(tmp_path, pretend, capsys):
    assert explain(tmp_path, draw(tmp_path / "a.png"), "--layers", "layer4") == 0
    assert capsys.readouterr().out.splitlines()[:4] == [
        "field of view: none, as the weights say nothing of one",
        "network input: 32 x 32 pixels, resized (bicubic; its proportions kept, the middle of the longer side), of "
        "which the middle 87.5% of each side are kept",
        "classes have numbers: no --labels are given, and no run says their names",
        "layers: layer4",
    ]


def test_the_file_beside_the_results_repeats_them(tmp_path, pretend, capsys):
    picture = draw(tmp_path / "a.png")
    assert explain(tmp_path, picture, "--method", "grad_cam,xrelevance_cam", "--layers", "layer4", "--target", "2") == 0
    before, again = tmp_path / "out", tmp_path / "again"
    assert main(["explain", "--config", str(before / "settings.toml"), "--out", str(again)]) == 0
    assert names(again) == names(before)
    for name in names(before):
        if name != "settings.toml":
            assert (again / name).read_bytes() == (before / name).read_bytes(), name


def test_a_method_with_options_is_one_of_its_own(tmp_path):
    """The real thing: folders, arrays and sheets are called as the method was asked for."""
    weights, config = tmp_path / "w.safetensors", {"pretrained_cfg": {"input_size": [3, 32, 32]}}
    save_file(oracle.seeded_state("resnet18"), weights, metadata={"config": json.dumps(config)})
    names = "ablation_cam,ablation_cam+score=probability"
    options = ["--model", "resnet18", "--weights", weights, "--method", names, "--layers", "layer4"]
    assert main(["explain", str(draw(tmp_path / "a.png")), *map(str, options), "--out", str(tmp_path / "out")]) == 0
    assert {path.name for path in (tmp_path / "out" / "overlays").iterdir()} == set(names.split(","))
    with np.load(tmp_path / "out" / "maps" / "a.npz") as maps:
        assert {f"{name}/layer4" for name in names.split(",")} <= set(maps)


@pytest.mark.parametrize(
    ("method", "line"),
    [
        ("xrelevance_cam+axiom=sensitivty", "unknown value of axiom of xrelevance_cam 'sensitivty'; did you mean"),
        ("rise+sample=3", "unknown option of rise 'sample'; did you mean 'samples'?"),
        ("fast+samples=3", "unknown name 'fast'"),
        ("rise+samples=3,rise+samples=3", "a name is given twice in rise+samples=3,rise+samples=3"),
    ],
)
def test_options_of_methods_are_checked_before_weights_are_read(tmp_path, capsys, method, line):
    assert explain(tmp_path, draw(tmp_path / "a.png"), "--method", method) == 2
    assert f"--method: {line}" in capsys.readouterr().err
