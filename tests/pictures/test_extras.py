"""Libraries of the extras ``video`` and ``tiff`` are asked for when a file needs them, in one line, and not before."""

import subprocess
import sys

import cv2
import numpy as np
import pytest
import tifffile

from xrcam_jax.pictures.video_kinds import WRITTEN, lacking
from xrcam_jax.pictures.write_video import CODECS

BARE = """
import sys
for name in ("av", "tifffile", "imagecodecs"):
    sys.modules[name] = None
import xrcam_jax as xr
from xrcam_jax.data.cohort import SMALL, write_cohort
print(xr.load_images(["a.png"])[0].shape)
for path in ("b.tif", "c.png", "d.mp4"):
    try:
        xr.load_images([path])
    except ValueError as error:
        print(error)
try:
    write_cohort("drawn", SMALL, progress=False)
except ValueError as error:
    print(str(error).partition(": ")[2])
"""


def test_what_is_missing_is_named_with_its_extra(tmp_path):
    grey = np.arange(12, dtype=np.uint16).reshape(3, 4) * 5000
    cv2.imwrite(str(tmp_path / "a.png"), grey.astype(np.uint8))
    cv2.imwrite(str(tmp_path / "c.png"), np.stack([grey] * 3, -1))
    tifffile.imwrite(tmp_path / "b.tif", grey)
    (tmp_path / "d.mp4").write_bytes(b"\0" * 100)
    done = subprocess.run([sys.executable, "-c", BARE], cwd=tmp_path, capture_output=True, text=True)
    assert done.stdout.splitlines() == [
        "(3, 4, 3)",
        "b.tif: tifffile is needed to read it: pip install 'xrcam-jax[tiff]'",
        "c.png: imagecodecs is needed to read it: pip install 'xrcam-jax[tiff]'",
        "d.mp4: av is needed for videos: pip install 'xrcam-jax[video]'",
        "av is needed for videos: pip install 'xrcam-jax[video]'",
    ], done.stderr


def test_another_module_that_is_missing_is_not_taken_for_pyav():
    with pytest.raises(ModuleNotFoundError):
        lacking(ModuleNotFoundError(name="xrcam_jax.nowhere"), "clip.mp4")


def test_the_suffixes_are_those_of_the_codecs():
    assert tuple(CODECS) == WRITTEN
