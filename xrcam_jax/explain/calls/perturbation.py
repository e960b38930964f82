"""Methods that change the input, a function each, whose arguments are the method's options."""

from collections.abc import Callable
from typing import Unpack

import numpy as np
from jaxtyping import Array, Float

from xrcam_jax.attribution.baseline import Baseline
from xrcam_jax.attribution.perturbations import PerAxis
from xrcam_jax.attribution.targets import Score
from xrcam_jax.explain.calls.common import Call, Inputs, Layers, Targets, ask
from xrcam_jax.explain.explanation import Explanation


def occlusion(
    model: Callable,
    images: Inputs,
    targets: Targets | None = None,
    layers: Layers | None = None,
    *,
    window: PerAxis | None = None,
    stride: PerAxis | None = None,
    baseline: Baseline = 0.0,
    score: Score = "logit",
    **call: Unpack[Call],
) -> Explanation:
    """Explains a batch by Occlusion: drop of the score when a window is hidden (zeiler2014).

    Args:
      model: see :func:`xrcam_jax.attribute`.
      images: preprocessed.
      targets: the classes to explain; the predicted ones by default.
      layers: the input by default, where the method works.
      window: sides in pixels, (height, width) of images and (depth, height, width) of volumes, or one number for all;
        16 by default, or half of the shortest side of images all of which that would hide. Sides of one pixel do not
        count, and have windows of one pixel.
      stride: from one window to the next, likewise; at most the window, so that every pixel is covered. It is 8 by
        default, or half of a window that is not given, or as much as the window where that is less.
      baseline: what is put in the window's place.
      score: ``"logit"``, ``"probability"`` or ``"log_odds"``.
      **call: what all methods take, see :class:`xrcam_jax.explain.calls.common.Call`.

    Returns:
      The explanation.

    Example:
      >>> xr.occlusion(model, images).plot()  # doctest: +SKIP
    """
    return ask(
        occlusion, model, images, targets, layers, call, window=window, stride=stride, baseline=baseline, score=score
    )


def rise(
    model: Callable,
    images: Inputs,
    targets: Targets | None = None,
    layers: Layers | None = None,
    *,
    samples: int = 2000,
    grid: PerAxis = 7,
    keep: float = 0.5,
    baseline: Baseline = 0.0,
    score: Score | None = None,
    **call: Unpack[Call],
) -> Explanation:
    """Explains a batch by RISE: mean of random masks, weighted by the score of what they leave (petsiuk2018).

    Args:
      model: see :func:`xrcam_jax.attribute`.
      images: preprocessed.
      targets: the classes to explain; the predicted ones by default.
      layers: the input by default, where the method works.
      samples: number of masks, at least 1.
      grid: cells of a mask along each axis, before it is upsampled, or one number for all; at least 1.
      keep: p, the probability that a cell stays visible, between 0 and 1.
      baseline: what shows where a mask is 0.
      score: ``"probability"``, ``"logit"`` or ``"log_odds"``; by default the probability of a class, and the value
        itself of a target function.
      **call: what all methods take, see :class:`xrcam_jax.explain.calls.common.Call`.

    Returns:
      The explanation.

    Example:
      >>> xr.rise(model, images).plot()  # doctest: +SKIP
    """
    return ask(
        rise,
        model,
        images,
        targets,
        layers,
        call,
        samples=samples,
        grid=grid,
        keep=keep,
        baseline=baseline,
        score=score,
    )


