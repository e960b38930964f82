"""Signals: a program that is told to stop ends in order, with what it has open closed and removed."""

import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

# Windows has no signal for a terminal that was closed.
_SIGNALS = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name))
_SECONDS = 0.1


class Stopped(KeyboardInterrupt):
    """Says that a signal asked the program to stop; it is what Python raises at the first of them, Ctrl-C.

    Args:
      number: of the signal.
    """

    def __init__(self, number: int):
        super().__init__(number)
        self.signal = signal.Signals(number)

    @property
    def status(self) -> int:
        """The exit status that shells give to programs that the signal ended."""
        return 128 + self.signal


@contextmanager
def stopping() -> Iterator[None]:
    """Has SIGINT, SIGTERM and SIGHUP raise :class:`Stopped` in the main thread.

    Signals that were ignored before, as SIGHUP is under ``nohup``, still are. Python drops what is raised while it
    collects garbage or finalises an object; the signal is then sent once more.

    Returns:
      The context in which it is so. In another thread than the main one, nothing changes.

    Raises:
      Stopped: a signal has arrived.

    Example:
      >>> import os, signal
      >>> from xrcam_jax.runtime.signals import Stopped, stopping
      >>> try:
      ...     with stopping():
      ...         os.kill(os.getpid(), signal.SIGTERM)
      ... except Stopped as stopped:
      ...     print(stopped.signal.name, stopped.status)
      SIGTERM 143
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.getsignal(number) for number in _SIGNALS}
    hook = sys.unraisablehook
    try:
        for number, handler in before.items():
            # Nothing can be put back in the place of a handler that was not set by Python.
            if handler not in (signal.SIG_IGN, None):
                signal.signal(number, _stop)
        sys.unraisablehook = _sent_again(hook)
        yield
    finally:
        sys.unraisablehook = hook
        for number, handler in before.items():
            if handler not in (signal.SIG_IGN, None):
                signal.signal(number, handler)


@contextmanager
def finishing() -> Iterator[None]:
    """Has a signal wait until a short piece of work is done, whose threads would go on while the program ends.

    A second signal waits no more.

    Returns:
      The context of the work. Outside of :func:`stopping`, nothing changes.

    Raises:
      Stopped: a signal has arrived; the work is done then.

    Example:
      >>> import os, signal
      >>> from xrcam_jax.runtime.signals import Stopped, finishing, stopping
      >>> try:
      ...     with stopping(), finishing():
      ...         os.kill(os.getpid(), signal.SIGTERM)
      ...         print("done")
      ... except Stopped as stopped:
      ...     print(stopped.signal.name)
      done
      SIGTERM
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    told: list[int] = []

    def wait(number: int, frame: FrameType | None) -> None:
        if told:
            raise Stopped(number)
        told.append(number)

    ours = [number for number in _SIGNALS if signal.getsignal(number) is _stop]
    try:
        for number in ours:
            signal.signal(number, wait)
        yield
    finally:
        for number in ours:
            signal.signal(number, _stop)
        if told:
            raise Stopped(told[0])


def _stop(number: int, frame: FrameType | None) -> None:
    raise Stopped(number)


def _sent_again(hook: Callable[[Any], object]) -> Callable[[Any], object]:
    """Returns a hook for what Python drops, which sends the signal again where that was a :class:`Stopped`."""

    def look(unraisable: Any) -> None:
        if not isinstance(unraisable.exc_value, Stopped):
            hook(unraisable)
            return
        # Later, and from another thread: here it would be dropped like the first one.
        main, number = threading.main_thread().ident, unraisable.exc_value.signal
        again = threading.Timer(_SECONDS, lambda: signal.pthread_kill(main or 0, number))
        again.daemon = True
        again.start()

    return look
