"""Stages of a pipeline that run in threads of their own, beside what uses their results."""

from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import repeat, takewhile
from typing import Any, TypeVar

Item = TypeVar("Item")
Made = TypeVar("Made")


def map_ahead(function: Callable[[Item], Made], items: Iterable[Item], ahead: int) -> Generator[Made, None, None]:
    """``map`` in one other thread, up to ``ahead`` results further than has been asked for, and in order.

    ``items`` are taken in the caller's thread. What ``function`` raises is raised here. However it ends, the items that
    were taken have been worked on before the iterator is closed, and no thread is left.
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
    """The same items, taken in one other thread, up to ``ahead`` further than has been asked for."""
    iterator, end = iter(items), object()
    read: Iterator[Any] = map_ahead(lambda _: next(iterator, end), repeat(None), ahead)
    yield from takewhile(lambda item: item is not end, read)
