"""Batches hold the frames as a network wants them; what is computed of each batch is kept in a file.

A file is sealed with a digest of what is in it and of what it is of. One that is damaged, or has come from another
place, study or version, is computed again.
"""

import sys
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
from jaxtyping import Bool, Float, Int, UInt8
from tqdm import tqdm

from xrcam_jax.data.coco import resized
from xrcam_jax.data.manifest import Frame
from xrcam_jax.data.pipeline import read_picture
from xrcam_jax.errors import CommandError
from xrcam_jax.pictures.preprocessing import Box, Preprocessing, crop_box, preprocess
from xrcam_jax.runtime.devices import lay, wait_for_all
from xrcam_jax.runtime.files import write_whole
from xrcam_jax.runtime.names import file_stem, printable
from xrcam_jax.runtime.prefetch import map_ahead
from xrcam_jax.studies.folds import CrossValidated
from xrcam_jax.studies.networks import Network
from xrcam_jax.studies.sealed import Arrays as Arrays
from xrcam_jax.studies.sealed import read_sealed, sealed
from xrcam_jax.studies.settings import BATCHES
from xrcam_jax.studies.study import Study


class Batch(NamedTuple):
    """Holds frames as a network wants them, on the host as they are read; what computes gets them on the devices.

    Attributes:
      pictures: grey, at the network's resolution.
      images: the same, normalised.
      labels: class numbers.
      masks: True where a person outlined something.
      boxes: around each outlined structure (top, left, bottom, right); zeros where a frame has fewer than n.
      start: place of the first frame among those of the study.
    """

    pictures: UInt8[np.ndarray, "b h w"]
    images: Float[np.ndarray, "b h w c"]
    labels: Int[np.ndarray, " b"]
    masks: Bool[np.ndarray, "b h w"]
    boxes: Int[np.ndarray, "b n 4"]
    start: int


def each_batch(
    study: Study,
    network: Network | CrossValidated,
    figures: Callable[[Network], Callable[[Batch], Mapping[str, Any]]],
) -> Arrays:
    """Returns what is found of all frames, in their order; batches that are done already are read, not computed.

    Several processes take the batches in turn.

    Args:
      study: what is looked at.
      network: under whose label the batches are kept.
      figures: given the network that judges some frames, which is ``network`` itself or that of a fold, returns a
        function of a batch that gives arrays with a row for each picture. All batches have the same size: the last one
        repeats its last picture. Their arrays lie across the devices.

    Raises:
      ConnectionError: another process has failed.
      CommandError: a batch cannot be read.
    """
    batches = judged(study, network)
    mine = batches[jax.process_index() :: jax.process_count()]
    missing = [each for each in mine if not _is_done(study, *each)]
    bar = tqdm(missing, desc=f"{study.name} {network.label}", unit="batch", disable=None)
    read = map_ahead(lambda each: read_batch(study, *each), missing, 1)
    compute_by = cache(figures)
    for (judge, places), batch in zip(bar, read, strict=True):
        computed = jax.device_get(dict(compute_by(judge)(laid(study, batch))))
        found = {name: np.asarray(value)[: len(places)] for name, value in computed.items()}
        write_whole(_path(study, judge, places), sealed(found, _about(study, judge, places)))
    wait_for_all(f"{study.name} {network.label}")
    parts = [_load(study, *each) for each in batches]
    order = np.argsort(np.concatenate([places for _, places in batches]))
    return {name: np.concatenate([part[name] for part in parts])[order] for name in parts[0]}


def judged(study: Study, network: Network | CrossValidated) -> list[tuple[Network, list[int]]]:
    """Returns the batches of a study: who judges it, and the places of its frames among those of the study."""
    by_judge: dict[Network, list[int]] = {}
    for place, frame in enumerate(study.frames):
        by_judge.setdefault(network.judge(frame.patient), []).append(place)
    return [
        (judge, places[start : start + study.batch_size])
        for judge, places in by_judge.items()
        for start in range(0, len(places), study.batch_size)
    ]


