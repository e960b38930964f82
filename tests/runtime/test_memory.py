"""What programs take: by hand for small jaxprs, by XLA's own analysis, and what a device has left."""

import jax
import jax.numpy as jnp
import pytest

from xrcam_jax.runtime import memory
from xrcam_jax.runtime.memory import compiled_bytes, free_bytes, peak_bytes

X = jax.ShapeDtypeStruct((10,), jnp.float32)


def test_peak_of_a_chain_is_two_values_and_of_a_fan_all():
    assert peak_bytes(jax.make_jaxpr(lambda x: jnp.cos(jnp.sin(jnp.exp(x))))(X)) == 80
    assert peak_bytes(jax.make_jaxpr(lambda x: (jnp.cos(x), jnp.sin(x), jnp.exp(x)))(X)) == 120


def wide(x):
    for _ in range(2):
        x = jnp.sin(jnp.broadcast_to(x[..., None], (10, 30))).sum(-1)
    return x


def looped(x):
    return jax.lax.fori_loop(0, 2, lambda _, x: jnp.sin(jnp.broadcast_to(x[..., None], (10, 30))).sum(-1), x)


@pytest.mark.parametrize("function", [wide, jax.jit(wide), jax.checkpoint(wide), looped, jax.jit(looped)])
def test_what_a_model_wraps_in_a_call_or_a_loop_takes_memory_all_the_same(function):
    # Two arrays of 10 x 30, and at most one of 10.
    assert 2400 <= peak_bytes(jax.make_jaxpr(function)(X)) <= 2440


def test_a_branch_takes_what_its_largest_does():
    branches = jax.make_jaxpr(lambda x: jax.lax.cond(x[0] > 0, wide, jnp.cos, x))(X)
    assert 2400 <= peak_bytes(branches) <= 2480


def test_a_compiled_program_takes_its_arguments_its_results_and_what_is_in_between():
    def f(x):
        return jnp.tanh(x @ x) @ x

    n = 64
    program = jax.jit(f).lower(jax.ShapeDtypeStruct((n, n), jnp.float32)).compile()
    one = 4 * n * n
    assert 3 * one <= compiled_bytes(program) < 6 * one


class Device:
    def __init__(self, **stats):
        self.stats = stats

    def memory_stats(self):
        return self.stats or None


def test_free_is_what_the_allocator_has_left_or_a_share_of_what_the_machine_has(monkeypatch):
    monkeypatch.setattr(memory, "_free_memory", lambda: 2000)
    assert free_bytes() == 1000
    monkeypatch.setattr(jax, "local_devices", lambda: [Device(bytes_limit=1000, bytes_in_use=300), Device()])
    assert free_bytes() == 700
    monkeypatch.setattr(jax, "local_devices", lambda: [Device()])
    assert free_bytes() == 1000


def test_free_memory_of_this_machine():
    assert 2**20 < memory._free_memory() < 2**50


def test_where_the_system_does_not_say_what_is_free_all_of_it_counts(monkeypatch):
    def absent(self):
        raise FileNotFoundError

    monkeypatch.setattr("pathlib.Path.read_text", absent)
    monkeypatch.setattr(memory.os, "sysconf", {"SC_PAGE_SIZE": 4096, "SC_PHYS_PAGES": 10}.__getitem__)
    assert memory._free_memory() == 40960
