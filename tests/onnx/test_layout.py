"""Whether pictures have their channels first or last in a file is told by its convolutions, and by what is resized."""

import numpy as np
import pytest

pytest.importorskip("onnx")

import xrcam_jax as xr
from tests.onnx.graphs import computed, drawn, node, proto, written
from xrcam_jax.onnx.graph import Graph, Node
from xrcam_jax.onnx.layout import said_by

TO_FIRST = node("Transpose", "u", "t", perm=[0, 3, 1, 2])


def resize(given, name="x", **attributes):
    """A resize by scales s, or to sizes s."""
    made = node("Resize", f"{name} r s" if given == "scales" else f"{name} r q s", "u", **attributes)
    made.input[1:-1] = [""] * (len(made.input) - 2)
    return made


SCALES = {"s": np.array([1, 2, 2, 1], np.float32)}
#: What comes before the convolution of pictures with their channels last, arrays, and the shape that the file has.
LAST = {
    "scales": ([resize("scales"), TO_FIRST], SCALES, (1, 8, 8, 3), 17),
    "scales of some axes": (
        [resize("scales", axes=[1, 2]), TO_FIRST], {"s": np.array([2, 2], np.float32)}, (1, 8, 8, 3), 18,
    ),
    "sizes": ([resize("sizes"), TO_FIRST], {"s": np.array([1, 16, 4, 3])}, ("b", 8, 8, 3), 17),
    "sizes of open pictures": ([resize("sizes"), TO_FIRST], {"s": np.array([1, 16, 4, 3])}, ("b", "h", "w", "c"), 17),
    "upsample": ([node("Upsample", "x s", "u"), TO_FIRST], SCALES, (1, 8, 8, 3), 9),
    "pad, then resize": (
        [node("Pad", "x p", "a"), resize("scales", "a"), TO_FIRST],
        SCALES | {"p": np.array([0, 1, 1, 0, 0, 0, 0, 0])}, (1, 8, 8, 3), 17,
    ),
    "pictures of one row": (
        [node("Pad", "x p", "u"), TO_FIRST], {"p": np.array([0, 1, 1, 0, 0, 2, 0, 0])}, (1, 1, 8, 4), 17,
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", LAST)
def test_pictures_with_their_channels_last_are_given_as_the_file_has_them(name, tmp_path):
    before, arrays, shape, opset = LAST[name]
    x = drawn(2, *(n if isinstance(n, int) else d for n, d in zip(shape[1:], (8, 8, 3), strict=True)))
    nodes = [*before, node("Conv", "t w")]
    w = drawn(4, x.shape[3], 3, 3)
    graph = proto(nodes, arrays | {"w": w}, x_shape=["b", *shape[1:]], opset=opset)
    found, expected = computed(graph, x, tmp_path)
    np.testing.assert_allclose(found[0], expected[0], rtol=1e-5, atol=1e-5)
    model = xr.from_onnx(tmp_path / "net.onnx", input_shape=x.shape)
    assert not model.function.channels_first


FIRST = {
    "scales": ([resize("scales")], {"s": np.array([1, 1, 2, 2], np.float32)}),
    "scales of some axes": ([resize("scales", axes=[2, 3])], {"s": np.array([2, 2], np.float32)}),
    "sizes": ([resize("sizes")], {"s": np.array([1, 8, 3, 4])}),
    "sizes of what is not known": ([node("Neg", "x", "n"), resize("sizes", "n")], {"s": np.array([1, 8, 3, 4])}),
}


@pytest.mark.parametrize("name", FIRST)
def test_pictures_with_their_channels_first_are_so_where_nothing_but_a_resize_reads_them(name, tmp_path):
    before, arrays = FIRST[name]
    x = drawn(1, 8, 5, 6)
    graph = proto([*before, node("Relu", "u")], arrays, x=x.shape, opset=18)
    model = xr.from_onnx(written(graph, tmp_path))
    assert model.input_shapes == {"x": (1, 5, 6, 8)}
    found, expected = computed(graph, x, tmp_path)
    np.testing.assert_allclose(found[0], expected[0], rtol=1e-5, atol=1e-6)


def test_a_convolution_counts_for_more_than_an_odd_resize(tmp_path):
    """Channels that are repeated before they are convolved."""
    x = drawn(1, 2, 6, 6)
    nodes = [resize("scales"), node("Conv", "u w")]
    graph = proto(nodes, {"s": np.array([1, 2, 2, 1], np.float32), "w": drawn(3, 4, 3, 3)}, x=x.shape)
    found, expected = computed(graph, x, tmp_path)
    np.testing.assert_allclose(found[0], expected[0], rtol=1e-5, atol=1e-5)
    assert xr.from_onnx(tmp_path / "net.onnx").input_shapes == {"x": (1, 6, 6, 2)}


@pytest.mark.parametrize(
    ("axes", "scales", "place"),
    [
        ([-3, -2], [2, 2], "last"),
        ([-2, -1], [2, 2], "first"),
        ([2], [2], None),
        (None, [1, 2, 2, 2], None),
        (None, [1, 1, 1, 1], None),
        (None, [1, 2, 2, 2, 1], "last"),
        (None, [1, 1, 2], "first"),
    ],
)
def test_what_a_resize_says(axes, scales, place):
    attributes = {} if axes is None else {"axes": axes}
    resized = Node("r", "Resize", "", 18, ("x", "", "s"), ("y",), attributes, "r")
    said = said_by(resized, Graph((resized,), (), ("y",), {"s": np.array(scales, np.float32)}))
    assert said == ({} if place is None else {"x": place, "y": place})
