"""The suites share rates, turns, peers and fresh processes."""

import sys

import pytest

from experiments import peers
from xrcam_jax.benchmark.compiled_calls import achieved
from xrcam_jax.benchmark.fresh_process import fresh_process
from xrcam_jax.benchmark.runs import interleaved_medians, peer_runs
from xrcam_jax.commands import benchmark
from xrcam_jax.errors import CommandError


def test_rate_and_share_of_the_peak():
    assert achieved(6.0, 2.0, 12.0) == {"gflop": 6.0, "gflop_per_s": 3.0, "share_of_peak": 0.25}
    assert set(achieved(None, 2.0, 12.0).values()) == {None}


@pytest.mark.parametrize("warm_up", [True, False])
def test_runs_take_turns(warm_up):
    calls = []
    runs = {name: lambda name=name: calls.append(name) for name in "ab"}
    medians = interleaved_medians(runs, 3, "", warm_up=warm_up)
    assert calls == list("ab") * (3 + warm_up)
    assert list(medians) == ["a", "b"]


def test_a_peer_that_is_missing_is_left_out(capsys):
    def missing(*_):
        raise ImportError("No module named 'abacus'")

    def run():
        pass

    asked = {"zennit": missing, "captum": lambda name, batch: {f"{name} {batch}": run}}
    assert peer_runs(asked, "net", 3) == {"net 3": run}
    assert capsys.readouterr().err == ("xrcam benchmark: --peers: zennit is left out: No module named 'abacus'\n")


@pytest.mark.parametrize("network", ["resnet18", "skresnet18", "skresnext50_32x4d"])
def test_the_peer_relevance_cam_refuses_networks_of_other_blocks(capsys, network):
    assert peer_runs({"relevance-cam": peers.relevance_cam}, network, 2, 64, 1) == {}
    assert capsys.readouterr().err == (
        "xrcam benchmark: --peers: relevance-cam is left out: "
        f"expected a network of plain bottleneck blocks, such as resnet50, found {network}\n"
    )


@pytest.mark.parametrize("network", ["resnet50", "resnet101", "resnext50_32x4d"])
def test_the_peer_relevance_cam_is_left_out_without_timm(monkeypatch, capsys, network):
    monkeypatch.setitem(sys.modules, "timm", None)
    assert peer_runs({"relevance-cam": peers.relevance_cam}, network, 2, 64, 1) == {}
    message = capsys.readouterr().err
    assert message.startswith("xrcam benchmark: --peers: relevance-cam is left out: ")
    assert "timm" in message
    assert message.count("\n") == 1


def test_peers_are_of_suites_that_there_are():
    assert set(peers.SUITES) <= set(benchmark.SUITES)


def test_a_fresh_process_answers_in_its_last_line(tmp_path, monkeypatch):
    (tmp_path / "answers.py").write_text(
        "import json, os, sys\n"
        "print('loading ...')\n"
        "sys.exit('first\\nlast') if sys.argv[1] == 'fail' else None\n"
        "print(json.dumps([sys.argv[1:], os.environ['COLOUR']]))\n"
    )
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    assert fresh_process("answers", 1, "two", COLOUR="red") == [["1", "two"], "red"]
    with pytest.raises(CommandError, match=r"^answers fail: last$"):
        fresh_process("answers", "fail")
