"""Runs: calls without arguments that are timed in turns, ours beside those of other libraries."""

import statistics
import sys
import time
from collections.abc import Callable, Mapping
from typing import Any

from tqdm import tqdm

# After a run PyTorch's threads keep their cores busy for some 5 ms, which would slow the next run down.
_REST_S = 0.05

#: A row of a suite's table: its cells by heading.
Row = dict[str, Any]
Run = Callable[[], Any]
#: Takes what a suite measures, and returns the runs of another library by their labels.
Peer = Callable[..., dict[str, Any]]


def interleaved_medians(runs: Mapping[str, Run], repeats: int, label: str, *, warm_up: bool = True) -> dict[str, float]:
    """Returns the median seconds of each run; they take turns, so that a slow moment of the machine hits all alike.

    Args:
      runs: by their names.
      repeats: how often each one is timed.
      label: of the progress bar.
      warm_up: whether each runs once beforehand, which does not count.
    """
    times: dict[str, list[float]] = {name: [] for name in runs}
    if warm_up:
        for run in runs.values():
            run()
    for _ in tqdm(range(repeats), desc=label, leave=False, disable=None):
        for name, run in runs.items():
            time.sleep(_REST_S)
            times[name].append(seconds(run))
    return {name: statistics.median(values) for name, values in times.items()}


def seconds(run: Run) -> float:
    """Returns how long one call takes."""
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def peer_runs(peers: Mapping[str, Peer], *arguments: Any) -> dict[str, Any]:
    """Returns the runs of other libraries, given the suite's arguments.

    One that is not installed, or cannot do it, is left out; a line says so.
    """
    runs: dict[str, Any] = {}
    for name, peer in peers.items():
        try:
            runs |= peer(*arguments)
        except (ImportError, ValueError) as error:
            print(f"xrcam benchmark: --peers: {name} is left out: {error}", file=sys.stderr)
    return runs
