"""``xrcam explain --model net.onnx``: maps on disk, and refusals in one line."""

import cv2
import numpy as np
import pytest

pytest.importorskip("onnx")

import xrcam_jax as xr
from tests.onnx.graphs import drawn, node, proto, written
from xrcam_jax.cli import main
from xrcam_jax.explain.methods import METHODS


def network(shape=("b", 3, 8, 8)):
    nodes = [
        node("Conv", "x w b", "c", name="/layer1/Conv", pads=[1] * 4),
        node("Relu", "c", "r", name="/layer1/Relu"),
        node("MaxPool", "r", "m", name="/pool", kernel_shape=[2, 2], strides=[2, 2]),
        node("Conv", "m v", "d", name="/layer2/Conv", pads=[1] * 4),
        node("Relu", "d", "e", name="/layer2/Relu"),
        node("GlobalAveragePool", "e", "g"),
        node("Flatten", "g", "f"),
        node("Gemm", "f head", "l", name="/fc"),
        node("Softmax", "l", "y", name="/softmax"),
    ]
    arrays = {"w": drawn(4, 3, 3, 3), "b": drawn(4), "v": drawn(5, 4, 3, 3), "head": drawn(5, 3)}
    return proto(nodes, arrays, x=(1, 3, 8, 8), x_shape=list(shape))


@pytest.fixture
def picture(tmp_path):
    path = tmp_path / "scan.png"
    cv2.imwrite(str(path), np.random.default_rng(0).integers(0, 255, (12, 10, 3), np.uint8))
    return str(path)


def test_maps_of_a_file(tmp_path, picture, capsys, caplog):
    path, out = written(network(), tmp_path), tmp_path / "out"
    arguments = [picture, "--model", str(path), "--mean", "0.5", "--std", "0.25", "--out", str(out)]
    assert main(["explain", *arguments, "--method", "xrelevance_cam,gradient"]) == 0
    assert "1 explained, 0 could not be read" in capsys.readouterr().out
    assert "Softmax '/softmax' at the end is left out, so that logits are explained" in caplog.text
    assert "supposed" not in caplog.text
    with np.load(out / "maps" / "scan.npz") as maps:
        assert {name for name in maps if "/" in name} == {
            "gradient/input",
            "xrelevance_cam/aggregate",
            "xrelevance_cam/layer1",
            "xrelevance_cam/layer2",
        }


def test_layers_of_a_file(tmp_path, capsys):
    assert main(["layers", "--model", str(written(network(), tmp_path))]) == 0
    assert "layer2" in capsys.readouterr().out
    path = str(written(network(("b", 3, "h", "w")), tmp_path))
    assert main(["layers", "--model", path, "--input-size", "6,8"]) == 0
    assert "(1, 6, 8, 4)" in capsys.readouterr().out
    assert main(["layers", "--model", "resnet18", "--input-size", "6,8"]) == 2
    assert "--input-size: is for ONNX files" in capsys.readouterr().err


def test_what_a_group_of_methods_cannot_do_at_a_layer_is_left_out_with_a_word(
    tmp_path, picture, capsys, caplog, monkeypatch
):
    names = ("xrelevance_cam", "cam", "grad_cam", "gradient")
    monkeypatch.setattr(xr, "METHODS", {name: METHODS[name] for name in names})
    path, out = written(network(), tmp_path), tmp_path / "out"
    arguments = ["explain", picture, "--model", str(path), "--mean", "0.5", "--std", "0.25", "--out", str(out)]
    assert main([*arguments, "--method", "activation", "--layers", "layer1"]) == 0
    reason = "cam is defined for a layer that only global pooling and a linear layer follow; none of layer1 is one"
    assert f"--method: cam is left out: {reason}\n" in capsys.readouterr().err
    # The options on the pictures hold while layers are looked for, too.
    assert "supposed" not in caplog.text
    with np.load(out / "maps" / "scan.npz") as maps:
        methods = {name.partition("/")[0] for name in maps if "/" in name}
    assert methods == {"xrelevance_cam", "grad_cam"}
    assert main([*arguments, "--method", "activation,cam", "--layers", "layer1"]) == 2
    assert f"error: --method, --layers: {reason}" in capsys.readouterr().err
    assert main([*arguments, "--method", "activation", "--layers", "input"]) == 2
    assert "needs a layer of activations, not the input" in capsys.readouterr().err


def test_a_file_of_another_name_and_an_output_of_another_shape(tmp_path, picture, capsys):
    path = written(network(), tmp_path, "net.bin")
    for command in (["explain", picture], ["layers"]):
        assert main([*command, "--model", str(path)]) == 2
        assert "net.bin is a file and no network's name; an ONNX file ends in .onnx" in capsys.readouterr().err
    dense = proto([node("Conv", "x w", "y")], {"w": drawn(4, 3, 1, 1)}, x=(1, 3, 8, 8))
    assert main(["explain", picture, "--model", str(written(dense, tmp_path))]) == 2
    assert "the graph has no output (b, n) of logits but 'y' (1, 4, 8, 8); in Python, " in capsys.readouterr().err


REFUSED = {
    "--weights w.pth": "--weights: {path} has its weights in it, leave this out",
    "--layers layer3": "--layers: unknown layer 'layer3'; did you mean 'layer",
    "--layers layer?/Conf": "--layers: unknown layer 'layer?/Conf'; did you mean 'layer2/Conv'? known: input, ",
    "--layers layer1.Conv_": "--layers: unknown layer 'layer1.Conv_'; did you mean 'layer1/Conv'? known: input, ",
    "--layers nothing*": "--layers: unknown layer 'nothing*'; known: input, layer1, pool, layer2, ",
    "--layers fc": "--layers: fc has shape (1, 3), and maps need (b, h, w, k)",
    "--mean 1,2": "--mean: expected a number, or 3 with commas between, found 1,2",
    "--std 0": "--std: expected a number above 0, or 3 with commas between, found 0",
    "--target 3": "--target: 3 is not a class; there are 0 to 2",
    "--input-size 9,8": "--model: {path}: --input-size says 9,8, but it takes input 'x' of shape (b, 3, 8, 8)",
}


@pytest.mark.parametrize("options", REFUSED)
def test_refusals(options, tmp_path, picture, capsys):
    path = written(network(), tmp_path)
    assert main(["explain", picture, "--model", str(path), "--out", str(tmp_path / "o"), *options.split()]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"xrcam explain: error: {REFUSED[options].format(path=path)}")


def test_a_size_that_is_left_open(tmp_path, picture, capsys):
    path = written(network(("b", 3, "h", "w")), tmp_path)
    arguments = ["explain", picture, "--model", str(path), "--out", str(tmp_path / "o")]
    assert main(arguments) == 2
    assert "input 'x' of shape (b, 3, h, w) has lengths that are open" in capsys.readouterr().err
    assert main([*arguments, "--input-size", "8,8", "--method", "gradient"]) == 0
    assert main(["explain", picture, "--model", "resnet18", "--weights", "w.pth", "--mean", "0.5"]) == 2
    assert "--mean: is for ONNX files" in capsys.readouterr().err
    assert main(["explain", picture, "--model", str(tmp_path / "gone.onnx")]) == 2
    assert "gone.onnx: no such file" in capsys.readouterr().err
