"""Commands meet a full disk, a folder that cannot be written, another process on their folder, and a flipped bit.

A command may fail then: with a stated exit status and a clear line, and it leaves nothing half written. Started again
without the disturbance it ends as if there had been none. What is read back with a flipped bit is noticed, or the bit
was without effect; never does another result come out without a word.
"""

import ctypes
import os
import resource
import shutil
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from tests.robustness.judge import judged_command
from tests.robustness.kills import half_written
from tests.robustness.mutate import flipped, pick
from tests.robustness.runs import Ended, fresh, run, start
from tests.robustness.scenarios import BY_NAME, OUT, Reference, contents, differences


def _faults(reference: Reference, ended: Ended, *, succeeds: bool = False) -> list[str]:
    """Lists what is wrong with how a disturbed command ended: it fails clearly, or not at all."""
    if ended.status == 0:
        return [] if succeeds else ["it ended with status 0 all the same"]
    verdict = judged_command(70 if ended.status is None else ended.status, ended.err, reference.scenario.named())
    lines = [line for line in ended.err.splitlines() if line.strip()]
    faults = [verdict.detail] if verdict.kind == "fault" else []
    if not faults and len(lines) > 3:
        faults = [f"{len(lines)} lines: {ended.err[-300:]}"]
    return faults


def _ends_well(reference: Reference, place: Path) -> list[str]:
    """Starts the command once more, undisturbed, and compares."""
    ended = run(reference.scenario.arguments, place)
    if ended.status:
        return [f"started again it ended with status {ended.status}: {ended.err[-300:]}"]
    return [f"started again: {line}" for line in differences(contents(place / OUT), reference.wanted)]


def disk_full(reference: Reference, folder: Path, random: np.random.Generator) -> list[str] | str:
    """Has the command write into a file system that is too small; says why not where none can be mounted."""
    place = fresh(folder, reference.inputs)
    size = sum(path.stat().st_size for path in reference.made.rglob("*") if path.is_file())
    pages = max(1, int(random.uniform(0.05, 0.9) * size) // 4096)
    (place / OUT).mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={4 * pages}k", "tmpfs", str(place / OUT)]
    if os.geteuid() or subprocess.run(mount, capture_output=True).returncode:
        return "no small file system can be mounted here"
    try:
        ended = run(reference.scenario.arguments, place)
        faults = _faults(reference, ended, succeeds=True) + half_written(reference, place, f"{4 * pages} KiB")
        shutil.copytree(place / OUT, place / "kept", symlinks=True)
    finally:
        subprocess.run(["umount", "-l", str(place / OUT)], check=True)
    (place / OUT).rmdir()
    (place / "kept").rename(place / OUT)
    return [f"disk of {4 * pages} KiB: {line}" for line in faults] or _ends_well(reference, place)


def file_too_large(reference: Reference, folder: Path, random: np.random.Generator) -> list[str]:
    """Limits the size of files, which is how a full disk looks where nothing can be mounted."""
    place = fresh(folder, reference.inputs)
    largest = max(path.stat().st_size for path in reference.made.rglob("*") if path.is_file())
    limit = max(1, int(random.uniform(0.01, 0.9) * largest))
    # The output of the command itself goes into a file too.
    limit = max(limit, 4096)
    ended = run(
        reference.scenario.arguments,
        place,
        lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY)),
    )
    faults = _faults(reference, ended, succeeds=True) + half_written(reference, place, f"files up to {limit} bytes")
    return [f"files up to {limit} bytes: {line}" for line in faults] or _ends_well(reference, place)


def read_only(reference: Reference, folder: Path, random: np.random.Generator) -> list[str]:
    """Takes away the right to write into the folder of outputs."""
    place = fresh(folder, reference.inputs)
    (place / OUT).mkdir()
    (place / OUT).chmod(0o555)
    try:
        ended = run(reference.scenario.arguments, place, _without_capabilities)
    finally:
        (place / OUT).chmod(0o755)
    faults = _faults(reference, ended)
    left = sorted(path.name for path in (place / OUT).rglob("*"))
    return [f"read-only: {line}" for line in faults + left] or _ends_well(reference, place)


def _without_capabilities() -> None:
    """Gives up what lets root write anywhere; without effect for others."""
    header, none = (ctypes.c_uint32 * 2)(0x20080522, 0), (ctypes.c_uint32 * 6)()
    if ctypes.CDLL(None, use_errno=True).capset(header, none):
        raise OSError(ctypes.get_errno(), "cannot give up the rights of root")


