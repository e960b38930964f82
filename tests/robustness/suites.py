"""The suites of the long form: each works through its cases, shows how far it is, and tells what failed."""

import argparse
import signal
import sys
import time
from functools import cache, partial
from pathlib import Path

import numpy as np

from tests.robustness import runs
from tests.robustness.record import Record, tell_faults
from tests.robustness.scenarios import SCENARIOS, Reference, references


def _say(record: Record, done: int, wanted: int, started: float, what: str) -> None:
    """Shows how far a suite is, on one line of a terminal or every so often elsewhere."""
    text = f"  {done} of {wanted} {what}, {len(record.faulty)} faulty, {time.monotonic() - started:.0f} s"
    print(f"\r{text}", end="" if done < wanted else "\n", flush=True) if sys.stdout.isatty() else print(text, flush=True)


def _again(options: argparse.Namespace, suite: str) -> str:
    return f"python -m tests.robustness --{suite} 1 --only {{}} --seed {options.seed} --out {options.out}"


@cache
def _references(out: Path, names: tuple[str, ...]) -> dict[str, Reference]:
    print("  undisturbed runs:", flush=True)
    runs.import_all(out / "cache")
    return references(out / "undisturbed", names)


def _names(options: argparse.Namespace) -> tuple[str, ...]:
    return options.commands or tuple(scenario.name for scenario in SCENARIOS)


def mutations(options: argparse.Namespace) -> int:
    """Judges mutated inputs."""
    from tests.robustness.seeds import make_seeds
    from tests.robustness.worker import Judge, Worker

    out = options.out
    made = _references(out, tuple(scenario.name for scenario in SCENARIOS))
    if not (out / "seeds" / "complete").exists():
        runs.apart(lambda: make_seeds(out / "seeds", made) or b"")
        (out / "seeds" / "complete").touch()
    record = Record(out / f"mutations_{options.seed}.jsonl")
    numbers = range(options.mutations) if options.only is None else [options.only]
    worker = Worker(partial(Judge, out / "seeds", out / "scratch", options.seed))
    started, done = time.monotonic(), len(record.rows)
    for number in numbers:
        if number in record.rows and options.only is None:
            continue
        record.add(number, **worker.judged(number))
        if len(record.rows) % 250 == 0:
            _say(record, len(record.rows), options.mutations, started, "mutations")
    worker.stop()
    seconds, fresh = time.monotonic() - started, len(record.rows) - done
    kinds = record.counts("kind")
    print(f"  {len(record.rows)} mutated inputs: " + ", ".join(f"{kinds[k]} {k}" for k in ("accepted", "refused", "fault")))
    print(f"  by kind: {dict(record.counts('target').most_common())}; {fresh} now, in {seconds:.0f} s")
    return tell_faults(record, _again(options, "mutations"))


def _chains(options: argparse.Namespace, suite: str, wanted: int, numbers: tuple[int, ...]) -> int:
    """Disturbs commands by signals until there were so many."""
    from tests.robustness.kills import chain

    made = {name: each for name, each in _references(options.out, _names(options)).items() if name in _names(options)}
    shares = np.array([each.scenario.share / (0.3 + each.seconds) for each in made.values()])
    record = Record(options.out / f"{suite}_{options.seed}.jsonl")
    started, number = time.monotonic(), 0

    def disturbed() -> int:
        return sum(row["disturbed"] for row in record.rows.values())

    while disturbed() < wanted or options.only is not None:
        if options.only is not None or number not in record.rows:
            case = number if options.only is None else options.only
            random = np.random.default_rng((options.seed, case, len(suite)))
            name = str(random.choice(list(made), p=shares / shares.sum()))
            number_of_signal = numbers[int(random.integers(0, len(numbers)))]
            row = chain(made[name], options.out / "disturbed" / suite, random, number_of_signal)
            sent = signal.Signals(number_of_signal).name
            record.add(case, signal=sent, group=f"{name}, {sent}: {_kind(row['faults'])}", **row)
            _say(record, disturbed(), wanted, started, suite)
        if options.only is not None:
            break
        number += 1
    for name in made:
        rows = [row for row in record.rows.values() if row["scenario"] == name]
        print(f"  {name}: {sum(row['disturbed'] for row in rows)} {suite} in {len(rows)} runs to the end")
    print(f"  {disturbed()} {suite} in all, {len(record.faulty)} runs of {len(record.rows)} with faults")
    return tell_faults(record, _again(options, suite))


def _kind(faults: list[str]) -> str:
    """Says in a few words of what kind faults are."""
    return faults[0].partition(": ")[2][:60] if faults else ""


def kills(options: argparse.Namespace) -> int:
    """Kills commands."""
    return _chains(options, "kills", options.kills, (signal.SIGKILL,))


def signals(options: argparse.Namespace) -> int:
    """Interrupts and terminates commands."""
    return _chains(options, "signals", options.signals, (signal.SIGINT, signal.SIGTERM))


SUITES = (
    ("mutations", "files and command lines with mistakes in them", mutations),
    ("kills", "commands killed at any moment, and started again", kills),
    ("signals", "SIGINT and SIGTERM at any moment", signals),
)
