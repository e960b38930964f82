"""Every suite of the benchmark runs on a tiny network, and what it reports hangs together."""

import json
import time
from contextlib import nullcontext
from dataclasses import asdict
from functools import partial

import jax
import numpy as np
import pytest

import xrcam_jax as xr
from experiments import peers
from tests.benchmark.four_layers import TINY, FourLayers
from tests.models.shallow import shallow
from xrcam_jax.benchmark import compiled_calls, evaluate, explain, latency, memory, precision, scaling, start
from xrcam_jax.benchmark.machine import cores
from xrcam_jax.benchmark.report import read
from xrcam_jax.cli import main
from xrcam_jax.commands import benchmark
from xrcam_jax.errors import CommandError


@pytest.mark.long
@pytest.mark.usefixtures("four_layers")
def test_explain_beside_a_peer(measure, monkeypatch):
    monkeypatch.setattr(explain, "TWO_PASSES", ("relevance_cam",))
    asked = []

    def peer(label, *arguments):
        asked.append(arguments)
        return {label: lambda: time.sleep(0.01)}

    monkeypatch.setitem(peers.SUITES["explain"], "torch", partial(peer, "torch gradient"))
    monkeypatch.setitem(peers.SUITES["explain"], "relevance-cam", partial(peer, "torch relevance_cam layer1"))
    monkeypatch.setitem(peers.SUITES["explain"], "captum", partial(peer, "captum grad_cam"))
    monkeypatch.setitem(peers.SUITES["explain"], "zennit", partial(peer, "zennit epsilon_plus"))
    names = "torch,relevance-cam,captum,zennit"
    rows = measure("explain", *TINY, "--batch-size", "2", "--repeats", "1", "--peers", names)
    assert asked == [("tiny", 2, 32, cores())] * 4
    found = {row["run"]: row for row in rows}
    assert list(found) == [
        "forward",
        "gradient",
        "xrelevance_cam",
        "with grad_cam",
        "all 1 cams",
        "with finer_cam",
        "relevance_cam layer1",
        "grad_cam",
        "epsilon_plus input",
        "matrix product",
        "torch gradient",
        "torch relevance_cam layer1",
        "captum grad_cam",
        "zennit epsilon_plus",
    ]
    for label, ours in explain.SAME_WORK.items():
        if label in found:
            assert found[label]["per_ours"] == pytest.approx(found[label]["ms"] / found[ours]["ms"])
    assert found["grad_cam"]["per_ours"] is None
    peak = found["matrix product"]
    assert peak["share_of_peak"] == 1
    assert peak["gflop"] == pytest.approx(2 * 64**3 / 1e9)
    for label in ("forward", "gradient", "xrelevance_cam", "relevance_cam layer1"):
        assert found[label]["counted"] == pytest.approx(found[label]["gflop"] / found["gradient"]["gflop"])
        limit = found[label]["counted"] * found[label]["per_counted"]
        assert limit == pytest.approx(found[label]["per_gradient"])
        row = found[label]
        assert row["images_per_s"] == pytest.approx(2000 / row["ms"])
        assert row["per_gradient"] == pytest.approx(row["ms"] / found["gradient"]["ms"])
        assert row["per_torch_gradient"] == pytest.approx(row["ms"] / found["torch gradient"]["ms"])
        assert row["per_torch_relevance_cam"] == pytest.approx(row["ms"] / found["torch relevance_cam layer1"]["ms"])
        assert row["gflop_per_s"] == pytest.approx(row["gflop"] / row["ms"] * 1000)
        assert row["share_of_peak"] == pytest.approx(row["gflop_per_s"] / peak["gflop_per_s"])
    assert found["forward"]["gflop"] < found["gradient"]["gflop"] < found["xrelevance_cam"]["gflop"]
    assert found["torch gradient"]["ms"] >= 10
    assert "gflop" not in found["torch gradient"]


@pytest.mark.long(one_in=2)
@pytest.mark.parametrize(("name", "has_cam"), [("tiny", True), ("convnext_atto", False)])
def test_cams_are_those_that_a_network_has(name, has_cam):
    with shallow(name, "float32") if name != "tiny" else nullcontext(xr.create_model(name)) as model:
        cams = explain.defined(model, 64)
    assert set(explain.TWO_PASSES) - set(cams) == (set() if has_cam else {"cam"})


