"""Explanations are drawn: as a figure, as a part of a notebook's page, and as the files of a folder.

matplotlib is imported when something is drawn.
"""

import base64
import html
import io
import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, UInt8
from PIL import Image

from xrcam_jax.explain.showing import NAMED, PICTURES, Drawable
from xrcam_jax.pictures.preprocessing import Box, Preprocessing, crop_box
from xrcam_jax.runtime.files import write_whole
from xrcam_jax.runtime.names import file_stem, same_name
from xrcam_jax.titles import layer_title, method_title

#: Pixels of the longer side of a picture in a notebook, and how many pictures there are.
_THUMBNAIL, ROWS = 128, 4
#: By this file a folder is known as one that an explanation has been saved to.
CONTENTS = "explanation.json"


def page_part(summary: str, drawn: Drawable) -> str:
    """Returns the HTML of thumbnails: a row for each picture and a column for each map, with all they need inside.

    Args:
      summary: what the explanation says of itself, which stands below.
      drawn: what is shown; of many pictures and maps, the first.

    Example:
      >>> import numpy as np
      >>> from xrcam_jax.explain.drawing import page_part
      >>> from xrcam_jax.explain.showing import Drawable
      >>> drawn = Drawable(np.zeros((1, 4, 4, 3), np.uint8), {"grad_cam": {"last": np.ones((1, 4, 4))}}, ["<cat>"])
      >>> shown = page_part("one", drawn)
      >>> shown.count("data:image/png;base64,"), "&lt;cat&gt;" in shown, "<cat>" in shown
      (2, True, False)
    """
    from xrcam_jax.figures.overlay import overlay

    columns = [(method, layer) for method, by_layer in drawn.maps.items() for layer in by_layer]
    if len(columns) > NAMED:
        # The last layer of each method is the one that most look at.
        columns = [(method, list(by_layer)[-1]) for method, by_layer in drawn.maps.items()][:NAMED]
    names = [(html.escape(method_title(method)), html.escape(layer_title(layer))) for method, layer in columns]
    heads = ["", *("<br>".join(each) for each in names)]
    rows = []
    for index, (picture, what) in enumerate(zip(drawn.pictures[:ROWS], drawn.titles, strict=False)):
        small = _thumbnail(picture)
        laid = [overlay(small, drawn.maps[m][layer][index], signed=m in drawn.signed) for m, layer in columns]
        named = [what, *(f"{what}: {method_title(method)}, {layer_title(layer)}" for method, layer in columns)]
        cells = [f"<td>{_image(each, name)}</td>" for each, name in zip([small, *laid], named, strict=True)]
        rows.append(f'<tr>{"".join(cells)}<td style="text-align:left">{html.escape(what)}</td></tr>')
    header = "".join(f'<th style="text-align:center">{head}</th>' for head in [*heads, ""])
    table = f"<table><thead><tr>{header}</tr></thead><tbody>{''.join(rows)}</tbody></table>"
    return f"<div>{table}{preformatted(summary)}</div>"


def preformatted(text: str) -> str:
    """Returns the HTML of a text as it stands.

    Args:
      text: any.

    Example:
      >>> from xrcam_jax.explain.drawing import preformatted
      >>> preformatted("<b>")
      '<pre>&lt;b&gt;</pre>'
    """
    return f"<pre>{html.escape(text)}</pre>"


def _thumbnail(picture: UInt8[np.ndarray, "h w 3"]) -> UInt8[np.ndarray, "_ _ 3"]:
    image = Image.fromarray(picture)
    image.thumbnail((_THUMBNAIL, _THUMBNAIL))
    return np.asarray(image)


def _image(picture: UInt8[np.ndarray, "h w 3"], name: str) -> str:
    source = base64.b64encode(png(picture)).decode()
    return f'<img alt="{html.escape(name)}" width="{_THUMBNAIL}" src="data:image/png;base64,{source}">'


def png(picture: UInt8[np.ndarray, "h w 3"]) -> bytes:
    """Returns a picture as the content of a PNG file.

    Args:
      picture: in RGB.

    Example:
      >>> import numpy as np
      >>> from xrcam_jax.explain.drawing import png
      >>> png(np.zeros((2, 2, 3), np.uint8))[1:4]
      b'PNG'
    """
    content = io.BytesIO()
    Image.fromarray(picture).save(content, "png")
    return content.getvalue()


def figure(drawn: Drawable, style: Any, *, of: int) -> Any:
    """Returns a figure of pictures and their maps.

    Args:
      drawn: what is shown.
      style: a :class:`xrcam_jax.figures.style.Style`; the usual one if None.
      of: how many pictures there are, of which these are the first.

    Example:
      >>> import numpy as np
      >>> from xrcam_jax.explain.drawing import figure
      >>> from xrcam_jax.explain.showing import Drawable
      >>> drawn = Drawable(np.zeros((1, 4, 4, 3), np.uint8), {"grad_cam": {"last": np.ones((1, 4, 4))}}, ["cat"])
      >>> type(figure(drawn, None, of=1)).__name__
      'Figure'
    """
    from xrcam_jax.figures.sheet import sheet
    from xrcam_jax.figures.style import Style

    # Who sees eight of a hundred pictures is told so.
    titles = [f"{i + 1} of {of}: {what}" for i, what in enumerate(drawn.titles)] if of > PICTURES else drawn.titles
    return sheet(list(drawn.pictures), drawn.maps, titles=titles, signed=drawn.signed, style=style or Style())


