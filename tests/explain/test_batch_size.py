"""The largest batch that the device has memory for."""

import jax
import numpy as np
from hypothesis import given
from hypothesis import strategies as st

import xrcam_jax as xr
from tests.explain import small
from xrcam_jax.explain import batch_size
from xrcam_jax.explain.batch_size import largest_batch_size, largest_power_of_two


@given(st.integers(0, 1000), st.integers(1, 50), st.integers(0, 100_000), st.sampled_from([1, 2, 5, 32, 1024]))
def test_largest_power_of_two_that_fits(fixed, each, available, limit):
    asked = []

    def needed(n):
        asked.append(n)
        return fixed + each * n

    fitting = [n for n in (2**i for i in range(11)) if n <= limit and fixed + each * n <= available]
    assert largest_power_of_two(needed, available, limit) == max(fitting, default=1)
    assert len(set(asked)) == len(asked)
    assert max(asked) <= limit


def test_few_questions_are_asked():
    asked = []
    assert largest_power_of_two(lambda n: asked.append(n) or 100 + n, 10**6, 32) == 32
    assert asked == [32]
    assert largest_power_of_two(lambda n: asked.append(n) or 100 * n, 60_000, 1024) == 512
    assert asked == [32, 32, 512, 1024]


def test_batch_of_an_explainer(monkeypatch):
    explain = xr.Explainer(small.Network(small.weights()), ("relevance_cam", "rise"), ["last"])
    only = xr.Explainer(small.Network(small.weights()), ("relevance_cam",), ["last"])
    images = np.zeros((2, 24, 16, 3), np.float32)
    memory = jax.jit(only.explain).lower(only.parameters, images).compile().memory_analysis()
    monkeypatch.setattr(batch_size, "CPU_LIMIT", 4)
    needed = memory.temp_size_in_bytes + memory.argument_size_in_bytes + memory.output_size_in_bytes
    monkeypatch.setattr(batch_size, "free_bytes", lambda: needed)
    assert largest_batch_size(explain, (24, 16)) == 2
    assert explain.kinds.keys() == {"relevance_cam", "rise"}

    laid = xr.Explainer(small.Network(small.weights()), ("relevance_cam",), ["last"], devices=jax.devices()[:4])
    # Devices of a CPU share its memory and its limit.
    monkeypatch.setattr(batch_size, "CPU_LIMIT", 16)
    monkeypatch.setattr(batch_size, "free_bytes", lambda: 4 * needed)
    assert largest_batch_size(laid, (24, 16), 4) == 8
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    monkeypatch.setattr(batch_size, "compiler_options", dict)
    monkeypatch.setattr(batch_size, "LIMIT", 4)
    monkeypatch.setattr(batch_size, "free_bytes", lambda: needed)
    assert largest_batch_size(laid, (24, 16), 4) == 8
