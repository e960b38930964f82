"""The network that a run of ``xrcam train`` is of, and names in the place of classes."""

from collections.abc import Sequence
from pathlib import Path

from xrcam_jax.checkpoints.labels import run_settings
from xrcam_jax.errors import CommandError


def run_model(weights: str) -> str | None:
    """Returns the name of the network that a run has trained; None if the weights are not those of a run.

    Args:
      weights: of which a run has written ``best.safetensors`` beside its ``settings.json``.
    """
    model = run_settings(weights).get("model")
    return model if isinstance(model, str) else None


def no_model(weights: str | None) -> CommandError:
    """Returns the error where nothing says of which network weights are; a run's folder may be misspelt.

    Args:
      weights: that were given.

    Example:
      >>> from xrcam_jax.commands.labels import no_model
      >>> no_model("xrcam_rnu").args[0].split("; ")[1]
      'only the folder of a run of xrcam train says of which network it is, and there is no xrcam_rnu'
    """
    gone = f", and there is no {weights}" if weights is not None and not Path(weights).expanduser().exists() else ""
    return CommandError(
        f"--model: is missing; only the folder of a run of xrcam train says of which network it is{gone}"
    )


def target_of(target: int | str | None, labels: Sequence[str] | None) -> int | None:
    """Returns the number of the class that is to be explained; None for the one that is predicted.

    Args:
      target: its number or its name, in which capitals do not matter.
      labels: the names of the classes; None if they are not known.

    Raises:
      CommandError: there is no class of that name, or no names are known.

    Example:
      >>> from xrcam_jax.commands.labels import target_of
      >>> target_of("meningioma", ["GBM", "Meningioma"])
      1
    """
    if not isinstance(target, str):
        return target
    if labels is None:
        raise CommandError(
            f"--target: {target!r} is neither a class number nor 'predicted', and the names of the classes are not "
            "known; give them by --labels"
        )
    from xrcam_jax.explain.given import class_named

    try:
        return class_named(target, labels)
    except ValueError as error:
        raise CommandError(f"--target: {error}") from None
