"""What the suites share: rates, turns, peers, fresh processes; and reports as files and tables."""

import json
import sys

import pytest

from experiments import peers
from xrcam_jax.benchmark import report
from xrcam_jax.benchmark.compiled_calls import achieved
from xrcam_jax.benchmark.fresh_process import fresh_process
from xrcam_jax.benchmark.report import Report
from xrcam_jax.benchmark.runs import interleaved_medians, peer_runs
from xrcam_jax.commands import benchmark
from xrcam_jax.errors import CommandError

MACHINE = {
    "device": "cpu", "platform": "cpu", "devices": 1, "cores": 2, "processor": "Abacus", "versions": {"jax": "1.2"}
}  # fmt: skip
GPU = {**MACHINE, "device": "NVIDIA H100 80GB", "platform": "gpu"}


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
    assert capsys.readouterr().err == (
        "xrcam benchmark: --peers: zennit is left out: No module named 'abacus'\n"
    )  # fmt: skip


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


def test_a_table_of_given_rows():
    rows = [
        {"model": "a", "run": "ours", "ms": 12345.678, "share": 0.5, "nothing": None},
        {"model": "a", "run": "theirs", "ms": 0.00001234, "devices": 8, "nothing": None},
    ]
    assert report.table(rows) == (
        "| model | run | ms | share | devices |\n"
        "|---|---|---:|---:|---:|\n"
        "| a | ours | 12346 | 0.5 |  |\n"
        "| a | theirs | 1.234e-05 |  | 8 |"
    )


def write(folder, suite, date, machine, value):
    path = report.free_path(folder, suite, date, machine)
    report.write(path, Report(suite, date, machine, {"models": ["a", "b"], "batch_size": 8}, 1.0, [{"x": value}]))
    return path


def test_reports_of_one_day_have_names_of_their_own(tmp_path):
    names = [write(tmp_path, "train", f"2030-01-02T0{i}:00:00", MACHINE, i).name for i in range(3)]
    assert names == [f"2030-01-02_cpu_2cores_train{end}.json" for end in ("", "_2", "_3")]
    assert write(tmp_path, "train", "2030-01-02", GPU, 0).name == "2030-01-02_nvidia_h100_80gb_train.json"


def test_the_table_has_the_newest_of_each_suite_and_device(tmp_path, capsys):
    write(tmp_path, "train", "2030-01-02T09:00:00", MACHINE, 3)
    write(tmp_path, "train", "2030-01-02T08:00:00", MACHINE, 1)
    write(tmp_path, "train", "2029-01-02", GPU, 4)
    write(tmp_path, "explain", "2029-12-30", MACHINE, 2)
    assert benchmark.main(["table", "--folder", str(tmp_path)]) == 0
    assert capsys.readouterr().out == (
        "**explain** (Abacus, 2 cores, JAX 1.2, 2029-12-30; models a,b, batch size 8)\n\n| x |\n|---:|\n| 2 |\n\n"
        "**train** (Abacus, 2 cores, JAX 1.2, 2030-01-02; models a,b, batch size 8)\n\n| x |\n|---:|\n| 3 |\n\n"
        "**train** (NVIDIA H100 80GB, 2 cores, JAX 1.2, 2029-01-02; models a,b, batch size 8)\n\n| x |\n|---:|\n| 4 |\n"
    )
    assert benchmark.main(["--table", "--folder", str(tmp_path)]) == 0


@pytest.mark.parametrize("content", ["{", json.dumps({"suite": "train"}), "[]"])
def test_a_file_that_is_no_report_is_named(tmp_path, content):
    (tmp_path / "a.json").write_text(content)
    with pytest.raises(CommandError, match=r"a\.json: not a report of xrcam benchmark"):
        report.newest(tmp_path, ())


def test_the_reports_in_the_repository_can_be_read(request):
    folder = request.config.rootpath / "benchmarks"
    assert {found.suite for found in report.newest(folder, tuple(benchmark.SUITES))} <= set(benchmark.SUITES)
