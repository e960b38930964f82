"""What all experiments share: networks, prepared frames with their annotations, and a folder of results.

A folder of results holds the settings with checksums of all that goes in, a file for each batch that is done, and
what is made of them at the end. Started again it goes on after the last batch; with other settings, weights or data it
refuses. Batches are laid across all devices of a machine; several processes, whose folder is the same, share them out,
and the first one makes of them what there is to make.
"""

import argparse
import hashlib
import io
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple
from zipfile import BadZipFile

import jax
import numpy as np
from flax import nnx
from jax.sharding import Mesh
from jaxtyping import Bool, Float, Int
from tqdm import tqdm

import xrcam_jax as xr
from xrcam_jax.arguments import processes
from xrcam_jax.arguments.checks import check_at_least_one, check_names, prepare_folder
from xrcam_jax.arguments.parser import Parser, names
from xrcam_jax.checkpoints.load import read_checkpoint
from xrcam_jax.data.coco import Annotations, read_annotations, resized
from xrcam_jax.data.manifest import PARTS, Frame, Prepared, read_origin, read_prepared
from xrcam_jax.data.pipeline import read_picture
from xrcam_jax.errors import CommandError
from xrcam_jax.metrics.uncertainty import sampling_units
from xrcam_jax.models.resnet import STAGES, ResNet
from xrcam_jax.pictures.preprocessing import Box, crop_box, preprocess
from xrcam_jax.runtime.devices import data_mesh, is_first, lay, replicate, wait_for_all
from xrcam_jax.runtime.files import write_whole
from xrcam_jax.runtime.prefetch import map_ahead

#: The thesis's seven, in the order of its tables.
SEVEN = ("grad_cam", "grad_cam_pp", "x_grad_cam", "hires_cam", "layer_cam", "relevance_cam", "xrelevance_cam")
SETTINGS, BATCHES = "settings.json", "batches"

#: By name, one row a picture.
Arrays = dict[str, np.ndarray]


@dataclass(frozen=True)
class Network:
    """A trained network under examination.

    Attributes:
      label: what tells it from the others: the model's name, and the folder of the weights where that is not enough.
      model: the network.
      weights: where it was read from.
      checksum: of its weights.
    """

    label: str
    model: ResNet
    weights: Path
    checksum: str


class Batch(NamedTuple):
    """Frames as a network wants them.

    Attributes:
      pictures: grey, at the network's resolution.
      images: the same, normalised.
      labels: class numbers.
      masks: what a person outlined; empty where nobody did.
      boxes: around each outlined structure (top, left, bottom, right); zeros where there are fewer than n.
      start: place of the first among the study's frames.
    """

    pictures: np.ndarray
    images: Float[np.ndarray, "b h w 3"]
    labels: Int[np.ndarray, " b"]
    masks: Bool[np.ndarray, "b h w"]
    boxes: Int[np.ndarray, "b n 4"]
    start: int


@dataclass(frozen=True, eq=False)
class Study:
    """An experiment's subject matter, read and checked.

    Attributes:
      name: of the experiment.
      folder: of its results.
      networks: one or several.
      prepared: the data.
      frames: those that are looked at.
      annotations: None if there are none.
      methods: names in ``xrcam_jax.METHODS``.
      layers: names of marks, the lowest first.
      batch_size: pictures at a time.
      seed: of all that is random.
      settings: what determines the outcome.
    """

    name: str
    folder: Path
    networks: tuple[Network, ...]
    prepared: Prepared
    frames: tuple[Frame, ...]
    annotations: Annotations | None
    methods: tuple[str, ...]
    layers: tuple[str, ...]
    batch_size: int
    seed: int
    settings: Mapping[str, Any]

    @property
    def labels(self) -> Int[np.ndarray, " n"]:
        """Class numbers of the frames."""
        classes = self.prepared.classes
        return np.array([classes.index(frame.label) for frame in self.frames], np.int32)

    @property
    def units(self) -> Int[np.ndarray, " n"]:
        """Which frames belong together when it comes to chance: those of one patient."""
        return sampling_units([frame.patient for frame in self.frames])

    @property
    def annotated(self) -> Bool[np.ndarray, " n"]:
        """Whether a frame has a usable annotation."""
        marked = set() if self.annotations is None else set(self.annotations.annotated)
        return np.array([frame.file in marked for frame in self.frames], bool)


