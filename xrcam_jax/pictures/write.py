"""Pictures are written as files."""

import io
import os

from PIL import Image

from xrcam_jax.pictures.pages import RGB
from xrcam_jax.runtime.files import write_whole


def save_picture(path: str | os.PathLike[str], picture: RGB) -> None:
    """Writes a PNG or JPEG picture, whole or not at all.

    Args:
      path: of the file; its suffix, ``.png``, ``.jpg`` or ``.jpeg``, says the format.
      picture: what to write.

    Raises:
      ValueError: where the suffix is another.

    Example:
      >>> import tempfile
      >>> from pathlib import Path
      >>> import numpy as np
      >>> from xrcam_jax.pictures.write import save_picture
      >>> with tempfile.TemporaryDirectory() as folder:
      ...     path = Path(folder) / "black.png"
      ...     save_picture(path, np.zeros((2, 3, 3), np.uint8))
      ...     path.read_bytes()[1:4]
      b'PNG'
    """
    kind = {".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG"}.get(os.path.splitext(path)[1].lower())
    if kind is None:
        raise ValueError(f"path: {path} ends neither in .png nor in .jpg")
    encoded = io.BytesIO()
    # PNG's usual compression would take most of a run's time; the weakest costs a third more bytes.
    Image.fromarray(picture).save(encoded, format=kind, quality=92, compress_level=1)
    # There are many, and whoever lost some in a power cut makes them again.
    write_whole(path, encoded.getvalue(), synced=False)