def test_a_network_of_positions_is_made_for_the_size(monkeypatch):
    made = []
    monkeypatch.setattr(xr, "create_model", lambda name, **options: made.append((name, options)))
    compiled_calls.network("vit_base_patch16_224", 64, dtype="float32")
    compiled_calls.network("tiny", 64)
    assert made == [("vit_base_patch16_224", {"img_size": 64, "dtype": "float32"}), ("tiny", {})]


@pytest.mark.long
@pytest.mark.usefixtures("four_layers")
def test_train_beside_a_peer(measure, monkeypatch):
    monkeypatch.setitem(peers.SUITES["train"], "torch", lambda *_: {"torch": lambda: time.sleep(0.01)})
    rows = measure("train", *TINY, "--batch-size", "8", "--repeats", "2", "--peers", "torch")
    ours, alone, peak, theirs = rows
    assert [row["run"] for row in rows] == ["xrcam_jax", "without augmentation", "matrix product", "torch"]
    assert alone["gflop"] < ours["gflop"]
    assert ours["images_per_s"] == pytest.approx(8000 / ours["ms"])
    assert ours["times_torch"] == pytest.approx(theirs["ms"] / ours["ms"])
    assert ours["share_of_peak"] == pytest.approx(ours["gflop_per_s"] / peak["gflop_per_s"])


@pytest.mark.long
@pytest.mark.usefixtures("four_layers")
def test_evaluate_beside_a_peer(measure, monkeypatch):
    monkeypatch.setattr(evaluate, "SEVEN", ("grad_cam", "xrelevance_cam"))
    run = {"pytorch-grad-cam": lambda: time.sleep(0.01)}
    monkeypatch.setitem(peers.SUITES["evaluate"], "pytorch-grad-cam", lambda *_: run)
    rows = measure("evaluate", *TINY, "--batch-size", "2", "--repeats", "1", "--peers", "pytorch-grad-cam")
    seconds = {row["run"]: row["s_per_picture"] for row in rows}
    assert list(seconds) == ["evaluation", "grad_cam", "xrelevance_cam", "pytorch-grad-cam"]
    two = seconds["grad_cam"] + seconds["xrelevance_cam"]
    for row in rows:
        assert row["per_two_passes"] == pytest.approx(seconds[row["run"]] / two)
        assert row["per_evaluation"] == pytest.approx(seconds[row["run"]] / seconds["evaluation"])


@pytest.mark.long
@pytest.mark.usefixtures("four_layers")
def test_channels_beside_a_peer(measure, monkeypatch):
    run = {"pytorch-grad-cam": dict.fromkeys(("score_cam", "ablation_cam"), lambda: time.sleep(0.01))}
    monkeypatch.setitem(peers.SUITES["channels"], "pytorch-grad-cam", lambda *_: run)
    rows = measure("channels", *TINY, "--chunk-size", "16", "--peers", "pytorch-grad-cam")
    assert [(row["method"], row["run"]) for row in rows] == [
        (method, run) for method in ("score_cam", "ablation_cam") for run in ("xrcam_jax", "pytorch-grad-cam")
    ]
    assert rows[1]["per_xrcam_jax"] == pytest.approx(rows[1]["s"] / rows[0]["s"])
    assert rows[0]["first_call_s"] > 0


@pytest.mark.long
@pytest.mark.usefixtures("four_layers")
def test_scaling_lays_the_batch_over_devices(measure):
    rows = measure("scaling", *TINY, "--batch-size", "2", "--devices", "1,2", "--repeats", "1")
    assert [row["devices"] for row in rows] == [1, 2]
    assert rows[0]["largest_difference"] == 0
    assert rows[1]["largest_difference"] < 1e-4
    assert max(row["difference_to_shares"] for row in rows) < 1e-4
    assert rows[1]["speed_up"] == pytest.approx(rows[0]["ms"] / rows[1]["ms"])
    assert "virtual" in rows[1]["kind"]


