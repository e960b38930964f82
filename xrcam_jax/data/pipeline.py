"""Batches of prepared frames for training and evaluation, read by Grain.

Why Grain and not a generator with a thread pool: its order is a function of seed and position alone, so a run is
resumed at the exact example by setting one number, no matter how much was read ahead; every process works out its own
share of that order without talking to the others; and reading ahead needs no code here.

Threads read ahead, not worker processes: OpenCV decodes and resizes outside of Python's lock, so that threads use
all cores, and start without importing the program anew.
"""

import functools
import os
import sys
import zlib
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TypedDict

import cv2
import numpy as np
from jaxtyping import Float32, Int32, Int64, UInt8

from xrcam_jax.data.manifest import MANIFEST, PARTS, Frame, Prepared
from xrcam_jax.pictures.decode import read_grey

# Each holds one batch: enough that a slow file is made up for, few enough that memory does not notice.
BATCHES_AHEAD = 8
THREADS = max(2, min(BATCHES_AHEAD, os.cpu_count() or 1))


class TrainingBatch(TypedDict):
    """What a training step takes; ``label`` is the place in ``Prepared.classes``."""

    image: UInt8[np.ndarray, "b h w 1"]
    label: Int32[np.ndarray, "b"]


class EvaluationBatch(TrainingBatch):
    """``weight`` is 1, or 0 for padding; ``index`` is the place in ``Prepared.part(part)``, or -1 for padding."""

    weight: Float32[np.ndarray, "b"]
    index: Int32[np.ndarray, "b"]


def training_batches(
    prepared: Prepared,
    *,
    batch_size: int,
    size: int | None = None,
    seed: int,
    process: int = 0,
    processes: int = 1,
    part: str = "train",
) -> "TrainingBatches":
    """Shuffled batches without end, the same for the same seed.

    The order is one epoch after the other, each every frame once, newly shuffled. Batches carry on across the border
    of two epochs: no frame is ever left out, and all batches have the same shape, however small the part is. Together
    the processes' batches of a step are the next ``batch_size * processes`` frames of that one order.

    Args:
      prepared: where the frames are.
      batch_size: of this process.
      size: side in pixels that all frames are resized to, ``common_size`` by default.
      seed: of the order, any integer from 0.
      process: number of this process, from 0.
      processes: how many there are.
      part: one of ``manifest.PARTS``.

    Raises:
      ValueError: naming the argument that is wrong or the part that has no frames; on iteration, naming the picture
        that is missing, unreadable, or not of the size that the manifest says.
    """
    frames = _frames(prepared, part, batch_size, size, process, processes)
    if seed < 0:
        raise ValueError(f"seed: expected 0 or more, got {seed}")
    return TrainingBatches(prepared, frames, batch_size, size or common_size(prepared), seed, process, processes)


