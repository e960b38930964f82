"""JAX's primitives by what they do to relevance. A primitive that is in none of these sets is refused by name."""

#: These rearrange, copy or select values: linear with weights 0 and 1, so that their transpose rearranges relevance.
STRUCTURE = frozenset({
    "broadcast_in_dim", "concatenate", "convert_element_type", "copy", "copy_p", "dynamic_slice",
    "dynamic_update_slice", "expand_dims", "gather", "name", "optimization_barrier", "pad", "pbroadcast",
    "pcast", "pvary", "reduce_precision", "reshape", "rev", "scatter", "select_n", "sharding_constraint", "slice",
    "sort", "split", "squeeze", "stack", "tile", "top_k", "transpose", "unstack", "reshard", "mesh_cast",
    "xrcam_jax.materialised",
})  # fmt: skip
#: Those of them that can put values beside constants: a class token, padding, what a mask fills in.
JOINS = frozenset({"concatenate", "dynamic_update_slice", "pad", "scatter", "select_n", "stack"})
#: These pick the largest or least of what lies at a place and what comes there; constants among them join in.
EXTREMES_AT_PLACES = frozenset({"scatter-max", "scatter-min"})
#: These elementwise functions of one value are what the field calls activations.
ACTIVATIONS = frozenset({"abs", "clamp", "erf", "expm1", "logistic", "max", "min", "tanh"})
#: These are elementwise, and linear in the explained operand when the other one is constant.
AFFINE = frozenset({"add", "add_any", "sub", "mul", "div", "neg"})
#: These are other elementwise functions of one value, or of two of which one is constant.
NONLINEAR = frozenset({
    "acos", "acosh", "asin", "asinh", "atan", "atan2", "atanh", "bessel_i0e", "bessel_i1e", "cbrt", "ceil", "cos",
    "cosh", "digamma", "erf_inv", "erfc", "exp", "exp2", "floor", "integer_pow", "lgamma", "log", "log1p",
    "nextafter", "polygamma", "pow", "rem", "round", "rsqrt", "sign", "sin", "sinh", "sqrt", "square", "tan",
})  # fmt: skip
#: These elementwise functions give a value >= 0 whatever they are given.
NONNEGATIVE = frozenset({"exp", "exp2", "logistic", "square", "abs", "sqrt", "rsqrt", "erfc", "acosh", "cosh"})
#: These add up values along axes, over windows or at places; they are linear in all of their floating operands.
SUMS = frozenset({"reduce_sum", "reduce_window_sum", "cumsum", "scatter-add", "scatter-sub"})
#: These pick one value among several, or are smooth forms of that: their derivatives are >= 0 and sum to 1.
MAXIMA = frozenset({
    "reduce_max", "reduce_min", "reduce_window_max", "reduce_window_min", "cummax", "cummin", "cumlogsumexp",
    "xrcam_jax.max_pool", "xrcam_jax.dilated_max_pool",
})  # fmt: skip
CONVOLUTIONS = frozenset({"conv_general_dilated", "xrcam_jax.grouped_conv", "xrcam_jax.pointwise_conv"})
PRODUCTS = CONVOLUTIONS | {"dot_general"}
#: These make truth values or integers, or drop the dependence, and work element by element.
_TESTS = frozenset({"gt", "ge", "lt", "le", "eq", "ne", "and", "or", "xor", "not", "is_finite", "stop_gradient"})
ELEMENTWISE = ACTIVATIONS | AFFINE | NONLINEAR | _TESTS | {
    "select_n", "convert_element_type", "broadcast_in_dim", "copy", "reduce_precision",
}  # fmt: skip
