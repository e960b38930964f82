"""What from_onnx gives, and what it refuses in one line, before anything is compiled."""

import os
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

pytest.importorskip("onnx")

import onnx

import xrcam_jax as xr
from tests.onnx.graphs import computed, drawn, node, proto, tensor, written
from xrcam_jax.errors import DamagedError

W, HEAD = drawn(4, 3, 3, 3, seed=1), drawn(5, 4, seed=2)


def small(**options):
    """A network with the logits (b, 5): convolution, ReLU, mean and head, as PyTorch names its nodes."""
    nodes = [
        node("Conv", "x w b", "/stem/conv/Conv_output_0", name="/stem/conv/Conv", pads=[1] * 4),
        node("Relu", "/stem/conv/Conv_output_0", "/stem/act/Relu_output_0", name="/stem/act/Relu"),
        node("GlobalAveragePool", "/stem/act/Relu_output_0", "pooled"),
        node("Flatten", "pooled", "flat"),
        node("Gemm", "flat head bias", "y", name="/fc/Gemm", transB=1),
    ]
    arrays = {"w": W, "b": drawn(4, seed=3), "head": HEAD, "bias": drawn(5, seed=4)}
    return proto(nodes, arrays, **{"x": (1, 3, 6, 6), **options})


def test_the_small_network_is_what_onnx_computes(tmp_path):
    x = drawn(3, 3, 6, 6)
    found, expected = computed(small(x_shape=["b", 3, 6, 6]), x, tmp_path)
    np.testing.assert_allclose(found[0], expected[0], rtol=1e-5, atol=1e-6)


def test_parameters_are_arguments_and_kernels_lie_as_convolutions_want_them(tmp_path):
    model = xr.from_onnx(written(small(), tmp_path))
    assert {name: array.shape for name, array in model.parameters.items()} == {
        "w": (3, 3, 3, 4), "b": (4,), "head": (5, 4), "bias": (5,),
    }  # fmt: skip
    np.testing.assert_array_equal(model.parameters["w"], W.transpose(2, 3, 1, 0))
    moved = model.parameters | {"bias": model.parameters["bias"] + 1}
    x = drawn(1, 6, 6, 3)
    np.testing.assert_allclose(model.function(x, moved), model(x) + 1, rtol=1e-5)


def test_layers_have_the_names_of_nodes_and_of_values(tmp_path):
    model = xr.from_onnx(written(small(), tmp_path))
    found = xr.layers(model.function, drawn(1, 6, 6, 3), model.parameters)
    assert found["stem"].shape == (1, 6, 6, 4)
    for name in ("stem/conv/Conv", "stem/conv/Conv_output_0", "stem/act/Relu", "act/Relu_output_0"):
        (turn,) = found.select(name).values()
        assert turn.layer.shape == (1, 6, 6, 4)
    e = xr.attribute(model, drawn(2, 6, 6, 3), "grad_cam", layers=["stem/act/Relu", "Conv_output_0"])
    assert list(e.maps["grad_cam"]) == ["stem/act/Relu", "Conv_output_0"]
    with pytest.raises(ValueError, match="unknown layer 'stem/act/Relo'; did you mean 'stem/act/Relu'"):
        xr.attribute(model, drawn(2, 6, 6, 3), "grad_cam", layers=["stem/act/Relo"])


def test_values_of_pytorchs_exporter_are_inside_their_modules(tmp_path):
    model = small()
    entry = model.graph.node[0].metadata_props.add()
    entry.key, entry.value = "pkg.torch.onnx.name_scopes", "['', 'layer1', 'layer1.0', 'conv2d']"
    model.graph.node[0].name = "node_conv2d"
    found = xr.from_onnx(written(model, tmp_path))
    assert "layer1/0" in xr.layers(found.function, drawn(1, 6, 6, 3), found.parameters)


def test_relevance_of_a_linear_network_is_its_terms(tmp_path):
    """Without biases and activations, z = sum_i w_i x_i hands w_i x_i to each input."""
    nodes = [node("Transpose", "x", "n", perm=[0, 2, 3, 1]), node("Flatten", "n", "f"), node("MatMul", "f w")]
    w, x = drawn(48, 2), drawn(2, 4, 4, 3)
    model = xr.from_onnx(written(proto(nodes, {"w": w}, x=(2, 3, 4, 4)), tmp_path))
    relevant = xr.lrp(model.function, xr.composites.epsilon_plus(eps=0))
    out, pullback = jax.vjp(lambda x: relevant(x, model.parameters), x)
    (relevance,) = pullback(out * jnp.array([1.0, 0.0]))
    np.testing.assert_allclose(relevance, x * w[:, 0].reshape(4, 4, 3), rtol=1e-5, atol=1e-6)


