"""What was traced, kept on disk: a later process looks its program up without tracing the model again.

JAX's compilation cache spares a process the compiling, but a program is looked up there by its lowered form, and to
trace and lower a deep network takes Python longer than to read what was compiled. So the lowered form is kept beside
the compiled one, as :mod:`jax.export` writes it, under a name made of all that it depends on.
"""

import pickle
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import cache, wraps
from hashlib import sha256
from importlib.metadata import version
from io import BytesIO
from pathlib import Path
from typing import Any

import jax
from jax import export
from jaxtyping import PyTree

from xrcam_jax.runtime.files import write_whole

#: Code that is known by its version; of this package the code itself counts.
_KNOWN_BY_VERSION = ("jax", "jaxlib", "flax", "numpy")
_KNOWN = {*sys.stdlib_module_names, *_KNOWN_BY_VERSION, "xrcam_jax"}


def traced_once(f: Callable, static: tuple[str, ...]) -> Callable:
    """``f`` for ``jax.jit``, traced once for all processes where that is possible, see :func:`name_of`.

    What is kept is for one device of the default kind, see :func:`can_be_kept`.

    Args:
      f: returns arrays, dictionaries of arrays, or what is registered with :mod:`jax.export`.
      static: names of the arguments that are part of the program.
    """

    @wraps(f)
    def call(*args: Any, **options: Any) -> Any:
        fixed = {name: value for name, value in options.items() if name in static}
        dynamic = {name: value for name, value in options.items() if name not in static}
        leaves, structure = jax.tree.flatten((args, dynamic))
        name = name_of(f, fixed, (structure, [(a.shape, a.dtype) for a in leaves]))
        if name is None:
            return f(*args, **options)

        def flat(*leaves: jax.Array) -> Any:
            args, dynamic = jax.tree.unflatten(structure, leaves)
            return f(*args, **dynamic, **fixed)

        avals = [jax.ShapeDtypeStruct(a.shape, a.dtype) for a in leaves]
        try:
            lowered = kept(name, lambda: bytes(export.export(jax.jit(flat))(*avals).serialize()))
        except (ValueError, TypeError, NotImplementedError):
            # Not all that can be compiled can be kept: callbacks to the host cannot. Faults of the model come up again.
            return f(*args, **options)
        return export.deserialize(bytearray(lowered)).call(*leaves)

    return call


def can_be_kept(values: PyTree) -> bool:
    """Whether JAX keeps what it compiles, and a function of these arrays runs on one device of the default kind."""
    if not _folder():
        return False
    shardings = {a.sharding for a in jax.tree.leaves(values) if isinstance(a, jax.Array)}
    devices: set[Any] = set().union(*(sharding.device_set for sharding in shardings))
    return (
        jax.config.jax_default_device is None  # type: ignore[attr-defined]
        and all(len(sharding.device_set) == 1 for sharding in shardings)
        and all(device.platform == jax.default_backend() for device in devices)
    )


def kept(name: str, find: Callable[[], bytes]) -> bytes:
    """What ``find`` returned the first time, in this process or an earlier one; kept where JAX's cache is."""
    path = Path(_folder()) / "traced" / name
    with suppress(OSError):
        digest, _, content = path.read_bytes().partition(b"\n")
        # A machine that went down while it was written may have left anything.
        if digest == sha256(content).hexdigest().encode():
            return content
    content = find()
    with suppress(OSError):
        write_whole(path, sha256(content).hexdigest().encode() + b"\n" + content)
    return content


def name_of(f: Callable, fixed: Mapping[str, Any], shapes: tuple[Any, Sequence[tuple[Any, Any]]]) -> str | None:
    """A name for what is found out by tracing ``f``, by which to keep it.

    It stands for the arguments, JAX's settings, this package's code and the versions of those that it is written for.

    Args:
      f: what is traced.
      fixed: its arguments that are not arrays, a model for example.
      shapes: of its arguments that are: their structure, and shape and dtype of each.

    Returns:
      None where JAX keeps nothing, or where a model's code lies outside this package: that may change, and nothing
      would tell.
    """
    if not _folder():
        return None
    written = BytesIO()
    pickler = _Pickler(written)
    structure, leaves = shapes
    arrays = str(structure), [(shape, str(dtype)) for shape, dtype in leaves]
    try:
        pickler.dump((f.__module__, f.__qualname__, fixed, arrays, jax.default_backend()))
    except (pickle.PicklingError, AttributeError, TypeError):
        return None
    if not pickler.modules <= _KNOWN:
        return None
    settings = repr(sorted((name, repr(value)) for name, value in jax.config.values.items()))
    return sha256(written.getvalue() + settings.encode() + _code()).hexdigest()


def _folder() -> str:
    return jax.config.jax_compilation_cache_dir or ""  # type: ignore[attr-defined]


class _Pickler(pickle.Pickler):
    """Takes down where functions and classes come from. Pickles are made for their bytes; none is ever read."""

    def __init__(self, file: BytesIO):
        super().__init__(file)
        self.modules: set[str] = set()

    def reducer_override(self, value: Any) -> Any:
        self.modules.add(getattr(value, "__module__", "builtins").partition(".")[0])
        return NotImplemented


@cache
def _code() -> bytes:
    """This package's code, and the versions of what it is written for."""
    digest = sha256(repr([(name, version(name)) for name in _KNOWN_BY_VERSION]).encode())
    for path in sorted(Path(__file__).parents[1].rglob("*.py")):
        digest.update(path.read_bytes())
    return digest.digest()
