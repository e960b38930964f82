"""Verifies a conversion: the same weights give the same logits here and in timm's own network.

    python -m weights_convert.verify resnet50 timm/resnet50.a1_in1k

Needs PyTorch and timm. Exit status: 0 the logits agree; 1 they do not; 2 they could not be compared.
"""

import argparse
import sys
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

import jax
import numpy as np
from jaxtyping import Float

from xrcam_jax.arguments.checks import check_at_least_one
from xrcam_jax.checkpoints.fields import VARIANT
from xrcam_jax.checkpoints.load import load_model, read_checkpoint
from xrcam_jax.checkpoints.verify import logits_error
from xrcam_jax.commands.convert import TOLERANCE, shortened
from xrcam_jax.errors import CommandError
from xrcam_jax.models.specs import find_spec


def main(argv: Sequence[str] | None = None) -> int:
    """Compares the logits, prints their largest difference, and returns the exit status."""
    options = _parser().parse_args(argv)
    try:
        error = difference(options.name, options.weights, pictures=options.pictures, seed=options.seed)
    except (CommandError, ValueError, OSError, ImportError) as problem:
        print(f"error: {shortened(str(problem))}", file=sys.stderr)
        return 2
    agree = error <= TOLERANCE
    verdict = "the same network" if agree else f"more than {TOLERANCE:.0e}: not the same network"
    print(f"{options.name}, {options.weights}: logits differ by {error:.1e} of the largest, {verdict}")
    return 0 if agree else 1


def difference(name: str, weights: str, *, pictures: int, seed: int) -> float:
    """Returns the largest difference of our logits from timm's, relative to the largest of timm's.

    Args:
      name: the model.
      weights: whatever :func:`xrcam_jax.load_model` reads.
      pictures: how many random pictures both networks are shown, of the size that the checkpoint asks for.
      seed: of the pictures.

    Raises:
      CommandError: there are to be no pictures.
      ValueError: the weights are not those of ``name``, or timm has no such model.
      OSError: the weights cannot be read.
      ImportError: PyTorch or timm is not installed.
    """
    check_at_least_one("--pictures", pictures)
    model = load_model(name, weights)
    images = random_images((pictures, *model.preprocessing.input_size, model.preprocessing.channels), seed)
    # From the file as it is: what our model says of itself would repeat its mistakes.
    checkpoint = read_checkpoint(weights)
    arguments = {key: value for key, value in (checkpoint.config.get("model_args") or {}).items() if key in VARIANT}
    expected = timm_logits(name, checkpoint.tensors, images, arguments)
    # GPUs would round the operands of products to TF32, which is worse than the tolerance.
    with jax.default_matmul_precision("float32"):
        return logits_error(model, images, expected)


def random_images(shape: tuple[int, ...], seed: int) -> np.ndarray:
    """Returns noise of mean 0 and deviation 1, as preprocessed pictures have, in float32."""
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def timm_logits(
    name: str,
    tensors: Mapping[str, np.ndarray],
    images: Float[np.ndarray, "b h w c"],
    arguments: Mapping[str, Any] = MappingProxyType({}),
) -> Float[np.ndarray, "b n"]:
    """Returns what timm's model ``name`` with the given tensors makes of the images, on the CPU in float32.

    The other arguments are for timm's ``create_model``.

    Raises:
      ValueError: timm has no such model, or it does not take these tensors.
      ImportError: PyTorch or timm is not installed.
    """
    try:
        import timm
        import torch
    except ImportError as error:
        raise ImportError(f"to verify needs PyTorch and timm: pip install torch timm ({error})") from error
    if name not in timm.list_models():
        raise ValueError(f"timm has no model {name}")
    classes = len(tensors[f"{find_spec(name).classifier}.bias"])
    network: Any = timm.create_model(name, **{"in_chans": images.shape[-1], **arguments, "num_classes": classes}).eval()
    found = network.load_state_dict({key: torch.from_numpy(np.array(value)) for key, value in tensors.items()}, False)
    # Counters of training steps, which some checkpoints leave out, have no part in the logits.
    missing = [key for key in found.missing_keys if not key.endswith("num_batches_tracked")]
    if missing or found.unexpected_keys:
        differ = "\n".join(["", *(f"  {key}" for key in [*missing, *found.unexpected_keys])])
        raise ValueError(f"timm's {name} has other tensors:{differ}")
    with torch.no_grad():
        return network(torch.from_numpy(np.ascontiguousarray(images.transpose(0, 3, 1, 2)))).numpy()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m weights_convert.verify",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("name", metavar="NAME", help="the model, by timm's name")
    parser.add_argument("weights", metavar="WEIGHTS", help="file, directory or hub name to read")
    parser.add_argument("--pictures", type=int, default=2, metavar="N", help="random pictures to compare on (2)")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="of the pictures (0)")
    return parser


if __name__ == "__main__":
    raise SystemExit(main())