def test_a_chosen_output_and_logits(tmp_path):
    model = small()
    model.graph.node.append(node("Softmax", "y", "p", name="probabilities"))
    model.graph.output[0].name = "p"
    path, x = written(model, tmp_path), drawn(2, 6, 6, 3)
    whole, logits = xr.from_onnx(path), xr.from_onnx(path, logits=True)
    np.testing.assert_allclose(whole(x), jax.nn.softmax(logits(x)), rtol=1e-5)
    assert "Softmax 'probabilities' at the end: relevance and gradients tell more without it" in whole.notes[0]
    assert xr.from_onnx(path, output="pooled")(x).shape == (2, 4, 1, 1)
    assert set(xr.from_onnx(path, output=["p", "flat"])(x)) == {"p", "flat"}
    with pytest.raises(ValueError, match="unknown output 'poled'; did you mean 'pooled'"):
        xr.from_onnx(path, output="poled")


def test_half_precision_is_computed_in_float32(tmp_path):
    half = {"w": W.astype(np.float16)}
    model = proto([node("Conv", "x w")], half, x=(1, 3, 6, 6), elem=onnx.TensorProto.FLOAT16)
    found = xr.from_onnx(written(model, tmp_path))(drawn(1, 6, 6, 3))
    whole = proto([node("Conv", "x w")], {"w": half["w"].astype(np.float32)}, x=(1, 3, 6, 6))
    assert found.dtype == jnp.float32
    np.testing.assert_array_equal(found, xr.from_onnx(written(whole, tmp_path))(drawn(1, 6, 6, 3)))


def test_functions_of_the_file_are_put_in_their_places(tmp_path):
    import onnx.helper as h

    opsets = [h.make_opsetid("", 17), h.make_opsetid("own", 1)]
    twice = h.make_function("own", "Twice", ["a"], ["b"], [node("Add", "a a", "b")], opsets[:1])
    model = proto([h.make_node("Twice", ["x"], ["y"], domain="own")], {}, x=(1, 3, 2, 2))
    model.opset_import.append(opsets[1])
    model.functions.append(twice)
    x = drawn(1, 2, 2, 3)
    np.testing.assert_array_equal(xr.from_onnx(written(model, tmp_path))(x), 2 * x.transpose(0, 3, 1, 2))


def test_several_inputs_are_a_dictionary(tmp_path):
    model = proto([node("Add", "x z")], {}, x=(1, 3, 2, 2))
    model.graph.input.append(onnx.helper.make_tensor_value_info("z", 1, [1, 3, 2, 2]))
    found = xr.from_onnx(written(model, tmp_path))
    x, z = drawn(1, 2, 2, 3), drawn(1, 2, 2, 3, seed=2)
    np.testing.assert_array_equal(found({"x": x, "z": z}), (x + z).transpose(0, 3, 1, 2))
    with pytest.raises(ValueError, match="it has 2 inputs; give a dictionary with 'x', 'z'"):
        found(x)


