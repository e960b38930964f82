"""Errors that name what was wrong with an argument and say what would do."""

import difflib
from collections.abc import Collection


class CommandError(Exception):
    """A command cannot start; the message is one line that names the argument and says what would do."""


def unknown(what: str, name: str, known: Collection[str]) -> ValueError:
    """The error for ``name``, which is none of ``known``: names the nearest that is, and all of them."""
    # Half a name is nearer to the whole of it than letters can tell.
    begun = [other for other in known if name and other.startswith(name.lower())]
    near = begun or difflib.get_close_matches(name.lower(), known, n=1)
    hint = f"did you mean {near[0]!r}? " if near else ""
    return ValueError(f"unknown {what} {name!r}; {hint}known: {', '.join(known) or 'none'}")