class TrainingBatches(Iterator[TrainingBatch]):
    """The endless iterator that ``training_batches`` returns; its state says which frames have been seen."""

    def __init__(
        self,
        prepared: Prepared,
        frames: list[Frame],
        batch_size: int,
        size: int,
        seed: int,
        process: int,
        processes: int,
    ) -> None:
        grain = _grain()
        files = "\n".join(frame.file for frame in frames)
        self._order = {"seed": seed, "frames": len(frames), "files": zlib.crc32(files.encode())}
        self._together = batch_size * processes
        # Sliced after the epochs are chained: all processes have as many frames, and none is left out.
        order = grain.MapDataset.source(_Shuffled(len(frames), seed))[process::processes]
        read = functools.partial(_example, prepared.folder, frames, _labels(prepared, frames), size)
        self._batches = iter(_ahead(order.map(read).batch(batch_size, drop_remainder=True)))

    def __next__(self) -> TrainingBatch:
        return next(self._batches)

    def get_state(self) -> dict[str, int]:
        """What ``set_state`` needs to carry on with the next batch: a few integers, fit for JSON.

        It holds for other numbers of processes and batch sizes too, as ``seen`` counts the frames of all processes.
        """
        return {**self._order, "seen": self._batches.get_state()["next_index"] * self._together}

    def set_state(self, state: dict[str, int]) -> None:
        """Carries on where the iterator that ``state`` was got from would have.

        Raises:
          ValueError: where ``state`` is of another seed or other frames, or lies between two batches of this size.
        """
        for name, ours in self._order.items():
            if state.get(name) != ours:
                raise ValueError(f"state: expected {name} {ours}, found {state.get(name)}; the order is another one")
        seen = int(state.get("seen", -1))
        if seen < 0 or seen % self._together:
            raise ValueError(f"state: expected seen to be a multiple of {self._together} frames, found {seen}")
        self._batches.set_state({"next_index": seen // self._together})

    def close(self) -> None:
        """Stops reading ahead; there are no batches afterwards."""
        self._batches.close()


def steps_per_epoch(prepared: Prepared, *, batch_size: int, processes: int = 1, part: str = "train") -> int:
    """The least number of steps that see every frame of the part.

    The last one may reach into the next epoch, see ``training_batches``; ``batch_size`` is of one process.

    Raises:
      ValueError: naming the argument that is wrong or the part that has no frames.
    """
    return -(-len(_frames(prepared, part, batch_size, None, 0, processes)) // (batch_size * processes))


def evaluation_batches(
    prepared: Prepared, part: str, *, batch_size: int, size: int | None = None, process: int = 0, processes: int = 1
) -> "EvaluationBatches":
    """Every frame of a part once, in the manifest's order; can be iterated again and has a length.

    The processes' batches of a step, one after the other, are the next frames in that order. The last step is padded
    with black frames of label 0, weight 0 and index -1; all processes have as many batches, all of one shape.

    Args:
      prepared: where the frames are.
      part: one of ``manifest.PARTS``.
      batch_size: of this process.
      size: side in pixels that all frames are resized to, ``common_size`` by default.
      process: number of this process, from 0.
      processes: how many there are.

    Raises:
      ValueError: as ``training_batches`` does.
    """
    frames = _frames(prepared, part, batch_size, size, process, processes)
    return EvaluationBatches(prepared, frames, batch_size, size or common_size(prepared), process, processes)


class EvaluationBatches:
    """What ``evaluation_batches`` returns."""

    def __init__(
        self, prepared: Prepared, frames: list[Frame], batch_size: int, size: int, process: int, processes: int
    ) -> None:
        steps = -(-len(frames) // (batch_size * processes))
        places = np.arange(steps * processes * batch_size)
        places[len(frames) :] = -1
        mine = places.reshape(steps, processes, batch_size)[:, process].ravel()
        read = functools.partial(_weighted_example, prepared.folder, frames, _labels(prepared, frames), size)
        self._batches = _grain().MapDataset.source(mine.tolist()).map(read).batch(batch_size)

    def __len__(self) -> int:
        return len(self._batches)

    def __iter__(self) -> Iterator[EvaluationBatch]:
        return iter(_ahead(self._batches))


def common_size(prepared: Prepared) -> int:
    """The side, in pixels, that most frames of all parts have; of equally frequent ones the largest."""
    counts = Counter(frame.size for frame in prepared.frames)
    return max(counts, key=lambda size: (counts[size], size))


def read_picture(folder: Path, frame: Frame, size: int) -> UInt8[np.ndarray, "size size"]:
    """The grey picture of a prepared frame, resized: area means where it shrinks, bilinear where it grows.

    Raises:
      ValueError: naming the picture that is missing, unreadable, or not of the size that the manifest says.
    """
    path = folder / frame.file
    try:
        picture = read_grey(path)
    except ValueError as error:
        raise ValueError(f"{error}; {MANIFEST} lists it") from None
    if picture.shape != (frame.size, frame.size):
        raise ValueError(f"{path}: expected {frame.size} x {frame.size} as in {MANIFEST}, found {picture.shape}")
    if size == frame.size:
        return picture
    return cv2.resize(picture, (size, size), interpolation=cv2.INTER_AREA if size < frame.size else cv2.INTER_LINEAR)


class _Shuffled:
    """Without end, the places of all frames in one random order after the other.

    Not Grain's own shuffle: in some 32-bit seeds' orders of 40 places most stay where they are, and it looks for each
    among 65536, which for a few hundred frames takes as long as a tenth of decoding them.
    """

    def __init__(self, frames: int, seed: int) -> None:
        self._frames, self._seed = frames, seed
        # Batches are read in parallel, so that the epochs on both sides of a border are asked for in turn.
        self._order = functools.lru_cache(maxsize=2)(self._shuffled)

    def _shuffled(self, epoch: int) -> Int64[np.ndarray, "frames"]:
        return np.random.default_rng((self._seed, epoch)).permutation(self._frames)

    def __len__(self) -> int:
        return sys.maxsize

    def __getitem__(self, position: int) -> int:
        epoch, place = divmod(position, self._frames)
        return int(self._order(epoch)[place])


def _example(folder: Path, frames: list[Frame], labels: Int32[np.ndarray, "n"], size: int, place: int) -> dict:
    return {"image": read_picture(folder, frames[place], size)[..., None], "label": labels[place]}


def _weighted_example(folder: Path, frames: list[Frame], labels: Int32[np.ndarray, "n"], size: int, place: int) -> dict:
    if place < 0:
        example = {"image": np.zeros((size, size, 1), np.uint8), "label": np.int32(0)}
    else:
        example = _example(folder, frames, labels, size, place)
    return {**example, "weight": np.float32(place >= 0), "index": np.int32(place)}


def _labels(prepared: Prepared, frames: list[Frame]) -> Int32[np.ndarray, "n"]:
    numbers = {name: number for number, name in enumerate(prepared.classes)}
    return np.array([numbers[frame.label] for frame in frames], np.int32)


def _frames(
    prepared: Prepared, part: str, batch_size: int, size: int | None, process: int, processes: int
) -> list[Frame]:
    """The frames of a part, the arguments that both kinds of batches take being checked."""
    if part not in PARTS:
        raise ValueError(f"part: {part!r} is none of {', '.join(PARTS)}")
    if batch_size < 1:
        raise ValueError(f"batch_size: expected 1 or more, got {batch_size}")
    if size is not None and size < 1:
        raise ValueError(f"size: expected 1 or more pixels, got {size}")
    if not 0 <= process < processes:
        raise ValueError(f"process: expected 0 up to {processes - 1} of {processes} processes, got {process}")
    frames = prepared.part(part)
    if not frames:
        raise ValueError(f"{prepared.folder}: no frames are in the part {part!r}")
    return frames


def _ahead(batches: Any) -> Any:
    """Whole batches are read ahead, so that stacking them does not take the training's time either."""
    options = _grain().ReadOptions(num_threads=THREADS, prefetch_buffer_size=BATCHES_AHEAD)
    return batches.to_iter_dataset(options)


def _grain() -> Any:
    try:
        import grain
    except ImportError:
        raise ImportError("batches are read by Grain: pip install grain") from None
    return grain
