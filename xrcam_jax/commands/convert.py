"""``xrcam convert``: converts one checkpoint into another."""

import sys
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from xrcam_jax.arguments.checks import check_names, prepare_folder
from xrcam_jax.arguments.config import write_settings
from xrcam_jax.arguments.outputs import alone_at
from xrcam_jax.arguments.parser import PATH, Argument, Options, run_inside
from xrcam_jax.errors import CommandError, DamagedError, reason

if TYPE_CHECKING:
    import numpy as np

    from xrcam_jax.models.classifier import Classifier

NAME = "convert"
EXAMPLE = """Example:
  xrcam convert skresnext50_32x4d timm/skresnext50_32x4d.ra_in1k skresnext50 --num-classes 2
  xrcam convert skresnext50_32x4d skresnext50 skresnext50.safetensors"""

#: The largest relative error of logits that float32 rounding explains; a wrong conversion exceeds it by far.
TOLERANCE = 1e-4

PARAMETERS = (
    Argument("model", option="--model", type=str, metavar="NAME", help="the model; xrcam models lists them"),
    Argument("weights", option="--weights", type=str, help="file, directory or hub name to read"),
    Argument("out", option="--out", help="file or directory to write"),
    click.Option(["--num-classes"], type=int, metavar="N", help="put a fresh head with N classes on"),
    click.Option(["--to"], type=click.Choice(["orbax", "safetensors"]), help="by default as OUT's suffix says"),
    click.Option(["--reference"], type=PATH, metavar="NPZ", help="compare with its 'logits' of its 'images' (NHWC)"),
)


def main(argv: Sequence[str]) -> int:
    """Runs the command as a script; returns the exit status."""
    return run_inside(sys.modules[__name__], argv)


def run(options: Options) -> int:
    """Converts, reads back what it wrote, compares, and returns the exit status.

    Raises:
      CommandError: an argument is wrong, or another run is writing to the same place.
    """
    from xrcam_jax.models import list_models
    from xrcam_jax.runtime.compiling import keep_compiled

    check_names("NAME", [options.model], list_models())
    if options.to == "safetensors" and options.out.suffix != ".safetensors":
        raise CommandError(f"OUT: {options.out} has to end in .safetensors, or nothing will know how to read it")
    keep_compiled()
    prepare_folder("OUT", options.out.absolute().parent)
    try:
        with alone_at("OUT", options.out):
            return convert(options)
    except (ValueError, OSError) as error:
        print(f"xrcam convert: error: {shortened(reason(error))}", file=sys.stderr)
        return 1


def convert(options: Options) -> int:
    """Does what the command line asks for; returns the exit status.

    Raises:
      CommandError: weights that are not there or of another network, or no reference.
      ValueError: damaged weights, or a file that reads back differently or computes other logits.
      OSError: a file cannot be written.
    """
    from xrcam_jax.checkpoints.convert import to_timm
    from xrcam_jax.checkpoints.load import load_model
    from xrcam_jax.checkpoints.save import save_orbax, save_timm
    from xrcam_jax.checkpoints.verify import digest, logits_error

    reference = None if options.reference is None else _reference(options.reference)
    model = _model(options)
    if reference is not None:
        # Nothing is written that is not the same network.
        error = logits_error(model, *reference)
        print(f"logits differ from {options.reference} by {error:.1e}, relative to the largest")
        if not error <= TOLERANCE:
            raise ValueError(f"that is more than {TOLERANCE:.0e}: not the same network")
    target = options.to or ("safetensors" if options.out.suffix == ".safetensors" else "orbax")
    save = save_timm if target == "safetensors" else save_orbax
    save(model, options.out)

    written, wanted = digest(to_timm(load_model(options.model, options.out))), digest(to_timm(model))
    if written != wanted:
        raise ValueError(f"{options.out}: reads back differently, sha256 {written}, expected {wanted}")
    write_settings(options.out, options.repeat)
    print(f"{options.out}: {options.model}, {model.num_classes} classes, sha256 {written}")
    return 0


def _model(options: Options) -> "Classifier":
    """Reads the weights; what is wrong with them is an error of the argument, unless they are damaged."""
    from xrcam_jax.checkpoints.load import load_model

    try:
        return load_model(options.model, options.weights, num_classes=options.num_classes)
    except DamagedError:
        raise
    except (ValueError, OSError, ImportError) as error:
        line, *more = shortened(f"WEIGHTS: {reason(error)}").splitlines()
        raise CommandError(line, "\n".join(more)) from error


def _reference(path: Path) -> tuple["np.ndarray", "np.ndarray"]:
    """Returns images and logits, which are read before anything is written."""
    import numpy as np

    try:
        with np.load(path) as arrays:
            return arrays["images"], arrays["logits"]
    except OSError as error:
        raise CommandError(f"--reference: cannot read {path} ({error.strerror})") from error
    except (ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile) as error:
        raise CommandError(f"--reference: {path}: no NumPy archive with images and logits ({error})") from error


def shortened(message: str, limit: int = 10) -> str:
    """Returns the first lines of a message, and how many more there are: networks differ in hundreds of tensors."""
    lines = message.splitlines()
    more = [f"  and {len(lines) - limit} more"] if len(lines) > limit else []
    return "\n".join(lines[:limit] + more)
