"""The folder of a run of ``xrcam train`` in the place of weights, and names in the place of classes."""

from collections.abc import Sequence
from pathlib import Path

from xrcam_jax.checkpoints.labels import BEST, SETTINGS, run_settings
from xrcam_jax.errors import CommandError


def best_of(weights: str) -> str:
    """Returns the best weights of a run, given its folder; other weights as they are.

    Args:
      weights: a file, a folder, or the name of a checkpoint on the hub.

    Raises:
      CommandError: the run has not ended yet, and so has no best weights.

    Example:
      >>> from pathlib import Path
      >>> from tempfile import TemporaryDirectory
      >>> from xrcam_jax.commands.labels import best_of
      >>> with TemporaryDirectory() as folder:
      ...     (Path(folder) / "best.safetensors").touch()
      ...     print(Path(best_of(folder)).name, best_of("timm/resnet50.a1_in1k"))
      best.safetensors timm/resnet50.a1_in1k
    """
    folder = Path(weights)
    if (folder / BEST).is_file():
        return str(folder / BEST)
    if (folder / SETTINGS).is_file():
        raise CommandError(f"--weights: {folder} is a run of xrcam train that has not come to its {BEST} yet")
    return weights


def run_model(weights: str) -> str | None:
    """Returns the name of the network that a run has trained; None if the weights are not those of a run.

    Args:
      weights: of which a run has written ``best.safetensors`` beside its ``settings.json``.
    """
    model = run_settings(weights).get("model")
    return model if isinstance(model, str) else None


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
