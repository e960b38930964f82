"""Interleaving against strided assignment in NumPy."""

import jax.numpy as jnp
import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from xrcam_jax.ops.interleaved import interleaved


@given(
    shape=st.tuples(st.integers(1, 3), st.integers(0, 3), st.integers(1, 3)),
    count=st.integers(1, 4),
    axis=st.integers(0, 2),
)
def test_parts_take_turns(shape, count, axis):
    parts = np.arange(count * np.prod(shape)).reshape(count, *shape)
    expected = np.empty([n * (count if i == axis else 1) for i, n in enumerate(shape)], parts.dtype)
    for number, part in enumerate(parts):
        expected[(slice(None),) * axis + (slice(number, None, count),)] = part
    np.testing.assert_array_equal(interleaved([jnp.asarray(part) for part in parts], axis), expected)
