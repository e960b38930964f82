"""Two networks that compile in no time, and the fixture under which they are known by name."""

import functools
from dataclasses import replace

import pytest

import xrcam_jax as xr
from xrcam_jax.models.specs import SPECS, SelectiveKernelSpec, Spec
from xrcam_jax.pictures.preprocessing import Preprocessing

PLAIN, SELECTIVE = "tiny", "sktiny"
PLAIN_SPEC = Spec((1, 1, 1, 1), False, None, Preprocessing(), planes=8)
KERNEL = SelectiveKernelSpec(reduction=8, divisor=8, split_input=True)


@pytest.fixture(scope="module", autouse=True)
def tiny():
    """Two more networks, ``"tiny"`` and ``"sktiny"``: a quarter of the blocks, and they compile in half the time."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(SPECS, PLAIN, PLAIN_SPEC)
        patch.setitem(SPECS, SELECTIVE, replace(PLAIN_SPEC, selective_kernel=KERNEL))
        # Reading a checkpoint takes half a second, most of it for the shapes of the network.
        patch.setattr(xr, "load_model", functools.cache(xr.load_model))
        yield