def test_token_ids_are_explained_at_their_embedding_beside_a_picture(tmp_path):
    """Of a linear network each place of the picture and each token has its part of the logit."""
    nodes = [
        node("Gather", "table ids", "e", name="/embed/Gather"),
        node("ReduceMean", "e", "words", axes=[1], keepdims=0),
        node("Conv", "x k", "c", name="/conv/Conv"),
        node("GlobalAveragePool", "c", "g"),
        node("Flatten", "g", "f"),
        node("Add", "f words", "both"),
        node("MatMul", "both head"),
    ]
    table, k, head = drawn(9, 4), drawn(4, 3, 1, 1), drawn(4, 3)
    model = proto(nodes, {"table": table, "k": k, "head": head}, x_shape=["b", 3, 4, 4])
    model.graph.input.append(onnx.helper.make_tensor_value_info("ids", onnx.TensorProto.INT64, ["b", 5]))
    x, ids = drawn(2, 4, 4, 3), np.array([[1, 2, 3, 4, 5], [0, 8, 8, 1, 2]])
    found = xr.from_onnx(written(model, tmp_path))
    layers, given = ["input.x", "embed/Gather"], {"x": x, "ids": ids}
    e = xr.attribute(found, given, "gradient_x_input", [0, 2], layers, explain=("x", "ids"))
    of_class = head.T[[0, 2]]
    expected = x * (of_class @ k[:, :, 0, 0])[:, None, None] / 16, table[ids] * of_class[:, None] / 5
    for layer, wanted in zip(layers, expected, strict=True):
        np.testing.assert_allclose(e.attributions["gradient_x_input"][layer], wanted, rtol=1e-4, atol=1e-6)
    assert {layer: maps.shape for layer, maps in e.maps["gradient_x_input"].items()} == {
        "input.x": (2, 4, 4), "embed/Gather": (2, 5),
    }  # fmt: skip


def external(folder, location="weights.bin", length=None):
    model = small()
    kernel = next(each for each in model.graph.initializer if each.name == "w")
    content = kernel.raw_data
    onnx.external_data_helper.set_external_data(kernel, location, 0, len(content) if length is None else length)
    kernel.ClearField("raw_data")
    kernel.data_location = onnx.TensorProto.EXTERNAL
    if location == "weights.bin":
        (folder / location).write_bytes(content)
    return model


def test_arrays_in_another_file_are_read(tmp_path):
    x = drawn(1, 6, 6, 3)
    expected = xr.from_onnx(written(small(), tmp_path, "whole.onnx"))(x)
    np.testing.assert_array_equal(xr.from_onnx(written(external(tmp_path), tmp_path))(x), expected)


def with_array(name, array):
    model = small()
    (kept,) = (each for each in model.graph.initializer if each.name == name)
    kept.CopyFrom(tensor(name, array))
    return model


