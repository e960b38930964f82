"""Libraries that tell at length of errors which they raise as well: here what they raise is enough."""

import gc
import logging
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from xrcam_jax.runtime.signals import finishing

# Orbax logs by absl, a traceback for each of its threads; asyncio tells of each task that nobody has asked for.
_LOUD = ("absl", "asyncio")
_SECONDS = 0.5

Result = TypeVar("Result")


class Failed(Exception):
    """Says in one line why something failed."""


def quietly(work: Callable[[], Result]) -> Result:
    """Calls a function that uses Orbax, which prints tracebacks of its threads and tasks besides raising their errors.

    A signal that would stop the program waits until the function has ended: Orbax's threads would go on, and complain.

    Args:
      work: the function.

    Returns:
      What it returned.

    Raises:
      Failed: the function raised an error, of which this says the first line. Nothing of it is left: event loops that
        were given up would complain whenever they are collected.

    Example:
      >>> from xrcam_jax.runtime.quiet import quietly
      >>> quietly(lambda: 1 / 0)
      Traceback (most recent call last):
      ...
      xrcam_jax.runtime.quiet.Failed: division by zero
    """
    with finishing(), _silence():
        try:
            return work()
        except Exception as error:
            told = reason(error)
        # TensorStore's threads are still reading, and complain when they find their event loop closed.
        time.sleep(_SECONDS)
        gc.collect()
    raise Failed(told)


@contextmanager
def _silence() -> Iterator[None]:
    loggers = [logging.getLogger(name) for name in _LOUD]
    levels, hooks = [logger.level for logger in loggers], (sys.unraisablehook, threading.excepthook)
    for logger in loggers:
        logger.setLevel(logging.CRITICAL + 1)
    # A signal that is dropped in here is still sent again, see :mod:`xrcam_jax.runtime.signals`.
    sys.unraisablehook = lambda told: hooks[0](told) if isinstance(told.exc_value, KeyboardInterrupt) else None
    threading.excepthook = lambda told: None
    try:
        yield
    finally:
        sys.unraisablehook, threading.excepthook = hooks
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


def reason(error: BaseException) -> str:
    """Returns what an error says, in one line of a length that can be read.

    Args:
      error: of any library.

    Returns:
      Its first line, shortened; its kind where it says nothing.

    Example:
      >>> from xrcam_jax.runtime.quiet import reason
      >>> reason(ValueError("RESOURCE_EXHAUSTED: a long story of paths: No space left on device [tasks: 9]"))
      'No space left on device'
    """
    text = str(error).strip()
    for known in ("No space left on device", "Disk quota exceeded", "File too large"):
        if known.lower() in text.lower():
            return known
    line = (text.splitlines() or [type(error).__name__])[0]
    return line if len(line) <= 200 else f"{line[:197]}..."
