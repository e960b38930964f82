"""Peak memory does not grow with the length of the input: few pictures and many, a short video and a long one."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import cv2

from tests.robustness.seeds import picture

FEW, MANY = 200, 4_000
#: In MB: what the names of pictures and rows of results may take.
ALLOWED = 64
#: Runs a command in a fresh process, and tells the most memory that it had at any moment.
SCRIPT = """
import sys
from tests.tiny_networks import PLAIN_SPEC
from xrcam_jax.cli import main
from xrcam_jax.models.specs import SPECS
SPECS["tiny"] = PLAIN_SPEC
status = main(sys.argv[1:])
print("\\npeak", open("/proc/self/status").read().partition("VmHWM:")[2].split()[0], status)
"""


def peak(arguments: list[str], folder: Path, cache: Path) -> float:
    """Returns the peak of resident memory of a command, in MB.

    Raises:
      RuntimeError: the command failed.
    """
    root = str(Path(__file__).parents[2])
    environment = {**os.environ, "JAX_PLATFORMS": "cpu", "JAX_COMPILATION_CACHE_DIR": str(cache), "PYTHONPATH": root}
    command = [sys.executable, "-c", SCRIPT, *arguments]
    ended = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
    _, found, status = (ended.stdout.splitlines() or [""])[-1].split() or ("", "0", "1")
    if ended.returncode or status != "0":
        raise RuntimeError(f"xrcam {arguments[0]} failed: {ended.stderr[-500:]}")
    return int(found) / 1024


def _pictures(folder: Path, count: int) -> None:
    for number in range(count):
        # Each of the two patients and classes has half of them, all different.
        label, patient = (("ill", "p1"), ("well", "q1"))[number % 2]
        path = folder / label / patient / f"{number:05d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(path), picture(32, number))


def _video(path: Path, count: int) -> None:
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"MJPG"), 10, (48, 48))
    for number in range(count):
        writer.write(picture(48, number))
    writer.release()


def measured(folder: Path, weights: Path, cache: Path) -> list[tuple[str, float, float]]:
    """Measures each command with a short and a long input.

    Args:
      folder: to work in.
      weights: of the tiny network.
      cache: of compiled programs.

    Returns:
      What was run, and its peaks in MB with ``FEW`` and with ``MANY`` pictures.
    """
    network = ["--model", "tiny", "--weights", str(weights), "--method", "grad_cam", "--layers", "layer4"]
    commands: dict[str, Callable[[int], list[str]]] = {
        "prepare pictures": lambda n: ["prepare", f"pictures{n}", f"prepared{n}", "--every", "1", "--split", "1/0/0"],
        "explain pictures": lambda n: [
            "explain",
            f"pictures{n}/ill/p1",
            f"pictures{n}/well/q1",
            *network,
            "--out",
            f"out{n}",
        ],
        "explain a video": lambda n: ["explain", f"video{n}.avi", *network, "--out", f"frames{n}"],
        "a video to a video": lambda n: ["explain", f"video{n}.avi", *network, "--out", f"overlay{n}.mp4"],
    }
    for count in (FEW, MANY):
        if not (folder / f"video{count}.avi").exists():
            _pictures(folder / f"pictures{count}", count)
            _video(folder / f"video{count}.avi", count)
    found = []
    for name, arguments in commands.items():
        # Compiling takes memory too: the first run is not measured.
        peak(arguments(FEW), folder, cache)
        peaks = [peak(arguments(count), folder, cache) for count in (FEW, MANY)]
        found.append((name, *peaks))
        print(f"  {name}: {peaks[0]:.0f} MB with {FEW}, {peaks[1]:.0f} MB with {MANY}", flush=True)
    return found


def grown(found: list[tuple[str, float, float]]) -> list[str]:
    """Lists the commands whose memory grows with the length of the input."""
    return [f"{name}: {few:.0f} to {many:.0f} MB" for name, few, many in found if many - few > ALLOWED]
