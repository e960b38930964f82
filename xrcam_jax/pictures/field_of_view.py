"""Finding where a recording shows something: a round view on black, whatever else is written around it."""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TypeVar

import cv2
import numpy as np
from jaxtyping import Bool, Float, UInt8

from xrcam_jax.pictures.crop import Crop

Frame = TypeVar("Frame")
Grey = UInt8[np.ndarray, "h w"]
Points = Float[np.ndarray, "n 2"]

SAMPLES = 24

# What surrounds the view is no brighter than BLACKEST, however badly it was digitised. The view is at least FAINTEST
# brighter than the black around it.
BLACKEST, FAINTEST = 32, 6

# A circle is believed where at least these shares of it, and of its arc within the frame, are seen.
ARC_SEEN, ARC_IN_FRAME_SEEN = 0.25, 0.5

# A view is oval if so many times as many points of its rim fit a circle once it is spread or squeezed by a ratio.
OVAL, RATIOS = 1.25, (0.7, 0.75, 0.8, 0.85, 0.9, 1.1, 1.15, 1.2, 1.25, 1.3, 1.4)

# A view has at least this share of the frame, and leaves at least a square of this side.
SMALLEST_SHARE, SMALLEST_SQUARE = 0.08, 16


@dataclass(frozen=True)
class Circle:
    """A circle in pixels; the centre of the first pixel is (0, 0).

    Attributes:
      x: column of the centre.
      y: row of the centre.
      radius: from 0.
    """

    x: float
    y: float
    radius: float


def spread(readers: Iterable[Callable[[], Frame]], at_most: int = SAMPLES) -> list[Frame]:
    """Reads frames at equal distances over the whole of a stream of unknown length.

    Args:
      readers: of each frame, a function that reads it; most are not called, and all are called before the next one is
        asked for.
      at_most: how many frames to take, from 1.

    Returns:
      Between half and all of ``at_most`` frames, if there are as many.

    Example:
      >>> from functools import partial
      >>> from xrcam_jax.pictures.field_of_view import spread
      >>> spread((partial(int, number) for number in range(10)), at_most=4)
      [0, 4, 8]
    """
    kept: list[Frame] = []
    stride = 1
    for number, read in enumerate(readers):
        if number % stride == 0:
            kept.append(read())
        if len(kept) > at_most:
            kept, stride = kept[::2], 2 * stride
    return kept


def find_view(frames: Sequence[Grey]) -> Crop:
    """Returns the square to crop from the frames of a recording.

    In a round view it is the largest square about the centre. In a view that fills the frame, or a rectangle of it, it
    is the largest about the middle.

    Args:
      frames: of one recording, intensities in [0, 255], all of one size. Some of them may be dark or white all over.

    Returns:
      The square.

    Raises:
      ValueError: the frames are dark, what they show is neither round nor rectangular, or it is too small; or they are
        of several sizes.

    Example:
      >>> import numpy as np
      >>> from xrcam_jax.pictures.field_of_view import find_view
      >>> frame = np.zeros((80, 100), np.uint8)
      >>> frame[10:70, 20:90] = 200
      >>> find_view([frame])
      Crop(left=25, top=10, size=60, width=100, height=80)
    """
    sizes = sorted({f"{frame.shape[1]}x{frame.shape[0]}" for frame in frames})
    if len(sizes) > 1:
        raise ValueError(f"frames of several sizes, {', '.join(sizes)}; expected one")
    ranked = np.sort(np.stack(frames), axis=0)
    # A high intensity of each pixel comes first, since the view is lit now here, now there; then a lower one, in case
    # that many frames are white, and the highest, in case that most are dark.
    views = [_view(ranked[round(share * (len(ranked) - 1))]) for share in (0.9, 0.5, 1)]
    circles = (fit_circle(_rim(view), view.shape) if _is_large(view) else None for view in views)
    round_views = (circle for circle, view in zip(circles, views, strict=True) if circle and _agree(circle, view))
    circle = next(round_views, None)
    square = inscribed_square(circle, views[0].shape) if circle else _middle_of_rectangle(views)
    if square.size < SMALLEST_SQUARE:
        raise ValueError(f"the view leaves a square of {square.size} pixels; expected at least {SMALLEST_SQUARE}")
    return square


