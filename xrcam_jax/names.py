"""What to say of a name that nobody knows."""

import difflib
from collections.abc import Collection


def unknown(what: str, name: str, known: Collection[str]) -> ValueError:
    """The error for ``name``, which is none of ``known``: names the nearest that is, and all of them."""
    # Half a name is nearer to the whole of it than letters can tell.
    begun = [other for other in known if name and other.startswith(name.lower())]
    near = begun or difflib.get_close_matches(name.lower(), known, n=1)
    hint = f"did you mean {near[0]!r}? " if near else ""
    return ValueError(f"unknown {what} {name!r}; {hint}known: {', '.join(known) or 'none'}")
