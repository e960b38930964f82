"""Batches of prepared frames for training and evaluation, read by Grain.

Grain takes the place of a generator with a pool of threads for three reasons. Its order is a function of seed and
position alone, so a run resumes at the exact example by setting one number, however much was read ahead. Every process
works out its own share of that order without talking to the others. And reading ahead needs no code here.

Threads read ahead, not worker processes: OpenCV decodes and resizes outside of Python's lock, so threads use all cores,
and they start without importing the program anew.
"""

import functools
import os
import sys
import zlib
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NotRequired, TypedDict

import numpy as np
from jaxtyping import Bool, Float32, Int32, Int64, UInt8

from xrcam_jax.data.manifest import MANIFEST, PARTS, Frame, Prepared
from xrcam_jax.pictures.decode import read_grey
from xrcam_jax.pictures.preprocessing import AREA, resize

# So many batches make up for a file that is slow to read, and hardly count in memory.
BATCHES_AHEAD = 8
#: From the file of a frame and the side of the pictures to what is outlined in it.
Outlines = Callable[[str, int], Bool[np.ndarray, "size size"]]
THREADS = max(2, min(BATCHES_AHEAD, os.cpu_count() or 1))


class TrainingBatch(TypedDict):
    """Holds what a training step takes.

    Attributes:
      image: grey frames.
      label: of each frame, the place of its class in ``Prepared.classes``.
      outline: 255 within what is outlined in each frame and 0 outside, if outlines were asked for.
    """

    image: UInt8[np.ndarray, "b h w 1"]
    label: Int32[np.ndarray, "b"]
    outline: NotRequired[UInt8[np.ndarray, "b h w 1"]]


class EvaluationBatch(TrainingBatch):
    """Holds what an evaluation step takes; the last batch of a part is padded.

    Attributes:
      weight: 1, or 0 for padding.
      index: of each frame, its place in ``Prepared.part(part)``, or -1 for padding.
    """

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
    outlines: Outlines | None = None,
) -> "TrainingBatches":
    """Returns shuffled batches without end, the same for the same seed.

    The order is one epoch after the other, and each epoch has every frame once, newly shuffled. Batches carry on across
    the border of two epochs: no frame is ever left out, and all batches have the same shape, however small the part is.
    Together the processes' batches of a step are the next ``batch_size * processes`` frames of that one order.

    Args:
      prepared: the folder that the frames are in.
      batch_size: of this process, from 1.
      size: side in pixels that all frames are resized to, :func:`common_size` by default.
      seed: of the order, from 0.
      process: number of this process, from 0.
      processes: how many there are.
      part: one of ``manifest.PARTS``.
      outlines: what is outlined in each frame, such as :meth:`xrcam_jax.data.coco.Annotations.masks`; batches then have
        an ``"outline"``.

    Returns:
      An iterator whose state says which frames have been seen.

    Raises:
      ValueError: naming the argument that is wrong or the part that has no frames; on iteration, naming the picture
        that is missing, unreadable, or not of the size that the manifest says.
      ImportError: Grain is not installed.

    Example:
      >>> import tempfile
      >>> from pathlib import Path
      >>> import numpy as np
      >>> from xrcam_jax.pictures.crop import Crop
      >>> from xrcam_jax.data.manifest import Frame, Prepared, Statistics
      >>> from xrcam_jax.data.pipeline import training_batches
      >>> from xrcam_jax.pictures.write import save_picture
      >>> frame = Frame("a.png", "sick", "p1", "sick/p1/clip.avi", 0, Crop(0, 0, 8, 8, 8))
      >>> with tempfile.TemporaryDirectory() as folder:
      ...     save_picture(f"{folder}/a.png", np.zeros((8, 8, 3), np.uint8))
      ...     prepared = Prepared(Path(folder), (frame,), {"p1": "train"}, Statistics(0.5, 0.25))
      ...     batches = training_batches(prepared, batch_size=3, seed=0)
      ...     print(next(batches)["image"].shape)
      ...     batches.close()
      (3, 8, 8, 1)
    """
    frames = _frames(prepared, part, batch_size, size, process, processes)
    if seed < 0:
        raise ValueError(f"seed: expected 0 or more, got {seed}")
    examples = _Examples.of(prepared, frames, size, outlines)
    return TrainingBatches(examples, batch_size, seed, process, processes)


