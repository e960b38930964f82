"""A network in closed form, z = x² A + x B, with its maps in JAX by differentiation and in NumPy by formula."""

import jax
import jax.numpy as jnp
import numpy as np

import xrcam_jax as xr
from xrcam_jax.attribution.case import Case

BATCH, HEIGHT, WIDTH, CHANNELS, CLASSES = 3, 4, 5, 2, 3
SHAPE = (BATCH, HEIGHT, WIDTH, CHANNELS)


def model(images, parameters):
    """Returns logits; the squares are a layer."""
    squares = xr.mark(images**2, "squares")
    a, b = parameters["a"]["kernel"], parameters["b"]["kernel"]
    return squares.reshape(len(images), -1) @ a + images.reshape(len(images), -1) @ b


def explain(images, parameters, targets):
    """Returns two maps: the gradient summed over the channels, and that of gradient x input."""

    def total(x):
        return jnp.take_along_axis(model(x, parameters), targets, axis=1).sum()

    gradient = jax.grad(total)(images)
    return jnp.stack([gradient.sum(-1), (gradient * images).sum(-1)])


def case(seed=0, **options):
    random = np.random.default_rng(seed)
    size = HEIGHT * WIDTH * CHANNELS
    parameters = {name: {"kernel": jnp.asarray(random.normal(size=(size, CLASSES)), jnp.float32)} for name in "ab"}
    images = jnp.asarray(random.normal(size=SHAPE), jnp.float32)
    return Case(model, parameters, images, jnp.asarray(random.integers(0, CLASSES, (BATCH, 1))), **options)


def maps_of(case):
    return explain(case.images, case.parameters, case.targets)


def some(case, maps, which):
    """Returns a case and its maps with some of the pictures only."""
    which = jnp.asarray(which)
    few = Case(case.function, case.parameters, case.images[which], case.targets[which], case.chunk_size)
    return few, maps[:, which]


class InNumPy:
    """Is the same in float64, for one picture at a time."""

    def __init__(self, case, parameters=None):
        parameters = case.parameters if parameters is None else parameters
        self.a, self.b = (np.asarray(parameters[name]["kernel"], np.float64) for name in "ab")

    def logits(self, x):
        return (x**2).ravel() @ self.a + x.ravel() @ self.b

    def probability(self, x, target):
        e = np.exp(self.logits(x) - self.logits(x).max())
        return e[target] / e.sum()

    def maps(self, x, target):
        gradient = 2 * x * self.a[:, target].reshape(x.shape) + self.b[:, target].reshape(x.shape)
        return np.stack([gradient.sum(-1), (gradient * x).sum(-1)])


def each(case):
    """Yields the number of each picture, the picture in float64, and its target."""
    for i, (x, t) in enumerate(zip(np.asarray(case.images, np.float64), np.asarray(case.targets)[:, 0], strict=True)):
        yield i, x, int(t)
