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


class Progress:
    """Shows how far a suite is: on one line of a terminal, elsewhere in a line every half minute."""

    def __init__(self, record: Record, wanted: int, what: str):
        self.record, self.wanted, self.what = record, wanted, what
        self.started = self.shown = time.monotonic()

    def __call__(self, done: int) -> None:
        """Shows that so much is done."""
        now, terminal = time.monotonic(), sys.stdout.isatty()
        if not terminal and done < self.wanted and now - self.shown < 30:
            return
        self.shown = now
        text = f"  {done} of {self.wanted} {self.what}, {len(self.record.faulty)} faulty, {now - self.started:.0f} s"
        print(f"\r{text}" if terminal else text, end="" if terminal and done < self.wanted else "\n", flush=True)


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
    progress, done = Progress(record, options.mutations, "mutations"), len(record.rows)
    for number in numbers:
        if number in record.rows and options.only is None:
            continue
        record.add(number, **worker.judged(number))
        progress(len(record.rows))
    worker.stop()
    seconds, fresh = time.monotonic() - progress.started, len(record.rows) - done
    kinds = record.counts("kind")
    print(
        f"  {len(record.rows)} mutated inputs: "
        + ", ".join(f"{kinds[k]} {k}" for k in ("accepted", "refused", "fault"))
    )
    print(f"  by kind: {dict(record.counts('target').most_common())}; {fresh} now, in {seconds:.0f} s")
    return tell_faults(record, _again(options, "mutations"))


def _chains(options: argparse.Namespace, suite: str, wanted: int, numbers: tuple[int, ...]) -> int:
    """Disturbs commands by signals until there were so many."""
    from tests.robustness.kills import chain

    made = {name: each for name, each in _references(options.out, _names(options)).items() if name in _names(options)}
    shares = np.array([each.scenario.share for each in made.values()])
    record = Record(options.out / f"{suite}_{options.seed}.jsonl")
    progress, number = Progress(record, wanted, suite), 0

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
            progress(disturbed())
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


def disturbances(options: argparse.Namespace) -> int:
    """Has commands meet full disks, read-only folders, one another and flipped bits, so many times each."""
    from tests.robustness.disturbances import DISTURBANCES

    names = _names(options)
    made = [each for name, each in _references(options.out, names).items() if name in names]
    record = Record(options.out / f"disturbances_{options.seed}.jsonl")
    kinds = list(DISTURBANCES)
    wanted = len(kinds) * options.disturbances
    progress = Progress(record, wanted, "disturbances")
    for number in range(wanted) if options.only is None else [options.only]:
        if number in record.rows and options.only is None:
            continue
        kind, random = kinds[number % len(kinds)], np.random.default_rng((options.seed, number))
        disturb, names = DISTURBANCES[kind]
        possible = [each for each in made if each.scenario.name in names]
        if not possible:
            record.add(number, kind=kind, scenario="", skipped="none of these commands", faults=[])
            continue
        shares = np.array([each.scenario.share for each in possible])
        reference = possible[int(random.choice(len(possible), p=shares / shares.sum()))]
        found = disturb(reference, options.out / "disturbed" / "disturbances", random)
        faults = found if isinstance(found, list) else []
        row = {"kind": kind, "scenario": reference.scenario.name, "skipped": found if isinstance(found, str) else ""}
        record.add(number, group=f"{kind}, {row['scenario']}: {_kind(faults)}", faults=faults[:10], **row)
        progress(len(record.rows))
    for kind in kinds:
        rows = [row for row in record.rows.values() if row["kind"] == kind]
        skipped = sorted({row["skipped"] for row in rows if row["skipped"]})
        faulty = sum(bool(row["faults"]) for row in rows)
        print(f"  {kind}: {len(rows)}, {faulty} faulty{'; left out: ' + ', '.join(skipped) if skipped else ''}")
    return tell_faults(record, _again(options, "disturbances"))


def images(options: argparse.Namespace) -> int:
    """Explains degenerate images by every method, each in a process of its own."""
    runs.import_all(options.out / "cache")
    faults: list[str] = []
    names = runs.apart(_methods).decode().split()
    for place, method in enumerate(names):
        found = runs.apart(partial(_degenerate, method, options.images)).decode().splitlines()
        faults += found
        if found or (place + 1) % 10 == 0 or place + 1 == len(names):
            print(
                f"  {place + 1} of {len(names)} methods, {options.images} images each, {len(faults)} faults", flush=True
            )
    for line in faults:
        print(
            f"FAULT: {line}\n  again: tests.robustness.degenerate.faults({line.partition(',')[0]!r}, {options.images})"
        )
    return len(faults)


def _methods() -> bytes:
    from tests.robustness.degenerate import METHODS

    return " ".join(METHODS).encode()


def _degenerate(method: str, count: int) -> bytes:
    from tests.robustness.degenerate import faults

    return "\n".join(faults(method, count)).encode()


def memory(options: argparse.Namespace) -> int:
    """Measures peak memory of short and long inputs."""
    from tests.robustness.memory import grown, measured

    made = _references(options.out, ("train",))
    folder = options.out / "memory"
    folder.mkdir(exist_ok=True)
    found = grown(measured(folder, made["train"].made / "run" / "best.safetensors", options.out / "cache"))
    for line in found:
        print(f"FAULT: memory grows with the input: {line}")
    return len(found)


SUITES = (
    ("mutations", "files and command lines with mistakes in them", mutations),
    ("kills", "commands killed at any moment, and started again", kills),
    ("signals", "SIGINT and SIGTERM at any moment", signals),
    ("disturbances", "full disks, read-only folders, two at once, flipped bits", disturbances),
    ("images", "degenerate images, by every method", images),
    ("memory", "peak memory of short and long inputs", memory),
)