REFUSED = {
    "opset 8": (lambda f: small(opset=8), "its operators are of opset 8, known are 9 to 22"),
    "opset 25": (lambda f: small(opset=25), "its operators are of opset 25, known are 9 to 22"),
    "operator": (
        lambda f: proto([node("RoiAlign", "x", name="r1")], {}),
        r"node 'r1' \(RoiAlign, opset 17\): it is not supported",
    ),
    "quantised": (
        lambda f: proto([node("QuantizeLinear", "x s", name="q1")], {"s": np.float32(1)}),
        r"node 'q1' \(QuantizeLinear, opset 17\): quantised networks are not supported",
    ),
    "domain": (
        lambda f: proto([onnx.helper.make_node("Own", ["x"], ["y"], "o1", domain="com.me")], {}),
        r"node 'o1' \(com.me.Own, opset 1\): it is not supported",
    ),
    "dangling": (lambda f: proto([node("Relu", "z", name="r1")], {}), "node 'r1' .* reads 'z', which nothing"),
    "nothing is read": (
        lambda f: proto([onnx.helper.make_node("Softmax", [], ["y"], "s1")], {}),
        r"node 's1' \(Softmax, opset 17\): it reads nothing, and its operator takes at least 1 values",
    ),
    "too little is read": (
        lambda f: proto([node("Conv", "x", name="c1")], {}),
        r"node 'c1' \(Conv, opset 17\): it reads 'x', and its operator takes at least 2 values",
    ),
    "an argument is left out": (
        lambda f: proto([onnx.helper.make_node("Conv", ["", "w"], ["y"], "c1")], {"w": W}),
        "node 'c1' .*: it reads '', 'w', and its operator takes at least 2 values",
    ),
    "nothing is made": (
        lambda f: proto([onnx.helper.make_node("Relu", ["x"], [], "r1"), node("Relu", "x")], {}),
        "node 'r1' .*: it makes nothing",
    ),
    "dynamic": (
        lambda f: small(x_shape=["b", 3, "h", "w"]),
        r"input 'x' of shape \(b, 3, h, w\) has lengths that are open.* input_shape=\(1, 3, 224, 224\)",
    ),
    "shapes": (
        lambda f: proto([node("Gemm", "x w", name="g1")], {"w": drawn(3, 2)}, x=(2, 4)),
        r"node 'g1' \(Gemm, opset 17\) cannot be computed of \(2, 4\), \(3, 2\)",
    ),
    "shape of values": (
        lambda f: proto([node("Cast", "x", "s", to=7), node("Reshape", "x s", name="r1")], {}),
        "node 'r1' .*its shape depends on what the graph computes",
    ),
    "training": (
        lambda f: proto(
            [node("BatchNormalization", "x a a a a", name="b1", training_mode=1)], {"a": np.ones(3, np.float32)}
        ),
        "node 'b1' .* is in training mode",
    ),
    "external": (lambda f: external(f, "gone.bin"), "the file 'gone.bin' with 'w' is missing"),
    "outside": (lambda f: external(f, "../gone.bin"), "'w' is said to lie in '../gone.bin', outside"),
    "absolute": (lambda f: external(f, "/etc/hosts"), "'w' is said to lie in '/etc/hosts', outside"),
    "not a number": (lambda f: with_array("b", np.full(4, np.nan, np.float32)), "not finite: b, 4 of 4 values"),
    "strings": (
        lambda f: proto([node("Relu", "x")], {}, elem=onnx.TensorProto.STRING),
        "'x' is of STRING, which is not",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_honoured_is_refused_in_one_line(case, tmp_path):
    make, message = REFUSED[case]
    path = written(make(tmp_path), tmp_path)
    with pytest.raises((ValueError, OSError), match=message) as caught:
        xr.from_onnx(path)
    assert "\n" not in str(caught.value)
    assert "net.onnx" in str(caught.value)


def test_negative_variances_and_short_files_are_damage(tmp_path):
    ones = np.ones(3, np.float32)
    model = proto([node("BatchNormalization", "x a a a v")], {"a": ones, "v": -ones})
    with pytest.raises(DamagedError, match="a negative variance: v, 3 of 3 values"):
        xr.from_onnx(written(model, tmp_path))
    with pytest.raises(DamagedError, match=r"weights.bin' has 432 bytes, 'w' is said to end at 500"):
        xr.from_onnx(written(external(tmp_path, length=500), tmp_path))
    path = written(small(), tmp_path)
    path.write_bytes(path.read_bytes().replace(b"pooled", b"pool\xff\xff"))
    with pytest.raises(DamagedError, match="a name in it is no text"):
        xr.from_onnx(path)
    path = written(small(), tmp_path)
    path.write_bytes(path.read_bytes()[:300])
    with pytest.raises(DamagedError, match="not a whole ONNX file"):
        xr.from_onnx(path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "not a whole ONNX file"),
        (b"version https://git-lfs.github.com/spec/v1", "a Git LFS pointer"),
        (b"hello", "not a"),
        (b"<!DOCTYPE html>", "a web page"),
    ],
)
def test_what_is_no_onnx_file_is_said(content, message, tmp_path):
    path = tmp_path / "net.onnx"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=message):
        xr.from_onnx(path)


def test_a_missing_file_and_a_missing_package(tmp_path, monkeypatch):
    with pytest.raises(FileNotFoundError, match=r"gone.onnx: no such file"):
        xr.from_onnx(tmp_path / "gone.onnx")
    with pytest.raises(FileNotFoundError, match="a folder and not an ONNX file"):
        xr.from_onnx(tmp_path)
    path = written(small(), tmp_path)
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(ImportError, match=r"pip install 'xrcam-jax\[onnx\]'"):
        xr.from_onnx(os.fspath(path))


def test_what_is_left_open_is_said_by_the_user(tmp_path):
    path = written(small(x_shape=["b", 3, "h", None]), tmp_path)
    model = xr.from_onnx(path, input_shape=(1, 3, 6, 6))
    assert model.input_shapes == {"x": (1, 6, 6, 3)}
    assert model(drawn(2, 8, 4, 3)).shape == (2, 5)
    with pytest.raises(ValueError, match=r"input 'x' must be \(b, \?, \?, 3\), got float32 of shape \(2, 8, 4, 1\)"):
        model(drawn(2, 8, 4, 1))
    with pytest.raises(ValueError, match=r"cannot be of the given input_shape \(1, 4, 6, 6\)"):
        xr.from_onnx(path, input_shape=(1, 4, 6, 6))


