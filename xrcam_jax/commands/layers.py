"""``xrcam layers``: lists the layers of a network."""

from typing import TYPE_CHECKING, Any

import click

from xrcam_jax.arguments.checks import check_names
from xrcam_jax.arguments.parser import Options
from xrcam_jax.commands import onnx_files
from xrcam_jax.errors import CommandError

if TYPE_CHECKING:
    from xrcam_jax.lrp.layers import Layers

NAME = "layers"
EXAMPLE = """Example:
  xrcam layers --model resnet50
  xrcam layers --model net.onnx"""


PARAMETERS = (
    click.Option(["--model", "--models"], required=True, help="network, see xrcam models; or an ONNX file"),
    onnx_files.INPUT_SIZE,
)


def run(options: Options) -> int:
    """Prints the list; returns the exit status."""
    from xrcam_jax.runtime.compiling import keep_compiled

    onnx_files.check_model(options.model)
    onnx_files.check_only_for_onnx(options, ("input_size",))
    keep_compiled()
    print(layers_of(options.model, options.input_size))
    return 0


def layers_of(model: str, *described: Any) -> "Layers":
    """Returns the layers of a network, for one picture of the size that it wants.

    Args:
      model: a network's name, or an ONNX file.
      *described: what options say of an ONNX file, see :func:`xrcam_jax.commands.onnx_files.network`.
    """
    if onnx_files.is_onnx(model):
        return onnx_files.layers_of(onnx_files.network(model, *described))

    import jax
    import jax.numpy as jnp
    from flax import nnx

    import xrcam_jax as xr
    from xrcam_jax.explain.functional import as_function

    network = nnx.eval_shape(lambda: xr.create_model(model))
    function, parameters = as_function(network)
    picture = jax.ShapeDtypeStruct((1, *network.preprocessing.input_size, 3), jnp.float32)
    return xr.layers(function, picture, parameters)


def expanded(names: list[str], model: str, *described: Any) -> list[str]:
    """Returns the layers that names and globs stand for.

    Args:
      names: the names and globs.
      model: a network's name, or an ONNX file.
      *described: as :func:`layers_of` takes them.

    Raises:
      CommandError: there is no such layer, or no map can be made of it.
    """
    from xrcam_jax.models.resnet import STAGES

    usual = ("input",) if onnx_files.is_onnx(model) else (*STAGES, "input")
    if all(name in usual for name in names):
        check_names("--layers", names, usual)
        return names
    layers = layers_of(model, *described)
    found: list[str] = []
    for name in names:
        try:
            turns = {} if name in usual else layers.select(name, also=("input",))
        except ValueError as error:
            raise CommandError(f"--layers: {error}") from None
        for each, turn in turns.items():
            if len(turn.layer.shape) != 4:
                raise CommandError(f"--layers: {each} has shape {turn.layer.shape}, and maps need (b, h, w, k)")
        found += turns or [name]
    return list(dict.fromkeys(found))