def add_arguments(parser: argparse.ArgumentParser, *, methods: Sequence[str] = SEVEN, part: str = "test") -> None:
    """The options that all experiments have."""
    parser.add_argument("--data", type=Path, required=True, metavar="PREPARED", help="folder made by xrcam prepare")
    parser.add_argument(
        "--weights", type=Path, nargs="+", required=True, metavar="PATH", help="of one network or several; runs too"
    )
    parser.add_argument(
        "--model", nargs="+", metavar="NAME", help="of each of the weights, where these do not say it themselves"
    )
    parser.add_argument("--annotations", type=Path, metavar="COCO", help="JSON file with outlines (MakeSense.ai)")
    parser.add_argument("--part", choices=(*PARTS, "all"), default=part, help=f"of the data ({part})")
    parser.add_argument("--limit", type=int, metavar="N", help="look at N frames only, spread over the part")
    parser.add_argument("--methods", type=names, default=tuple(methods), metavar="M[,M]", help=",".join(methods))
    parser.add_argument("--layers", type=names, default=STAGES, metavar="L[,L]", help=",".join(STAGES))
    parser.add_argument("--batch-size", type=int, default=8, metavar="N", help="pictures at a time (8)")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="of all that is random (0)")
    parser.add_argument("--out", type=Path, default=Path("xrcam_results"), metavar="DIR", help="(xrcam_results)")
    processes.add_arguments(parser)


def parser(doc: str | None, name: str) -> argparse.ArgumentParser:
    """For the experiment ``name``, whose module has the docstring ``doc``."""
    return Parser(prog=f"xrcam evaluate {name}", description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)


def open_study(
    name: str, options: argparse.Namespace, *, annotated: bool = False, dropout: float = 0.0, **settings: Any
) -> Study:
    """Reads and checks all that an experiment needs; finds the other processes if there are any.

    Args:
      name: of the experiment, and of its folder in ``options.out``.
      options: of :func:`add_arguments`.
      annotated: whether it is about annotated frames only.
      dropout: rate of the networks' dropout.
      **settings: what else determines the outcome.

    Raises:
      CommandError: an argument, a file, or results of other settings that lie in the folder.
    """
    check_at_least_one("--batch-size", options.batch_size)
    if options.limit is not None:
        check_at_least_one("--limit", options.limit)
    check_names("--methods", options.methods, xr.METHODS)
    check_names("--layers", options.layers, STAGES)
    without_layers = [method for method in options.methods if xr.METHODS[method].kind.where == "input"]
    if without_layers:
        raise CommandError(f"--methods: no maps of layers are to be had from {', '.join(without_layers)}")
    processes.check(options)
    processes.join(options)
    try:
        prepared = read_prepared(options.data)
        annotations = None
        if options.annotations is not None:
            annotations = read_annotations(options.annotations, prepared.frames)
        elif annotated:
            raise CommandError("--annotations: needed, to compare with")
    except ValueError as error:
        raise CommandError(str(error)) from error
    frames = _frames(prepared, annotations if annotated else None, options)
    networks = _networks(options, prepared, dropout)
    layers = sorted(options.layers, key=STAGES.index)
    recorded = {
        "experiment": name,
        "data": {
            **_origin(options.data),
            "part": options.part,
            "frames": len(frames),
            "patients": len({frame.patient for frame in frames}),
            "classes": prepared.classes,
            "checksum": _checksum_of_frames(prepared, frames),
            "annotations": None if options.annotations is None else _checksum(options.annotations),
        },
        "networks": {network.label: network.checksum for network in networks},
        "methods": list(options.methods),
        "layers": layers,
        "target": "the labelled class",
        "batch_size": options.batch_size,
        "seed": options.seed,
        **settings,
        "version": version("xrcam-jax"),
    }
    folder = options.out / name
    prepare_folder("--out", folder)
    _check_settings(folder, recorded)
    return Study(
        name, folder, networks, prepared, frames, annotations, tuple(options.methods), tuple(layers),
        options.batch_size, options.seed, recorded,
    )  # fmt: skip


