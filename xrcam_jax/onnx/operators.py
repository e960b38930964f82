"""The table of ONNX's operators that are supported, each a function of (node, values) that returns a value or several.

docs/onnx.md lists them.
"""

from xrcam_jax.onnx import (
    activations,
    convolution,
    elementwise,
    norms,
    pooling,
    products,
    reductions,
    resize,
    selection,
    shapes,
)
from xrcam_jax.onnx.values import Operator

#: The versions of ONNX's operators that are known.
OPSETS = range(9, 23)
#: The operators by the subject of their file.
SUBJECTS: dict[str, dict[str, Operator]] = {
    "convolution": convolution.OPERATORS,
    "pooling": pooling.OPERATORS,
    "products": products.OPERATORS,
    "normalisation": norms.OPERATORS,
    "activation": activations.OPERATORS,
    "arithmetic": elementwise.OPERATORS,
    "reduction": reductions.OPERATORS,
    "shape": shapes.OPERATORS,
    "selection": selection.OPERATORS,
    "resizing": resize.OPERATORS,
}
OPERATORS = {name: operator for operators in SUBJECTS.values() for name, operator in operators.items()}
#: Operators that hold graphs or arrays, which are no functions of values.
WITHOUT_FUNCTION = ("Constant", "If")
#: Operators whose inputs, but for some of the first, say how and not what: they are known before the graph runs.
HOW = {
    **dict.fromkeys(("Reshape", "Expand", "Tile", "Squeeze", "Unsqueeze", "Slice", "Pad", "Split"), 1),
    **dict.fromkeys(("Resize", "Upsample", "Clip", "Dropout", "TopK", "CumSum", "Trilu"), 1),
    **dict.fromkeys((name for name in reductions.OPERATORS if name.startswith("Reduce")), 1),
    **dict.fromkeys(("ConstantOfShape", "Range", "If", "NonZero"), 0),
    "OneHot": 1,
}
#: Operators that say how large a value is, whatever is in it.
SIZES = ("Shape", "Size")
#: Operators of pictures (b, c, ...).
OF_PICTURES = frozenset((
    *convolution.OPERATORS, *pooling.OPERATORS,
    "BatchNormalization", "InstanceNormalization", "GroupNormalization", "LRN", "DepthToSpace", "SpaceToDepth",
))  # fmt: skip
#: Operators whose result is a picture where one of their inputs is, and the other way round.
LIKE_THEIR_INPUTS = frozenset((
    *(name for name in activations.OPERATORS if "Softmax" not in name), *elementwise.OPERATORS,
    "Identity", "Dropout", "Concat", "Split", "Slice", "Pad", *resize.OPERATORS,
))  # fmt: skip
