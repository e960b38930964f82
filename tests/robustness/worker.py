"""A process that judges one mutated input after the other, with limits of time and memory; the parent replaces it."""

import os
import resource
import shutil
import signal
import sys
import traceback
from collections.abc import Callable
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np

from tests.robustness.judge import Verdict, judged, judged_command, listing
from tests.robustness.mutate import mutated_arguments, pick
from tests.robustness.targets import LINES, TARGETS, Target, changed_files, scratch_for_lines

#: Above what the process has when it starts.
MEMORY = 3 << 30
#: In seconds, for a reader and for a command, which may have to compile. A case that takes longer hangs.
SECONDS = 20.0
COMMAND_SECONDS = 90.0
#: Of all cases, how many are command lines.
LINES_SHARE = 0.06


class Worker:
    """Judges cases in a forked process, and starts another where that one dies or hangs.

    Args:
      judge: made in the child; given the number of a case, returns what is to be recorded.
    """

    def __init__(self, judge: Callable[[], Callable[[int], dict[str, Any]]]):
        self._judge = judge
        self._process: Any = None

    def judged(self, number: int) -> dict[str, Any]:
        """Returns what is to be recorded of a case."""
        if self._process is None:
            self._start()
        self._pipe.send(number)
        target = "unknown"
        seconds = COMMAND_SECONDS
        try:
            while self._pipe.poll(seconds):
                row = self._pipe.recv()
                if "faults" in row:
                    return row
                # The child has said first what it is about to read.
                target, seconds = row["target"], row["seconds"]
            fault = f"hangs for more than {seconds:.0f} s"
        except (EOFError, ConnectionError):
            self._process.join()
            fault = f"the process dies with status {self._process.exitcode}"
        self.stop()
        return {"target": target, "kind": "fault", "faults": [fault], "group": f"{target}: {fault}"}

    def stop(self) -> None:
        """Ends the process."""
        if self._process is not None:
            self._process.kill()
            self._process.join()
            self._process = None

    def _start(self) -> None:
        context = get_context("fork")
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(theirs, self._judge), daemon=True)
        self._process.start()
        theirs.close()


def _serve(pipe: Any, judge: Callable[[], Callable[..., dict[str, Any]]]) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        found = judge()
        used = 1024 * int(Path("/proc/self/status").read_text().partition("VmSize:")[2].split()[0])
        resource.setrlimit(resource.RLIMIT_AS, (used + MEMORY, resource.RLIM_INFINITY))
        while True:
            number = pipe.recv()
            pipe.send(found(number, pipe.send))
    except EOFError:
        os._exit(0)
    except BaseException:
        traceback.print_exc(file=sys.__stderr__)
        os._exit(71)


class Judge:
    """Makes the mutated inputs and judges them.

    Args:
      seeds: folder of the seeds.
      scratch: folder to work in.
      seed: of all choices; the same seed and number give the same case.
    """

    def __init__(self, seeds: Path, scratch: Path, seed: int):
        self.seeds, self.scratch, self.seed = seeds, scratch, seed
        self._copied: set[str] = set()
        scratch.mkdir(parents=True, exist_ok=True)
        self._err = scratch / "stderr"
        self._own_err = os.dup(2)
        os.dup2(os.open(self._err, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND, 0o600), 2)
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115, for as long as the process lives

    def __call__(self, number: int, tell: Callable[[dict], None]) -> dict[str, Any]:
        """Returns what is to be recorded of a case; first tells what it is about."""
        random = np.random.default_rng((self.seed, number))
        os.truncate(self._err, 0)
        if random.random() < LINES_SHARE:
            tell({"target": "line", "seconds": COMMAND_SECONDS})
            verdict, file, folder = self._line(random)
            target = "line"
        else:
            shares = np.array([target.share for target in TARGETS], float)
            chosen = TARGETS[int(random.choice(len(TARGETS), p=shares / shares.sum()))]
            target = chosen.name
            tell({"target": target, "seconds": COMMAND_SECONDS if chosen.argv else SECONDS})
            verdict, file, folder = self._file(chosen, random, number)
        faults = [f"{file}: {verdict.detail}"] if verdict.kind == "fault" else []
        kind = "" if target == "line" else Path(file).suffix
        return {"target": target, "file": file, "kind": verdict.kind, "faults": faults} | (
            {"group": f"{target} {kind}: {verdict.where}", "kept": str(folder)} if faults else {}
        )

    def _file(self, target: Target, random: np.random.Generator, number: int) -> tuple[Verdict, str, Path]:
        folder = self.scratch / target.name
        # The others are beside it, since some readers compare with them.
        for name in {target.name, "prepared", "weights"} - self._copied:
            shutil.rmtree(self.scratch / name, ignore_errors=True)
            shutil.copytree(self.seeds / name, self.scratch / name)
            self._copied.add(name)
        files = changed_files(target, folder)
        file, change = pick(random, files)
        other = pick(random, files)[0].read_bytes()
        pristine = file.read_bytes()
        before = listing(folder)
        content = change(pristine, other, random)
        file.write_bytes(content)
        verdict = self._verdict(target, folder, file)
        left = sorted(listing(folder) ^ before) if target.name != "notes" else []
        if left and verdict.kind != "fault":
            verdict = Verdict("fault", f"files left or gone: {', '.join(left[:3])}", "files left")
        kept = self.scratch / "faults" / f"{number:06d}_{target.name}_{file.name}"
        if verdict.kind == "fault":
            kept.parent.mkdir(exist_ok=True)
            kept.write_bytes(content)
        if left or target.name == "notes" or target.argv:
            self._copied.discard(target.name)
        else:
            file.write_bytes(pristine)
        return verdict, file.relative_to(folder).as_posix(), kept

    def _verdict(self, target: Target, folder: Path, file: Path) -> Verdict:
        named = target.named or (file.name,)
        if target.argv is None:
            return judged(lambda: target.read(folder, file), named)
        return self._command(target.argv(folder, file), named)

    def _line(self, random: np.random.Generator) -> tuple[Verdict, str, Path]:
        folder = self.scratch / "lines"
        shutil.rmtree(folder, ignore_errors=True)
        scratch_for_lines(self.seeds, folder)
        words = mutated_arguments(pick(random, LINES), random)
        here = os.getcwd()
        os.chdir(folder)
        try:
            return self._command(words, ()), " ".join(map(repr, words))[:300], folder
        finally:
            os.chdir(here)

    def _command(self, words: list[str], named: tuple[str, ...]) -> Verdict:
        from xrcam_jax.cli import main

        try:
            status = main(words)
        except SystemExit as stop:
            status = stop.code if isinstance(stop.code, int) else int(bool(stop.code))
        except BaseException:
            # As the interpreter would show it.
            sys.excepthook(*sys.exc_info())
            status = 1
        sys.stderr.flush()
        return judged_command(status, self._err.read_text(errors="replace"), named)
