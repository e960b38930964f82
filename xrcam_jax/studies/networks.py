"""Reads the networks of a study from their checkpoints."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from flax import nnx
from jax.sharding import Mesh

import xrcam_jax as xr
from xrcam_jax.arguments.parser import Options
from xrcam_jax.checkpoints.labels import best_of
from xrcam_jax.checkpoints.load import read_checkpoint
from xrcam_jax.checkpoints.verify import content_digest
from xrcam_jax.classes import class_count
from xrcam_jax.data.manifest import Prepared
from xrcam_jax.errors import CommandError, weights_error
from xrcam_jax.models import Classifier
from xrcam_jax.runtime.devices import is_first, replicate
from xrcam_jax.runtime.names import printable


@dataclass(frozen=True, eq=False)
class Network:
    """Holds a trained network under examination.

    Attributes:
      label: tells it from the others: the model's name, and the folder of the weights where that is not enough.
      model: the network.
      weights: the checkpoint that it was read from.
      checksum: of the content of the checkpoint, whatever file it is in.
    """

    label: str
    model: Classifier
    weights: Path
    checksum: str

    @property
    def input_size(self) -> tuple[int, int]:
        """Height and width of the pictures that it wants."""
        return self.model.preprocessing.input_size

    def judge(self, patient: str) -> "Network":
        """Returns the network that is to judge a patient's frames: itself, whoever the patient is."""
        return self


def read_networks(options: Options, prepared: Prepared, mesh: Mesh) -> tuple[Network, ...]:
    """Reads all networks that are asked for and lays their parameters on all devices.

    Args:
      options: of the study.
      prepared: the data, whose classes the networks have to have.
      mesh: the devices.

    Raises:
      CommandError: weights cannot be read, are for other classes, or two networks have the same label.
    """
    named = names_of_weights(options)
    networks = [read_network(options, path, name, prepared, mesh) for path, name in named]
    check_labels([network.label for network in networks])
    return tuple(networks)


def names_of_weights(options: Options) -> list[tuple[Path, str | None]]:
    """Returns the weights of a study with the name of each one's network, None where it is not given.

    Raises:
      CommandError: there are more names or fewer.
    """
    if options.model and len(options.model) != len(options.weights):
        raise CommandError(f"--model: {len(options.model)} names for {len(options.weights)} weights")
    return list(zip(options.weights, options.model or [None] * len(options.weights), strict=True))


def check_labels(labels: Sequence[str]) -> None:
    """Refuses two networks that would be called the same.

    Raises:
      CommandError: they are.
    """
    if len(set(labels)) != len(labels):
        raise CommandError(f"--weights: the same name twice, {', '.join(labels)}; put them into folders of other names")


def read_network(options: Options, given: Path, name: str | None, prepared: Prepared, mesh: Mesh) -> Network:
    """Reads a checkpoint, or the best one of a run; without a name it has to say itself what it is of.

    Raises:
      CommandError: it cannot be read, or is for other classes than the data have.
    """
    path = Path(best_of(str(given)))
    try:
        checkpoint = read_checkpoint(path)
        name = name or checkpoint.config.get("architecture")
        if name is None:
            raise CommandError(f"--weights: {path} does not say of which network it is; give --model")
        model = xr.load_model(name, path)
    except (OSError, ValueError, ImportError) as error:
        raise weights_error(error) from error
    if class_count(model.num_classes) != len(prepared.classes):
        raise CommandError(
            f"--weights: {path} is for {class_count(model.num_classes)} classes, but {options.data} has "
            f"{len(prepared.classes)}: {', '.join(prepared.classes)}"
        )
    if is_first() and (model.preprocessing.field_of_view, model.preprocessing.grey) != ("auto", True):
        print(
            printable(
                f"xrcam: {path} does not say that it was trained on grey frames cut to their field of view, as those "
                f"in {options.data} are"
            ),
            file=sys.stderr,
        )
    nnx.update(model, replicate(mesh, nnx.state(model)))
    return Network(
        _label(name, given, options), model, path, content_digest(checkpoint.config, checkpoint.tensors)[:16]
    )


def _label(name: str, path: Path, options: Options) -> str:
    """Returns the model's name, followed by that of the run's folder if there are several networks."""
    folder = folder_of(path)
    return name if len(options.weights) == 1 or folder == name else f"{name}-{folder}"


def folder_of(path: Path) -> str:
    """Returns the name of a run's folder, given itself or a file in it."""
    return path.name if path.is_dir() else path.resolve().parent.name
