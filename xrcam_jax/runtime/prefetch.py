"""Prefetching in a background thread."""

import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from importlib import import_module
from itertools import repeat, takewhile
from typing import Any, TypeVar

Item = TypeVar("Item")
Made = TypeVar("Made")


def import_ahead(*modules: str) -> None:
    """Begins to import modules in another thread, which goes on while this one waits for files or for the device.

    Args:
      *modules: their full names. If one cannot be imported, whoever needs it is told.

    Example:
      >>> import_ahead("matplotlib.figure", "scipy.linalg")
    """

    def load() -> None:
        for module in modules:
            with suppress(ImportError):
                import_module(module)

    threading.Thread(target=load, name=f"import {' '.join(modules)}").start()


def map_ahead(function: Callable[[Item], Made], items: Iterable[Item], ahead: int) -> Generator[Made, None, None]:
    """Does what ``map`` does, in one other thread that runs ahead of the caller.

    The items are taken in the caller's thread. What ``function`` raises is raised here. However it ends, the items that
    were taken have been worked on before the iterator is closed, and no thread is left.

    Args:
      function: from an item to a result.
      items: any number of them.
      ahead: how many results further than has been asked for to work, from 0.

    Returns:
      An iterator over the results, in order.

    Example:
      >>> list(map_ahead(lambda x: x * x, range(5), ahead=2))
      [0, 1, 4, 9, 16]
    """
    results: deque[Future[Made]] = deque()
    with ThreadPoolExecutor(1) as thread:
        for item in items:
            results.append(thread.submit(function, item))
            if len(results) > ahead:
                yield results.popleft().result()
        while results:
            yield results.popleft().result()


def read_ahead(items: Iterable[Item], ahead: int) -> Iterator[Item]:
    """Takes items in one other thread that runs ahead of the caller.

    Args:
      items: any number of them.
      ahead: how many items further than has been asked for to take, from 0.

    Returns:
      An iterator over the same items, in order.

    Example:
      >>> list(read_ahead("abc", ahead=1))
      ['a', 'b', 'c']
    """
    iterator, end = iter(items), object()
    read: Iterator[Any] = map_ahead(lambda _: next(iterator, end), repeat(None), ahead)
    yield from takewhile(lambda item: item is not end, read)
