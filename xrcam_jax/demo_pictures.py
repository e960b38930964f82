"""Pictures for a first try, drawn here: they resemble endomicroscopy and stand for no patient."""

import cv2
import numpy as np
from jaxtyping import UInt8


def draw(seed: int, *, size: int = 320, blobs: int = 6) -> UInt8[np.ndarray, "size size 3"]:
    """A round view of bright, fibrous texture with dark blobs at several scales, in grey."""
    rng = np.random.default_rng(seed)
    rows, columns = np.mgrid[:size, :size] / size - 0.5
    tissue = 0.62 + 0.10 * _noise(rng, size, size / 4) + 0.07 * _noise(rng, size, size / 12)
    fibres = 0.06 * _noise(rng, size, 2.5)
    for scale in np.geomspace(0.16, 0.03, blobs):
        angle, distance = rng.uniform(0, 2 * np.pi), rng.uniform(0, 0.34)
        dy, dx = rows - distance * np.sin(angle), columns - distance * np.cos(angle)
        stretch, turn = rng.uniform(0.7, 1.4), rng.uniform(0, np.pi)
        along, across = dx * np.cos(turn) + dy * np.sin(turn), dy * np.cos(turn) - dx * np.sin(turn)
        reach = np.hypot(along / stretch, across * stretch) / scale
        rim = 1 + 0.1 * _noise(rng, size, size / 7)
        tissue -= 0.42 / (1 + np.exp(np.minimum(12 * (reach * rim - 1), 50)))
    radius = np.hypot(rows, columns)
    view = (1 - 0.9 * radius**2) / (1 + np.exp(size * (radius - 0.47)))
    grey = np.rint(255 * np.clip((tissue + fibres) * view, 0, 1)).astype(np.uint8)
    return np.repeat(grey[..., None], 3, axis=2)


def _noise(rng: np.random.Generator, size: int, grain: float) -> np.ndarray:
    """Smooth noise of unit variance whose grains are about ``grain`` pixels."""
    cells = max(4, round(size / grain))
    smooth = cv2.resize(rng.standard_normal((cells, cells)), (size, size), interpolation=cv2.INTER_CUBIC)
    return (smooth - smooth.mean()) / smooth.std()