@pytest.mark.usefixtures("four_layers")
def test_scaling_puts_a_share_on_each_device():
    call = scaling.sharded(xr.Explainer(xr.create_model("tiny"), ("xrelevance_cam",)), 4, scaling.pictures(8, 32))
    parameters, images = call.arguments
    assert [shard.data.shape for shard in images.addressable_shards] == [(2, 32, 32, 3)] * 4
    assert all(leaf.is_fully_replicated and len(leaf.devices()) == 4 for leaf in jax.tree.leaves(parameters))


def in_this_process(module):
    """Stands in for a fresh process, in which the tiny network would not be known."""

    def run(name, *arguments, **environment):
        assert name == module.__name__
        return json.loads(json.dumps(module.result([str(argument) for argument in arguments])))

    return run


@pytest.mark.usefixtures("four_layers")
def test_latency_cold_and_warm(measure, monkeypatch):
    folders = []

    def run(name, *arguments, JAX_COMPILATION_CACHE_DIR):
        folders.append(JAX_COMPILATION_CACHE_DIR)
        return in_this_process(latency)(name, *arguments)

    monkeypatch.setattr(latency, "fresh_process", run)
    monkeypatch.setattr(latency, "save_timm", lambda model, path: path.touch())
    monkeypatch.setattr(xr, "load_model", lambda name, path: FourLayers() if path.exists() else None)
    cold, warm = measure("latency", *TINY, "--repeats", "1")
    assert (cold["cache"], warm["cache"]) == ("cold", "warm")
    assert (cold["goal_s"], warm["goal_s"]) == (20, 5)
    assert len(folders) == 2
    assert folders[0] == folders[1]
    for row in (cold, warm):
        assert row["first_result_s"] == pytest.approx(row["import_s"] + row["load_s"] + row["compile_and_run_s"])
        assert row["then_ms"] > 0


@pytest.mark.usefixtures("four_layers")
def test_start_of_a_command(measure, monkeypatch):
    started = []

    def run(module, command, picture, *arguments, JAX_COMPILATION_CACHE_DIR):
        assert picture.is_file()
        started.append((module, command, JAX_COMPILATION_CACHE_DIR, arguments[-1]))
        time.sleep(0.01)

    monkeypatch.setattr(start, "run_module", run)
    monkeypatch.setattr(start, "save_timm", lambda model, path: path.touch())
    cold, warm = measure("start", *TINY, "--repeats", "3")
    assert (cold["cache"], cold["goal_s"]) == ("cold", 8)
    assert (warm["cache"], warm["goal_s"]) == ("warm", 2)
    assert min(cold["s"], warm["s"]) >= 0.01
    assert [(module, command) for module, command, *_ in started] == [("xrcam_jax", "explain")] * 6
    kept, outs = zip(*((kept, out) for _, _, kept, out in started), strict=True)
    # A turn's second process finds what its first has kept, and nothing else does.
    assert kept[::2] == kept[1::2]
    assert len(set(kept)) == 3
    assert len(set(outs)) == 6


@pytest.mark.usefixtures("four_layers")
def test_memory_of_gradient_and_relevance(measure, monkeypatch):
    monkeypatch.setattr(memory, "fresh_process", in_this_process(memory))
    (row,) = measure("memory", "--models", "tiny", "--batch-sizes", "2", "--sizes", "32")
    assert (row["size"], row["batch"], row["goal"]) == (32, 2, 1.5)
    parameters = sum(leaf.nbytes for leaf in jax.tree.leaves(xr.Explainer(xr.create_model("tiny")).parameters))
    assert row["gradient_compiled_mb"] > parameters / 2**20
    ratio = row["xrelevance_cam_compiled_mb"] / row["gradient_compiled_mb"]
    assert row["ratio_compiled"] == pytest.approx(ratio)


def test_the_process_is_seen_to_grow():
    if jax.local_devices()[0].memory_stats() is not None or not memory.CLEAR.exists():
        pytest.skip("needs Linux's account of a process on a CPU")
    # Large beside what other tests in this process have left to be freed meanwhile.
    size = 512 * 2**20
    assert memory.measured(lambda: np.ones(size, np.uint8).sum(), 1000) == pytest.approx(size, rel=0.1)