def fit_circle(points: Points, shape: tuple[int, ...]) -> Circle | None:
    """Fits a circle to points some of which are wrong.

    Args:
      points: x and y in pixels; up to half of them may be anywhere.
      shape: height and width of the frame in pixels.

    Returns:
      The circle that most points agree on, or None where none has enough of its arc in the frame.

    Example:
      >>> import numpy as np
      >>> from xrcam_jax.pictures.field_of_view import fit_circle
      >>> angles = np.linspace(0, 2 * np.pi, 60, endpoint=False)
      >>> circle = fit_circle(np.stack([50 + 30 * np.cos(angles), 40 + 30 * np.sin(angles)], axis=1), (80, 100))
      >>> [round(value, 3) for value in (circle.x, circle.y, circle.radius)]
      [50.0, 40.0, 30.0]
    """
    if len(points) < 12:
        return None
    tolerance = max(1.5, 0.01 * min(shape))
    best, agreeing = _most_agreed_on(points, shape, tolerance)
    if best is None or _is_oval(points, shape, tolerance, agreeing):
        return None
    for _ in range(3):
        inliers = points[np.abs(_distances(points, best[None])[0]) < tolerance]
        if len(inliers) < 12:
            return None
        best = _least_squares(inliers)
    circle = Circle(*map(float, best))
    return circle if _arc_is_seen(circle, inliers, shape) else None


def inscribed_square(circle: Circle, shape: tuple[int, ...]) -> Crop:
    """Returns the largest square about the centre of a circle whose pixels are in the circle and in the frame.

    Args:
      circle: the round view.
      shape: height and width of the frame in pixels.

    Returns:
      The square, whose middle is within half a pixel of the centre. Its size is 0 where the centre is outside of the
      frame.

    Example:
      >>> from xrcam_jax.pictures.field_of_view import Circle, inscribed_square
      >>> inscribed_square(Circle(50, 40, 10), (80, 100))
      Crop(left=43, top=33, size=15, width=100, height=80)
    """
    height, width = shape[:2]
    for size in range(min(height, width, math.floor(math.sqrt(2) * circle.radius) + 1), 0, -1):
        left, top = round(circle.x - (size - 1) / 2), round(circle.y - (size - 1) / 2)
        corner = math.hypot(
            max(circle.x - left, left + size - 1 - circle.x), max(circle.y - top, top + size - 1 - circle.y)
        )
        if min(left, top) >= 0 and left + size <= width and top + size <= height and corner <= circle.radius:
            return Crop(left, top, size, width, height)
    return Crop(0, 0, 0, width, height)


def _most_agreed_on(
    points: Points, shape: tuple[int, ...], tolerance: float
) -> tuple[Float[np.ndarray, "3"] | None, int]:
    """Returns the circle through three of the points that most of them are near, and how many these are."""
    candidates = _through(points[np.random.default_rng(0).integers(0, len(points), (500, 3))])
    candidates = candidates[np.isfinite(candidates).all(axis=1) & (candidates[:, 2] < math.hypot(*shape))]
    if not len(candidates):
        return None, 0
    near = (np.abs(_distances(points, candidates)) < tolerance).sum(axis=1)
    return candidates[near.argmax()], int(near.max())


def _is_oval(points: Points, shape: tuple[int, ...], tolerance: float, agreeing: int) -> bool:
    """Tells whether clearly more points than ``agreeing`` are near a circle once their columns are spread or squeezed.

    A circle through one side of an oval would be off its middle.
    """
    spread = ((points * (ratio, 1), (shape[0], round(shape[1] * ratio))) for ratio in RATIOS)
    return any(_most_agreed_on(*spaced, tolerance)[1] > OVAL * agreeing for spaced in spread)


