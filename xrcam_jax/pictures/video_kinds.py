"""What is known of videos without the library that reads and writes them, PyAV, which is an extra."""

from pathlib import Path

#: Suffixes of the videos that :mod:`xrcam_jax.pictures.write_video` writes.
WRITTEN = (".avi", ".mp4", ".mov", ".mkv")

#: Frames per second of probe-based confocal laser endomicroscopy (pCLE).
PCLE_FRAME_RATE = 12.0


def lacking(error: ModuleNotFoundError, place: Path | str) -> ValueError:
    """Returns what to raise where PyAV is needed and is not installed.

    Args:
      error: what importing a module raised.
      place: the file that is to be read or written.

    Returns:
      An error of one line, which says what to install.

    Raises:
      ModuleNotFoundError: another library is missing.

    Example:
      >>> from xrcam_jax.pictures.video_kinds import lacking
      >>> lacking(ModuleNotFoundError(name="av"), "clip.mp4")
      ValueError("clip.mp4: av is needed for videos: pip install 'xrcam-jax[video]'")
    """
    if (error.name or "").partition(".")[0] != "av":
        raise error
    return ValueError(f"{place}: av is needed for videos: pip install 'xrcam-jax[video]'")