def each_batch(study: Study, network: Network, compute: Callable[[Batch], Mapping[str, Any]]) -> Arrays:
    """What ``compute`` finds, for all frames together; batches that are done already are read, not computed.

    To several processes the batches go in turn.

    Args:
      study: what is looked at.
      network: whose resolution the batches have, and under whose label they are kept.
      compute: gives arrays with a row for each picture. All batches have the same size: the last one repeats its last
        picture. Their arrays lie across the devices.

    Raises:
      ConnectionError: another process has failed.
      CommandError: a batch cannot be read.
    """
    starts = range(0, len(study.frames), study.batch_size)
    paths = [study.folder / BATCHES / f"{network.label}_{start:06d}.npz" for start in starts]
    share = list(zip(starts, paths, strict=True))[jax.process_index() :: jax.process_count()]
    missing = [(start, path) for start, path in share if not path.exists()]
    mesh = _mesh(study.batch_size)
    bar = tqdm(missing, desc=f"{study.name} {network.label}", unit="batch", disable=None)
    batches = map_ahead(partial(read_batch, study, network), [start for start, _ in missing], 1)
    for (start, path), batch in zip(bar, batches, strict=True):
        real = min(study.batch_size, len(study.frames) - start)
        computed = jax.device_get(dict(compute(_laid(mesh, batch))))
        found = {name: np.asarray(value)[:real] for name, value in computed.items()}
        content = io.BytesIO()
        np.savez(content, **found)  # type: ignore[arg-type]
        write_whole(path, content.getvalue())
    wait_for_all(f"{study.name} {network.label}")
    parts = [_load(path) for path in paths]
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def _mesh(batch_size: int) -> Mesh:
    """The devices of this process, no more of them than there are pictures in a batch."""
    return data_mesh(jax.local_devices()[:batch_size])


def _laid(mesh: Mesh, batch: Batch) -> Batch:
    """The same across the devices."""
    return Batch(*(lay(mesh, rows) for rows in batch[:-1]), start=batch.start)  # type: ignore[arg-type, misc]


def read_batch(study: Study, network: Network, start: int) -> Batch:
    """The frames from ``start`` on, as ``network`` wants them."""
    config, classes = network.model.preprocessing, study.prepared.classes
    frames = [study.frames[min(start + i, len(study.frames) - 1)] for i in range(study.batch_size)]
    originals = [np.repeat(read_picture(study.prepared.folder, f, f.size)[..., None], 3, axis=2) for f in frames]
    masks = [_mask(study, frame, crop_box(frame.size, frame.size, config), config.input_size) for frame in frames]
    images = preprocess(originals, config)
    grey = images[..., 0] * config.std[0] + config.mean[0]
    return Batch(
        np.rint(255 * np.clip(grey, 0, 1)).astype(np.uint8),
        images,
        np.array([classes.index(frame.label) for frame in frames], np.int32),
        np.stack(masks),
        np.stack([_boxes(study, frame, config) for frame in frames]),
        start,
    )


def _mask(study: Study, frame: Frame, box: Box, size: tuple[int, int]) -> Bool[np.ndarray, "h w"]:
    if study.annotations is None:
        return np.zeros(size, bool)
    return resized(study.annotations.masks(frame.file)[box.top : box.bottom, box.left : box.right], size)


def _boxes(study: Study, frame: Frame, config: xr.Preprocessing) -> Int[np.ndarray, "n 4"]:
    """Around each annotated structure, in the network's pixels; as many rows as the most annotated frame has."""
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


def _frames(prepared: Prepared, annotations: Annotations | None, options: argparse.Namespace) -> tuple[Frame, ...]:
    frames = list(prepared.frames) if options.part == "all" else prepared.part(options.part)
    if not frames:
        raise CommandError(f"--part: {options.data} has no frames in {options.part!r}")
    if annotations is not None:
        marked = set(annotations.annotated)
        frames = [frame for frame in frames if frame.file in marked]
        if not frames:
            raise CommandError(
                f"--annotations: {options.annotations} has no usable annotation of a frame in the part "
                f"{options.part!r}. What became of them:\n{annotations.report}"
            )
    limit = min(options.limit or len(frames), len(frames))
    return tuple(frames[i] for i in np.linspace(0, len(frames) - 1, limit).astype(int))


