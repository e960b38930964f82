"""Programs are compiled with options that are known, and kept for later ones where that is asked for."""

import os
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import xrcam_jax as xr
from xrcam_jax.cli import main
from xrcam_jax.runtime import compiling
from xrcam_jax.runtime.compiling import _known_cpu_options, compiled, compiler_options, keep_compiled

PROGRAM = """
import jax
from xrcam_jax.runtime.compiling import keep_compiled
keep_compiled()
jax.jit(lambda x: x * 3 + 1)(2.0)
"""


@pytest.fixture
def configured(monkeypatch):
    """Reads the folder that JAX is set to, after variables have been set; all is as before in the end."""
    before = jax.config.jax_compilation_cache_dir, jax.config.jax_persistent_cache_min_compile_time_secs
    monkeypatch.delenv("JAX_COMPILATION_CACHE_DIR")
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)

    def read(run=keep_compiled, **variables):
        for name, value in variables.items():
            monkeypatch.setenv(name, str(value))
        run()
        return jax.config.jax_compilation_cache_dir

    yield read
    jax.config.update("jax_compilation_cache_dir", before[0])
    jax.config.update("jax_persistent_cache_min_compile_time_secs", before[1])


def test_in_the_users_cache_by_default(configured, tmp_path):
    assert configured(HOME=tmp_path) == str(tmp_path / ".cache" / "xrcam_jax")
    assert configured(XDG_CACHE_HOME=tmp_path / "other") == str(tmp_path / "other" / "xrcam_jax")


def test_the_standard_variable_moves_it_or_switches_it_off(configured, tmp_path):
    assert configured(HOME=tmp_path, JAX_COMPILATION_CACHE_DIR=tmp_path / "here") == str(tmp_path / "here")
    assert configured(JAX_COMPILATION_CACHE_DIR="") is None
    assert not (tmp_path / ".cache").exists()


def test_a_folder_that_cannot_be_written(configured, tmp_path):
    (tmp_path / "file").touch()
    assert configured(XDG_CACHE_HOME=tmp_path / "file") is None


def test_a_folder_that_others_can_write_to(configured, tmp_path, caplog):
    (tmp_path / "xrcam_jax").mkdir()
    (tmp_path / "xrcam_jax").chmod(0o777)
    assert configured(XDG_CACHE_HOME=tmp_path) is None
    assert "compiled programs are not kept there" in caplog.text


def test_the_command_line_keeps_and_the_benchmark_does_not(configured, tmp_path, capsys):
    assert not configured(lambda: main(["benchmark", "--help"]), XDG_CACHE_HOME=tmp_path)
    assert configured(lambda: main(["layers", "--model", "resnet18_narrow"])) == str(tmp_path / "xrcam_jax")


def test_a_program_is_kept(tmp_path):
    environment = {name: value for name, value in os.environ.items() if name != "JAX_COMPILATION_CACHE_DIR"}
    environment |= {"XDG_CACHE_HOME": str(tmp_path), "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0"}
    subprocess.run([sys.executable, "-c", PROGRAM], env=environment, check=True)
    assert any(path.name.startswith("jit_") for path in (tmp_path / "xrcam_jax").iterdir())


def test_the_suite_keeps_nothing():
    assert not jax.config.jax_compilation_cache_dir


@pytest.mark.skipif(jax.default_backend() != "cpu", reason="options of the CPU backend")
def test_positive_weights_of_all_layers_do_not_lie_in_memory_together():
    layers, width = 12, 256
    weights = [jax.random.normal(jax.random.key(i), (width, width)) for i in range(layers)]

    def relevance(weights, x):
        def network(x):
            for w in weights:
                x = jax.nn.relu(x @ w)
            return x

        out, pullback = jax.vjp(xr.lrp(network, xr.composites.relevance_cam()), x)
        return pullback(out)

    def held(options):
        lowered = jax.jit(relevance, compiler_options=options).lower(weights, jnp.ones((1, width)))
        return lowered.compile().memory_analysis().temp_size_in_bytes / (4 * width**2)

    assert held(dict(compiler_options())) < 4 < layers <= held({})


def test_options_that_are_not_known_are_left_out(monkeypatch):
    monkeypatch.setattr(compiling, "_CPU", {"xla_no_such_option": 1, "xla_cpu_enable_fast_math": False})
    assert _known_cpu_options.__wrapped__() == {"xla_cpu_enable_fast_math": False}


def test_compiled_functions_are_traced_once_a_shape_and_once_a_static_value():
    seen = []

    @compiled(static=("power",))
    def raised(x, *, power, offset=0.0):
        """Of x."""
        seen.append((x.shape, power))
        return x**power + offset

    x = jnp.arange(3.0)
    for _ in range(2):
        np.testing.assert_array_equal(raised(x, power=2, offset=1.0), [1, 2, 5])
    assert seen == [((3,), 2)]
    np.testing.assert_array_equal(raised(x + 1, power=3), [1, 8, 27])
    raised(x[:2], power=2, offset=1.0)
    assert seen[1:] == [((3,), 3), ((2,), 2)]
    assert raised.__name__ == "raised"
    assert raised.__doc__ == "Of x."


@pytest.mark.parametrize("traced", ["x", "offset"])
def test_inside_another_transformation_a_compiled_function_is_part_of_it(traced):
    @compiled(static=("power",))
    def raised(x, *, power, offset):
        return x**power + offset

    values = {"x": jnp.float32(2), "offset": jnp.float32(3)}

    def outer(value):
        a = values | {traced: value}
        return raised(a["x"], power=2, offset=a["offset"])

    assert "jit" not in str(jax.make_jaxpr(outer)(values[traced]))
    assert jax.jit(outer)(values[traced]) == 7
    assert jax.grad(outer)(values[traced]) == {"x": 4, "offset": 1}[traced]
    np.testing.assert_array_equal(jax.vmap(outer)(jnp.float32([0, 1])), {"x": [3, 4], "offset": [4, 5]}[traced])