def _view(lit: Grey) -> Bool[np.ndarray, "h w"]:
    """Finds what is brighter than the black around it, in one piece: a logo is another, smaller piece."""
    lit = cv2.medianBlur(lit, 5)
    side = max(1, min(lit.shape) // 32)
    ends = (slice(None, side), slice(-side, None))
    black = min(BLACKEST, *(float(np.median(lit[rows, columns])) for rows in ends for columns in ends))
    bright = lit[lit >= black + FAINTEST]
    if not bright.size:
        return np.zeros(lit.shape, bool)
    mask = (lit >= black + max(FAINTEST, 0.25 * (np.median(bright) - black))).astype(np.uint8)
    width = 2 * (min(lit.shape) // 100) + 1
    # Without more pixels around the frame, closing would take the outside for bright.
    padded = cv2.copyMakeBorder(mask, width, width, width, width, cv2.BORDER_REPLICATE)
    closed = cv2.morphologyEx(padded, cv2.MORPH_CLOSE, np.ones((width, width), np.uint8))
    _, pieces, statistics, _ = cv2.connectedComponentsWithStats(closed[width:-width, width:-width], connectivity=4)
    largest = 1 + int(statistics[1:, cv2.CC_STAT_AREA].argmax())
    return np.equal(pieces, largest)


def _rim(view: Bool[np.ndarray, "h w"]) -> Points:
    """Returns the outermost pixel in each direction from the middle of the view, unless the frame cuts it off."""
    contours, _ = cv2.findContours(view.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    if not contours:
        return np.zeros((0, 2))
    points = np.concatenate(contours)[:, 0].astype(float)
    x, y = (points - np.argwhere(view).mean(axis=0)[::-1]).T
    direction = np.floor(np.arctan2(y, x) / (2 * np.pi) * 720).astype(int)
    order = np.lexsort((-np.hypot(x, y), direction))
    outermost = points[order[np.unique(direction[order], return_index=True)[1]]]
    return outermost[_within(outermost, view.shape)]


def _within(points: Points, shape: tuple[int, ...]) -> Bool[np.ndarray, " n"]:
    return np.all((points >= 2) & (points <= np.array(shape[1::-1]) - 3), axis=1)


def _through(triples: Float[np.ndarray, "n 3 2"]) -> Float[np.ndarray, "n 3"]:
    """Returns x, y and radius of the circles through three points each; not finite where these are in line."""
    a, b, c = (triples[:, corner] for corner in range(3))
    (bx, by), (cx, cy) = (b - a).T, (c - a).T
    with np.errstate(divide="ignore", invalid="ignore"):
        twice_area = 2 * (bx * cy - by * cx)
        x = (cy * (bx**2 + by**2) - by * (cx**2 + cy**2)) / twice_area
        y = (bx * (cx**2 + cy**2) - cx * (bx**2 + by**2)) / twice_area
        return np.stack([a[:, 0] + x, a[:, 1] + y, np.hypot(x, y)], axis=1)


def _distances(points: Points, circles: Float[np.ndarray, "m 3"]) -> Float[np.ndarray, "m n"]:
    """Returns the distances from each circle's arc to each point, positive outside of the circle."""
    x, y = (points[None] - circles[:, None, :2]).transpose(2, 0, 1)
    return np.hypot(x, y) - circles[:, 2:]


def _least_squares(points: Points) -> Float[np.ndarray, "3"]:
    middle = points.mean(axis=0)
    x, y = (points - middle).T
    (a, b, c), *_ = np.linalg.lstsq(np.stack([2 * x, 2 * y, np.ones_like(x)], axis=1), x**2 + y**2, rcond=None)
    return np.array([a + middle[0], b + middle[1], math.sqrt(c + a**2 + b**2)])


def _arc_is_seen(circle: Circle, points: Points, shape: tuple[int, ...]) -> bool:
    # Directions are no finer than the pixels on the arc.
    directions = int(np.clip(3 * circle.radius, 12, 120))
    angles = (np.arange(directions) + 0.5) / directions * 2 * np.pi
    arc = np.stack([circle.x + circle.radius * np.cos(angles), circle.y + circle.radius * np.sin(angles)], axis=1)
    turns = np.arctan2(points[:, 1] - circle.y, points[:, 0] - circle.x) / (2 * np.pi) % 1
    seen = len(np.unique((turns * directions).astype(int)))
    return bool(seen >= ARC_SEEN * directions and seen >= ARC_IN_FRAME_SEEN * _within(arc, shape).sum())


def _agree(circle: Circle, view: Bool[np.ndarray, "h w"]) -> bool:
    """Tells whether most of the view is in the circle, and most of the circle is lit."""
    y, x = np.ogrid[: view.shape[0], : view.shape[1]]
    disc = (x - circle.x) ** 2 + (y - circle.y) ** 2 <= (circle.radius + 1) ** 2
    both = (disc & view).sum()
    return bool(both >= 0.5 * disc.sum() and both >= 0.8 * view.sum())


def _is_large(view: Bool[np.ndarray, "h w"]) -> bool:
    """Tells whether a lit piece can be the view; a logo cannot, even where nothing else is lit."""
    return bool(view.mean() >= SMALLEST_SHARE)


def _middle_of_rectangle(views: Sequence[Bool[np.ndarray, "h w"]]) -> Crop:
    """Returns the largest square about the middle of the first large view, which has to be a rectangle."""
    view = next((view for view in views if _is_large(view)), None)
    if view is None:
        raise ValueError(f"found no view: no bright piece has {SMALLEST_SHARE:.0%} of the frame; is all of it dark?")
    rows, columns = np.flatnonzero(view.any(axis=1)), np.flatnonzero(view.any(axis=0))
    height, width = int(rows[-1] - rows[0]) + 1, int(columns[-1] - columns[0]) + 1
    lit = view.sum() / (height * width)
    if lit < 0.9:
        raise ValueError(
            "found no round view: expected one bright disc on black, or frames that are filled; "
            f"found a shape that fills {lit:.0%} of a box of {width}x{height} pixels"
        )
    size = min(height, width)
    left, top = int(columns[0]) + (width - size) // 2, int(rows[0]) + (height - size) // 2
    return Crop(left, top, size, view.shape[1], view.shape[0])
