"""Methods that integrate gradients along other paths than one from a single baseline, a function each.

Their arguments are the method's options.
"""

from collections.abc import Callable
from typing import Literal, Unpack

import numpy as np
from jaxtyping import Array, Shaped

from xrcam_jax.explain.calls.common import Call, Inputs, Layers, Targets, ask
from xrcam_jax.explain.explanation import Explanation


def expected_gradients(
    model: Callable,
    images: Inputs,
    targets: Targets | None = None,
    layers: Layers | None = None,
    *,
    samples: int = 200,
    reference: Shaped[Array | np.ndarray, "n ..."] | None = None,
    **call: Unpack[Call],
) -> Explanation:
    """Explains a batch by Expected Gradients: gradients integrated from pictures that are drawn, which sum to the
    difference from their mean logit (erion2021).

    Args:
      model: see :func:`xrcam_jax.attribute`.
      images: preprocessed.
      targets: the classes to explain; the predicted ones by default.
      layers: the input by default, or names and globs of layers.
      samples: draws, at least 1.
      reference: preprocessed pictures like the images, from which baselines are drawn. By default those that are
        explained together; of one alone the baseline is 0, as of integrated gradients.
      **call: what all methods take, see :class:`xrcam_jax.explain.calls.common.Call`.

    Returns:
      The explanation.

    Example:
      >>> xr.expected_gradients(model, images, reference=others).plot()  # doctest: +SKIP
    """
    return ask(expected_gradients, model, images, targets, layers, call, samples=samples, reference=reference)


def blur_integrated_gradients(
    model: Callable,
    images: Inputs,
    targets: Targets | None = None,
    layers: Layers | None = None,
    *,
    max_sigma: float = 50.0,
    steps: int = 100,
    quadrature: Literal["riemann", "gauss_legendre"] = "riemann",
    **call: Unpack[Call],
) -> Explanation:
    """Explains a batch by Blur Integrated Gradients: gradients integrated while a blurred image sharpens, which sum to
    the difference of the logits (xu2020).

    Args:
      model: see :func:`xrcam_jax.attribute`.
      images: preprocessed.
      targets: the classes to explain; the predicted ones by default.
      layers: the input by default, where the method works.
      max_sigma: the deviation in pixels at which the path begins, positive.
      steps: points of the quadrature, at least 2.
      quadrature: ``"riemann"``, the values at the beginnings of equal steps from 0 on, or ``"gauss_legendre"``.
      **call: what all methods take, see :class:`xrcam_jax.explain.calls.common.Call`.

    Returns:
      The explanation.

    Example:
      >>> xr.blur_integrated_gradients(model, images).plot()  # doctest: +SKIP
    """
    return ask(
        blur_integrated_gradients,
        model,
        images,
        targets,
        layers,
        call,
        max_sigma=max_sigma,
        steps=steps,
        quadrature=quadrature,
    )


def xrai(
    model: Callable,
    images: Inputs,
    targets: Targets | None = None,
    layers: Layers | None = None,
    *,
    steps: int = 100,
    dilation: int = 5,
    min_pixels: int = 50,
    **call: Unpack[Call],
) -> Explanation:
    """Explains a batch by XRAI: regions of like pixels, ranked by the density of integrated gradients from black and
    white (kapishnikov2019).

    Args:
      model: see :func:`xrcam_jax.attribute`.
      images: preprocessed.
      targets: the classes to explain; the predicted ones by default.
      layers: the input by default, where the method works.
      steps: points of each integral, at least 2.
      dilation: pixels by which a region grows, at least 0.
      min_pixels: pixels that a region has to cover anew, or it is not chosen; at least 1.
      **call: what all methods take, see :class:`xrcam_jax.explain.calls.common.Call`.

    Returns:
      The explanation.

    Example:
      >>> xr.xrai(model, images).plot()  # doctest: +SKIP
    """
    return ask(xrai, model, images, targets, layers, call, steps=steps, dilation=dilation, min_pixels=min_pixels)
