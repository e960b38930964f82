"""Errors that name what was wrong with an argument and say what would be right."""

import difflib
from collections.abc import Collection
from itertools import islice

#: How many known names are shown beside an unknown one. The largest table of names, that of the methods, is shorter.
SHOWN = 50


class DamagedError(ValueError):
    """The content of a file is damaged or makes no sense. The message names the file, and what in it is wrong."""


class CommandError(Exception):
    """A command cannot start. The message is one line that names the argument and says what would be right.

    Args:
      line: the message.
      more: what is shown below it, of as many lines as it needs.
    """

    def __init__(self, line: str, more: str = ""):
        super().__init__(line)
        self.more = more


def reason(error: Exception) -> str:
    """Returns what an error says; one of the system's, the file and what is wrong with it, without a number.

    Args:
      error: of any kind.

    Example:
      >>> from xrcam_jax.errors import reason
      >>> reason(PermissionError(13, "Permission denied", "w.pth"))
      'w.pth: Permission denied'
    """
    if isinstance(error, OSError) and error.filename and error.strerror:
        return f"{error.filename}: {error.strerror}"
    return str(error)


def weights_error(error: Exception) -> Exception:
    r"""Returns what a command says of weights that it cannot use.

    Args:
      error: what reading them has raised. Of weights of another network it lists hundreds of tensors, of which the
        first will do.

    Returns:
      A :class:`DamagedError` if the file is damaged, else a :class:`CommandError`: the argument is wrong.

    Example:
      >>> from xrcam_jax.errors import weights_error
      >>> weights_error(ValueError("w.pth: not the weights of resnet18:\n  missing: a\n  missing: b"))
      CommandError('--weights: w.pth: not the weights of resnet18: missing: a')
      >>> weights_error(PermissionError(13, "Permission denied", "w.pth"))
      CommandError('--weights: w.pth: Permission denied')
    """
    lines = [line.strip() for line in reason(error).splitlines()]
    kind = DamagedError if isinstance(error, DamagedError) else CommandError
    first, *rest = lines[:2]
    between = " " if first.endswith(":") else "; "
    return kind(f"--weights: {between.join([first, *rest])}")


def unknown(what: str, name: str, known: Collection[str], shown: int = SHOWN) -> ValueError:
    """Returns the error for an unknown name, which names the closest known one and the others.

    Args:
      what: what is named, as one word or two.
      name: the unknown name.
      known: the known names. One that is a path may be meant by its end, with dots for slashes as in PyTorch.
      shown: how many of the known names are shown.

    Returns:
      The error, to be raised.

    Example:
      >>> from xrcam_jax.errors import unknown
      >>> print(unknown("mark", "layer4x", ("layer3", "layer4")))
      unknown mark 'layer4x'; did you mean 'layer4'? known: layer3, layer4
    """
    # A known name that begins with the unknown one counts as closer than its edit distance says.
    begun = [other for other in known if name and other.startswith(name.lower())]
    parts = _parts(name)
    ends = {"/".join(_parts(other)[-len(parts) :]): other for other in known}
    near = begun or [ends[end] for end in difflib.get_close_matches("/".join(parts), ends, n=1)]
    hint = f"did you mean {near[0]!r}? " if near else ""
    listed, more = ", ".join(islice(known, shown)), len(known) - shown
    others = f" and {more} more" if more > 0 else ""
    return ValueError(f"unknown {what} {name!r}; {hint}known: {listed or 'none'}{others}")


def _parts(name: str) -> list[str]:
    return name.lower().replace(".", "/").split("/")
