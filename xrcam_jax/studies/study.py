"""A study consists of networks, prepared frames with their annotations, and a folder of results.

A folder of results holds the settings with checksums of all that goes in (``settings.py``), a file for each batch that
is done (``batches.py``), and what is made of them at the end. Started again, a study goes on after the last batch; with
other settings, weights or data it refuses. Batches are laid across all devices of a machine. Several processes, whose
folder is the same, share the batches out, and the first one makes of them what there is to make.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from importlib.metadata import version
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh
from jaxtyping import Bool, Int

from xrcam_jax.arguments import processes
from xrcam_jax.arguments.checks import prepare_folder
from xrcam_jax.arguments.config import write_settings
from xrcam_jax.arguments.outputs import alone_in
from xrcam_jax.arguments.parser import Options
from xrcam_jax.data.coco import Annotations
from xrcam_jax.data.manifest import Frame, Prepared
from xrcam_jax.metrics.uncertainty import sampling_units
from xrcam_jax.models.resnet import STAGES
from xrcam_jax.runtime.devices import data_mesh, is_first
from xrcam_jax.studies.arguments import check_arguments
from xrcam_jax.studies.data import chosen_frames, data_settings, read_data
from xrcam_jax.studies.folds import CrossValidated, read_cross_validated
from xrcam_jax.studies.networks import Network, read_networks
from xrcam_jax.studies.settings import check_settings


@dataclass(frozen=True, eq=False)
class Study:
    """Holds the subject matter of a study, read and checked.

    Attributes:
      name: of the study.
      folder: gets its results.
      networks: one or several, each of which has a network for each fold if the study is a cross-validation.
      prepared: the data.
      frames: those of the data that are looked at.
      annotations: what was outlined; None if there are no annotations.
      methods: names in ``xrcam_jax.METHODS``.
      layers: names of layers, the lowest first.
      batch_size: pictures at a time.
      seed: of all that is random.
      settings: what determines the outcome.
    """

    name: str
    folder: Path
    networks: tuple[Network | CrossValidated, ...]
    prepared: Prepared
    frames: tuple[Frame, ...]
    annotations: Annotations | None
    methods: tuple[str, ...]
    layers: tuple[str, ...]
    batch_size: int
    seed: int
    settings: Mapping[str, Any]

    @cached_property
    def labels(self) -> Int[np.ndarray, " n"]:
        """The class numbers of the frames."""
        classes = self.prepared.classes
        return np.array([classes.index(frame.label) for frame in self.frames], np.int32)

    @cached_property
    def units(self) -> Int[np.ndarray, " n"]:
        """The sampling unit of each frame: frames of one patient belong together, which matters to intervals."""
        return sampling_units([frame.patient for frame in self.frames])

    @cached_property
    def annotated(self) -> Bool[np.ndarray, " n"]:
        """Whether each frame has a usable annotation."""
        marked = set() if self.annotations is None else set(self.annotations.annotated)
        return np.array([frame.file in marked for frame in self.frames], bool)

    @property
    def mesh(self) -> Mesh:
        """The devices that a batch is laid across."""
        return _mesh(self.batch_size)


@contextmanager
def open_study(name: str, options: Options, *, annotated: bool = False, **settings: Any) -> Iterator[Study]:
    """Reads and checks all that a study needs; finds the other processes if there are any.

    While the context lasts, no other run writes to the study's folder.

    Args:
      name: of the study, and of its folder in ``options.out``.
      options: with those of :func:`xrcam_jax.studies.parameters.shared`.
      annotated: whether it is about annotated frames only.
      **settings: what else determines the outcome.

    Returns:
      The context, with the study.

    Raises:
      CommandError: an argument, a file, results of other settings that lie in the folder, or another run there.
    """
    check_arguments(options)
    processes.join(options)
    prepared, annotations = read_data(options, annotated=annotated)
    frames = chosen_frames(prepared, annotations if annotated else None, options)
    read = read_cross_validated if options.folds else read_networks
    networks: Sequence[Network | CrossValidated] = read(options, prepared, _mesh(options.batch_size))
    layers = tuple(sorted(options.layers, key=STAGES.index))
    recorded = {
        "experiment": name,
        "data": data_settings(options, prepared, frames),
        "networks": {network.label: network.checksum for network in networks},
        "methods": list(options.methods or ()),
        "layers": list(layers),
        "target": "the labelled class",
        "batch_size": options.batch_size,
        "seed": options.seed,
        **settings,
        "version": version("xrcam-jax"),
    }
    folder = options.out / name
    prepare_folder("--out", folder)
    with alone_in("--out", folder, shared=True):
        check_settings(folder, recorded)
        if is_first():
            write_settings(folder, options.repeat)
        yield Study(
            name=name,
            folder=folder,
            networks=tuple(networks),
            prepared=prepared,
            frames=frames,
            annotations=annotations,
            methods=tuple(options.methods or ()),
            layers=layers,
            batch_size=options.batch_size,
            seed=options.seed,
            settings=recorded,
        )


def _mesh(batch_size: int) -> Mesh:
    """Returns the devices of this process, no more of them than there are pictures in a batch."""
    return data_mesh(jax.local_devices()[:batch_size])
