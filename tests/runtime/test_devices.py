"""Arrays lie where they are said to, and processes know what the others have."""

import json
import socket
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType, NamedSharding, PartitionSpec

from xrcam_jax.runtime import devices
from xrcam_jax.runtime.devices import data_mesh, lay, partitioned_by_compiler, place, replicate, shards

#: Each process joins, and writes what it knows of both as JSON.
PROGRAM = """
import json, sys
import jax
from xrcam_jax.runtime.devices import first_alone, gather_bytes, is_first, summed_over_processes

port, process, path = sys.argv[1:]
jax.distributed.initialize(f"localhost:{port}", 2, int(process))
first_alone(lambda: open(path, "a").write(process))
known = json.dumps({
    "first": is_first(),
    "written": open(path).read(),
    "gathered": [part.decode() for part in gather_bytes(b"" if is_first() else b"second")],
    "summed": summed_over_processes(1 + int(process), 10**12),
})
open(path + process, "w").write(known)
"""


def parts(a):
    """Returns the rows that each device has."""
    return {shard.device: np.asarray(shard.data).tolist() for shard in a.addressable_shards}


@pytest.mark.parametrize("of", [np.asarray, jnp.asarray])
def test_rows_lie_along_the_devices_and_the_last_is_repeated(of):
    chosen = jax.devices()[:4]
    for rows in (range(8), range(5), range(1)):
        laid = lay(data_mesh(chosen), of(np.array(rows, np.float32)))
        padded = [*rows, *[rows[-1]] * (-len(rows) % 4)]
        each = len(padded) // 4
        assert parts(laid) == {device: padded[i * each : (i + 1) * each] for i, device in enumerate(chosen)}
        assert laid.dtype == jnp.float32


def test_further_axes_stay_whole():
    rows = np.arange(18).reshape(3, 2, 3)
    laid = lay(data_mesh(jax.devices()[:2]), rows)
    np.testing.assert_array_equal(laid, rows[[0, 1, 2, 2]])
    assert laid.sharding.shard_shape(laid.shape) == (2, 2, 3)


def test_a_batch_is_placed_along_the_devices_and_a_tree_on_each():
    mesh = data_mesh(jax.devices()[:2])
    batch = place(mesh, {"image": np.arange(4).reshape(4, 1), "label": np.arange(4)})
    assert list(parts(batch["label"]).values()) == [[0, 1], [2, 3]]
    assert list(parts(batch["image"]).values()) == [[[0], [1]], [[2], [3]]]
    tree = replicate(mesh, {"a": np.arange(3), "b": [jnp.ones(())]})
    assert list(parts(tree["a"]).values()) == [[0, 1, 2]] * 2
    assert list(parts(tree["b"][0]).values()) == [1] * 2


def test_a_mesh_is_of_all_devices_unless_some_are_given():
    assert data_mesh().devices.tolist() == jax.devices()
    assert data_mesh(jax.devices()[3:5]).devices.tolist() == jax.devices()[3:5]


@pytest.fixture
def explicit():
    """Makes an array along explicit axes of a mesh of 2 x 4 devices."""
    mesh = jax.make_mesh((2, 4), ("a", "b"), axis_types=(AxisType.Explicit,) * 2)
    return jax.device_put(jnp.arange(16.0).reshape(4, 4), NamedSharding(mesh, PartitionSpec("a", None)))


def test_explicit_axes_become_automatic_where_the_array_is(explicit):
    found = partitioned_by_compiler(explicit)
    assert set(found.sharding.mesh.axis_types) == {AxisType.Auto}
    assert parts(found) == parts(explicit)
    # Where the sum is to lie is the compiler's choice; along explicit axes it would have to be said.
    with pytest.raises(Exception, match="out_sharding"):
        jax.jit(lambda x: x.T @ x)(explicit)
    np.testing.assert_allclose(jax.jit(lambda x: x.T @ x)(found), np.asarray(explicit).T @ np.asarray(explicit))


def test_other_arrays_stay_the_same_object():
    for a in (jnp.ones(3), lay(data_mesh(), np.ones(8))):
        assert partitioned_by_compiler(a) is a


def test_different_parts_are_counted(explicit):
    assert shards(explicit) == 2
    assert shards(lay(data_mesh(), np.ones((8, 3)))) == 8
    assert shards(replicate(data_mesh(), np.ones(8))) == 1
    assert shards(np.ones(8)) == shards(jnp.ones(8)) == shards(jnp.ones((0, 3))) == 1
    seen = []
    jax.jit(lambda a: seen.append(shards(a)))(explicit)
    assert seen == [1]


def test_one_process_is_the_first_and_knows_what_it_says(capsys):
    assert devices.is_first()
    assert devices.gather_bytes(b"alone") == [b"alone"]
    assert devices.summed_over_processes(3, 4) == [3, 4]
    devices.first_alone(lambda: print("once"))
    assert capsys.readouterr().out == "once\n"


def test_two_processes_know_what_each_other_says(tmp_path):
    with socket.socket() as probe:
        probe.bind(("localhost", 0))
        port = str(probe.getsockname()[1])
    command = [sys.executable, "-c", PROGRAM, port]
    path, root = str(tmp_path / "written"), str(Path(devices.__file__).parents[2])
    both = [
        subprocess.Popen([*command, process, path], cwd=root, stderr=subprocess.PIPE, text=True) for process in "01"
    ]
    errors = [process.communicate(timeout=240)[1] for process in both]
    assert [process.returncode for process in both] == [0, 0], errors
    known = {"written": "0", "gathered": ["", "second"], "summed": [3, 2 * 10**12]}
    for process, first in (("0", True), ("1", False)):
        assert json.loads(Path(path + process).read_text()) == {"first": first, **known}


def test_a_process_that_is_gone_is_a_connection_error(monkeypatch):
    def broken(_):
        raise RuntimeError("Connection reset by peer\nand more")

    monkeypatch.setattr(jax, "process_count", lambda: 2)
    monkeypatch.setattr("jax.experimental.multihost_utils.process_allgather", broken)
    with pytest.raises(ConnectionError, match=r"another process has failed or gone \(Connection reset by peer\)$"):
        devices.wait_for_all("anything")