def _networks(options: argparse.Namespace, prepared: Prepared, dropout: float) -> tuple[Network, ...]:
    if options.model is not None and len(options.model) != len(options.weights):
        raise CommandError(f"--model: {len(options.model)} names for {len(options.weights)} weights")
    networks: list[Network] = []
    for place, given in enumerate(options.weights):
        path = given / "best.safetensors" if (given / "best.safetensors").is_file() else given
        try:
            said = None if options.model is None else options.model[place]
            name = said or read_checkpoint(path).config.get("architecture")
            if name is None:
                raise CommandError(f"--weights: {path} does not say of which network it is; give --model")
            model = xr.load_model(name, path, dropout_rate=dropout)
        except (OSError, ValueError, ImportError) as error:
            raise CommandError(f"--weights: {'; '.join(str(error).splitlines()[:2])}") from error
        if model.num_classes != len(prepared.classes):
            raise CommandError(
                f"--weights: {path} is for {model.num_classes} classes, but {options.data} has "
                f"{len(prepared.classes)}: {', '.join(prepared.classes)}"
            )
        nnx.update(model, replicate(_mesh(options.batch_size), nnx.state(model)))
        networks.append(Network(_label(name, given, options), model, path, _checksum(path)))
    labels = [network.label for network in networks]
    if len(set(labels)) != len(labels):
        raise CommandError(f"--weights: the same name twice, {', '.join(labels)}; put them into folders of other names")
    return tuple(networks)


def _label(name: str, path: Path, options: argparse.Namespace) -> str:
    """The model's name if there is one network, else that of the run's folder too."""
    folder = path.name if path.is_dir() else path.resolve().parent.name
    return name if len(options.weights) == 1 or folder == name else f"{name}-{folder}"


def _origin(folder: Path) -> dict[str, Any]:
    origin = read_origin(folder)
    return {"origin": origin, "synthetic": None if origin is None else origin.startswith("drawn")}


def _check_settings(folder: Path, settings: Mapping[str, Any]) -> None:
    """Refuses to mix results of other settings with these; writes down those of a new experiment.

    The first of several processes writes, and the others see whether it is about the same as they are.
    """
    if any((folder / BATCHES).glob("*.npz")):
        _compare_settings(folder, settings)
    if is_first():
        write_whole(folder / SETTINGS, (json.dumps(settings, indent=1) + "\n").encode())
    wait_for_all("settings")
    if not is_first():
        if not (folder / SETTINGS).is_file():
            raise CommandError(f"--out: {folder} is not the first process's folder; all processes need the same one")
        _compare_settings(folder, settings)


def _compare_settings(folder: Path, settings: Mapping[str, Any]) -> None:
    path = folder / SETTINGS
    try:
        old = json.loads(path.read_text(encoding="utf-8"))
        differ = [name for name in sorted({*old, *settings}) if old.get(name) != settings.get(name)]
    except OSError as error:
        raise CommandError(f"--out: {folder} holds results, but {path} cannot be read ({error.strerror})") from error
    except (ValueError, TypeError, AttributeError) as error:
        raise CommandError(f"--out: {path} is not as an experiment writes it ({error})") from error
    if differ:
        found = "; ".join(f"{name}: {old.get(name)!r}, now {settings.get(name)!r}" for name in differ)
        raise CommandError(f"--out: {folder} holds results of other settings ({found}); give another folder")


def _checksum(path: Path) -> str:
    """Of a file, or of all files of a folder; of something that is not on the disk, its name."""
    digest = hashlib.sha256()
    files = sorted(file for file in path.rglob("*") if file.is_file()) if path.is_dir() else [path]
    for file in files:
        digest.update(file.relative_to(path).as_posix().encode())
        digest.update(file.read_bytes() if file.exists() else str(file).encode())
    return digest.hexdigest()[:16]


def _checksum_of_frames(prepared: Prepared, frames: Sequence[Frame]) -> str:
    digest = hashlib.sha256(json.dumps([asdict(frame) for frame in frames]).encode())
    for frame in frames:
        path = prepared.folder / frame.file
        digest.update(path.read_bytes() if path.is_file() else b"")
    return digest.hexdigest()[:16]


def _load(path: Path) -> Arrays:
    try:
        with np.load(io.BytesIO(path.read_bytes()), allow_pickle=False) as arrays:
            return {name: arrays[name] for name in arrays.files}
    except (OSError, ValueError, EOFError, BadZipFile) as error:
        raise CommandError(f"{path}: damaged ({error}); without it, it is computed again") from error
