"""The network that pictures are explained by: options of several commands, checked before its weights are read."""

from pathlib import Path

import click

from xrcam_jax.arguments.checks import read_labels
from xrcam_jax.arguments.parser import PATH, Options
from xrcam_jax.checkpoints.labels import run_labels
from xrcam_jax.checkpoints.packaged import IMAGENET
from xrcam_jax.commands import onnx_files
from xrcam_jax.commands.labels import no_model, run_model
from xrcam_jax.errors import CommandError

MODEL = click.Option(["--model", "--models"], help="network, see xrcam models; or an ONNX file; a run's folder says it")
LABELS = click.Option(
    ["--labels"],
    type=PATH,
    metavar="FILE",
    help="class names: .txt, one a line, or .json; or imagenet; by default what the run says that wrote "
    "best.safetensors",
)
#: What ``--weights`` takes.
WEIGHTS_HELP = (
    "timm .safetensors or .pth, .ckpt, Orbax directory, folder of a run of xrcam train, or hub name such as "
    "timm/resnet50.a1_in1k"
)


def find_network(options: Options) -> list[str] | None:
    """Finds out which network is meant where ``--model`` is left out; returns the names of its classes, if known.

    Args:
      options: of which ``weights`` is a file in the place of a run's folder, see
        :func:`xrcam_jax.checkpoints.labels.best_of`.

    Raises:
      CommandError: the network or its weights are not said, or names cannot be read.
    """
    if options.labels == Path("imagenet") and not options.labels.exists():
        options.labels = IMAGENET
    labels = read_labels("--labels", options.labels) if options.labels else None
    if options.model is None and options.weights is not None:
        options.model = run_model(options.weights)
    if options.model is None:
        raise no_model(options.weights)
    onnx_files.check(options)
    if options.weights is None and not onnx_files.is_onnx(options.model):
        raise CommandError(
            "--weights: give a timm .safetensors or .pth file, an Orbax directory or a hub name such as "
            "timm/resnet50.a1_in1k (to try without, run xrcam demo)"
        )
    if labels is None and options.weights is not None:
        return list(run_labels(options.weights) or ()) or None
    return labels
