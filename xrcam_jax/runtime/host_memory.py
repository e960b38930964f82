"""Keeping freed host memory for its next use, instead of handing it back to the system."""

import ctypes
import os
import sys

#: Settings of mallopt(3): one heap for all threads, large blocks on it too, and none of it handed back to the system.
_M_ARENA_MAX, _M_MMAP_MAX, _M_TRIM_THRESHOLD = -8, -4, -1
_SETTINGS = {_M_ARENA_MAX: 1, _M_MMAP_MAX: 0, _M_TRIM_THRESHOLD: -1}
#: Environment variables, and the names within GLIBC_TUNABLES, by which a user may have chosen otherwise.
_VARIABLES = ("MALLOC_ARENA_MAX", "MALLOC_MMAP_MAX_", "MALLOC_MMAP_THRESHOLD_", "MALLOC_TRIM_THRESHOLD_")
_TUNABLES = ("arena_max", "mmap_max", "mmap_threshold", "trim_threshold")


def keep_freed_memory() -> bool:
    """Lets glibc keep what this process frees for its next use.

    By default large blocks go back to the system. A compiled program on a CPU takes hundreds of megabytes each time it
    runs, and the system fills fresh pages with zeros as they are first touched. That is up to a quarter of the time
    that the networks here take.

    For programs, not for libraries: it holds for all of the process, whose size then only grows. Nothing happens
    where the user has chosen how glibc allocates (in ``GLIBC_TUNABLES``, or by ``MALLOC_ARENA_MAX`` and its like), or
    where there is no glibc.

    Returns:
      Whether freed memory is kept from now on.

    Example:
      >>> keep_freed_memory()  # doctest: +SKIP
      True
    """
    tunables = os.environ.get("GLIBC_TUNABLES", "")
    if any(f"glibc.malloc.{name}=" in tunables for name in _TUNABLES) or any(name in os.environ for name in _VARIABLES):
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    return mallopt is not None and all(mallopt(setting, value) for setting, value in _SETTINGS.items())
