"""What to say of a name that nobody knows."""

import difflib
from collections.abc import Collection


def unknown(what: str, name: str, known: Collection[str]) -> ValueError:
    """The error for ``name``, which is none of ``known``: names the nearest that is, and all of them."""
    near = difflib.get_close_matches(name, known, n=1)
    hint = f"did you mean {near[0]!r}? " if near else ""
    return ValueError(f"unknown {what} {name!r}; {hint}known: {', '.join(known) or 'none'}")
