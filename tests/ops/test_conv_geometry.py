"""The geometry of correlations against an explicit table of which output, tap and pixel meet."""

import numpy as np
from hypothesis import assume, given
from hypothesis import strategies as st

from xrcam_jax.ops.conv_geometry import Axis, Geometry


def table(axis, pixels, taps):
    """Returns 1 where output i and tap m meet pixel p, by the definition, for as many outputs as fit."""
    length = (pixels - 1) * axis.spread + 1 + axis.before + axis.after
    starts = [start for start in range(0, length, axis.stride) if start + (taps - 1) * axis.dilation < length]
    met = np.zeros((len(starts), taps, pixels), int)
    for i, m, p in np.ndindex(met.shape):
        met[i, m, p] = starts[i] + m * axis.dilation - axis.before == p * axis.spread
    return met


AXES = st.builds(
    Axis,
    stride=st.integers(1, 4),
    dilation=st.integers(1, 4),
    before=st.integers(0, 4),
    after=st.integers(0, 4),
    spread=st.just(1),
)
SPREAD = st.builds(
    Axis,
    stride=st.just(1),
    dilation=st.integers(1, 4),
    before=st.integers(0, 5),
    after=st.integers(0, 5),
    spread=st.integers(2, 4),
)
lengths = given(axis=AXES, pixels=st.integers(1, 9), taps=st.integers(1, 4))


@given(axis=AXES | SPREAD, pixels=st.integers(1, 9), taps=st.integers(1, 4))
def test_outputs_are_as_many_as_fit(axis, pixels, taps):
    assume(len(table(axis, pixels, taps)))
    assert axis.outputs(pixels, taps) == len(table(axis, pixels, taps))


@lengths
def test_thinning_takes_away_only_pixels_that_nothing_meets(axis, pixels, taps):
    full = table(axis, pixels, taps)
    assume(len(full))
    kept, thin = axis.thinned(pixels, taps)
    np.testing.assert_array_equal(full[..., kept], table(thin, len(range(pixels)[kept]), taps))
    assert full[..., kept].sum() == full.sum()
    assert np.gcd(thin.stride, thin.dilation) == 1


@lengths
def test_the_transposed_axis_exchanges_pixels_and_outputs_and_reverses_the_taps(axis, pixels, taps):
    full = table(axis, pixels, taps)
    assume(len(full))
    np.testing.assert_array_equal(
        table(axis.transposed(pixels, taps), len(full), taps), np.swapaxes(full[:, ::-1], 0, 2)
    )


@given(axis=SPREAD, pixels=st.integers(1, 9), taps=st.integers(2, 4))
def test_each_phase_is_the_axis_at_its_own_outputs(axis, pixels, taps):
    full = table(axis, pixels, taps)
    assume(len(full) and axis.spread <= taps and np.gcd(axis.spread, axis.dilation) == 1)
    phases = axis.phases(pixels, taps)
    assert len(phases) == axis.spread
    for offset, phase in enumerate(phases):
        own, met = full[offset :: axis.spread], len(range(taps)[phase.taps])
        np.testing.assert_array_equal(table(phase.axis, pixels, met)[: len(own)], own[:, phase.taps])
        assert own[:, phase.taps].sum() == own.sum()


@given(axis=SPREAD.map(lambda axis: axis._replace(dilation=1)), pixels=st.integers(1, 9), taps=st.integers(2, 5))
def test_phases_share_a_window(axis, pixels, taps):
    assume(len(table(axis, pixels, taps)) and axis.spread <= taps)
    shared, tap = axis.window(pixels, taps)
    for phase, own in zip(axis.phases(pixels, taps), tap.T, strict=True):
        met = np.arange(taps)[phase.taps]
        np.testing.assert_array_equal(own[own < taps], met)
        window = table(shared, pixels, len(tap))
        np.testing.assert_array_equal(window[:, own < taps], table(phase.axis, pixels, len(met)))


def test_an_axis_without_spread_is_its_only_phase():
    axis = Axis(stride=2, dilation=1, before=1, after=0)
    ((taps, same),) = axis.phases(7, 3)
    assert (list(range(3))[taps], same) == ([0, 1, 2], axis)
    same, tap = axis.window(7, 3)
    assert (tap.tolist(), same) == ([[0], [1], [2]], axis)


@given(axes=st.tuples(AXES | SPREAD, AXES | SPREAD), taps=st.tuples(st.integers(1, 4), st.integers(1, 4)))
def test_it_has_phases_where_some_axis_is_spread_and_each_phase_has_a_tap(axes, taps):
    spread = [axis.spread > 1 for axis in axes]
    each = [n >= axis.spread for axis, n in zip(axes, taps, strict=True) if axis.spread > 1]
    assert Geometry(axes, 1).has_phases(taps) == (any(spread) and all(each))


def test_both_axes_count_at_once():
    geometry = Geometry((Axis(2, 1, 1, 1), Axis(1, 2, 0, 3)), groups=4)
    assert geometry.outputs((7, 9), (3, 2)) == (4, 10)
    transposed = geometry.transposed((7, 9), (3, 2))
    assert transposed == Geometry((Axis(2, 1, 1, 1).transposed(7, 3), Axis(1, 2, 0, 3).transposed(9, 2)), 4)
