"""Tables on the screen: drawn to fit a terminal, and plain lines to search in where there is none."""

import sys
from collections.abc import Sequence


def show_markdown(text: str) -> None:
    r"""Prints Markdown, whose tables are drawn on a terminal; elsewhere it is printed as it is.

    Args:
      text: with names of others made harmless.

    Example:
      >>> from xrcam_jax.arguments.screen import show_markdown
      >>> show_markdown("| method | IoU |\n|---|---:|\n| lrp | 0.5 |")
      | method | IoU |
      |---|---:|
      | lrp | 0.5 |
    """
    if not sys.stdout.isatty():
        print(text)
        return
    from rich.console import Console
    from rich.markdown import Markdown

    Console().print(Markdown(text))


def show_rows(heads: Sequence[str], rows: Sequence[Sequence[str]], numbers: Sequence[str] = ()) -> None:
    """Prints rows below the names of their columns on a terminal; elsewhere only the rows, a line each.

    Args:
      heads: names of the columns.
      rows: texts, of which lines are broken between words where a terminal is too narrow.
      numbers: columns that are aligned on the right.

    Example:
      >>> from xrcam_jax.arguments.screen import show_rows
      >>> show_rows(["network", "parameters"], [["a", "5"], ["bc", "10"]], numbers=["parameters"])
      a    5
      bc  10
    """
    if not sys.stdout.isatty():
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        for row in rows:
            cells = [
                cell.rjust(width) if head in numbers else cell.ljust(width)
                for cell, width, head in zip(row, widths, heads, strict=True)
            ]
            print("  ".join(cells).rstrip())
        return
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD)
    for head in heads:
        table.add_column(head, justify="right" if head in numbers else "left", overflow="fold")
    for row in rows:
        table.add_row(*map(Text, row))
    Console().print(table)