def test_a_graph_with_channels_last_is_taken_as_it_is(tmp_path):
    """As tf2onnx writes it: the input is transposed for the convolution."""
    nodes = [
        node("Transpose", "x", "t", perm=[0, 3, 1, 2]),
        node("Conv", "t w", "c"),
        node("Transpose", "c", perm=[0, 2, 3, 1]),
    ]
    x = drawn(2, 6, 5, 3)
    found, expected = computed(proto(nodes, {"w": W}, x=x.shape), x, tmp_path)
    np.testing.assert_allclose(found[0], expected[0], rtol=1e-5, atol=1e-5)
    model = xr.from_onnx(tmp_path / "net.onnx")
    assert "transpose" not in str(jax.make_jaxpr(model.function)(x, model.parameters))


def test_how_pictures_are_prepared(tmp_path):
    model = small()
    assert xr.from_onnx(written(model, tmp_path)).preprocessing.mean == (0.485, 0.456, 0.406)
    for key, value in (("mean", "0.5, 0.4, 0.3"), ("std", "[0.2]")):
        entry = model.metadata_props.add()
        entry.key, entry.value = key, value
    wants = xr.from_onnx(written(model, tmp_path)).preprocessing
    assert (wants.mean, wants.std, wants.input_size) == ((0.5, 0.4, 0.3), (0.2, 0.2, 0.2), (6, 6))
    folder = tmp_path / "beside"
    folder.mkdir()
    (folder / "preprocessor_config.json").write_text('{"image_mean": [0.1], "image_std": [0.3], "resample": 2}')
    found = xr.from_onnx(written(small(), folder))
    assert (found.preprocessing.mean, found.preprocessing.interpolation) == ((0.1,) * 3, "bilinear")
    assert found.notes == ()
    (folder / "config.json").write_text('{"pretrained_cfg": {"input_size": [3, 8, 8], "mean": [0, 0, 0]}}')
    with pytest.raises(ValueError, match=r"config.json: pictures of 3 x \(8, 8\), but the network takes 3 x \(6, 6\)"):
        xr.from_onnx(written(small(), folder))


@pytest.mark.parametrize(("mean", "expected"), [(0.5, (0.5,) * 3), (1, (1.0,) * 3), ([0.1, 0.2, 0.4],) * 2])
def test_mean_and_deviation_are_one_number_or_one_for_each_channel(mean, expected, tmp_path):
    model = xr.from_onnx(written(small(), tmp_path), mean=mean, std=mean)
    assert model.preprocessing.mean == model.preprocessing.std == tuple(expected)
    assert model.notes == ()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"mean": "0.5,0.5,0.5"}, "mean must be a number, or one for each channel, got '0.5,0.5,0.5'"),
        ({"std": [[0.5]]}, r"std must be a number, or one for each channel, got \[\[0.5\]\]"),
        ({"mean": (0.5, 0.4)}, "mean: 2 values for 3 channels"),
        ({"output": 3}, "output must be the name of a value in the graph, or several, got 3"),
        ({"output": []}, r"output must be the name of a value in the graph, or several, got \[\]"),
        ({"output": ["pooled", 3]}, r"output must be the name .*, got \['pooled', 3\]"),
        ({"input_shape": 224}, r"input_shape must be whole numbers such as \(1, 3, 224, 224\), got 224"),
        ({"input_shape": "1,3,6,6"}, "input_shape must be whole numbers .*, got '1,3,6,6'"),
        ({"input_shape": (1, 3, 6.5, 6)}, r"input_shape must be whole numbers .*, got \(1, 3, 6.5, 6\)"),
        ({"input_shape": {"x": 6}}, "input_shape must be whole numbers .*, got 6"),
    ],
)
def test_arguments_that_make_no_sense_are_named(arguments, message, tmp_path):
    with pytest.raises(ValueError, match=message) as caught:
        xr.from_onnx(written(small(x_shape=["b", 3, 6, 6]), tmp_path), **arguments)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("dtype", ["int8", "float16", "float64", "single-ish"])
def test_it_computes_in_single_precision_or_in_double_where_that_is_switched_on(dtype, tmp_path):
    with pytest.raises(ValueError, match=f"dtype must be float32, or float64 with jax_enable_x64 .*, got {dtype}"):
        xr.from_onnx(tmp_path / "net.onnx", dtype=dtype)
