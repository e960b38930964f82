"""Operators agree with ONNX's own reference implementation, in the versions in which they changed."""

import math
import re
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from tests.test_house import PACKAGE

pytest.importorskip("onnx")

from tests.onnx.graphs import computed, drawn, node, proto
from xrcam_jax.onnx.operators import OPERATORS, SUBJECTS, WITHOUT_FUNCTION

pytestmark = pytest.mark.long(one_in=5)

K3 = drawn(4, 3, 3, 3, seed=1)
INT = np.int64
#: What is run: the node, arrays, the opset and the shape of x.
CASES = {
    "conv": (node("Conv", "x w b", pads=[1, 0, 2, 1], strides=[2, 1]), {"w": K3, "b": drawn(4)}, 13, None),
    "conv_same_lower": (node("Conv", "x w", auto_pad="SAME_LOWER", strides=[2, 2]), {"w": K3[..., :2, :2]}, 13, None),
    "conv_same_upper": (node("Conv", "x w", auto_pad="SAME_UPPER", dilations=[2, 2]), {"w": K3}, 13, None),
    "conv_groups": (node("Conv", "x w", group=3, pads=[1] * 4), {"w": drawn(6, 1, 3, 3)}, 13, None),
    "conv_1d": (node("Conv", "x w b", pads=[1, 1], dilations=[2]), {"w": drawn(4, 3, 2), "b": drawn(4)}, 13, (2, 3, 9)),
    "conv_3d": (node("Conv", "x w", strides=[1, 2, 1]), {"w": drawn(4, 3, 2, 2, 2)}, 13, (1, 3, 3, 4, 5)),
    "conv_transpose": (
        node("ConvTranspose", "x w b", strides=[2, 2], pads=[1, 1, 1, 1], output_padding=[1, 1]),
        {"w": drawn(3, 4, 3, 3), "b": drawn(4)}, 13, None,
    ),
    "max_pool_ceil": (node("MaxPool", "x", kernel_shape=[3, 2], strides=[2, 2], ceil_mode=1), {}, 12, (1, 3, 6, 7)),
    "max_pool_pads": (node("MaxPool", "x", kernel_shape=[3, 3], strides=[2, 2], pads=[1] * 4), {}, 12, None),
    "max_pool_uneven": (node("MaxPool", "x", kernel_shape=[3, 3], strides=[2, 2], pads=[0, 0, 1, 1]), {}, 12, None),
    "average_pool": (node("AveragePool", "x", kernel_shape=[3, 3], pads=[1] * 4), {}, 11, None),
    "average_pool_padded": (
        node("AveragePool", "x", kernel_shape=[3, 3], pads=[1] * 4, strides=[2, 2], count_include_pad=1), {}, 11, None,
    ),
    "average_pool_ceil": (
        node("AveragePool", "x", kernel_shape=[3, 3], strides=[2, 2], ceil_mode=1), {}, 19, None,
    ),
    "global_pools": (node("GlobalMaxPool", "x"), {}, 13, None),
    "batch_norm": (
        node("BatchNormalization", "x s b m v", epsilon=1e-3),
        {"s": drawn(3), "b": drawn(3, seed=2), "m": drawn(3, seed=3), "v": drawn(3, low=0.1)}, 15, None,
    ),
    "instance_norm": (node("InstanceNormalization", "x s b"), {"s": drawn(3), "b": drawn(3, seed=2)}, 13, None),
    "group_norm_18": (
        node("GroupNormalization", "x s b", num_groups=2), {"s": drawn(2), "b": drawn(2, seed=2)}, 18, (2, 4, 3, 3),
    ),
    "group_norm_21": (
        node("GroupNormalization", "x s b", num_groups=2), {"s": drawn(4), "b": drawn(4, seed=2)}, 21, (2, 4, 3, 3),
    ),
    "layer_norm": (node("LayerNormalization", "x s b", axis=2), {"s": drawn(6, 6), "b": drawn(6, 6, seed=2)}, 17, None),
    "lrn": (node("LRN", "x", size=4, alpha=0.5, beta=0.6, bias=1.5), {}, 13, (6, 6, 3, 3)),
    "gemm": (node("Gemm", "x w b", transB=1, alpha=0.5, beta=2.0), {"w": drawn(5, 6), "b": drawn(5)}, 13, (4, 6)),
    "matmul": (node("MatMul", "x w"), {"w": drawn(6, 5)}, 13, None),
    "einsum": (node("Einsum", "x w", equation="bchw,wd->bhcd"), {"w": drawn(6, 5)}, 13, None),
    "softmax_13": (node("Softmax", "x", axis=1), {}, 13, None),
    "log_softmax": (node("LogSoftmax", "x"), {}, 13, (2, 5)),
    "clip_9": (node("Clip", "x", min=-0.5, max=0.7), {}, 9, None),
    "clip_13": (node("Clip", "x low"), {"low": np.float32(-0.5)}, 13, None),
    "prelu": (node("PRelu", "x s"), {"s": drawn(3, 1, 1)}, 16, None),
    "hard_sigmoid": (node("HardSigmoid", "x", alpha=0.3, beta=0.4), {}, 13, None),
    "gelu_tanh": (node("Gelu", "x", approximate="tanh"), {}, 20, None),
    "selu": (node("Selu", "x", alpha=1.5, gamma=1.1), {}, 13, None),
    "elu": (node("Elu", "x", alpha=0.5), {}, 13, None),
    "add_channels": (node("Add", "x c"), {"c": drawn(3, 1, 1)}, 13, None),
    "pow": (node("Pow", "x c"), {"c": np.float32(3)}, 13, None),
    "where": (node("Where", "m x c"), {"m": drawn(6) > 0, "c": drawn(3, 1, 1)}, 13, None),
    "mean_of_three": (node("Mean", "x x c"), {"c": drawn(3, 6, 6)}, 13, None),
    "slice_9": (node("Slice", "x", starts=[1, -4], ends=[3, 100], axes=[1, 3]), {}, 9, None),
    "slice_back": (
        node("Slice", "x s e a t"),
        {"s": np.array([-1]), "e": np.array([-(2**62)]), "a": np.array([2]), "t": np.array([-2])}, 13, None,
    ),
    "pad_9": (node("Pad", "x", pads=[0, 0, 1, 2, 0, 0, 0, 1], value=0.5), {}, 9, None),
    "pad_reflect": (node("Pad", "x p", mode="reflect"), {"p": np.array([0, 0, 1, 2, 0, 0, 0, 1])}, 13, None),
    "gather": (node("Gather", "x i", axis=1), {"i": np.array([[2, -3]])}, 13, None),
    "gather_one": (node("Gather", "x i", axis=2), {"i": np.array(-1)}, 13, None),
    "gather_nd": (node("GatherND", "x i", batch_dims=1), {"i": np.array([[[0, 1]], [[2, 5]]])}, 13, None),
    "scatter_nd": (node("ScatterND", "x i u"), {"i": np.array([[1]]), "u": drawn(1, 3, 6, 6)}, 18, None),
    "tile": (node("Tile", "x r"), {"r": np.array([1, 2, 1, 3])}, 13, None),
    "expand": (node("Expand", "x s"), {"s": np.array([2, 1, 4, 6])}, 13, (2, 3, 1, 6)),
    "flatten": (node("Flatten", "x", axis=2), {}, 13, None),
    "col2im": (node("Col2Im", "x s k"), {"s": np.array([5, 6]), "k": np.array([2, 3])}, 18, (2, 12, 16)),
    "col2im_steps": (
        node("Col2Im", "x s k", strides=[2, 1], dilations=[1, 2], pads=[1, 0, 0, 1]),
        {"s": np.array([5, 6]), "k": np.array([2, 3])}, 18, (2, 12, 9),
    ),
    "depth_to_space_crd": (node("DepthToSpace", "x", blocksize=2, mode="CRD"), {}, 13, (1, 8, 2, 3)),
    "depth_to_space_dcr": (node("DepthToSpace", "x", blocksize=2), {}, 13, (1, 8, 2, 3)),
    "space_to_depth": (node("SpaceToDepth", "x", blocksize=2), {}, 13, None),
    "reduce_mean_13": (node("ReduceMean", "x", axes=[2, 3], keepdims=0), {}, 13, None),
    "reduce_mean_18": (node("ReduceMean", "x a"), {"a": np.array([-1, 1])}, 18, None),
    "reduce_l2": (node("ReduceL2", "x", axes=[1]), {}, 13, None),
    "reduce_log_sum_exp": (node("ReduceLogSumExp", "x", axes=[1, 3], keepdims=0), {}, 13, None),
    "cumsum": (node("CumSum", "x a", exclusive=1, reverse=1), {"a": np.array(2)}, 14, None),
    "argmax": (node("ArgMax", "x", axis=1, keepdims=0), {}, 13, None),
    "top_k": (node("TopK", "x k", "y i", axis=2), {"k": np.array([2])}, 13, None),
    "upsample_9": (node("Upsample", "x s", mode="nearest"), {"s": np.array([1, 1, 2, 3], np.float32)}, 9, None),
}  # fmt: skip
RESIZES = {
    f"{mode}_{place}_{'small' if small else 'large'}": (mode, place, small)
    for mode in ("nearest", "linear", "cubic")
    for place in ("half_pixel", "pytorch_half_pixel", "align_corners", "asymmetric")
    for small in (False, True)
    if place == "half_pixel" or not small
}


