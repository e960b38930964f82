"""On-disk cache of exported programs.

JAX's compilation cache saves a later process the compiling. But a program is looked up there by its lowered form, and
to trace and lower a deep network takes Python longer than to read what was compiled. So the lowered form is kept beside
the compiled one, as :mod:`jax.export` writes it, under a name made of all that it depends on.

Whoever can change such a file can change what the program says. So the files lie in a folder that nobody else can write
to, and each has a digest made with the user's secret key, of its content and its name.
"""

import hmac
import logging
import pickle
import re
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
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
from xrcam_jax.runtime.private import private_folder, private_key

#: Packages whose code is known by their version. Of this package the code itself counts.
_KNOWN_BY_VERSION = ("jax", "jaxlib", "flax", "numpy")
# Bytes of a digest, of which each is written as two.
_DIGEST = 32
_PACKAGE = Path(__file__).parents[1]
# Imports of this package stand on one line each, or in parentheses. The pattern begins with letters, for which Python
# searches a file several times as fast as for beginnings of lines.
_IMPORTS = re.compile(rf" ({_PACKAGE.name}[\w.]*)(?: import (\([^)]*\)|.*))?")
_NAMES = re.compile(r"\w+")
_LOG = logging.getLogger(__name__)
_KNOWN = {*sys.stdlib_module_names, *_KNOWN_BY_VERSION, "xrcam_jax"}


def traced_once(f: Callable, static: tuple[str, ...]) -> Callable:
    """Returns a function for ``jax.jit`` that traces ``f`` once for all processes.

    Where nothing can be kept (see :func:`name_of`), ``f`` is traced as ever. What is kept is for one device of the
    default kind, which the caller has to see to by :func:`can_be_kept`.

    Args:
      f: a function of arrays that returns arrays, dictionaries of arrays, or what is registered with
        :mod:`jax.export`.
      static: names of the arguments that are part of the program.

    Returns:
      A function that takes what ``f`` takes and returns what it returns.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> f = jax.jit(traced_once(lambda x, n: x + n, ("n",)), static_argnames=("n",))
      >>> f(jnp.array([1, 2]), n=3).tolist()
      [4, 5]
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
            # Not all that can be compiled can be exported; callbacks to the host cannot. If the model itself is at
            # fault, tracing it below raises the same error.
            return f(*args, **options)
        try:
            exported = export.deserialize(bytearray(lowered))
        except Exception as error:
            # Another version of JAX that gives itself out as this one may have written it.
            _discard(name, str(error))
            return f(*args, **options)
        return exported.call(*leaves)

    return call


def can_be_kept(values: PyTree) -> bool:
    """Tells whether JAX keeps what it compiles, and a function of some arrays runs on one device of the default kind.

    Args:
      values: arguments of the function; all leaves but JAX's own arrays go to the default device.

    Returns:
      True where :func:`traced_once` may be used.

    Example:
      >>> import jax
      >>> jax.config.jax_compilation_cache_dir is None and can_be_kept([1.0])
      False
    """
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
    """Returns what a function found the first time, in this process or an earlier one.

    It is kept where JAX's compilation cache is, if nobody else can write there. What cannot be read back as it was
    written is found and written anew.

    Args:
      name: from :func:`name_of`.
      find: the function. It is called if nothing is kept under the name.

    Returns:
      What ``find`` returned.

    Example:
      >>> kept(name, lambda: b"found once")  # doctest: +SKIP
      b'found once'
    """
    folder = Path(_folder()) / "traced"
    key = private_key(folder / ".key") if private_folder(folder) else None
    if key is None:
        _say_once(f"{folder}: not used, since others can write there, or it cannot be written")
        return find()
    path = folder / name
    if path.exists():
        with suppress(OSError):
            whole = path.read_bytes()
            seal, content = whole[: 2 * _DIGEST], whole[2 * _DIGEST :]
            if hmac.compare_digest(seal, _seal(key, name, content)):
                return content
        _discard(name, "it is not what was written there")
    content = find()
    with suppress(OSError):
        write_whole(path, _seal(key, name, content) + content, synced=False)
    return content


def _seal(key: bytes, name: str, content: bytes) -> bytes:
    return hmac.new(key, f"{name}\n".encode() + content, sha256).hexdigest().encode()


def _discard(name: str, why: str) -> None:
    path = Path(_folder()) / "traced" / name
    _LOG.warning("%s is discarded and made anew: %s", path, why.partition("\n")[0])
    with suppress(OSError):
        path.unlink()


@cache
def _say_once(line: str) -> None:
    _LOG.warning(line)


def name_of(f: Callable, fixed: Mapping[str, Any], shapes: tuple[Any, Sequence[tuple[Any, Any]]]) -> str | None:
    """Returns the name under which to keep what is found out by tracing ``f``.

    It stands for the arguments, JAX's settings, the code of this package that can run in the trace, and the versions of
    the packages that it needs. That code is what ``f`` and the arguments import, and not all: who edits a page of the
    report keeps the traces.

    Args:
      f: the function that is traced.
      fixed: its arguments that are not arrays, a model for example.
      shapes: of its arguments that are arrays: their structure, and shape and dtype of each.

    Returns:
      The name, or None where nothing is to be kept: where JAX keeps nothing, or where a model's code lies outside this
      package. Such code may change, and nothing would tell.

    Example:
      >>> print(name_of(print, {"model": lambda x: x}, ("*", [])))
      None
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
    if not {module.partition(".")[0] for module in pickler.modules} <= _KNOWN:
        return None
    settings = repr(sorted((name, repr(value)) for name, value in jax.config.values.items()))
    code = _code(frozenset({f.__module__, *pickler.modules}))
    return sha256(written.getvalue() + settings.encode() + code).hexdigest()