def lime(
    model: Callable,
    images: Inputs,
    targets: Targets | None = None,
    layers: Layers | None = None,
    *,
    samples: int = 1000,
    segments: int = 50,
    kernel_width: float = 0.25,
    ridge: float = 1.0,
    score: Score | None = None,
    **call: Unpack[Call],
) -> Explanation:
    """Explains a batch by LIME: linear model of the score on visible superpixels (ribeiro2016).

    Args:
      model: see :func:`xrcam_jax.attribute`.
      images: preprocessed.
      targets: the classes to explain; the predicted ones by default.
      layers: the input by default, where the method works.
      samples: changed versions of each image, at least 2; the first one is the image itself.
      segments: superpixels asked for, at least 2; SLIC may find a few less or more.
      kernel_width: width of the weights, positive.
      ridge: strength of the regularisation.
      score: ``"probability"``, ``"logit"`` or ``"log_odds"``; by default the probability of a class, and the value
        itself of a target function.
      **call: what all methods take, see :class:`xrcam_jax.explain.calls.common.Call`.

    Returns:
      The explanation.

    Example:
      >>> xr.lime(model, images).plot()  # doctest: +SKIP
    """
    return ask(
        lime,
        model,
        images,
        targets,
        layers,
        call,
        samples=samples,
        segments=segments,
        kernel_width=kernel_width,
        ridge=ridge,
        score=score,
    )


def kernel_shap(
    model: Callable,
    images: Inputs,
    targets: Targets | None = None,
    layers: Layers | None = None,
    *,
    samples: int = 1000,
    segments: int = 50,
    score: Score | None = None,
    **call: Unpack[Call],
) -> Explanation:
    """Explains a batch by KernelSHAP: Shapley values of superpixels, which sum to the difference of the scores with all
    and with none of them (lundberg2017).

    Args:
      model: see :func:`xrcam_jax.attribute`.
      images: preprocessed.
      targets: the classes to explain; the predicted ones by default.
      layers: the input by default, where the method works.
      samples: changed versions of each image at most, beside those with all superpixels and with none, at least 2;
        twice as many as superpixels, or more, tell all of these apart.
      segments: superpixels (SLIC) asked for, at least 2; a few less or more may be found.
      score: ``"probability"``, ``"logit"`` or ``"log_odds"``; by default the probability of a class, and the value
        itself of a target function.
      **call: what all methods take, see :class:`xrcam_jax.explain.calls.common.Call`.

    Returns:
      The explanation.

    Example:
      >>> xr.kernel_shap(model, images).plot()  # doctest: +SKIP
    """
    return ask(kernel_shap, model, images, targets, layers, call, samples=samples, segments=segments, score=score)


def prediction_difference(
    model: Callable,
    images: Inputs,
    targets: Targets | None = None,
    layers: Layers | None = None,
    *,
    window: PerAxis = 8,
    border: PerAxis = 2,
    stride: PerAxis = 4,
    samples: int = 10,
    reference: Float[Array | np.ndarray, "n *_space c"] | None = None,
    train_size: int = 1000000,
    **call: Unpack[Call],
) -> Explanation:
    """Explains a batch by Prediction difference analysis: weight of evidence of a patch against patches that would
    fit there (zintgraf2017).

    Args:
      model: see :func:`xrcam_jax.attribute`.
      images: preprocessed.
      targets: the classes to explain; the predicted ones by default.
      layers: the input by default, where the method works.
      window: sides of the windows in pixels, (height, width) of images, or one number for all. The Gaussian has a
        variable for each pixel and channel of a window and its border: keep those of volumes small.
      border: width in pixels of the frame around a window on which it is conditioned, likewise; at least 1 along some
        axis.
      stride: pixels from one window to the next, likewise; at most the window, so that every pixel is covered.
      samples: draws for each window, at least 1.
      reference: preprocessed images that the Gaussian is fitted to; the explained ones by default.
      train_size: N of the Laplace correction (p N + 1) / (N + n), which keeps the odds finite.
      **call: what all methods take, see :class:`xrcam_jax.explain.calls.common.Call`.

    Returns:
      The explanation.

    Example:
      >>> xr.prediction_difference(model, images).plot()  # doctest: +SKIP
    """
    return ask(
        prediction_difference,
        model,
        images,
        targets,
        layers,
        call,
        window=window,
        border=border,
        stride=stride,
        samples=samples,
        reference=reference,
        train_size=train_size,
    )
