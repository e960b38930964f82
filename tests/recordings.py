"""Recordings of which everything is known: a lit disc on black, a logo in a corner, another brightness each frame."""

import shutil
import subprocess

import cv2
import numpy as np
import pytest
from PIL import Image

HEIGHT, WIDTH, CENTRE, RADIUS = 90, 120, (62, 44), 36


def disc(level, *, height=HEIGHT, width=WIDTH, centre=CENTRE, radius=RADIUS, logo=True):
    """A frame; the pixels whose centres are in the circle have ``level``, a number or an array."""
    y, x = np.ogrid[:height, :width]
    frame = np.where(np.hypot(x - centre[0], y - centre[1]) <= radius, level, 0).astype(np.uint8)
    if logo:
        frame[2 : height // 8, width - width // 6 : width - 2] = 255
    return frame


def levels(count, first=60, step=8):
    """Frames that are told apart by their brightness."""
    return [disc(first + step * number) for number in range(count)]


def textured(count, seed=0):
    """Frames with noise in the disc, no two alike."""
    random = np.random.default_rng(seed)
    return [disc(random.integers(40, 250, (HEIGHT, WIDTH))) for _ in range(count)]


def write_video(path, frames, codec="MJPG"):
    """By OpenCV; grey frames (H, W) or colour frames (H, W, 3) in RGB."""
    path.parent.mkdir(parents=True, exist_ok=True)
    height, width = frames[0].shape[:2]
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*codec), 10, (width, height))
    assert writer.isOpened()
    for frame in frames:
        writer.write(cv2.cvtColor(frame, cv2.COLOR_GRAY2BGR if frame.ndim == 2 else cv2.COLOR_RGB2BGR))
    writer.release()
    return path


def read_video(path):
    """By OpenCV; all frames as they are decoded, in BGR."""
    capture, frames = cv2.VideoCapture(str(path)), []
    while (got := capture.read())[0]:
        frames.append(got[1])
    capture.release()
    return np.stack(frames)


def write_by_ffmpeg(path, frames, *options):
    """By the ffmpeg program; grey frames."""
    program = shutil.which("ffmpeg") or pytest.importorskip("imageio_ffmpeg").get_ffmpeg_exe()
    path.parent.mkdir(parents=True, exist_ok=True)
    height, width = frames[0].shape
    source = ["-f", "rawvideo", "-pix_fmt", "gray", "-s", f"{width}x{height}", "-r", "10", "-i", "-"]
    command = [program, "-v", "error", "-y", *source, *options, str(path)]
    subprocess.run(command, input=b"".join(frame.tobytes() for frame in frames), check=True)
    return path


def write_pictures(folder, frames, name="{:d}.png"):
    folder.mkdir(parents=True, exist_ok=True)
    for number, frame in enumerate(frames):
        Image.fromarray(frame).save(folder / name.format(number))
    return folder


def cut(path, share=0.5):
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    return path
