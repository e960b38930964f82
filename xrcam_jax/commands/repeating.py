"""The arguments by which ``xrcam explain`` explains pictures several times, and what makes the passes differ."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from xrcam_jax.arguments.checks import check_passes
from xrcam_jax.arguments.parser import Options, names
from xrcam_jax.commands.onnx_files import is_onnx
from xrcam_jax.errors import CommandError

if TYPE_CHECKING:
    from xrcam_jax.explain.disturbances import Disturbance


#: What passes differ by.
PARAMETERS = (
    click.Option(
        ["--passes"],
        type=int,
        metavar="N",
        help="explain each picture N times and show the mean of the maps and how they vary, see docs/risk.md; 10 with "
        "one of the next two, or one for each of several --weights",
    ),
    click.Option(["--dropout"], type=float, metavar="P", help="passes differ by dropout of this rate"),
    click.Option(
        ["--noise"],
        type=float,
        metavar="S",
        help="passes differ by noise, its deviation as a share of the range",
    ),
)


def check(options: Options) -> None:
    """Refuses passes that could not differ, or would differ by several things.

    Raises:
      CommandError: naming the option.
    """
    others = options.others
    given = {"--dropout": options.dropout is not None, "--noise": options.noise is not None, "--weights": bool(others)}
    ways = [name for name, is_given in given.items() if is_given]
    if len(ways) > 1:
        raise CommandError(f"{', '.join(ways)}: passes differ by one of these at a time")
    if options.passes is not None:
        check_passes(options.passes)
        if not ways:
            raise CommandError(
                "--passes: say what passes differ by: --dropout 0.1, --noise 0.1, or several networks, --weights A,B,C"
            )
        if others and options.passes != len(others) + 1:
            raise CommandError(
                f"--passes: {options.passes}, but --weights names {len(others) + 1} networks, a pass each"
            )
    if options.dropout is not None and not 0 < options.dropout < 1:
        raise CommandError(f"--dropout: {options.dropout} is not between 0 and 1")
    if options.noise is not None and not 0 <= options.noise <= 1:
        raise CommandError(f"--noise: {options.noise} is not in 0 to 1")
    if options.dropout is not None and is_onnx(options.model):
        raise CommandError("--dropout: an ONNX file has no dropout to switch on; give --noise")


def files(weights: str | None) -> list[str]:
    """Returns the files that ``--weights`` names, with commas between them; a file may have a comma in its name.

    Raises:
      CommandError: a file is named twice.
    """
    if weights is None:
        return []
    found = [weights] if Path(weights).exists() else names(weights) or [weights]
    if len(set(found)) != len(found):
        raise CommandError(f"--weights: a file is named twice in {weights}")
    return found


def are_asked(options: Options) -> bool:
    """Returns whether pictures are explained several times."""
    return options.dropout is not None or options.noise is not None or bool(options.others)


def disturbance(options: Options, model: Any, others: Sequence[Any]) -> "Disturbance":
    """Returns what passes differ by.

    Raises:
      CommandError: weights are of another network than the first ones.
    """
    import xrcam_jax as xr
    from xrcam_jax.explain.disturbances import with_intensities_of
    from xrcam_jax.explain.functional import as_function

    if options.dropout is not None:
        return xr.Dropout(options.dropout)
    if options.noise is not None:
        return xr.Noise(options.noise)
    for file, other in zip(options.others, others, strict=True):
        # Networks that are made alike share their function.
        alike = with_intensities_of(other, getattr(model, "preprocessing", None))
        if as_function(alike)[0] is not as_function(model)[0]:
            raise CommandError(
                f"--weights: {file} has not the layers and classes of {options.weights}, or wants pictures of another "
                "size or cut"
            )
    return xr.Ensemble(others)