@pytest.mark.parametrize("name", CASES)
def test_as_onnx_computes_it(name, tmp_path):
    made, arrays, opset, shape = CASES[name]
    x = drawn(*(shape or (2, 3, 6, 6)))
    model = proto([made], arrays, x=x.shape, outputs=list(made.output), opset=opset)
    found, expected = computed(model, x, tmp_path)
    for ours, theirs in zip(found, expected, strict=True):
        assert ours.shape == theirs.shape
        np.testing.assert_allclose(ours, theirs, rtol=2e-5, atol=2e-6)


@pytest.mark.parametrize("name", RESIZES)
def test_resizing(name, tmp_path):
    mode, place, small = RESIZES[name]
    sizes = np.array([1, 2, 3, 4] if small else [1, 2, 7, 11])
    made = node("Resize", "x   s".replace("   ", " r f "), mode=mode, coordinate_transformation_mode=place)
    made.input[1] = made.input[2] = ""
    x = drawn(1, 2, 5, 6)
    found, expected = computed(proto([made], {"s": sizes}, x=x.shape, opset=19), x, tmp_path)
    np.testing.assert_allclose(found[0], expected[0], rtol=2e-5, atol=2e-6)


def ours(made, arrays, x, folder, opset=13):
    (found,) = computed(proto([made], arrays, x=x.shape, opset=opset), x, folder, compare=False)[0]
    return found


