"""How ``xrcam explain`` draws maps, and of how many pictures it makes sheets."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from xrcam_jax.arguments.parser import NAMES, Options
from xrcam_jax.errors import CommandError
from xrcam_jax.figures.looks import ALPHA, COLORMAP, LOOKS, SIGNED_COLORMAP

if TYPE_CHECKING:
    from xrcam_jax.figures.style import Style

SHEETS = 50

FORMATS = ("png", "svg", "pdf")


@dataclass(frozen=True)
class Drawing:
    """Says what of the results is drawn, and how.

    Attributes:
      style: of all maps.
      sheets: of how many pictures there are sheets, which take longer than all else that is written.
      format: of the sheets.
    """

    style: "Style"
    sheets: int
    format: str

    def where(self, out: Path, pictures: int) -> str:
        """Says where to look, after so many pictures."""
        if not self.sheets:
            return f"Look into {out / 'overlays'}"
        some = f"; there are sheets of the first {self.sheets} pictures (--sheets)" if pictures > self.sheets else ""
        return f"Look into {out / 'sheets'}{some}"


PARAMETERS = (
    click.Option(
        ["--style"],
        type=click.Choice(LOOKS),
        default=LOOKS[0],
        help="how maps lie on pictures: overlay, as opaque as the map is large; heat, equally opaque everywhere; "
        "contour, lines; mask, what is above the mean plus the standard deviation",
    ),
    click.Option(
        ["--colormap"],
        type=NAMES,
        default=(COLORMAP,),
        metavar="NAME[,NAME]",
        help="of matplotlib; and another, whose middle stands for zero, for methods with evidence for and against "
        f"({SIGNED_COLORMAP})",
    ),
    click.Option(["--alpha"], type=float, default=ALPHA, metavar="A", help="how opaque colours are at most, 0 to 1"),
    click.Option(["--sheets"], type=int, default=SHEETS, metavar="N", help="make sheets of the first N pictures"),
    click.Option(
        ["--format"],
        type=click.Choice(FORMATS),
        default=FORMATS[0],
        help="of sheets, those of volumes too; svg and pdf suit papers",
    ),
)


def drawing(options: Options) -> Drawing:
    """Returns what options say.

    Raises:
      CommandError: one of them is wrong.
    """
    from xrcam_jax.figures.style import Style

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
