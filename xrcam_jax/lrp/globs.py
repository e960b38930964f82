"""Globs of layers' names, which are paths: ``encoder/block_1/conv``.

A glob is compared element by element, from the right, so that ``block_*`` fits ``encoder/block_1`` and not
``encoder/block_1/conv``; ``**`` stands for any number of elements.
"""

from collections.abc import Sequence
from fnmatch import fnmatchcase


def is_glob(name: str) -> bool:
    """Returns whether a name has wildcards in it.

    Args:
      name: of a layer, or a glob.

    Example:
      >>> from xrcam_jax.lrp.globs import is_glob
      >>> is_glob("encoder/block_1"), is_glob("encoder/block_?")
      (False, True)
    """
    return any(character in name for character in "*?[")


def fits(glob: str, name: str) -> bool:
    """Returns whether a glob fits a name, or the end of it.

    Args:
      glob: a glob, or a name.
      name: of a layer.

    Example:
      >>> from xrcam_jax.lrp.globs import fits
      >>> fits("block_*", "encoder/block_1"), fits("block_*", "encoder/block_1/conv"), fits("encoder/**", "encoder/a/b")
      (True, False, True)
    """
    return _fits(("**", *glob.split("/")), name.split("/"))


def fits_around(glob: str, name: str) -> bool:
    """Returns whether a glob fits a name, or that of a layer around it.

    Args:
      glob: a glob, or a name.
      name: of a layer, or the path of named scopes around an operation.

    Example:
      >>> from xrcam_jax.lrp.globs import fits_around
      >>> fits_around("block_*", "encoder/block_1/conv"), fits_around("block_*", "encoder")
      (True, False)
    """
    path = name.split("/")
    return any(_fits(("**", *glob.split("/")), path[: n + 1]) for n in range(len(path)))


def _fits(glob: Sequence[str], path: Sequence[str]) -> bool:
    if not glob:
        return not path
    if glob[0] == "**":
        return any(_fits(glob[1:], path[i:]) for i in range(len(path) + 1))
    return bool(path) and fnmatchcase(path[0], glob[0]) and _fits(glob[1:], path[1:])
