"""Degenerate images: constant ones, a single pixel, contrasts from the smallest to the largest number, and the like.

Whatever an image of finite numbers holds, no method returns NaN, and maps lie in [0, 1].
"""

from collections.abc import Callable

import numpy as np

import xrcam_jax as xr
from tests.explain import small

SIDE = 16


def _constant(value: float) -> np.ndarray:
    return np.full((SIDE, SIDE, 3), value)


def _pixel(value: float) -> np.ndarray:
    image = np.zeros((SIDE, SIDE, 3))
    image[SIDE // 2, SIDE // 3] = value
    return image


def _checkerboard(value: float) -> np.ndarray:
    return value * np.repeat(((np.indices((SIDE, SIDE)).sum(0) % 2) * 2.0 - 1)[..., None], 3, axis=2)


def _gradient(value: float) -> np.ndarray:
    return value * np.repeat(np.linspace(-1, 1, SIDE)[None, :, None].repeat(SIDE, 0), 3, axis=2)


def _edge(value: float) -> np.ndarray:
    return value * (np.indices((SIDE, SIDE))[1] < SIDE // 2)[..., None].repeat(3, axis=2)


def _noise(value: float) -> np.ndarray:
    return value * np.random.default_rng(0).standard_normal((SIDE, SIDE, 3))


def _one_channel(value: float) -> np.ndarray:
    image = _noise(value)
    image[..., 1:] = 0
    return image


def _outlier(value: float) -> np.ndarray:
    image = _noise(1e-3)
    image[0, 0, 0] = value
    return image


SHAPES: tuple[Callable[[float], np.ndarray], ...] = (
    *(_constant, _pixel, _checkerboard, _gradient, _edge, _noise, _one_channel, _outlier),
)
#: From the smallest subnormal number of float32 and its smallest normal one to numbers whose squares overflow.
VALUES = (0.0, 1e-45, 1.2e-38, 1e-30, 1e-12, 1e-4, 0.5, 1.0, 255.0, 1e4, 1e9, 1e15, 1e30)


#: Up to here raw maps are finite too. Beyond it products of two activations are not, and only maps are promised.
LARGEST_RAW = 1e15
METHODS = tuple(name for name, method in xr.METHODS.items() if not method.kind.needs_attention)


def images(count: int) -> dict[float, dict[str, np.ndarray]]:
    """Returns so many images, spread over all kinds; there are 208.

    Args:
      count: how many, from 1.

    Returns:
      The images by name, by their largest value.
    """
    every = [(value, sign * value, shape) for value in VALUES for sign in (1, -1) for shape in SHAPES]
    found: dict[float, dict[str, np.ndarray]] = {}
    for place in np.linspace(0, len(every) - 1, min(count, len(every))):
        value, signed, shape = every[int(place)]
        name = f"{shape.__name__.lstrip('_')}({signed:g})"
        found.setdefault(value, {})[name] = shape(signed).astype(np.float32)
    return found


def faults(method: str, count: int) -> list[str]:
    """Explains degenerate images, and images that are not finite, which are to be refused.

    Args:
      method: name of the method.
      count: how many images.

    Returns:
      A line for each kind of fault, with the names of the images.
    """
    network = small.Network(small.weights())
    explain = xr.Explainer(network, method, options={method: small.FEW[method]} if method in small.FEW else None)
    lines = []
    # Images of one size of values run together, since some methods learn from the whole batch.
    for value, by_name in images(count).items():
        batch = np.stack(list(by_name.values()))
        batch = np.concatenate([batch, np.repeat(batch[:1], 2 * len(SHAPES) - len(batch), axis=0)])
        lines += _unsound(explain(batch), method, list(by_name), raw=value <= LARGEST_RAW)
    for value in (np.nan, np.inf):
        broken = batch.copy()
        broken[-1, 3, 5, 1] = value
        lines += _accepted(explain, broken, f"{method}: images with {value}")
    return lines


def _unsound(found: xr.Explanation, method: str, names: list[str], *, raw: bool) -> list[str]:
    """Lists where an explanation has something else than finite numbers, and maps something beyond 0 and 1."""
    lines = []
    kinds = [("maps", found.maps), *([("raw maps", found.raw), ("attributions", found.attributions)] if raw else [])]
    for what, by_method in kinds:
        for layer, values in (by_method.get(method) or {}).items():
            bad = ~np.isfinite(values := np.asarray(values))
            if what == "maps":
                bad |= (values < 0) | (values > 1)
            wrong = [name for name, each in zip(names, bad, strict=False) if each.any()]
            if wrong:
                lines.append(f"{method}, {what} at {layer}: {', '.join(wrong[:8])} ({len(wrong)})")
    return lines


def _accepted(explain: xr.Explainer, broken: np.ndarray, what: str) -> list[str]:
    try:
        explain(broken)
    except ValueError as error:
        return [] if "finite" in str(error) else [f"{what}: unclear: {error}"]
    return [f"{what} are accepted"]
