"""Several devices, and several processes: a batch is laid across devices, everything else is on each of them.

A program is compiled for all devices of a mesh at once, and what it computes is what one device would, to rounding:
XLA chooses how to add up by the number of rows that a device has. As many rows on each as on the one gave the same
bits in all that was tried, but nobody promises that.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec
from jaxtyping import Array, PyTree

AXIS = "data"


def data_mesh(devices: Sequence[jax.Device] | None = None) -> Mesh:
    """All devices of all processes, or the given ones, along one axis."""
    return Mesh(np.asarray(jax.devices() if devices is None else devices), (AXIS,))


def place(mesh: Mesh, batch: Mapping[str, Any]) -> dict[str, Array]:
    """This process's share of a batch, onto its devices: the first axis is laid along the mesh."""
    sharding = NamedSharding(mesh, PartitionSpec(AXIS))
    return {name: jax.make_array_from_process_local_data(sharding, value) for name, value in batch.items()}


def lay(mesh: Mesh, rows: Array | np.ndarray) -> Array:
    """``rows`` along a mesh of :func:`data_mesh`; the last one is repeated up to a multiple of the devices."""
    missing = -len(rows) % mesh.size
    if missing:
        pad = jnp.pad if isinstance(rows, jax.Array) else np.pad
        rows = pad(rows, ((0, missing), *((0, 0),) * (rows.ndim - 1)), mode="edge")
    return jax.device_put(rows, NamedSharding(mesh, PartitionSpec(AXIS)))


def replicate(mesh: Mesh, tree: PyTree) -> PyTree:
    """All arrays of ``tree`` on every device of the mesh."""
    return jax.device_put(tree, NamedSharding(mesh, PartitionSpec()))


def partitioned_by_compiler(a: Array) -> Array:
    """The same array, where it lies; on a mesh of explicit axes, on the same devices along automatic ones.

    Explicit axes (``jax.make_mesh``'s default) refuse operations whose result could lie across devices in several
    ways; automatic ones leave that to the compiler.
    """
    sharding = a.sharding
    if not isinstance(sharding, NamedSharding) or AxisType.Explicit not in sharding.mesh.axis_types:
        return a
    assert isinstance(sharding.mesh, Mesh)
    mesh = Mesh(sharding.mesh.devices, sharding.mesh.axis_names)
    return jax.device_put(a, NamedSharding(mesh, sharding.spec))


def shards(a: Array | np.ndarray) -> int:
    """In how many different parts an array lies on devices; 1 if it is a value that is being traced."""
    if isinstance(a, jax.core.Tracer) or not isinstance(a, jax.Array) or not a.size:
        return 1
    return a.size // int(np.prod(a.sharding.shard_shape(a.shape)))


def is_first() -> bool:
    """Whether this is the first of several processes, or the only one."""
    return jax.process_index() == 0


def wait_for_all(what: str) -> None:
    """Returns when all processes have got here.

    Raises:
      ConnectionError: one of them has failed or gone.
    """
    gather_bytes(what.encode())


def first_alone(write: Callable[[], None]) -> None:
    """Calls ``write`` in the first process; the others wait until it has returned.

    Raises:
      ConnectionError: the first process has failed.
    """
    if is_first():
        write()
    wait_for_all("written")


def gather_bytes(content: bytes) -> list[bytes]:
    """What each process gives, in their order; all must call it.

    Raises:
      ConnectionError: a process has failed or gone.
    """
    if jax.process_count() == 1:
        return [content]
    from jax.experimental.multihost_utils import process_allgather

    try:
        lengths = process_allgather(np.asarray(len(content), np.int32))
        padded = np.zeros(int(lengths.max()), np.uint8)
        padded[: len(content)] = np.frombuffer(content, np.uint8)
        rows = process_allgather(padded)
    except (ValueError, RuntimeError) as error:
        reason = (str(error).splitlines() or ["no reason given"])[0]
        raise ConnectionError(f"another process has failed or gone ({reason})") from error
    return [row[:length].tobytes() for row, length in zip(rows, lengths.tolist(), strict=True)]


def summed_over_processes(*counts: int) -> list[int]:
    """Each number, summed over all processes; all must call it.

    Raises:
      ConnectionError: a process has failed or gone.
    """
    parts = [json.loads(part) for part in gather_bytes(json.dumps(counts).encode())]
    return [sum(each) for each in zip(*parts, strict=True)]
