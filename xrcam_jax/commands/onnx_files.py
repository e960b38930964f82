"""Networks from ONNX files, for the commands that take one in the place of a network's name."""

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import click

from xrcam_jax.arguments.checks import check_names
from xrcam_jax.arguments.parser import Options, Text
from xrcam_jax.errors import CommandError, DamagedError

if TYPE_CHECKING:
    from xrcam_jax.lrp.layers import Layers
    from xrcam_jax.onnx.load import OnnxModel


def is_onnx(model: str) -> bool:
    """Returns whether ``--model`` names an ONNX file and not a network."""
    return Path(model).suffix.lower() == ".onnx"


def _numbers(text: str) -> tuple[float, ...]:
    try:
        return tuple(float(number) for number in text.split(","))
    except ValueError:
        raise ValueError(f"expected numbers with commas between, found {text!r}") from None


def _size(text: str) -> tuple[int, int]:
    try:
        height, width = (int(number) for number in text.split(","))
    except ValueError:
        raise ValueError(f"expected HEIGHT,WIDTH in pixels, found {text!r}") from None
    if min(height, width) < 1:
        raise ValueError(f"expected numbers above 0, found {text!r}")
    return height, width


_WHAT = "of intensities from 0 to 1, of an ONNX file that says none; those of ImageNet by default"
#: The option that says how large the pictures are.
INPUT_SIZE = click.Option(
    ["--input-size"],
    type=Text(_size),
    metavar="HEIGHT,WIDTH",
    help="of the pictures, of an ONNX file that leaves it open",
)
#: The options that say what an ONNX file does not.
PARAMETERS = (
    click.Option(["--mean"], type=Text(_numbers), metavar="M[,M,M]", help=f"mean of each channel, {_WHAT}"),
    click.Option(["--std"], type=Text(_numbers), metavar="S[,S,S]", help=f"deviation of each channel, {_WHAT}"),
    INPUT_SIZE,
)


def check_model(model: str) -> None:
    """Refuses what is neither an ONNX file nor the name of a network.

    Raises:
      CommandError: it is neither.
    """
    import xrcam_jax as xr

    if is_onnx(model) or model in xr.list_models():
        return
    if Path(model).exists():
        raise CommandError(
            f"--model: {model} is a file and no network's name; an ONNX file ends in .onnx, and weights are --weights"
        )
    check_names("--model", [model], xr.list_models())


def check(options: Options) -> None:
    """Refuses unknown networks, options of ONNX files for other networks, and the other way round.

    Raises:
      CommandError: naming the option.
    """
    check_model(options.model)
    if is_onnx(options.model):
        if options.weights is not None:
            raise CommandError(f"--weights: {options.model} has its weights in it, leave this out")
        for name, given in (("mean", options.mean), ("std", options.std)):
            if given is not None and (len(given) not in (1, 3) or (name == "std" and min(given) <= 0)):
                above = " above 0" if name == "std" else ""
                found = ",".join(f"{number:g}" for number in given)
                raise CommandError(f"--{name}: expected a number{above}, or 3 with commas between, found {found}")
    check_only_for_onnx(options, ("mean", "std", "input_size"))


def check_only_for_onnx(options: Options, names: Sequence[str]) -> None:
    """Refuses options of ONNX files for other networks.

    Raises:
      CommandError: naming the option.
    """
    for name in names:
        if getattr(options, name) is not None and not is_onnx(options.model):
            raise CommandError(f"--{name.replace('_', '-')}: is for ONNX files, what {options.model} wants is known")


def described(options: Options) -> tuple:
    """Returns what options say of an ONNX file, as :func:`network` takes it."""
    return options.input_size, options.mean, options.std


def load(options: Options) -> "OnnxModel":
    """Returns the network of ``--model``, with pictures prepared as the options say.

    Raises:
      CommandError: naming what is wrong with the file or an option.
      DamagedError: the file is damaged.
    """
    model = network(options.model, *described(options))
    if model.batch not in (None, 1):
        raise CommandError(f"--model: {options.model} takes batches of {model.batch} alone; export it for one picture")
    options.batch_size = model.batch or options.batch_size
    return model


@lru_cache(maxsize=1)
def network(
    path: str,
    size: tuple[int, int] | None = None,
    mean: tuple[float, ...] | None = None,
    std: tuple[float, ...] | None = None,
) -> "OnnxModel":
    """Returns a network that makes logits of pictures, read once.

    Args:
      path: of the file.
      size: height and width of the pictures, where the file leaves them open.
      mean: of the pictures' channels, where that is given.
      std: likewise.

    Raises:
      CommandError: the file is none, cannot be honoured, or is of another kind of network.
      DamagedError: the file is damaged.
    """
    import xrcam_jax as xr

    try:
        shape = None if size is None else _with_size(path, size)
        model = xr.from_onnx(path, logits=True, input_shape=shape, mean=mean, std=std)
        shapes = list(model.input_shapes.values())
        if len(shapes) != 1 or len(shapes[0]) != 4 or shapes[0][3] not in (1, 3):
            listed = ", ".join(f"{name!r} {shape}" for name, shape in model.input_shapes.items())
            raise ValueError(f"{path}: it takes {listed}, and not pictures (b, h, w, 3) or (b, h, w, 1)")
        if model.num_classes < 1:
            raise ValueError(f"{path}: it has no logits")
    except (OSError, ValueError, ImportError) as error:
        kind = DamagedError if isinstance(error, DamagedError) else CommandError
        line = str(error) if str(error).startswith(str(path)) else f"{path}: {error}"
        raise kind(f"--model: {line}") from error
    return model


def layers_of(model: "OnnxModel") -> "Layers":
    """Returns the layers of a network, for one picture."""
    import jax
    import jax.numpy as jnp

    import xrcam_jax as xr

    (shape,) = model.input_shapes.values()
    return xr.layers(model.function, jax.ShapeDtypeStruct(shape, jnp.float32), model.parameters)


def _with_size(path: str, size: tuple[int, int]) -> tuple[int, ...]:
    """Returns the shape of a file's input where height and width are given."""
    from xrcam_jax.onnx.load import declared_inputs

    inputs = declared_inputs(path)
    shape = inputs[0].shape if len(inputs) == 1 else None
    if shape is None or len(shape) != 4:
        raise ValueError(
            f"{path}: --input-size is for a network of pictures, this one takes {', '.join(map(str, inputs))}"
        )
    batch, *rest = shape
    first = (isinstance(batch, int) and batch) or 1
    places = [0, 1] if rest[2] in (1, 3) and rest[0] not in (1, 3) else [1, 2]
    for place, n in zip(places, size, strict=True):
        if rest[place] not in (n, None) and not isinstance(rest[place], str):
            raise ValueError(f"{path}: --input-size says {size[0]},{size[1]}, but it takes {inputs[0]}")
        rest[place] = n
    channels = rest[({0, 1, 2} - {*places}).pop()]
    rest = [3 if n is channels and not isinstance(n, int) else n for n in rest]
    return (first, *(int(n or 3) for n in rest))
