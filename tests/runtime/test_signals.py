"""A signal ends the program, wherever it arrives."""

import gc
import os
import signal
import time

import pytest

from xrcam_jax.runtime.signals import Stopped, finishing, stopping


@pytest.fixture(autouse=True)
def heard():
    """Has SIGINT heard, which a shell has ignored in what it runs in the background."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)])
def test_each_signal_has_its_status(number, status):
    before = signal.getsignal(number)

    def told_to_stop():
        with stopping():
            os.kill(os.getpid(), number)
            time.sleep(5)

    with pytest.raises(KeyboardInterrupt) as caught:
        told_to_stop()
    assert caught.value.status == status
    assert signal.getsignal(number) is before


def test_a_signal_that_was_ignored_still_is():
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with stopping():
            os.kill(os.getpid(), signal.SIGHUP)
    finally:
        signal.signal(signal.SIGHUP, before)


def test_it_is_not_lost_while_garbage_is_collected():
    """JAX has Python call it at each collection, and what is raised there is dropped."""
    seen = []

    def collected(phase, info):
        if phase == "start" and not seen:
            seen.append(phase)
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(0.01)

    def told_to_stop():
        with stopping():
            gc.collect()
            assert seen
            time.sleep(5)

    gc.callbacks.append(collected)
    try:
        with pytest.raises(Stopped):
            told_to_stop()
    finally:
        gc.callbacks.remove(collected)


def test_what_else_is_dropped_is_told_as_ever(monkeypatch):
    told = []
    monkeypatch.setattr("sys.unraisablehook", lambda unraisable: told.append(unraisable.exc_type))

    class Faulty:
        def __del__(self):
            raise ValueError("in a finaliser")

    with stopping():
        faulty = Faulty()
        del faulty
    assert told == [ValueError]


def test_it_waits_for_what_has_to_be_finished():
    done = []

    def told_to_stop(times):
        with stopping():
            with finishing():
                for _ in range(times):
                    os.kill(os.getpid(), signal.SIGTERM)
                    time.sleep(0.01)
                    done.append(times)
            done.append("after")

    with pytest.raises(Stopped) as caught:
        told_to_stop(1)
    assert (caught.value.status, done) == (143, [1])
    # A second one does not wait.
    with pytest.raises(Stopped):
        told_to_stop(2)
    assert done == [1, 2]
