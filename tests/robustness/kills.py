"""Commands are killed again and again, started again after each kill, and their end compared with an undisturbed run.

Half of the kills come at a random moment, the others just before one change of a file, so that every window between
two renames is met.
"""

import fnmatch
import signal
from pathlib import Path

import numpy as np

from tests.robustness.judge import judged_command
from tests.robustness.runs import Ended, die_at, fresh, start
from tests.robustness.scenarios import OUT, Reference, contents, differences

#: A run that is killed so often is then left alone: most would otherwise start over for ever.
MOST = 8
STATUS = {signal.SIGINT: 130, signal.SIGTERM: 143}


def chain(reference: Reference, folder: Path, random: np.random.Generator, number: int = signal.SIGKILL) -> dict:
    """Disturbs one command until it ends by itself.

    Args:
      reference: the undisturbed run.
      folder: to work in; what was there goes.
      random: when to disturb.
      number: the signal.

    Returns:
      The scenario's name, ``disturbed``, how often, ``moments``, when, and ``faults``, a list of lines.
    """
    place = fresh(folder, reference.inputs)
    moments: list[str] = []
    faults: list[str] = []
    count = 0
    while True:
        moment, ended = _attempt(reference, place, random, number, alone=count >= MOST)
        moments.append(moment)
        if ended.status == 0:
            break
        if number == signal.SIGKILL and ended.status == -signal.SIGKILL:
            count += 1
            faults += half_written(reference, place, moment)
        elif number != signal.SIGKILL and ended.status in (STATUS[number], -number):
            count += 1
            faults += [f"{moment}: {line}" for line in _unclear(reference, ended, number)]
        else:
            faults.append(f"{moment}: status {ended.status}: {ended.err[-500:]}")
            break
    if not faults:
        faults = differences(contents(place / OUT), reference.wanted)
    return {"scenario": reference.scenario.name, "disturbed": count, "moments": moments, "faults": faults[:10]}


def _attempt(
    reference: Reference, place: Path, random: np.random.Generator, number: int, *, alone: bool
) -> tuple[str, Ended]:
    """Runs the command once; returns when it was to be disturbed, and how it ended."""
    arguments = reference.scenario.arguments
    if alone:
        return "left alone", start(arguments, place).finish()
    if number == signal.SIGKILL and reference.changes and random.integers(0, 2):
        change = int(random.integers(0, reference.changes))
        return f"before change {change}", start(arguments, place, die_at(change, Path(OUT))).finish()
    share = random.uniform(0, 1.05) if random.integers(0, 4) else random.uniform(0.85, 1.05)
    seconds = max(0.02, share * reference.seconds)
    child = start(arguments, place)
    if number != signal.SIGKILL:
        child.wait_until_catching(number)
    child.kill_after(seconds, number)
    return f"after {seconds:.3f} s", child.finish()


def half_written(reference: Reference, place: Path, moment: str) -> list[str]:
    """Lists the files under their final names that are not whole. Hidden ones, and those that grow, may be anything."""
    patterns = reference.scenario.growing
    made = place / OUT
    lines = []
    for path in made.rglob("*") if made.is_dir() else ():
        name = path.relative_to(made).as_posix()
        grows = any(fnmatch.fnmatch(f"/{name}", pattern) for pattern in patterns)
        hidden = any(part.startswith(".") for part in path.relative_to(made).parts)
        if path.is_dir() or grows or hidden or name not in reference.wanted or "orbax" in name:
            continue
        if path.read_bytes() != (reference.made / name).read_bytes():
            lines.append(f"{moment}: half written or another: {name}")
    return lines


def _unclear(reference: Reference, ended: Ended, number: int) -> list[str]:
    """Lists what is wrong with how a command ended at a signal: it is to say so, in a line, and nothing else."""
    lines = [line for line in ended.err.splitlines() if line.strip()]
    verdict = judged_command(1, ended.err, ())
    faults = [verdict.detail] if verdict.kind == "fault" else []
    if len(lines) > 2 or not all(line.startswith("xrcam ") for line in lines):
        faults.append(f"{signal.Signals(number).name}: {len(lines)} lines: {ended.err[-300:]}")
    return faults
