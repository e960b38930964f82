"""How the help of commands is laid out."""

import textwrap
from collections.abc import Iterable

import click


class Formatter(click.HelpFormatter):
    """Lays out help, and breaks lines between words alone: names such as ``--batch-size`` stay whole."""

    def write_dl(self, rows: Iterable[tuple[str, str]], col_max: int = 26, col_spacing: int = 2) -> None:
        """Writes terms, and beside each what it means."""
        rows = list(rows)
        left = min(max(len(term) for term, _ in rows), col_max) + col_spacing
        width = max(self.width - self.current_indent - left, 30)
        for term, meaning in rows:
            lines = textwrap.wrap(meaning, width, break_long_words=False, break_on_hyphens=False)
            if len(term) > col_max:
                lines.insert(0, "")
            for first, line in zip([term, *[""] * len(lines)], lines or [""], strict=False):
                self.write(f"{'':{self.current_indent}}{first:{left}}{line}".rstrip() + "\n")
