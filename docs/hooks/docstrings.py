"""Turns the house's docstrings into what mkdocstrings reads: the heading of examples, and roles of names."""

import re
from typing import Any

import griffe


class House(griffe.Extension):
    """Changes the text of each docstring before it is parsed."""

    def on_instance(self, *, obj: griffe.Object, **_: Any) -> None:
        """Sees each object of the package once, when it has been read."""
        if obj.docstring is not None:
            obj.docstring.value = readable(obj.docstring.value)


def readable(docstring: str) -> str:
    """Returns a docstring with headings and names as mkdocstrings knows them.

    Args:
      docstring: with the roles of Sphinx, and ``Example:`` before its example.

    Returns:
      The same in Markdown.

    Example:
      >>> readable("Makes :class:`~xrcam_jax.Taps`.\\n\\nExample:\\n  >>> 1\\n  1")
      'Makes `xrcam_jax.Taps`.\\n\\nExamples:\\n  >>> 1\\n  1'
    """
    text = re.sub(r":(?:func|mod|class|meth|attr|data):`~?([\w.]+)`", r"`\1`", docstring)
    return re.sub(r"^Example:$", "Examples:", text, flags=re.MULTILINE)
