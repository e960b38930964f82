"""Drawn tissue under a drawn fibre-optic microscope, which stands in for real recordings; a seed decides it.

Meningiomas have dark, compact structures at three scales on brighter tissue, whose masks are known. Glioblastomas (GBM)
have bright, irregular regions on grey. A patient's tissue is given its intensities by rank, from a histogram that does
not depend on the class: what tells the classes apart is where dark and bright lie, not how much of each there is.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import cv2
import numpy as np
from jaxtyping import Bool, Float32, Int32, UInt8

LABELS = ("GBM", "Meningioma")

#: Radii of the dark structures, as shares of the view's inscribed square.
SCALES = ((0.04, 0.055), (0.07, 0.1), (0.12, 0.17))
# Layers of a structure, from the rim inwards: how far out each reaches, as a share of the radius, and how dark it is.
_LAYERS = ((1.0, 1.0), (0.72, 0.4), (0.5, 1.0), (0.25, 0.4))
# Side of the tissue that a recording pans over, as a multiple of that square's side.
_REACH = 2.6
# Wavelength of the bright regions, as a share of the side. It makes their borders as long as those of the dark
# structures, so that the pictures of both classes are equally sharp.
_REGION = 0.2

Canvas = Float32[np.ndarray, "n n"]


@dataclass(frozen=True)
class Look:
    """Says how a patient's recordings look; it is drawn from the same distributions for both classes.

    Attributes:
      gamma: bends the histogram; below 1 it makes the tissue brighter.
      low: darkest intensity of the tissue, in [0, 1].
      high: brightest intensity of the tissue, in [0, 1].
      zoom: size of the tissue's features; 1 is that of ``SCALES``.
      blur: standard deviation of the optics, as a share of the inscribed square's side.
      noise: standard deviation of the sensor's noise, in [0, 1].
      fibre: distance between fibres, in pixels.
      honeycomb: depth of the fibre pattern, in [0, 1].
      drift: largest relative change of the exposure within a recording.
      coverage: share of the tissue that dark structures or bright regions take.
    """

    gamma: float
    low: float
    high: float
    zoom: float
    blur: float
    noise: float
    fibre: float
    honeycomb: float
    drift: float
    coverage: float


@dataclass(frozen=True, eq=False)
class Tissue:
    """The tissue that a recording pans over.

    Attributes:
      intensity: in [0, 1].
      structures: number of the structure at each pixel; 0 where there is none.
    """

    intensity: Canvas
    structures: Int32[np.ndarray, "n n"]


@dataclass(frozen=True, eq=False)
class View:
    """One frame of a recording.

    Attributes:
      picture: in grey.
      structures: number of the structure at each pixel; 0 where there is none, and outside of the view.
    """

    picture: UInt8[np.ndarray, "h w"]
    structures: Int32[np.ndarray, "h w"]


def draw_look(rng: np.random.Generator) -> Look:
    """Draws how a patient's recordings look.

    Args:
      rng: source of all that is random.

    Returns:
      The look.

    Example:
      >>> import numpy as np
      >>> from xrcam_jax.data.synthetic import draw_look
      >>> 0.75 <= draw_look(np.random.default_rng(0)).gamma <= 1.3
      True
    """
    return Look(
        gamma=rng.uniform(0.75, 1.3),
        low=rng.uniform(0.05, 0.18),
        high=rng.uniform(0.6, 0.9),
        zoom=rng.uniform(0.85, 1.2),
        blur=rng.uniform(0.004, 0.009),
        noise=rng.uniform(0.01, 0.035),
        fibre=rng.uniform(2.6, 3.6),
        honeycomb=rng.uniform(0.08, 0.2),
        drift=rng.uniform(0.05, 0.2),
        coverage=rng.uniform(0.13, 0.2),
    )


def _clouds(rng: np.random.Generator, n: int, wavelength: float, octaves: int = 4) -> Canvas:
    """Draws smooth noise of mean 0 and standard deviation 1, in octaves of halving wavelength and amplitude."""
    field = np.zeros((n, n), np.float32)
    for octave in range(octaves):
        knots = int(np.ceil(n * 2**octave / wavelength)) + 3
        grid = rng.standard_normal((knots, knots)).astype(np.float32)
        field += cv2.resize(grid, (n, n), interpolation=cv2.INTER_CUBIC) / 2**octave
    return (field - field.mean()) / field.std()


def _by_rank(field: Canvas, look: Look) -> Canvas:
    """Gives a field the intensities of the patient's histogram, in the field's order."""
    rank = np.empty(field.size, np.float32)
    rank[np.argsort(field, axis=None, kind="stable")] = np.linspace(0, 1, field.size, dtype=np.float32)
    return (look.low + (look.high - look.low) * rank.reshape(field.shape) ** look.gamma).astype(np.float32)


def _structures(rng: np.random.Generator, n: int, side: int, look: Look) -> tuple[Int32[np.ndarray, "n n"], Canvas]:
    """Draws laminated ellipses, of equal area at each scale: their numbers, and how dark each pixel is, in [0, 1]."""
    numbers, darkness, number = np.zeros((n, n), np.int32), np.zeros((n, n), np.float32), 0
    for small, large in reversed(SCALES):
        covered = 0.0
        while covered < look.coverage / len(SCALES) * n * n:
            radius = side * look.zoom * rng.uniform(small, large)
            axes, angle = (radius * rng.uniform(0.85, 1.35), radius), rng.uniform(0, 180)
            centre = (int(rng.integers(0, n)), int(rng.integers(0, n)))
            number += 1
            for reach, dark in _LAYERS:
                size = (max(1, round(reach * axes[0])), max(1, round(reach * axes[1])))
                cv2.ellipse(darkness, centre, size, angle, 0, 360, dark, -1)
                if reach == 1:
                    cv2.ellipse(numbers, centre, size, angle, 0, 360, number, -1)
            covered += np.pi * axes[0] * axes[1]
    return numbers, darkness


def draw_tissue(rng: np.random.Generator, label: str, side: int, look: Look) -> Tissue:
    """Draws the tissue of a recording.

    Args:
      rng: source of all that is random.
      label: the class, one of ``LABELS``.
      side: of the inscribed square of the recording's view, in pixels.
      look: of the patient.

    Returns:
      The tissue, 2.6 times as wide and high as the square.

    Example:
      >>> import numpy as np
      >>> from xrcam_jax.data.synthetic import draw_look, draw_tissue
      >>> rng = np.random.default_rng(0)
      >>> tissue = draw_tissue(rng, "Meningioma", 32, draw_look(rng))
      >>> tissue.intensity.shape, bool((tissue.structures > 0).any())
      ((83, 83), True)
    """
    n = round(side * _REACH)
    ground = _clouds(rng, n, 0.5 * side * look.zoom)
    if label == "Meningioma":
        numbers, darkness = _structures(rng, n, side, look)
        field = ground - 4.0 * cv2.GaussianBlur(darkness, (0, 0), 0.012 * side)
    else:
        numbers = np.zeros((n, n), np.int32)
        shape = _clouds(rng, n, _REGION * side * look.zoom)
        edge = np.quantile(shape, 1 - look.coverage)
        field = ground + 4.0 / (1 + np.exp(-(shape - edge) * 9))
    return Tissue(_by_rank(field.astype(np.float32), look), numbers)


def _honeycomb(diameter: int, look: Look) -> Canvas:
    """Draws the hexagonal pattern of the fibre bundle, of mean about 1, as three plane waves at 60 degrees."""
    row, column = np.mgrid[:diameter, :diameter].astype(np.float32)
    waves = [
        np.cos(2 * np.pi / look.fibre * (column * np.cos(angle) + row * np.sin(angle)))
        for angle in np.pi / 3 * np.arange(3)
    ]
    return (1 + look.honeycomb * np.mean(waves, axis=0)).astype(np.float32)


def _path(rng: np.random.Generator, frames: int, reach: float) -> Float32[np.ndarray, "t 2"]:
    """Draws a slow walk of the view's centre within ``reach`` of the middle, in pixels."""
    knots = rng.uniform(-reach, reach, (max(3, frames // 12 + 2), 2)).astype(np.float32)
    return cv2.resize(knots, (2, frames), interpolation=cv2.INTER_LINEAR)


def frame_shape(side: int) -> tuple[int, int]:
    """Returns the size of a frame.

    Args:
      side: of the inscribed square of its round view, in pixels.

    Returns:
      Height and width in pixels.

    Example:
      >>> from xrcam_jax.data.synthetic import frame_shape
      >>> frame_shape(96)
      (148, 180)
    """
    diameter = _view_diameter(side)
    return diameter + 2 * (diameter // 24) + 2, diameter + 2 * (diameter // 6)


def _view_diameter(side: int) -> int:
    """Returns the least diameter of a round view, in pixels, whose largest square has ``side`` pixels."""
    return math.ceil(side * math.sqrt(2))


def view_circle(side: int) -> tuple[float, float, float]:
    """Returns where the round view lies in a frame.

    Args:
      side: of its inscribed square, in pixels.

    Returns:
      Column and row of its centre, and its radius, in pixels.

    Example:
      >>> from xrcam_jax.data.synthetic import view_circle
      >>> view_circle(96)
      (89.5, 73.5, 68.0)
    """
    height, width = frame_shape(side)
    return (width - 1) / 2, (height - 1) / 2, _view_diameter(side) / 2


def _inside(side: int) -> Bool[np.ndarray, "h w"]:
    height, width = frame_shape(side)
    column, row, radius = view_circle(side)
    rows, columns = np.ogrid[:height, :width]
    return (rows - row) ** 2 + (columns - column) ** 2 <= radius**2


def _logo(picture: UInt8[np.ndarray, "h w"]) -> None:
    """Writes the maker's name into the corner outside of the view."""
    height, width = picture.shape
    scale = width / 900
    cv2.putText(picture, "pCLE", (2, height - 4), cv2.FONT_HERSHEY_SIMPLEX, scale, 210, 1, cv2.LINE_AA)
    cv2.circle(picture, (width - 8, 8), max(2, width // 60), 160, -1, cv2.LINE_AA)


def record(rng: np.random.Generator, tissue: Tissue, side: int, look: Look, frames: int) -> Iterator[View]:
    """Draws a recording: it moves slowly over the tissue, with a drifting exposure and noise.

    Args:
      rng: source of all that is random.
      tissue: what is looked at.
      side: of the view's inscribed square, in pixels.
      look: of the patient.
      frames: how many there are; every view comes twice in a row.

    Returns:
      The frames, one after the other.

    Example:
      >>> import numpy as np
      >>> from xrcam_jax.data.synthetic import draw_look, draw_tissue, record
      >>> rng = np.random.default_rng(0)
      >>> look = draw_look(rng)
      >>> first, second, third = record(rng, draw_tissue(rng, "GBM", 32, look), 32, look, frames=3)
      >>> bool((first.picture == second.picture).all()), bool((second.picture == third.picture).all())
      (True, False)
    """
    height, width = frame_shape(side)
    column, row, _ = view_circle(side)
    inside, middle = _inside(side), (tissue.intensity.shape[0] - 1) / 2
    comb = _honeycomb(max(height, width), look)[:height, :width]
    views = -(-frames // 2)
    path = _path(rng, views, middle - _view_diameter(side) / 2 - 1)
    exposure = 1 + look.drift * np.sin(np.linspace(0, rng.uniform(1, 2) * np.pi, views) + rng.uniform(0, 2 * np.pi))
    for number in range(frames):
        if number % 2 == 0:
            at = (middle - column + path[number // 2, 0], middle - row + path[number // 2, 1])
            shift = np.array([[1, 0, -at[0]], [0, 1, -at[1]]], np.float32)
            light = cv2.warpAffine(tissue.intensity, shift, (width, height), flags=cv2.INTER_LINEAR)
            seen = cv2.warpAffine(tissue.structures.astype(np.float32), shift, (width, height), flags=cv2.INTER_NEAREST)
            light = cv2.GaussianBlur(light, (0, 0), look.blur * side) * comb * exposure[number // 2]
            light += look.noise * rng.standard_normal(light.shape, np.float32)
            picture = np.where(inside, np.clip(light * 255, 0, 255), 0).astype(np.uint8)
            _logo(picture)
            view = View(picture, np.where(inside, seen, 0).astype(np.int32))
        yield view