def laid_over(
    picture: UInt8[np.ndarray, "h w 3"],
    saliency: Float[np.ndarray, "_ _"],
    style: Any,
    preprocessing: Preprocessing | None = None,
    *,
    signed: bool = False,
) -> UInt8[np.ndarray, "h w 3"]:
    """Lays a map over its picture, where the network has seen it.

    Args:
      picture: in RGB.
      saliency: in [0, 1], or in [-1, 1] if ``signed``.
      style: a :class:`xrcam_jax.figures.style.Style`; the usual one if None.
      preprocessing: which part of the picture the network was shown; all of it if None.
      signed: whether the map has evidence for and against.

    Returns:
      The picture with the map, of its size.

    Example:
      >>> import numpy as np
      >>> from xrcam_jax.explain.drawing import laid_over
      >>> from xrcam_jax.pictures.preprocessing import Preprocessing
      >>> config = Preprocessing(input_size=(4, 4), crop_pct=0.5)
      >>> changed = laid_over(np.zeros((8, 8, 3), np.uint8), np.ones((4, 4)), None, config).any(-1)
      >>> int(changed[2:6, 2:6].sum()), int(changed.sum())
      (16, 16)
    """
    from xrcam_jax.figures.overlay import overlay
    from xrcam_jax.figures.style import Style

    box: Box | None = None
    if preprocessing is not None:
        box = crop_box(picture.shape[0], picture.shape[1], preprocessing)
    return overlay(picture, saliency, style or Style(), signed=signed, box=box)


def save(
    folder: str | Path, drawn: Drawable, arrays: Sequence[Mapping[str, Any]], names: Sequence[str], style: Any
) -> None:
    """Writes a folder of maps, overlays and a sheet, whole or not at all.

    ::

        sheet.png                         all pictures and maps
        overlays/METHOD/LAYER/NAME.png    each of them
        maps/NAME.npz                     the maps as arrays METHOD/LAYER, the logits and the target
        explanation.json                  what is explained of each picture

    Args:
      folder: is made, or replaced if an explanation has been saved there before.
      drawn: pictures and maps.
      arrays: of each picture, what its file of maps holds.
      names: of the pictures' files.
      style: a :class:`xrcam_jax.figures.style.Style`; the usual one if None.

    Raises:
      ValueError: two names are alike, or there are too few.
      FileExistsError: the folder holds something else.
      OSError: it cannot be written.

    Example:
      >>> import tempfile
      >>> import numpy as np
      >>> from xrcam_jax.explain.drawing import save
      >>> from xrcam_jax.explain.showing import Drawable
      >>> drawn = Drawable(np.zeros((1, 4, 4, 3), np.uint8), {"grad_cam": {"last": np.ones((1, 4, 4))}}, ["cat"])
      >>> with tempfile.TemporaryDirectory() as parent:
      ...     save(f"{parent}/new", drawn, [{"target": 0}], ["a"], None)
      ...     sorted(path.name for path in Path(parent, "new").rglob("*.*"))
      ['a.npz', 'a.png', 'explanation.json', 'sheet.png']
    """
    from xrcam_jax.figures.save import save as save_figure

    folder = Path(folder)
    check_folder(folder)
    stems = [file_stem(str(name)) for name in names]
    if len(stems) != len(drawn.pictures) or len({same_name(stem) for stem in stems}) < len(stems):
        raise ValueError(f"names: expected {len(drawn.pictures)} that differ, one for each picture; got {list(names)}")
    folder.parent.mkdir(parents=True, exist_ok=True)
    aside = folder.absolute().with_name(f".{file_stem(folder.absolute().name, 200)}.part")
    shutil.rmtree(aside, ignore_errors=True)
    try:
        for method, by_layer in drawn.maps.items():
            for layer, maps in by_layer.items():
                place = aside.joinpath("overlays", file_stem(method), *map(file_stem, layer.split("/")))
                for stem, picture, one in zip(stems, drawn.pictures, maps, strict=True):
                    laid = laid_over(picture, one, style, signed=method in drawn.signed)
                    write_whole(place / f"{stem}.png", png(laid), synced=False)
        for stem, each in zip(stems, arrays, strict=True):
            content = io.BytesIO()
            np.savez_compressed(content, **each)
            write_whole(aside / "maps" / f"{stem}.npz", content.getvalue(), synced=False)
        save_figure(figure(drawn, style, of=len(stems)), aside / "sheet.png")
        explained = [{"name": name, "explained": what} for name, what in zip(stems, drawn.titles, strict=True)]
        write_whole(aside / CONTENTS, json.dumps({"pictures": explained}, indent=1, ensure_ascii=False).encode())
        if folder.exists():
            shutil.rmtree(folder)
        aside.replace(folder)
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def check_folder(folder: Path) -> None:
    """Refuses a folder that holds anything but a saved explanation.

    Args:
      folder: need not be there.

    Raises:
      FileExistsError: it is a file, or holds something else.

    Example:
      >>> import tempfile
      >>> from pathlib import Path
      >>> from xrcam_jax.explain.drawing import check_folder
      >>> with tempfile.TemporaryDirectory() as folder:
      ...     check_folder(Path(folder))
      ...     Path(folder, "thesis.txt").touch()
      ...     check_folder(Path(folder))
      Traceback (most recent call last):
      FileExistsError: folder: ... holds something else than a saved explanation (thesis.txt); name a new folder
    """
    if folder.is_file():
        raise FileExistsError(f"folder: {folder} is a file")
    held = sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []
    if held and CONTENTS not in held:
        raise FileExistsError(
            f"folder: {folder} holds something else than a saved explanation ({held[0]}); name a new folder"
        )
