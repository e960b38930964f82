"""``xrcam convert``: converts one checkpoint into another."""

import argparse
import sys
import zipfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from xrcam_jax.arguments.checks import prepare_folder
from xrcam_jax.arguments.outputs import alone_at
from xrcam_jax.arguments.parser import Parser
from xrcam_jax.checkpoints.convert import to_timm
from xrcam_jax.checkpoints.load import load_model
from xrcam_jax.checkpoints.save import save_orbax, save_timm
from xrcam_jax.checkpoints.verify import digest, logits_error

#: The largest relative error of logits that float32 rounding explains; a wrong conversion exceeds it by far.
TOLERANCE = 1e-4

EXAMPLE = """example:
  xrcam convert skresnext50_32x4d timm/skresnext50_32x4d.ra_in1k skresnext50 --num-classes 2
  xrcam convert skresnext50_32x4d skresnext50 skresnext50.safetensors
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Converts, reads back what it wrote, compares, and returns the exit status.

    Raises:
      CommandError: an argument is wrong, or another run is writing to the same place.
    """
    options = _parser().parse_args(argv)
    prepare_folder("OUT", options.out.absolute().parent)
    try:
        with alone_at("OUT", options.out):
            return convert(options)
    except (ValueError, OSError, ImportError) as error:
        print(f"xrcam convert: error: {shortened(str(error))}", file=sys.stderr)
        return 1


def convert(options: argparse.Namespace) -> int:
    """Does what the command line asks for; returns the exit status.

    Raises:
      ValueError: weights of another network, or a file that reads back differently or computes other logits.
      OSError: a file cannot be read or written.
      ImportError: the package that reads such weights is not installed.
    """
    reference = None if options.reference is None else _reference(options.reference)
    model = load_model(options.name, options.weights, num_classes=options.num_classes)
    if reference is not None:
        # Nothing is written that is not the same network.
        error = logits_error(model, *reference)
        print(f"logits differ from {options.reference} by {error:.1e}, relative to the largest")
        if not error <= TOLERANCE:
            raise ValueError(f"that is more than {TOLERANCE:.0e}: not the same network")
    target = options.to or ("safetensors" if options.out.suffix == ".safetensors" else "orbax")
    save = save_timm if target == "safetensors" else save_orbax
    save(model, options.out)

    written, wanted = digest(to_timm(load_model(options.name, options.out))), digest(to_timm(model))
    if written != wanted:
        raise ValueError(f"{options.out}: reads back differently, sha256 {written}, expected {wanted}")
    print(f"{options.out}: {options.name}, {model.num_classes} classes, sha256 {written}")
    return 0


def _reference(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Returns images and logits, which are read before anything is written."""
    try:
        with np.load(path) as arrays:
            return arrays["images"], arrays["logits"]
    except (ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile) as error:
        raise ValueError(f"{path}: no NumPy archive with images and logits ({error})") from error


def shortened(message: str, limit: int = 10) -> str:
    """Returns the first lines of a message, and how many more there are: networks differ in hundreds of tensors."""
    lines = message.splitlines()
    more = [f"  and {len(lines) - limit} more"] if len(lines) > limit else []
    return "\n".join(lines[:limit] + more)


def _parser() -> argparse.ArgumentParser:
    parser = Parser(
        prog="xrcam convert",
        description="Convert a checkpoint, exactly or not at all, and read back what was written.",
        epilog=EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("name", metavar="NAME", help="the model; `xrcam models` lists them")
    parser.add_argument("weights", metavar="WEIGHTS", help="file, directory or hub name to read")
    parser.add_argument("out", metavar="OUT", type=Path, help="file or directory to write")
    parser.add_argument("--num-classes", type=int, metavar="N", help="put a fresh head with N classes on")
    parser.add_argument("--to", choices=("orbax", "safetensors"), help="by default as OUT's suffix says")
    parser.add_argument(
        "--reference", type=Path, metavar="NPZ", help="compare with its `logits` of its `images` (NHWC)"
    )
    return parser