class TrainingBatches(Iterator[TrainingBatch]):
    """The endless iterator that :func:`training_batches` returns; its state says which frames have been seen."""

    def __init__(self, examples: "_Examples", batch_size: int, seed: int, process: int, processes: int) -> None:
        grain = _grain()
        files = "\n".join(frame.file for frame in examples.frames)
        self._order = {"seed": seed, "frames": len(examples.frames), "files": zlib.crc32(files.encode())}
        self._together = batch_size * processes
        # The order is sliced after the epochs are chained, so that all processes have as many frames and none is left
        # out.
        order = grain.MapDataset.source(_Shuffled(len(examples.frames), seed))[process::processes]
        self._batches = iter(_ahead(order.map(examples.plain).batch(batch_size, drop_remainder=True)))

    def __next__(self) -> TrainingBatch:
        return next(self._batches)

    def get_state(self) -> dict[str, int]:
        """Returns what :meth:`set_state` needs to carry on with the next batch: a few integers, fit for JSON.

        The state holds for other numbers of processes and batch sizes too, as ``seen`` counts the frames of all
        processes.
        """
        return {**self._order, "seen": self._batches.get_state()["next_index"] * self._together}

    def set_state(self, state: dict[str, int]) -> None:
        """Carries on where the iterator that ``state`` was got from would have.

        Args:
          state: what :meth:`get_state` returned.

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
    """Returns the least number of steps that see every frame of a part.

    Args:
      prepared: the folder that the frames are in.
      batch_size: of one process, from 1.
      processes: how many there are.
      part: one of ``manifest.PARTS``.

    Returns:
      The number. The last step may reach into the next epoch, see :func:`training_batches`.

    Raises:
      ValueError: naming the argument that is wrong or the part that has no frames.

    Example:
      >>> from pathlib import Path
      >>> from xrcam_jax.pictures.crop import Crop
      >>> from xrcam_jax.data.manifest import Frame, Prepared, Statistics
      >>> from xrcam_jax.data.pipeline import steps_per_epoch
      >>> frames = [Frame(f"{n}.png", "sick", "p1", "sick/p1/clip.avi", n, Crop(0, 0, 8, 8, 8)) for n in range(10)]
      >>> prepared = Prepared(Path("prepared"), tuple(frames), {"p1": "train"}, Statistics(0.5, 0.25))
      >>> steps_per_epoch(prepared, batch_size=4)
      3
    """
    return -(-len(_frames(prepared, part, batch_size, None, 0, processes)) // (batch_size * processes))


def evaluation_batches(
    prepared: Prepared, part: str, *, batch_size: int, size: int | None = None, process: int = 0, processes: int = 1
) -> "EvaluationBatches":
    """Returns every frame of a part once, in the manifest's order; it can be iterated again and has a length.

    The processes' batches of a step, one after the other, are the next frames in that order. The last step is padded
    with black frames of label 0, weight 0 and index -1. All processes have as many batches, all of one shape.

    Args:
      prepared: the folder that the frames are in.
      part: one of ``manifest.PARTS``.
      batch_size: of this process, from 1.
      size: side in pixels that all frames are resized to, :func:`common_size` by default.
      process: number of this process, from 0.
      processes: how many there are.

    Returns:
      An iterable of batches.

    Raises:
      ValueError: as :func:`training_batches` does.
      ImportError: Grain is not installed.

    Example:
      >>> import tempfile
      >>> from pathlib import Path
      >>> import numpy as np
      >>> from xrcam_jax.pictures.crop import Crop
      >>> from xrcam_jax.data.manifest import Frame, Prepared, Statistics
      >>> from xrcam_jax.data.pipeline import evaluation_batches
      >>> from xrcam_jax.pictures.write import save_picture
      >>> frame = Frame("a.png", "sick", "p1", "sick/p1/clip.avi", 0, Crop(0, 0, 8, 8, 8))
      >>> with tempfile.TemporaryDirectory() as folder:
      ...     save_picture(f"{folder}/a.png", np.zeros((8, 8, 3), np.uint8))
      ...     prepared = Prepared(Path(folder), (frame,), {"p1": "test"}, Statistics(0.5, 0.25))
      ...     [batch["weight"].tolist() for batch in evaluation_batches(prepared, "test", batch_size=2)]
      [[1.0, 0.0]]
    """
    frames = _frames(prepared, part, batch_size, size, process, processes)
    return EvaluationBatches(_Examples.of(prepared, frames, size, None), batch_size, process, processes)


class EvaluationBatches:
    """The iterable that :func:`evaluation_batches` returns."""

    def __init__(self, examples: "_Examples", batch_size: int, process: int, processes: int) -> None:
        count = len(examples.frames)
        steps = -(-count // (batch_size * processes))
        places = np.arange(steps * processes * batch_size)
        places[count:] = -1
        mine = places.reshape(steps, processes, batch_size)[:, process].ravel().tolist()
        self._batches = _grain().MapDataset.source(mine).map(examples.weighted).batch(batch_size)

    def __len__(self) -> int:
        return len(self._batches)

    def __iter__(self) -> Iterator[EvaluationBatch]:
        return iter(_ahead(self._batches))


def common_size(prepared: Prepared) -> int:
    """Returns the side that most frames of all parts have; of equally frequent ones the largest.

    Args:
      prepared: the folder that the frames are in.

    Returns:
      The side in pixels.

    Example:
      >>> from pathlib import Path
      >>> from xrcam_jax.pictures.crop import Crop
      >>> from xrcam_jax.data.manifest import Frame, Prepared, Statistics
      >>> from xrcam_jax.data.pipeline import common_size
      >>> crops = [Crop(0, 0, side, 8, 8) for side in (6, 6, 8)]
      >>> frames = [Frame(f"{n}.png", "sick", "p1", "sick/p1/clip.avi", n, crop) for n, crop in enumerate(crops)]
      >>> common_size(Prepared(Path("prepared"), tuple(frames), {"p1": "train"}, Statistics(0.5, 0.25)))
      6
    """
    counts = Counter(frame.size for frame in prepared.frames)
    return max(counts, key=lambda size: (counts[size], size))


def read_picture(folder: Path, frame: Frame, size: int) -> UInt8[np.ndarray, "{size} {size}"]:
    """Reads the grey picture of a prepared frame, resized: by area means where it shrinks, bilinearly where it grows.

    Args:
      folder: the prepared folder.
      frame: one of its frames.
      size: side of the picture in pixels, from 1.

    Returns:
      The picture.

    Raises:
      ValueError: naming the picture that is missing, unreadable, or not of the size that the manifest says.

    Example:
      >>> import tempfile
      >>> from pathlib import Path
      >>> import numpy as np
      >>> from xrcam_jax.pictures.crop import Crop
      >>> from xrcam_jax.data.manifest import Frame
      >>> from xrcam_jax.data.pipeline import read_picture
      >>> from xrcam_jax.pictures.write import save_picture
      >>> frame = Frame("a.png", "sick", "p1", "sick/p1/clip.avi", 0, Crop(0, 0, 2, 8, 8))
      >>> with tempfile.TemporaryDirectory() as folder:
      ...     save_picture(f"{folder}/a.png", np.uint8([[[0] * 3, [8] * 3], [[16] * 3, [24] * 3]]))
      ...     read_picture(Path(folder), frame, 1).tolist()
      [[12]]
    """
    path = folder / frame.file
    try:
        picture = read_grey(path)
    except ValueError as error:
        raise ValueError(f"{error}; {MANIFEST} lists it") from None
    if picture.shape != (frame.size, frame.size):
        raise ValueError(f"{path}: expected {frame.size} x {frame.size} as in {MANIFEST}, found {picture.shape}")
    return resize(picture, size, size, AREA)


@dataclass(frozen=True, eq=False)
class _Examples:
    """Reads the example at a place of a list of frames."""

    folder: Path
    frames: Sequence[Frame]
    labels: Int32[np.ndarray, "n"]
    size: int
    outlines: Outlines | None

    @classmethod
    def of(cls, prepared: Prepared, frames: Sequence[Frame], size: int | None, marked: Outlines | None) -> "_Examples":
        numbers = {name: number for number, name in enumerate(prepared.classes)}
        labels = np.array([numbers[frame.label] for frame in frames], np.int32)
        return cls(prepared.folder, frames, labels, size or common_size(prepared), marked)

    def plain(self, place: int) -> dict:
        frame = self.frames[place]
        example = {"image": read_picture(self.folder, frame, self.size)[..., None], "label": self.labels[place]}
        if self.outlines is not None:
            example["outline"] = np.uint8(255) * self.outlines(frame.file, self.size)[..., None]
        return example

    def weighted(self, place: int) -> dict:
        """Reads an example with its weight and place; a place of -1 asks for padding."""
        if place < 0:
            example = {"image": np.zeros((self.size, self.size, 1), np.uint8), "label": np.int32(0)}
        else:
            example = self.plain(place)
        return {**example, "weight": np.float32(place >= 0), "index": np.int32(place)}


class _Shuffled:
    """The places of all frames in one random order after the other, without end.

    Grain's own shuffle is not used: for some seeds of 32 bits, most of 40 places stay where they are. It also looks for
    each place among 65536, which for a few hundred frames takes a tenth of the time of decoding them.
    """

    def __init__(self, frames: int, seed: int) -> None:
        self._frames, self._seed = frames, seed
        # Batches are read in parallel, so the epochs on both sides of a border are asked for in turn.
        self._order = functools.lru_cache(maxsize=2)(self._shuffled)

    def _shuffled(self, epoch: int) -> Int64[np.ndarray, "frames"]:
        return np.random.default_rng((self._seed, epoch)).permutation(self._frames)

    def __len__(self) -> int:
        return sys.maxsize

    def __getitem__(self, position: int) -> int:
        epoch, place = divmod(position, self._frames)
        return int(self._order(epoch)[place])


def _frames(
    prepared: Prepared, part: str, batch_size: int, size: int | None, process: int, processes: int
) -> list[Frame]:
    """Returns the frames of a part, and checks the arguments that both kinds of batches take."""
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
    """Reads whole batches ahead, so that stacking frames does not take the training's time either."""
    options = _grain().ReadOptions(num_threads=THREADS, prefetch_buffer_size=BATCHES_AHEAD)
    return batches.to_iter_dataset(options)


def _grain() -> Any:
    try:
        import grain
    except ImportError:
        raise ImportError("batches are read by Grain: pip install grain") from None
    return grain
