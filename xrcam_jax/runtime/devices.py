"""Several devices and several processes: a batch is laid across devices, and everything else is on each of them.

A program is compiled for all devices of a mesh at once. It computes what one device would, up to rounding, since XLA
chooses the order of a sum by the number of rows that a device has. With as many rows on each device as on the one, all
results had the same bits in our tests, but nobody promises that.
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
    """Returns a mesh of all devices of all processes, or of the given ones, along one axis.

    Args:
      devices: in their order along the axis; all by default.

    Returns:
      The mesh, whose axis is called ``AXIS``.

    Example:
      >>> import jax
      >>> mesh = data_mesh(jax.devices()[:1])
      >>> mesh.size, mesh.axis_names
      (1, ('data',))
    """
    return Mesh(np.asarray(jax.devices() if devices is None else devices), (AXIS,))


def place(mesh: Mesh, batch: Mapping[str, Any]) -> dict[str, Array]:
    """Puts this process's share of a batch onto its devices, the first axis along the mesh.

    Args:
      mesh: from :func:`data_mesh`.
      batch: arrays by name, each with as many rows; a multiple of the number of this process's devices.

    Returns:
      The arrays by name. Each has the rows of all processes.

    Example:
      >>> import jax, numpy as np
      >>> place(data_mesh(jax.devices()[:1]), {"label": np.array([0, 1])})["label"].tolist()
      [0, 1]
    """
    sharding = NamedSharding(mesh, PartitionSpec(AXIS))
    return {name: jax.make_array_from_process_local_data(sharding, value) for name, value in batch.items()}


def lay(mesh: Mesh, rows: Array | np.ndarray) -> Array:
    """Lays rows along a mesh, the last one repeated up to a multiple of the number of devices.

    Args:
      mesh: from :func:`data_mesh`.
      rows: at least one.

    Returns:
      The rows and the repetitions, of the dtype of ``rows``.

    Example:
      >>> import jax, numpy as np
      >>> lay(data_mesh(jax.devices()[:1]), np.array([3, 1, 2])).tolist()
      [3, 1, 2]
    """
    missing = -len(rows) % mesh.size
    if missing:
        pad = jnp.pad if isinstance(rows, jax.Array) else np.pad
        rows = pad(rows, ((0, missing), *((0, 0),) * (rows.ndim - 1)), mode="edge")
    return jax.device_put(rows, NamedSharding(mesh, PartitionSpec(AXIS)))


def replicate(mesh: Mesh, tree: PyTree) -> PyTree:
    """Puts all arrays of a tree on every device of a mesh.

    Args:
      mesh: any mesh.
      tree: of arrays.

    Returns:
      The same tree, of JAX arrays.

    Example:
      >>> import jax, numpy as np
      >>> replicate(data_mesh(jax.devices()[:1]), {"bias": np.array([1, 2])})["bias"].tolist()
      [1, 2]
    """
    return jax.device_put(tree, NamedSharding(mesh, PartitionSpec()))


def partitioned_by_compiler(a: Array) -> Array:
    """Returns the same array where it lies; if that is along explicit axes of a mesh, then along automatic ones.

    Explicit axes (the default of ``jax.make_mesh``) refuse operations whose result could lie across devices in several
    ways. Automatic axes leave the choice to the compiler.

    Args:
      a: any array.

    Returns:
      The array, each part on the device where it was.

    Example:
      >>> import jax.numpy as jnp
      >>> partitioned_by_compiler(jnp.array([1, 2])).tolist()
      [1, 2]
    """
    sharding = a.sharding
    if not isinstance(sharding, NamedSharding) or AxisType.Explicit not in sharding.mesh.axis_types:
        return a
    assert isinstance(sharding.mesh, Mesh)
    mesh = Mesh(sharding.mesh.devices, sharding.mesh.axis_names)
    return jax.device_put(a, NamedSharding(mesh, sharding.spec))


def shards(a: Array | np.ndarray) -> int:
    """Counts the different parts in which an array lies on devices.

    Args:
      a: any array.

    Returns:
      The number of parts; 1 for an array of NumPy, for an empty one and for a value that is being traced.

    Example:
      >>> import numpy as np
      >>> shards(np.zeros(3))
      1
    """
    if isinstance(a, jax.core.Tracer) or not isinstance(a, jax.Array) or not a.size:
        return 1
    return a.size // int(np.prod(a.sharding.shard_shape(a.shape)))


def is_first() -> bool:
    """Tells whether this is the first of several processes, or the only one.

    Returns:
      True in exactly one process.

    Example:
      >>> is_first()
      True
    """
    return jax.process_index() == 0


def wait_for_all(what: str) -> None:
    """Waits until all processes have got here.

    Args:
      what: says where that is.

    Raises:
      ConnectionError: one of them has failed or gone.

    Example:
      >>> wait_for_all("read")
    """
    gather_bytes(what.encode())


def first_alone(write: Callable[[], None]) -> None:
    """Calls a function in the first process, while the others wait until it has returned.

    Args:
      write: the function.

    Raises:
      ConnectionError: the first process has failed.

    Example:
      >>> first_alone(lambda: print("written once"))
      written once
    """
    if is_first():
        write()
    wait_for_all("written")


def gather_bytes(content: bytes) -> list[bytes]:
    """Collects what each process gives. All processes must call it.

    Args:
      content: of this process; it may be empty, and of another length in each.

    Returns:
      The contents in the order of the processes, the same in all of them.

    Raises:
      ConnectionError: a process has failed or gone.

    Example:
      >>> gather_bytes(b"mine")
      [b'mine']
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
    """Sums each number over all processes. All processes must call it.

    Args:
      *counts: as many in each process.

    Returns:
      The sums, the same in all processes.

    Raises:
      ConnectionError: a process has failed or gone.

    Example:
      >>> summed_over_processes(3, 4)
      [3, 4]
    """
    parts = [json.loads(part) for part in gather_bytes(json.dumps(counts).encode())]
    return [sum(each) for each in zip(*parts, strict=True)]
