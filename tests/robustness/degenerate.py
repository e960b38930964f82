"""Degenerate images: constant ones, a single pixel, contrasts from the smallest to the largest number, and the like.

Whatever an image of finite numbers holds, no method returns NaN, and maps lie in [0, 1].
"""

from collections.abc import Callable, Iterator

import jax.numpy as jnp
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
#: The smallest subnormal number of float32, its smallest normal one, and up to 1e30, from which squares overflow.
VALUES = (0.0, 1e-45, 1.2e-38, 1e-30, 1e-12, 1e-4, 0.5, 1.0, 255.0, 1e4, 1e9, 1e15, 1e30)


def _all() -> Iterator[tuple[str, np.ndarray]]:
    for value in VALUES:
        for sign in (1, -1):
            for shape in SHAPES:
                yield f"{shape.__name__.lstrip('_')}({sign * value:g})", shape(sign * value)


def images(count: int) -> tuple[list[str], np.ndarray]:
    """Returns so many images, spread over all kinds, with their names; there are 208.

    Args:
      count: how many, from 1.
    """
    every = list(_all())
    chosen = [every[int(place)] for place in np.linspace(0, len(every) - 1, min(count, len(every)))]
    return [name for name, _ in chosen], np.stack([image for _, image in chosen]).astype(np.float32)


METHODS = tuple(name for name, method in xr.METHODS.items() if not method.kind.needs_attention)


def faults(method: str, count: int) -> list[str]:
    """Explains degenerate images in one batch, and images that are not finite, which are to be refused.

    Args:
      method: name of the method.
      count: how many images.

    Returns:
      A line for each kind of fault, with the names of the images.
    """
    names, batch = images(count)
    network = small.Network(small.weights())
    explain = xr.Explainer(network, method, options={method: small.FEW[method]} if method in small.FEW else None)
    found = explain(batch)
    lines = []
    for what, by_layer in (("maps", found.maps), ("raw maps", found.raw), ("attributions", found.attributions)):
        for layer, values in (by_layer.get(method) or {}).items():
            bad = ~jnp.isfinite(values)
            if what == "maps":
                bad |= (values < 0) | (values > 1)
            wrong = np.flatnonzero(np.asarray(bad.reshape(len(names), -1).any(axis=1)))
            if wrong.size:
                lines.append(f"{method}, {what} at {layer}: {', '.join(names[i] for i in wrong[:8])} ({wrong.size})")
    for value in (np.nan, np.inf):
        broken = batch.copy()
        broken[-1, 3, 5, 1] = value
        lines += _accepted(explain, broken, f"{method}: images with {value}")
    return lines


def _accepted(explain: xr.Explainer, broken: np.ndarray, what: str) -> list[str]:
    try:
        explain(broken)
    except ValueError as error:
        return [] if "finite" in str(error) else [f"{what}: unclear: {error}"]
    return [f"{what} are accepted"]
