"""Reports of the benchmark are written and read as files, and the newest are shown as tables."""

import json

import pytest

from xrcam_jax.benchmark import report
from xrcam_jax.benchmark.report import Report
from xrcam_jax.commands import benchmark
from xrcam_jax.errors import CommandError

MACHINE = {
    "device": "cpu",
    "platform": "cpu",
    "devices": 1,
    "cores": 2,
    "processor": "Abacus",
    "versions": {"jax": "1.2"},
}
GPU = {**MACHINE, "device": "NVIDIA H100 80GB", "platform": "gpu"}


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
    assert benchmark.main(["table", "--folder", str(tmp_path)]) == 0


@pytest.mark.parametrize("content", ["{", json.dumps({"suite": "train"}), "[]"])
def test_a_file_that_is_no_report_is_named(tmp_path, content):
    (tmp_path / "a.json").write_text(content)
    with pytest.raises(CommandError, match=r"a\.json: not a report of xrcam benchmark"):
        report.newest(tmp_path, ())


def test_the_reports_in_the_repository_can_be_read(request):
    folder = request.config.rootpath / "benchmarks"
    assert {found.suite for found in report.newest(folder, tuple(benchmark.SUITES))} <= set(benchmark.SUITES)
