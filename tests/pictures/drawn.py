"""Small pictures and videos of which the pixels are known."""

import cv2
import numpy as np
from PIL import Image


def smooth(height: int = 48, width: int = 64, seed: int = 0) -> np.ndarray:
    noise = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return cv2.GaussianBlur(noise, (0, 0), 4)


def save(path, pixels=None, **options):
    Image.fromarray(smooth() if pixels is None else pixels).save(path, **options)
    return path


def write_video(path, frames: int = 9, codec: str = "MJPG"):
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*codec), 10, (64, 48))
    assert writer.isOpened()
    for seed in range(frames):
        writer.write(smooth(seed=seed)[..., ::-1])
    writer.release()
    return path