def test_groups_of_a_transposed_convolution_are_convolutions_of_their_own(tmp_path):
    x, w = drawn(2, 4, 3, 3), drawn(4, 3, 3, 2)
    whole = ours(node("ConvTranspose", "x w", group=2, strides=[3, 2]), {"w": w}, x, tmp_path)
    alone = node("ConvTranspose", "x w", strides=[3, 2])
    parts = [ours(alone, {"w": w[i : i + 2]}, x[:, i : i + 2], tmp_path) for i in (0, 2)]
    np.testing.assert_allclose(whole, np.concatenate(parts, 1), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(("axis", "first"), [(1, 1), (2, 2), (-1, 3), (-2, 2), (-3, 1), (None, 1)])
def test_softmax_took_all_axes_from_one_on_for_one(tmp_path, axis, first):
    x, options = drawn(2, 3, 2, 2), {} if axis is None else {"axis": axis}
    flat = np.exp(x.reshape(*x.shape[:first], -1))
    expected = (flat / flat.sum(-1, keepdims=True)).reshape(x.shape)
    for opset in (9, 11, 12):
        found = [ours(node(name, "x", **options), {}, x, tmp_path, opset) for name in ("Softmax", "LogSoftmax")]
        np.testing.assert_allclose(found[0], expected, rtol=1e-5)
        np.testing.assert_allclose(found[1], np.log(expected), rtol=1e-5, atol=1e-6)


def test_padding_by_less_than_nothing_cuts(tmp_path):
    x, pads = drawn(1, 1, 4, 4), {"p": np.array([0, 0, -1, 1, 0, 0, 0, -2])}
    for mode in ("constant", "edge"):
        found = ours(node("Pad", "x p", mode=mode), pads, x, tmp_path)
        left = np.zeros((1, 1, 3, 1)) if mode == "constant" else x[:, :, 1:, :1]
        np.testing.assert_array_equal(found, np.concatenate([left, x[:, :, 1:, :2]], 3))


@pytest.mark.parametrize(
    ("made", "arrays"),
    [
        (node("Reshape", "x s", allowzero=1), {"s": np.array([0, -1])}),
        (node("Conv", "x w", strides=[0, 1]), {"w": np.ones((2, 3, 1, 1), np.float32)}),
        (node("MaxPool", "x", kernel_shape=[2, 2], strides=[0, 2]), {}),
        (node("AveragePool", "x", kernel_shape=[2, 2], pads=[2**45, 1, 1, 1]), {}),
    ],
    ids=["reshape", "conv", "pool", "padding"],
)
def test_absurd_numbers_are_refused_by_node(made, arrays, tmp_path):
    with pytest.raises(ValueError, match=rf"{made.op_type}.* cannot be computed of"):
        ours(made, arrays, np.zeros((1, 3, 4, 4), np.float32), tmp_path, opset=14)


@pytest.mark.parametrize(
    ("made", "arrays", "place"),
    [
        (node("Gather", "x i", axis=1), {"i": np.array([0, 3])}, 3),
        (node("Gather", "x i", axis=1), {"i": np.array(2**63 - 1)}, 2**63 - 1),
        (node("GatherElements", "x i", axis=1), {"i": np.full((1, 1, 1, 1), -4)}, -4),
        (node("GatherND", "x i"), {"i": np.array([[0, 5]])}, 5),
        (node("ScatterND", "x i u"), {"i": np.array([[1]]), "u": np.zeros((1, 3, 2, 2), np.float32)}, 1),
        (
            node("ScatterElements", "x i u", axis=1),
            {"i": np.full((1, 1, 1, 1), 9), "u": np.zeros((1, 1, 1, 1), np.float32)},
            9,
        ),
    ],
    ids=["gather", "gather one", "elements", "nd", "scatter nd", "scatter elements"],
)
def test_a_place_that_is_not_there_is_refused(made, arrays, place, tmp_path):
    """JAX takes the last one, or writes nothing, without a word."""
    x = np.arange(12, dtype=np.float32).reshape(1, 3, 2, 2)
    with pytest.raises(ValueError, match=rf"there is no place {place} among \d"):
        ours(made, arrays, x, tmp_path)


def test_kernels_are_standardised_by_their_own_mean_and_deviation(tmp_path):
    """As timm's ScaledStdConv2d and StdConv2d are exported: a batch norm in training mode, of the kernel alone."""
    norm = node("BatchNormalization", "flat gain none none one", "standard", training_mode=1, epsilon=1e-6)
    norm.output.extend(["mean_out", "variance_out"])
    nodes = [
        node("Reshape", "w flatter", "flat"),
        norm,
        node("Reshape", "standard as_kernel", "kernel"),
        node("Conv", "x kernel", "y"),
    ]
    w, gain = drawn(4, 3, 3, 3), drawn(4, low=0.5)
    arrays = {
        "w": w, "gain": gain, "none": np.zeros(4, np.float32), "one": np.ones(4, np.float32),
        "flatter": np.array([1, 4, -1]), "as_kernel": np.array(w.shape),
    }  # fmt: skip
    x = drawn(2, 3, 6, 6)
    found, expected = computed(proto(nodes, arrays, x=x.shape), x, tmp_path)
    np.testing.assert_allclose(found[0], expected[0], rtol=1e-4, atol=1e-5)
    flat = w.reshape(4, -1)
    standard = (flat - flat.mean(1, keepdims=True)) / np.sqrt(flat.var(1, keepdims=True) + 1e-6) * gain[:, None]
    plain = ours(node("Conv", "x w"), {"w": standard.reshape(w.shape)}, x, tmp_path)
    np.testing.assert_allclose(found[0], plain, rtol=1e-4, atol=1e-5)


def test_shapes_are_computed_before_the_graph_runs(tmp_path):
    """The way in which exporters write x.reshape(x.shape[0], -1, 2), with an open batch."""
    nodes = [
        node("Shape", "x", "shape"),
        node("Gather", "shape zero", "batch"),
        node("Mul", "batch one", "times"),
        node("Unsqueeze", "times axes", "first"),
        node("Concat", "first rest", "all", axis=0),
        node("Cast", "all", "whole", to=7),
        node("Reshape", "x whole"),
    ]
    arrays = {"zero": np.array(0), "one": np.array(1), "axes": np.array([0]), "rest": np.array([-1, 2])}
    x = drawn(3, 4, 2, 5)
    found, expected = computed(proto(nodes, arrays, x=x.shape, x_shape=["b", 4, 2, 5]), x, tmp_path)
    assert found[0].shape == (3, 20, 2)
    np.testing.assert_array_equal(found[0], expected[0])


OF_SHAPES = {
    "Relu": ([node("Relu", "shape", "all")], {}),
    "TopK": ([node("TopK", "shape four", "all places")], {"four": np.array([4])}),
    "ScatterElements": ([node("ScatterElements", "shape zero first", "all")], {"zero": [0], "first": [2]}),
    # x.repeat_interleave(...) and the like are written by PyTorch so: (1, n) as the two values of a one-hot vector.
    "OneHot": (
        [
            node("Gather", "shape zero", "n"),
            node("Concat", "one n", "values", axis=0),
            node("OneHot", "place length values", "hot"),
            node("Reshape", "hot flat", "times"),
            node("Tile", "x times", "tiled"),
            node("Shape", "tiled", "all"),
        ],
        {"zero": [0], "one": [1], "place": [1], "flat": [4]},
    ),
}


@pytest.mark.parametrize("operator", OF_SHAPES)
def test_whatever_computes_a_shape_is_computed_before_the_graph_runs(operator, tmp_path):
    nodes, arrays = OF_SHAPES[operator]
    last = [node("Expand", "zeros all")] if operator == "OneHot" else [node("Reshape", "x all")]
    arrays = {name: np.array(array) for name, array in arrays.items()} | {
        "length": np.array(4),
        "zeros": np.zeros(1, np.float32),
    }
    x = drawn(2, 3, 2, 5)
    graph = proto([node("Shape", "x", "shape"), *nodes, *last], arrays, x=x.shape, x_shape=["b", 3, 2, 5])
    found, expected = computed(graph, x, tmp_path)
    assert found[0].shape == expected[0].shape
    np.testing.assert_array_equal(found[0], expected[0])


@pytest.mark.parametrize("chosen", [True, False])
def test_a_branch_is_chosen_before_the_graph_runs(chosen, tmp_path):
    import onnx.helper as h

    def branch(op, name):
        return h.make_graph([node(op, "x", name)], name, [], [h.make_tensor_value_info(name, 1, None)])

    made = node("If", "c", then_branch=branch("Relu", "t"), else_branch=branch("Neg", "e"))
    x = drawn(1, 2, 3, 3)
    found, expected = computed(proto([made], {"c": np.array(chosen)}, x=x.shape), x, tmp_path)
    np.testing.assert_array_equal(found[0], expected[0])


def test_the_page_lists_the_operators():
    page = Path(PACKAGE.parent, "docs", "onnx.md").read_text()
    rows = dict(re.findall(r"^\| (\w+) \| (.*) \|$", page, flags=re.MULTILINE))
    for subject, operators in SUBJECTS.items():
        assert re.findall(r"`(\w+)`", rows[subject]) == sorted(operators), subject
    assert re.findall(r"`(\w+)`", rows["other"]) == sorted(WITHOUT_FUNCTION)
    assert len(OPERATORS) == sum(map(len, SUBJECTS.values()))


def test_corners_are_aligned_to_those_of_the_result_as_onnxruntime_does(tmp_path):
    """ONNX's own reference aligns them to a length that is no whole number, and its last place is then no corner."""
    made = node("Resize", "x s", mode="linear", coordinate_transformation_mode="align_corners")
    made.input[:] = ["x", "", "s"]
    x = drawn(1, 1, 4, 6)
    found, _ = computed(proto([made], {"s": np.array([1, 1, 1.6, 1.4], np.float32)}, x=x.shape, opset=19), x, tmp_path)
    assert found[0].shape == (1, 1, 6, 8)
    np.testing.assert_allclose(found[0][..., [0, -1]][..., [0, -1], :], x[..., [0, -1]][..., [0, -1], :], rtol=1e-6)


@pytest.mark.parametrize("opset", [9, 10, 17])
@pytest.mark.parametrize(
    ("n", "scale", "length"), [(10, 0.7, 7), (3, 5 / 3, 5), (15, 1.4, 21), (14, 0.55, 7), (30, 0.1, 3)]
)
def test_scales_that_float32_rounds_down_give_onnxruntimes_lengths(n, scale, length, opset, tmp_path):
    """ONNX's own reference multiplies more exactly, and has a place less; the lengths are those of onnxruntime 1.32."""
    made = node("Upsample" if opset == 9 else "Resize", "x s" if opset < 11 else "x r s", mode="nearest")
    if opset > 10:
        made.input[1] = ""
    x = drawn(1, 2, 4, n)
    arrays = {"s": np.array([1, 1, 1, scale], np.float32)}
    found, _ = computed(proto([made], arrays, x=x.shape, opset=opset), x, tmp_path, compare=False)
    assert found[0].shape == (1, 2, 4, length)
    # The nearest places, by exact fractions of the scale.
    i, s = np.arange(length), Fraction(float(np.float32(scale)))
    places = [int(k / s) if opset < 11 else math.ceil((k + Fraction(1, 2)) / s - 1) for k in i.tolist()]
    np.testing.assert_array_equal(found[0], x[..., np.clip(places, 0, n - 1)])
