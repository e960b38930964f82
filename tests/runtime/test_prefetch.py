"""Another thread works ahead, but only so far, in order, and to a clean end."""

import sys
import threading

import pytest

from xrcam_jax.runtime.prefetch import import_ahead, map_ahead, read_ahead

PATIENCE = 30


def test_results_come_in_order():
    assert list(map_ahead(lambda x: x * x, range(20), 3)) == [x * x for x in range(20)]
    assert list(read_ahead(range(20), 3)) == list(range(20))
    assert list(map_ahead(str, [], 3)) == list(read_ahead([], 3)) == []


def test_only_so_many_are_taken_ahead():
    taken: list[int] = []
    items = (taken.append(x) or x for x in range(100))
    results = map_ahead(lambda x: x, items, 2)
    for x in range(5):
        assert next(results) == x
        assert len(taken) == x + 3
    results.close()
    assert len(taken) == 7


def test_only_so_many_are_read_ahead():
    taken: list[int] = []
    items = read_ahead((taken.append(x) or x for x in range(100)), 2)
    for x in range(5):
        assert next(items) == x
        assert len(taken) <= x + 3
    items.close()
    assert len(taken) <= 7


def test_the_other_thread_works_while_the_caller_is_busy():
    """The second item is read before the first is done with; without a thread this would wait in vain."""
    second = threading.Event()
    items = read_ahead((x for x in (0, 1) if x == 0 or second.set() is None), 1)
    assert next(items) == 0
    assert second.wait(PATIENCE)
    assert list(items) == [1]


def test_errors_are_raised_where_results_are_asked_for():
    results = map_ahead(lambda x: 1 // x, [1, 2, 0, 3], 1)
    assert [next(results), next(results)] == [1, 0]
    with pytest.raises(ZeroDivisionError):
        next(results)
    items = read_ahead((1 // x for x in [1, 0]), 1)
    assert next(items) == 1
    with pytest.raises(ZeroDivisionError):
        next(items)


def test_no_thread_is_left_and_what_was_taken_is_done():
    before, done = threading.active_count(), []

    def interrupted():
        yield from (1, 2)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        list(map_ahead(done.append, interrupted(), 5))
    assert done == [1, 2]
    results = map_ahead(done.append, range(10), 3)
    next(results)
    results.close()
    assert done == [1, 2, 0, 1, 2, 3]
    assert threading.active_count() == before


def test_a_module_is_imported_in_another_thread_and_one_that_is_missing_is_no_error(tmp_path, monkeypatch):
    (tmp_path / "says_who.py").write_text("import threading\nthread = threading.current_thread()\n")
    monkeypatch.syspath_prepend(tmp_path)
    import_ahead("there_is_no_such_module", "says_who")
    for thread in threading.enumerate():
        if thread.name.startswith("import "):
            thread.join(PATIENCE)
    assert sys.modules.pop("says_who").thread is not threading.current_thread()
