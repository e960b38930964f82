"""How ``xrcam explain`` draws maps, and of how many pictures it makes sheets."""

import argparse
from dataclasses import dataclass
from pathlib import Path

from xrcam_jax.arguments.parser import names
from xrcam_jax.errors import CommandError
from xrcam_jax.figures.style import LOOKS, Style

FORMATS = ("png", "svg", "pdf")


@dataclass(frozen=True)
class Drawing:
    """Says what of the results is drawn, and how.

    Attributes:
      style: of all maps.
      sheets: of how many pictures there are sheets, which take longer than all else that is written.
      format: of the sheets.
    """

    style: Style = Style()
    sheets: int = 50
    format: str = "png"

    def where(self, out: Path, pictures: int) -> str:
        """Says where to look, after so many pictures."""
        if not self.sheets:
            return f"Look into {out / 'overlays'}"
        some = f"; there are sheets of the first {self.sheets} pictures (--sheets)" if pictures > self.sheets else ""
        return f"Look into {out / 'sheets'}{some}"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the options."""
    standard = Drawing()
    parser.add_argument(
        "--style",
        choices=LOOKS,
        default=standard.style.look,
        help="how maps lie on pictures: overlay, as opaque as the map is large; heat, equally opaque everywhere; "
        f"contour, lines; mask, what is above the mean plus the standard deviation ({standard.style.look})",
    )
    parser.add_argument(
        "--colormap",
        type=names,
        default=[standard.style.colormap],
        metavar="NAME[,NAME]",
        help=f"of matplotlib ({standard.style.colormap}); and another, whose middle stands for zero, for methods with "
        f"evidence for and against ({standard.style.signed_colormap})",
    )
    parser.add_argument(
        "--alpha",
        type=float,
        default=standard.style.alpha,
        metavar="A",
        help=f"how opaque colours are at most, 0 to 1 ({standard.style.alpha})",
    )
    parser.add_argument(
        "--sheets",
        type=int,
        default=standard.sheets,
        metavar="N",
        help=f"make sheets of the first N pictures ({standard.sheets})",
    )
    parser.add_argument(
        "--format",
        choices=FORMATS,
        default=standard.format,
        help=f"of sheets; svg and pdf suit papers ({standard.format})",
    )


def drawing(options: argparse.Namespace) -> Drawing:
    """Returns what options say.

    Raises:
      CommandError: one of them is wrong.
    """
    if options.sheets < 0:
        raise CommandError(f"--sheets: {options.sheets} is less than 0")
    if not 1 <= len(options.colormap) <= 2:
        raise CommandError(f"--colormap: expected one name or two, found {','.join(options.colormap)}")
    colormaps = dict(zip(("colormap", "signed_colormap"), options.colormap, strict=False))
    try:
        style = Style(**colormaps, alpha=options.alpha, look=options.style)
    except ValueError as error:
        raise CommandError(f"--{error}") from None
    return Drawing(style, options.sheets, options.format)
