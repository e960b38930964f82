"""The suites are run on tiny networks."""

import jax
import pytest

import xrcam_jax as xr
from experiments import peers
from tests.benchmark.four_layers import FourLayers
from tests.tiny_networks import tiny  # noqa: F401, a fixture
from xrcam_jax.benchmark import compiled_calls
from xrcam_jax.benchmark.report import read, table
from xrcam_jax.commands import benchmark


@pytest.fixture
def four_layers(monkeypatch):
    """All models are :class:`FourLayers`."""
    monkeypatch.setattr(xr, "create_model", lambda *_, **__: FourLayers())


@pytest.fixture
def measure(tmp_path, monkeypatch, capsys):
    """Runs a suite; returns its rows, which were written and are in the table."""
    monkeypatch.setitem(compiled_calls.MATRIX, "cpu", 64)

    def run(suite, *options):
        path = tmp_path / f"{suite}.json"
        assert benchmark.main([suite, *options, "--out", str(path)], peers.SUITES) == 0
        report = read(path)
        assert report.suite == suite
        assert report.machine["versions"]["jax"] == jax.__version__
        assert table(report.rows) in capsys.readouterr().out
        return report.rows

    return run