@pytest.mark.long
@pytest.mark.usefixtures("four_layers")
def test_precision_ranks_dtypes(measure, monkeypatch):
    monkeypatch.setattr(precision, "METHODS", ("xrelevance_cam",))
    monkeypatch.setattr(precision, "to_timm", lambda model: {})
    monkeypatch.setattr(precision, "from_timm", lambda name, tensors, dtype: FourLayers(dtype))
    rows = measure("precision", *TINY, "--batch-size", "2")
    assert len(rows) == 3 * 4
    worst = {}
    for row in rows:
        worst[row["precision"]] = max(worst.get(row["precision"], 0), row["largest_difference"])
    tf32 = worst["TF32" if jax.default_backend() == "gpu" else precision.ROUNDED]
    assert 0 < worst["float32"] < 1e-4 < tf32 < worst["bfloat16"] < 1


def test_precision_of_known_maps():
    wanted = np.arange(32.0).reshape(2, 4, 4) / 31
    found = wanted.copy()
    found[1] = found[1, ::-1, ::-1]
    row = precision.compared(found.astype(np.float32), wanted)
    assert row["rank_correlation"] == pytest.approx(0)
    assert row["least_rank_correlation"] == pytest.approx(-1)
    assert row["largest_difference"] == pytest.approx(15 / 31)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["explane"], "unknown suite 'explane'; did you mean 'explain'?"),
        (["--models", "resnet5"], "--models: unknown name 'resnet5'; did you mean 'resnet50'?"),
        (["train", "--peers", "captum"], "--peers: the suite train has none here; python -m experiments.benchmark"),
        (["train", "--batch-size", "auto"], "--batch-size: auto is for the suite explain"),
        (["explain", "--batch-size", "0"], "--batch-size: 0 is less than 1"),
        (["explain", "--batch-size", "many"], "'many' is neither a number nor 'auto'"),
        (["evaluate", "--size", "31"], "--size: 31 is less than 32"),
        (["accelerator", "--rate", "0"], "--rate: 0 is not above 0"),
        (["accelerator", "--concepts", "0"], "--concepts: 0 is less than 1"),
        (["memory", "--sizes", "224,16"], "16 is less than 32"),
        (["scaling", "--batch-size", "8", "--devices", "1,3"], "--devices: 3 does not divide the batch of 8"),
        (["table", "--folder", "nowhere"], "nowhere: no report of xrcam benchmark is there"),
    ],
)
def test_wrong_arguments_are_one_line(arguments, message, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(["benchmark", *arguments]) == 2
    error = capsys.readouterr().err
    assert error.startswith("xrcam benchmark: error: ")
    assert message in error
    assert error.count("\n") == 1


def test_peers_are_checked_where_there_are_some():
    with pytest.raises(CommandError, match="--peers: unknown name 'captum'; known: torch"):
        benchmark.main(["train", "--peers", "captum"], peers.SUITES)


def test_where_there_are_peers_the_help_names_them_and_the_program(capsys):
    assert benchmark.main(["--help"], peers.SUITES) == 0
    shown = capsys.readouterr().out
    assert shown.startswith("Usage: python -m experiments.benchmark [OPTIONS] [SUITE]")
    assert "\n  train      --peers torch\n" in shown
    assert benchmark.main(["--help"]) == 0
    assert "--peers" not in capsys.readouterr().out


def test_suites_are_listed_and_explained(capsys):
    assert main(["benchmark", "--help"]) == 0
    assert all(f"\n  {suite} " in capsys.readouterr().out for suite in list(benchmark.SUITES)[:1])
    assert main(["benchmark", "memory", "--help"]) == 0
    assert "--batch-sizes" in capsys.readouterr().out


def test_what_was_measured_stays_if_the_rest_fails(tmp_path, monkeypatch):
    def rows(options, peers):
        yield {"model": "one"}
        raise CommandError("no more")

    monkeypatch.setattr(explain, "measure", rows)
    monkeypatch.chdir(tmp_path)
    assert main(["benchmark"]) == 2
    (path,) = (tmp_path / "benchmarks").glob("*.json")
    assert read(path).rows == [{"model": "one"}]
    assert asdict(read(path))["settings"]["models"][:2] == ["resnet50", "skresnext50_32x4d"]
    assert path.name.endswith("_explain.json")
