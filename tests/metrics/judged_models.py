"""Models and pictures on which metrics are compared with loops over pixels and with closed forms."""

import jax.numpy as jnp
import numpy as np

from xrcam_jax.attribution.case import Case

MAPS, BATCH, HEIGHT, WIDTH, CHANNELS, CLASSES = 2, 3, 6, 5, 2, 3
SPACE = (HEIGHT, WIDTH)
FEATURES = HEIGHT * WIDTH * CHANNELS


def network(images, parameters):
    """Returns logits of two layers."""
    return jnp.tanh(images.reshape(len(images), -1) @ parameters[0]) @ parameters[1]


def linear(images, parameters):
    """Returns logits that are sums over pixels."""
    return images.reshape(len(images), -1) @ parameters


def case_of(model, **options):
    random = np.random.default_rng(0)
    images = random.standard_normal((BATCH, *SPACE, CHANNELS)).astype(np.float32)
    hidden, last, single = (
        random.standard_normal(shape).astype(np.float32) for shape in ((FEATURES, 8), (8, CLASSES), (FEATURES, CLASSES))
    )
    parameters = jnp.asarray(single) if model is linear else (jnp.asarray(0.3 * hidden), jnp.asarray(last))
    return Case(model, parameters, jnp.asarray(images), jnp.array([[0], [2], [1]]), **options)


def random_maps(seed=1):
    return np.random.default_rng(seed).standard_normal((MAPS, BATCH, *SPACE)).astype(np.float32)


def probabilities(case, images):
    """Computes the targets' probabilities of the network in float64, one picture at a time."""
    first, last = (np.asarray(each, np.float64) for each in case.parameters)
    found = []
    for image, target in zip(np.asarray(images, np.float64), np.asarray(case.targets)[:, 0], strict=True):
        exponents = np.exp(np.tanh(image.ravel() @ first) @ last)
        found.append(exponents[target] / exponents.sum())
    return np.array(found)


def weights(case):
    """The weight of each value of a picture in its target's logit, of a linear model."""
    return np.asarray(case.parameters).T[np.asarray(case.targets)[:, 0]].reshape(case.images.shape)


def contributions(case):
    """Gradient x input of a linear model, pixel by pixel, as a map."""
    return (weights(case) * np.asarray(case.images)).sum(-1)[None]


def patches(side):
    """The pixels of each patch, row by row."""
    return [
        [(y, x) for y in range(top, min(top + side[0], HEIGHT)) for x in range(left, min(left + side[1], WIDTH))]
        for top in range(0, HEIGHT, side[0])
        for left in range(0, WIDTH, side[1])
    ]


def some(case, maps, pictures):
    """A case and maps of some of the pictures."""
    chosen = jnp.array(pictures)
    options = {name: getattr(case, name) for name in ("chunk_size", "random_seed")}
    images, targets = case.images[chosen], case.targets[chosen]
    return Case(case.function, case.parameters, images, targets, **options), maps[:, pictures]