def _path(study: Study, judge: Network, places: Sequence[int]) -> Path:
    return study.folder / BATCHES / f"{file_stem(judge.label)}_{places[0]:06d}.npz"


def _is_done(study: Study, judge: Network, places: Sequence[int]) -> bool:
    """Tells whether a batch is there and whole; says so where it is there and not whole."""
    path = _path(study, judge, places)
    if not path.exists():
        return False
    try:
        _load(study, judge, places)
    except CommandError as error:
        print(printable(f"xrcam evaluate: {error}; it is computed again"), file=sys.stderr)
        return False
    return True


def _load(study: Study, judge: Network, places: Sequence[int]) -> Arrays:
    return read_sealed(_path(study, judge, places), _about(study, judge, places))


def _about(study: Study, judge: Network, places: Sequence[int]) -> list[Any]:
    """Returns what the arrays of a batch are of."""
    return [study.settings, judge.label, places[0]]


def laid(study: Study, batch: Batch) -> Batch:
    """Returns the same batch across the devices; what was compiled for one such batch serves all others."""
    return Batch(*(lay(study.mesh, rows) for rows in batch[:-1]), start=batch.start)  # type: ignore[arg-type, misc]


def read_batch(study: Study, judge: Network, places: Sequence[int]) -> Batch:
    """Reads the frames at some places, as ``judge`` wants them; the last one is repeated to fill the batch."""
    config, classes = judge.model.preprocessing, study.prepared.classes
    frames = [study.frames[places[min(i, len(places) - 1)]] for i in range(study.batch_size)]
    originals = [np.repeat(read_picture(study.prepared.folder, f, f.size)[..., None], 3, axis=2) for f in frames]
    masks = [_mask(study, frame, crop_box(frame.size, frame.size, config), config.input_size) for frame in frames]
    images = preprocess(originals, config)
    return Batch(
        denormalised(images, config),
        images,
        np.array([classes.index(frame.label) for frame in frames], np.int32),
        np.stack(masks),
        np.stack([_boxes(study, frame, config) for frame in frames]),
        places[0],
    )


def denormalised(images: Float[np.ndarray, "b h w c"], config: Preprocessing) -> UInt8[np.ndarray, "b h w"]:
    """Returns normalised grey pictures as they are looked at."""
    grey = images[..., 0] * config.std[0] + config.mean[0]
    return np.rint(255 * np.clip(grey, 0, 1)).astype(np.uint8)


def rgb(grey: UInt8[np.ndarray, "h w"] | Bool[np.ndarray, "h w"]) -> UInt8[np.ndarray, "h w 3"]:
    """Returns a grey picture in three equal colours, or a mask in black and white."""
    levels = np.uint8(255) * grey if grey.dtype == bool else grey
    return np.repeat(levels[..., None], 3, axis=2)


def _mask(study: Study, frame: Frame, box: Box, size: tuple[int, int]) -> Bool[np.ndarray, "h w"]:
    if study.annotations is None:
        return np.zeros(size, bool)
    return resized(box.cut(study.annotations.masks(frame.file)), size)


def _boxes(study: Study, frame: Frame, config: Preprocessing) -> Int[np.ndarray, "n 4"]:
    """Returns boxes around each annotated structure, in the network's pixels.

    There are as many rows as the most annotated frame has structures, so that batches have one shape.
    """
    if study.annotations is None:
        return np.zeros((1, 4), np.int32)
    instances = study.annotations.instances
    boxes = np.zeros((max(1, *(len(instances[f.file]) for f in study.frames)), 4), np.int32)
    crop = crop_box(frame.size, frame.size, config)
    scale = np.array(config.input_size * 2) / (np.array([crop.bottom - crop.top, crop.right - crop.left] * 2))
    for row, instance in zip(boxes, instances[frame.file], strict=False):
        shifted = np.array(instance.box) - np.array([crop.top, crop.left] * 2)
        row[:] = np.clip(np.rint(shifted * scale), 0, np.array(config.input_size * 2))
    return boxes