def _folder() -> str:
    return jax.config.jax_compilation_cache_dir or ""  # type: ignore[attr-defined]


class _Pickler(pickle.Pickler):
    """Notes where functions and classes come from. Pickles are made for their bytes; none is ever read."""

    def __init__(self, file: BytesIO):
        super().__init__(file)
        self.modules: set[str] = set()

    def reducer_override(self, value: Any) -> Any:
        self.modules.add(getattr(value, "__module__", "builtins"))
        return NotImplemented


@cache
def _code(modules: frozenset[str]) -> bytes:
    """Returns a digest of some modules' code, and of the versions of the packages that this package needs."""
    digest = sha256(repr([(name, version(name)) for name in _KNOWN_BY_VERSION]).encode())
    for path, code in sorted(imported(modules).items()):
        digest.update(f"{path.relative_to(_PACKAGE)}\n".encode() + code)
    return digest.digest()


def imported(modules: Iterable[str]) -> dict[Path, bytes]:
    """Returns the code of this package that some modules can run: their own, and that of all they import.

    Args:
      modules: full names; those of other packages are passed over.

    Returns:
      What is in each file, by its path. Of the package itself, whose names are loaded when they are asked for, nothing.

    Example:
      >>> sorted(path.name for path in imported(["xrcam_jax.marks", "json"]))
      ['marks.py']
    """
    found: dict[Path, bytes] = {}
    asked = list(modules)
    seen = set(asked)
    while asked:
        path, code, imports = _read(asked.pop())
        if path is not None:
            found[path] = code
        asked += imports - seen
        seen |= imports
    return found


@cache
def _read(module: str) -> tuple[Path | None, bytes, frozenset[str]]:
    """Returns the file of a module of this package, what is in it, and what it imports of this package."""
    stem = _PACKAGE.parent.joinpath(*module.split("."))
    path = next((p for p in (stem.with_suffix(".py"), stem / "__init__.py") if p.is_file()), None)
    if not module.startswith(f"{_PACKAGE.name}.") or path is None:
        return None, b"", frozenset()
    code, imports = path.read_bytes(), set[str]()
    text = code.decode()
    for found in _IMPORTS.finditer(text):
        if text[text.rfind("\n", 0, found.start()) + 1 : found.start()].strip() in ("from", "import"):
            room, names = found.groups("")
            # What is imported from a room may be a file of it.
            imports |= {room, *(f"{room}.{each}" for each in _NAMES.findall(names))}
    return path, code, frozenset(imports)