def two_at_once(reference: Reference, folder: Path, random: np.random.Generator) -> list[str]:
    """Starts the command twice; both end well, or one says clearly that the other is at work."""
    place = fresh(folder, reference.inputs)
    first = start(reference.scenario.arguments, place)
    time.sleep(random.choice([0.0, random.uniform(0, reference.seconds)]))
    ended = [start(reference.scenario.arguments, place).finish(), first.finish()]
    faults = [line for each in ended for line in _faults(reference, each, succeeds=True)]
    if not any(each.status == 0 for each in ended):
        faults.append(f"neither ended well: {ended[0].err[-200:]} / {ended[1].err[-200:]}")
    faults += differences(contents(place / OUT), reference.wanted)
    return [f"two at once: {line}" for line in faults]


#: What is read back by which command, in its working directory.
READ_BACK = {
    "prepare": (f"{OUT}/prepared/frames/**/*.png", f"{OUT}/prepared/*.csv", f"{OUT}/prepared/.progress/*"),
    "train": (f"{OUT}/run/last/**/*", f"{OUT}/run/best/**/*", "prepared/frames/**/*.png", f"{OUT}/run/settings.json"),
    "evaluate": (f"{OUT}/results/**/batches/*", f"{OUT}/results/**/settings.json"),
    "concepts": (f"{OUT}/results/**/batches/*", f"{OUT}/results/**/settings.json"),
    "explain_folder": ("best.safetensors",),
    "convert_back": ("orbax/**/*",),
}


def flipped_bit(reference: Reference, folder: Path, random: np.random.Generator) -> list[str]:
    """Flips a bit in something that an earlier run wrote, and starts the command once more."""
    scenario = reference.scenario
    place = fresh(folder, reference.inputs)
    shutil.copytree(reference.made, place / OUT)
    pattern = pick(random, READ_BACK[scenario.name])
    if not pattern.startswith(OUT) and scenario.name != "train":
        shutil.rmtree(place / OUT)
    files = sorted(path for path in place.glob(pattern) if path.is_file() and path.stat().st_size)
    path = pick(random, files)
    before, after = path.stat(), flipped(path.read_bytes(), random)
    path.write_bytes(after)
    # A bad sector does not change the time either.
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    ended = run(scenario.arguments, place)
    what = f"a bit in {path.relative_to(place)}"
    if ended.status:
        named = _faults(reference, Ended(ended.status, ended.err.replace(path.name, OUT), ended.seconds))
        return [f"{what}: {line}" for line in named]
    differ = differences(contents(place / OUT), reference.wanted)
    if scenario.name in ("evaluate", "concepts") and path.read_bytes() == after:
        # The bit was without effect on all others. Frames, in contrast, are results themselves.
        differ = [line for line in differ if not line.endswith(path.relative_to(place / OUT).as_posix())]
    return [f"{what}, another result, not a word: {line}" for line in differ]


def bit_in_the_cache(reference: Reference, folder: Path, random: np.random.Generator) -> list[str]:
    """Flips a bit in a compiled or traced program that is kept; it is discarded, or the bit was without effect."""
    cache = folder.with_name(f"{folder.name}.cache")
    shutil.rmtree(cache, ignore_errors=True)
    shutil.copytree(os.environ["JAX_COMPILATION_CACHE_DIR"], cache)
    kept = pick(random, ("traced/*", "*-cache"))
    files = sorted(path for path in cache.glob(kept) if path.is_file())
    if kept == "*-cache":
        # Those that this command reads are known by nothing but their size: the network's are the largest.
        files = sorted(files, key=lambda path: path.stat().st_size)[-12:]
    for path in files:
        path.write_bytes(flipped(path.read_bytes(), random))
    place = fresh(folder, reference.inputs)
    ended = run(reference.scenario.arguments, place, lambda: os.environ.update(JAX_COMPILATION_CACHE_DIR=str(cache)))
    shutil.rmtree(cache)
    faults = _faults(reference, ended, succeeds=True)
    if ended.status:
        faults.insert(0, f"status {ended.status}")
    differ = differences(contents(place / OUT), reference.wanted)
    return [f"a bit in each of {kept} of the cache: {line}" for line in faults + differ]


#: Scenarios that keep compiled programs.
COMPILED = ("train", "explain_folder", "explain_video", "evaluate", "concepts")
#: What disturbs which scenarios.
DISTURBANCES: dict[str, tuple[Callable[[Reference, Path, np.random.Generator], list[str] | str], tuple[str, ...]]] = {
    "disk_full": (disk_full, tuple(BY_NAME)),
    "file_too_large": (file_too_large, tuple(BY_NAME)),
    "read_only": (read_only, tuple(BY_NAME)),
    "two_at_once": (two_at_once, tuple(BY_NAME)),
    "flipped_bit": (flipped_bit, tuple(READ_BACK)),
    "bit_in_the_cache": (bit_in_the_cache, COMPILED),
}
