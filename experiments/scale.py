"""Simulates a large data set: several processes share out frames, and what they found is merged once.

    python -m experiments.scale work/ --processes 8 --frames 10000     # of each process; eight minutes on 2 cores

Frames are drawn ones, a few hundred of them shifted in ever other ways, prepared as ``xrcam prepare`` leaves them. They
are explained by the network that comes with the package, as processes of ``xrcam evaluate classes`` that know of one
another do it anywhere. When each batch was done is seen from its file. So the pace of each process is known, in four
parts of the run, and how long the rest waits for the merging. Started again, it goes on after the last batch.

``docs/scale.md`` says what follows for a million frames.
"""

import argparse
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from tqdm import tqdm

from xrcam_jax.benchmark.machine import machine
from xrcam_jax.checkpoints.packaged import MODEL, WEIGHTS
from xrcam_jax.data import manifest
from xrcam_jax.data.cohort import SMALL, draw_frames
from xrcam_jax.data.counts import Counts, write_counts
from xrcam_jax.data.synthetic import LABELS
from xrcam_jax.pictures.crop import Crop
from xrcam_jax.runtime.files import write_whole
from xrcam_jax.studies.settings import BATCHES

#: What each process explains, and how.
STUDY = ("classes", "--method", "xrelevance_cam", "--layers", "layer4", "--part", "all")
REPORT = "scale.json"
#: Distinct drawn frames; the others are these, shifted.
DRAWN = 240
PARTS = 4


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the processes, and writes and prints how fast each one was; returns the exit status."""
    options = parser().parse_args(argv)
    prepared, results = options.out / "prepared", options.out / "results"
    total = options.processes * options.frames
    if not (prepared / manifest.MANIFEST).exists():
        draw(prepared, total, options.side)
    print(f"{options.processes} processes, {options.frames} frames each; their words are in {options.out}", flush=True)
    start = time.time()
    if failed := explain(prepared, results, options):
        print(f"scale: process {failed[0]} ended early; see {log(options.out, failed[0])}", file=sys.stderr)
        return 1
    end = time.time()
    finished = finish_times(results / STUDY[0] / BATCHES)
    found = {
        "settings": {key: value for key, value in vars(options).items() if key != "out"},
        "machine": machine(),
        "processes": paces(finished, options.processes, options.batch_size),
        "run_s": end - start,
        "merge_s": end - finished.max(),
        "bytes_per_frame": {
            "prepared": folder_bytes(prepared) / total,
            "found": folder_bytes(results / STUDY[0] / BATCHES) / total,
        },
    }
    write_whole(options.out / REPORT, (json.dumps(found, indent=1) + "\n").encode())
    show(found)
    return 0


def parser() -> argparse.ArgumentParser:
    """Returns the options of the command line."""
    about = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    about.add_argument("out", type=Path, help="folder for the frames, the results and the report")
    about.add_argument("--processes", type=int, default=8)
    about.add_argument("--frames", type=int, default=10_000, help="of each process")
    about.add_argument("--batch-size", type=int, default=32)
    about.add_argument("--side", type=int, default=96, help="of a frame, in pixels")
    return about


def draw(folder: Path, count: int, side: int) -> None:
    """Writes ``count`` frames as prepared ones; the manifest comes last, and tells that all are there."""
    drawn = draw_frames(replace(SMALL, gbm=2, meningioma=2, videos=1, frames=2 * -(-DRAWN // 4), side=side))
    frames, counts = [], []
    for label, name in enumerate(LABELS):
        pictures = drawn.pictures[drawn.labels == label]
        patient, video = f"P{label + 1:02d}", f"{name}/P{label + 1:02d}/scan.avi"
        (folder / name).mkdir(parents=True, exist_ok=True)
        mine = range(label, count, len(LABELS))
        sums = np.zeros(3, np.int64)
        for number, i in enumerate(tqdm(mine, desc=f"drawing {name}", disable=None)):
            shift = np.random.default_rng(i).integers(0, side, 2)
            picture = np.roll(pictures[number % len(pictures)], shift, (0, 1))
            file = f"{name}/{name}_{patient}_scan_{number:06d}.png"
            if not cv2.imwrite(str(folder / file), picture):
                raise OSError(f"{folder / file}: cannot be written")
            frames.append(manifest.Frame(file, name, patient, video, number, Crop(0, 0, side, side, side)))
            sums += picture.size, int(picture.sum()), int((picture.astype(np.int64) ** 2).sum())
        counts.append(Counts(video, name, patient, len(mine), len(mine), len(mine), *sums.tolist()))
    write_counts(folder, counts)
    manifest.write_split(folder, {f"P{label + 1:02d}": "test" for label in range(len(LABELS))})
    manifest.write_statistics(folder, manifest.Statistics(float(drawn.pictures.mean() / 255), 0.25))
    manifest.write_origin(folder, "drawn, shifted copies among them")
    manifest.write_manifest(folder, frames)


def explain(prepared: Path, results: Path, options: argparse.Namespace) -> list[int]:
    """Has the processes explain all frames; returns the numbers of those that failed."""
    with socket.socket() as free:
        free.bind(("localhost", 0))
        coordinator = f"localhost:{free.getsockname()[1]}"
    data = ("--data", prepared, "--weights", WEIGHTS, "--model", MODEL, "--batch-size", options.batch_size)
    together = ("--out", results, "--coordinator", coordinator, "--processes", options.processes)
    command = [sys.executable, "-m", "xrcam_jax", "evaluate", *map(str, (*STUDY, *data, *together))]
    # A process has one core: several that each wanted all would measure how they get into each other's way.
    flags = f"{os.environ.get('XLA_FLAGS', '')} --xla_cpu_multi_thread_eigen=false"
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "XLA_FLAGS": flags.strip()}
    running = []
    for number in range(options.processes):
        with log(options.out, number).open("w") as words:
            started = subprocess.Popen(
                [*command, "--process", str(number)], stdout=words, stderr=subprocess.STDOUT, env=environment
            )
        running.append(started)
    return [number for number, process in enumerate(running) if process.wait() != 0]


def log(out: Path, number: int) -> Path:
    """Returns the file with what a process says."""
    return out / f"process_{number}.log"


def finish_times(folder: Path) -> np.ndarray:
    """Returns when each batch was done, in the order of the batches."""
    return np.array([path.stat().st_mtime for path in sorted(folder.glob("*.npz"))])


def paces(finished: np.ndarray, processes: int, batch: int) -> list[dict[str, Any]]:
    """Returns how fast each process was: its frames per second, over all and in each part of the run.

    Args:
      finished: when each batch was done; the processes took them in turn.
      processes: how many there were.
      batch: frames in a batch.
    """
    found = []
    for number in range(processes):
        # A pause between two starts is one long step among many, which medians pass over.
        steps = np.diff(np.sort(finished[number::processes]))
        parts = [part for part in np.array_split(steps, PARTS) if part.size]
        rates = [batch / float(np.median(part)) for part in parts]
        overall = batch / float(np.median(steps)) if steps.size else None
        found.append({"process": number, "batches": steps.size + 1, "frames_per_s": overall, "parts": rates})
    return found


def folder_bytes(folder: Path) -> int:
    """Returns the bytes of all files in a folder."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def show(found: dict[str, Any]) -> None:
    """Prints the paces, and how far the slowest lies below the fastest."""
    for each in found["processes"]:
        parts = " ".join(f"{rate:8.2f}" for rate in each["parts"])
        overall = each["frames_per_s"] or float("nan")
        print(f"process {each['process']}: {overall:8.2f} frames/s; by part of the run {parts}")
    rates = [rate for each in found["processes"] for rate in each["parts"]]
    if rates:
        print(f"slowest / fastest {min(rates) / max(rates):.2f}")
    size = found["bytes_per_frame"]
    print(f"merged in {found['merge_s']:.1f} s of {found['run_s']:.0f} s; bytes per frame: {size}")


if __name__ == "__main__":
    raise SystemExit(main())
