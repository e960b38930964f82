"""Writes figures for screens and for papers."""

import io
import os
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

from xrcam_jax.runtime.files import write_whole

if TYPE_CHECKING:
    from matplotlib.figure import Figure

#: By suffix, what matplotlib calls the format.
FORMATS = {".png": "png", ".jpg": "jpeg", ".jpeg": "jpeg", ".svg": "svg", ".pdf": "pdf"}
# Texts of SVG stay texts, which can be searched and edited; those of PDF bring their TrueType font along, as publishers
# ask. The same figure has the same bytes. PNG's usual compression would take most of the time, for a quarter fewer
# bytes than the weakest.
_SETTINGS = {"svg.fonttype": "none", "svg.hashsalt": "xrcam", "pdf.fonttype": 42}
_OPTIONS: dict[str, dict[str, Any]] = {
    "png": {"pil_kwargs": {"compress_level": 1}},
    "jpeg": {"pil_kwargs": {"quality": 92}},
    "svg": {"metadata": {"Date": None}},
    "pdf": {"metadata": {"CreationDate": None}},
}
# Settings of matplotlib belong to the whole process, and threads write figures.
_LOCK = threading.Lock()


def save(figure: "Figure", path: str | os.PathLike[str], *, synced: bool = False) -> None:
    """Writes a figure, whole or not at all.

    Args:
      figure: of matplotlib.
      path: of the file; its suffix, ``.png``, ``.jpg``, ``.jpeg``, ``.svg`` or ``.pdf``, says the format.
      synced: whether to wait until the disk has it, see :func:`xrcam_jax.runtime.files.write_whole`.

    Raises:
      ValueError: where the suffix is another.
      OSError: naming the file that cannot be written.

    Example:
      >>> import tempfile
      >>> from pathlib import Path
      >>> from matplotlib.figure import Figure
      >>> from xrcam_jax.figures.save import save
      >>> with tempfile.TemporaryDirectory() as folder:
      ...     path = Path(folder) / "empty.pdf"
      ...     save(Figure(), path)
      ...     path.read_bytes()[:4]
      b'%PDF'
    """
    from matplotlib import rc_context

    kind = FORMATS.get(Path(path).suffix.lower())
    if kind is None:
        raise ValueError(f"path: {path} ends in none of {', '.join(FORMATS)}")
    content = io.BytesIO()
    with _LOCK, rc_context(_SETTINGS):
        figure.savefig(content, format=kind, dpi=figure.dpi, **_OPTIONS[kind])
    write_whole(path, content.getvalue(), synced=synced)
