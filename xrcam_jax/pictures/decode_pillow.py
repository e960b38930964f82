"""Pictures that Pillow decodes: BMP, GIF, JPEG with MPO, PNG with APNG, and WebP; 16-bit PNG by libpng itself.

Every frame of an animation is a page, composed as it is displayed. Pixels are taken as they are stored: transparency is
ignored, and so are colour profiles and gamma, which networks do not see in training either.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from PIL import BmpImagePlugin, GifImagePlugin, Image, JpegImagePlugin, PngImagePlugin, WebPImagePlugin

from xrcam_jax.pictures.pages import RGB, Page, Pages, Refusal, check_size, grey_to_rgb, scaled, upright

# Opened by name, as Pillow's own search draws the line of what is too large elsewhere, and warns below it.
_READERS: dict[str, Callable[..., Image.Image]] = {
    "BMP": BmpImagePlugin.BmpImageFile,
    "GIF": GifImagePlugin.GifImageFile,
    "JPEG": JpegImagePlugin.jpeg_factory,
    "PNG": PngImagePlugin.PngImageFile,
    "WEBP": WebPImagePlugin.WebPImageFile,
}
_ORIENTATION = 0x0112
_PNG_DEPTH = 24


@contextmanager
def opened(path: Path, kind: str) -> Iterator[Pages]:
    """Opens a picture or an animation, and reads no more than the headers.

    Args:
      path: of the file.
      kind: ``"BMP"``, ``"GIF"``, ``"JPEG"``, ``"PNG"`` or ``"WEBP"``, which the file is.

    Returns:
      Its pages, as a context manager that closes the file.

    Raises:
      Refusal: the file is too large, or of a kind that is not read.
      Exception: the file is damaged; Pillow's decoders raise anything from SyntaxError to struct.error.

    Example:
      >>> import tempfile
      >>> from pathlib import Path
      >>> from PIL import Image
      >>> from xrcam_jax.pictures.decode_pillow import opened
      >>> with tempfile.TemporaryDirectory() as folder:
      ...     Image.new("L", (1, 1), 9).save(f"{folder}/grey.png")
      ...     with opened(Path(folder) / "grey.png", "PNG") as pages:
      ...         pages.count, pages.read(0)
      (1, Page(pixels=array([[[9, 9, 9]]], dtype=uint8), depth=8, window=''))
    """
    with _opened(path, kind) as image:
        check_size(*image.size)
        depth = _png_depth(path) if kind == "PNG" else 8
        frames = _frames(image)

        def read(page: int) -> Page:
            # Pillow drops the lower eight bits of colours instead of rounding, and has no grey with transparency of 16.
            if depth > 8 and image.mode != "I;16":
                return Page(_upright(image, _deep_png(path, frames)), depth)
            if frames != [0] and _is_lost(image, frames[page]):
                with _opened(path, kind) as anew:
                    return _frame(anew, frames[page], depth)
            return _frame(image, frames[page] if frames != [0] else None, depth)

        yield Pages(len(frames), read)


def _opened(path: Path, kind: str) -> Image.Image:
    try:
        return _READERS[kind](str(path))
    except SyntaxError as error:
        if "-bit layers" in str(error):
            raise Refusal(f"a JPEG that is not of 8 bits ({error}); save it as PNG or TIFF of 16 bits") from error
        raise


def _png_depth(path: Path) -> int:
    with path.open("rb") as file:
        return file.read(_PNG_DEPTH + 1)[_PNG_DEPTH]


def _frames(image: Image.Image) -> list[int]:
    """Lists the frames that are pictures of their own.

    A camera's large thumbnails in an MPO are not, nor is the picture of an APNG for programs that show no animation.
    """
    held = range(getattr(image, "n_frames", 1))
    if image.format == "MPO":
        entries = image.mpinfo[0xB002]  # type: ignore[attr-defined]
        return [frame for frame in held if "Thumbnail" not in entries[frame]["Attribute"]["MPType"]]
    return list(held[1 if getattr(image, "default_image", False) else 0 :])


def _is_lost(image: Image.Image, frame: int) -> bool:
    """Tells whether Pillow 12 and 13 do not get from the current frame of an APNG, once it has been looked at, to this.

    They fail on the way back, and leave what should vanish again.
    """
    previous = PngImagePlugin.Disposal.OP_PREVIOUS
    return image.format == "PNG" and (frame < image.tell() or image.info.get("disposal") == previous)


def _frame(image: Image.Image, frame: int | None, depth: int) -> Page:
    """Reads a frame, or the only picture."""
    if frame is not None:
        image.seek(frame)
        check_size(*image.size)
    return Page(_upright(image, _rgb(image)), depth)


def _upright(image: Image.Image, pixels: RGB) -> RGB:
    orientation = image.getexif().get(_ORIENTATION, 1) if image.format != "GIF" else 1
    # Cameras write anything: what is no orientation turns nothing, as in all other programs.
    return upright(pixels, orientation if orientation in range(1, 9) else 1)


def _rgb(image: Image.Image) -> RGB:
    if image.mode == "I;16":
        return grey_to_rgb(scaled(np.asarray(image), 0, 65535))
    if image.mode == "L" and not image.has_transparency_data:
        return grey_to_rgb(np.asarray(image))
    if image.mode == "P":
        _check_palette(image)
    if image.has_transparency_data:
        image = image.convert("RGBA")
    return np.array(image if image.mode == "RGB" else image.convert("RGB"))


def _check_palette(image: Image.Image) -> None:
    """Refuses pixels of colours that the palette does not have, which Pillow would draw black."""
    palette = image.palette
    largest, held = int(np.asarray(image).max()), len(palette.palette) // len(palette.mode) if palette else 0
    if largest >= held:
        raise Refusal(f"color {largest} of a palette of {held}")


def _deep_png(path: Path, frames: list[int]) -> RGB:
    """Decodes a PNG of 16 bits by libpng."""
    if frames != [0]:
        raise Refusal("an animated PNG of 16 bits; save its frames as pictures")
    import imagecodecs

    samples = imagecodecs.png_decode(path.read_bytes())
    colours = samples if samples.ndim == 2 else samples[..., :3] if samples.shape[2] > 2 else samples[..., 0]
    eight = scaled(colours, 0, 65535)
    return grey_to_rgb(eight) if eight.ndim == 2 else eight
