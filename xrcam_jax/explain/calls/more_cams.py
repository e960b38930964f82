"""More class activation maps, and FullGrad, a function each, whose arguments are the method's options."""

from collections.abc import Callable
from typing import Literal, Unpack

from xrcam_jax.attribution.baseline import Baseline
from xrcam_jax.attribution.targets import Score
from xrcam_jax.cam.kpca_cam import Kernel
from xrcam_jax.cam.shapley_cam import Utility
from xrcam_jax.explain.calls.common import Call, Inputs, Layers, Targets, ask
from xrcam_jax.explain.explanation import Explanation
from xrcam_jax.lrp.composites import Composite


def guided_grad_cam(
    model: Callable,
    images: Inputs,
    targets: Targets | None = None,
    layers: Layers | None = None,
    *,
    cam: str = "grad_cam",
    composite: Composite | None = None,
    seed: Callable | None = None,
    **call: Unpack[Call],
) -> Explanation:
    """Explains a batch by Guided Grad-CAM: guided backprop times Grad-CAM, or the CAM that ``cam`` names
    (selvaraju2017).

    Args:
      model: see :func:`xrcam_jax.attribute`.
      images: preprocessed.
      targets: the classes to explain; the predicted ones by default.
      layers: names and globs; all marks by default.
      cam: the class activation map, by its method's name; for its options see :func:`xrcam_jax.attribute`.
      composite: the rules of propagation; those of the gradient by default.
      seed: what is put at the logits (``xr.seeds``); one at the target by default.
      **call: what all methods take, see :class:`xrcam_jax.explain.calls.common.Call`.

    Returns:
      The explanation.

    Example:
      >>> xr.guided_grad_cam(model, images).plot()  # doctest: +SKIP
    """
    return ask(guided_grad_cam, model, images, targets, layers, call, cam=cam, composite=composite, seed=seed)


def smooth_grad_cam_pp(
    model: Callable,
    images: Inputs,
    targets: Targets | None = None,
    layers: Layers | None = None,
    *,
    samples: int = 16,
    noise: float = 0.15,
    eps: float = 1e-06,
    **call: Unpack[Call],
) -> Explanation:
    """Explains a batch by Smooth Grad-CAM++: Grad-CAM++ with gradients averaged over noisy images (omeiza2019).

    Args:
      model: see :func:`xrcam_jax.attribute`.
      images: preprocessed.
      targets: the classes to explain; the predicted ones by default.
      layers: names and globs; all marks by default.
      samples: noisy copies of the image, at least 1.
      noise: standard deviation of the noise, as a share of the image's range.
      eps: see :func:`xrcam_jax.cam.weights.grad_cam_pp`.
      **call: what all methods take, see :class:`xrcam_jax.explain.calls.common.Call`.

    Returns:
      The explanation.

    Example:
      >>> xr.smooth_grad_cam_pp(model, images).plot()  # doctest: +SKIP
    """
    return ask(smooth_grad_cam_pp, model, images, targets, layers, call, samples=samples, noise=noise, eps=eps)


def integrated_grad_cam(
    model: Callable,
    images: Inputs,
    targets: Targets | None = None,
    layers: Layers | None = None,
    *,
    baseline: Baseline = 0.0,
    steps: int = 20,
    **call: Unpack[Call],
) -> Explanation:
    """Explains a batch by Integrated Grad-CAM: Grad-CAM averaged on the way from a baseline (sattarzadeh2021).

    Args:
      model: see :func:`xrcam_jax.attribute`.
      images: preprocessed.
      targets: the classes to explain; the predicted ones by default.
      layers: names and globs; all marks by default.
      baseline: x⁰, broadcast to the images.
      steps: points on the way, at least 1.
      **call: what all methods take, see :class:`xrcam_jax.explain.calls.common.Call`.

    Returns:
      The explanation.

    Example:
      >>> xr.integrated_grad_cam(model, images).plot()  # doctest: +SKIP
    """
    return ask(integrated_grad_cam, model, images, targets, layers, call, baseline=baseline, steps=steps)


def lift_cam(
    model: Callable,
    images: Inputs,
    targets: Targets | None = None,
    layers: Layers | None = None,
    *,
    max_pool: Literal["rescale", "gradient"] = "rescale",
    **call: Unpack[Call],
) -> Explanation:
    """Explains a batch by LIFT-CAM: DeepLIFT's contribution of a channel (jung2021).

    Args:
      model: see :func:`xrcam_jax.attribute`.
      images: preprocessed.
      targets: the classes to explain; the predicted ones by default.
      layers: names and globs; all marks by default.
      max_pool: see :func:`xrcam_jax.lrp.composites.deep_lift`.
      **call: what all methods take, see :class:`xrcam_jax.explain.calls.common.Call`.

    Returns:
      The explanation.

    Example:
      >>> xr.lift_cam(model, images).plot()  # doctest: +SKIP
    """
    return ask(lift_cam, model, images, targets, layers, call, max_pool=max_pool)


def ablation_cam(
    model: Callable,
    images: Inputs,
    targets: Targets | None = None,
    layers: Layers | None = None,
    *,
    score: Score = "logit",
    **call: Unpack[Call],
) -> Explanation:
    """Explains a batch by Ablation-CAM: drop of the score when a channel is set to zero (desai2020).

    Args:
      model: see :func:`xrcam_jax.attribute`.
      images: preprocessed.
      targets: the classes to explain; the predicted ones by default.
      layers: names and globs; all marks by default.
      score: S, ``"logit"``, ``"probability"`` or ``"log_odds"``.
      **call: what all methods take, see :class:`xrcam_jax.explain.calls.common.Call`.

    Returns:
      The explanation.

    Example:
      >>> xr.ablation_cam(model, images).plot()  # doctest: +SKIP
    """
    return ask(ablation_cam, model, images, targets, layers, call, score=score)


def score_cam(
    model: Callable,
    images: Inputs,
    targets: Targets | None = None,
    layers: Layers | None = None,
    *,
    weights: Literal["difference", "softmax"] = "difference",
    score: Score = "logit",
    align_corners: bool = False,
    **call: Unpack[Call],
) -> Explanation:
    """Explains a batch by Score-CAM: score of the image seen through a channel (wang2020).

    Args:
      model: see :func:`xrcam_jax.attribute`.
      images: preprocessed.
      targets: the classes to explain; the predicted ones by default.
      layers: names and globs; all marks by default.
      weights: ``"softmax"`` takes the softmax of the scores over the channels instead (gildenblat2021).
      score: ``"logit"``, ``"probability"`` or ``"log_odds"``.
      align_corners: upsample from corner to corner, as gildenblat2021, instead of by half-pixel centres.
      **call: what all methods take, see :class:`xrcam_jax.explain.calls.common.Call`.

    Returns:
      The explanation.

    Example:
      >>> xr.score_cam(model, images).plot()  # doctest: +SKIP
    """
    return ask(
        score_cam, model, images, targets, layers, call, weights=weights, score=score, align_corners=align_corners
    )


def smoothed_score_cam(
    model: Callable,
    images: Inputs,
    targets: Targets | None = None,
    layers: Layers | None = None,
    *,
    samples: int = 8,
    noise: float = 0.15,
    noise_on: Literal["image", "activation"] = "image",
    weights: Literal["difference", "softmax"] = "difference",
    score: Score = "logit",
    **call: Unpack[Call],
) -> Explanation:
    """Explains a batch by Smoothed Score-CAM: Score-CAM averaged over noise (naidu2020).

    Args:
      model: see :func:`xrcam_jax.attribute`.
      images: preprocessed.
      targets: the classes to explain; the predicted ones by default.
      layers: names and globs; all marks by default.
      samples: draws of noise for each channel, at least 1.
      noise: its standard deviation, as a share of the range of what it is added to.
      noise_on: ``"image"`` adds it to the masked image, ``"activation"`` to the channel before it masks.
      weights: as for :func:`score_cam`.
      score: ``"logit"``, ``"probability"`` or ``"log_odds"``.
      **call: what all methods take, see :class:`xrcam_jax.explain.calls.common.Call`.

    Returns:
      The explanation.

    Example:
      >>> xr.smoothed_score_cam(model, images).plot()  # doctest: +SKIP
    """
    return ask(
        smoothed_score_cam,
        model,
        images,
        targets,
        layers,
        call,
        samples=samples,
        noise=noise,
        noise_on=noise_on,
        weights=weights,
        score=score,
    )


def kpca_cam(
    model: Callable,
    images: Inputs,
    targets: Targets | None = None,
    layers: Layers | None = None,
    *,
    kernel: Kernel = "sigmoid",
    gamma: float | None = None,
    **call: Unpack[Call],
) -> Explanation:
    """Explains a batch by KPCA-CAM: first component of kernel PCA of the activations, whatever the class (karmani2024).

    Args:
      model: see :func:`xrcam_jax.attribute`.
      images: preprocessed.
      targets: the classes to explain; the predicted ones by default.
      layers: names and globs; all marks by default.
      kernel: ``"sigmoid"``, ``"rbf"`` or ``"polynomial"``.
      gamma: γ of the kernel, above 0; by default 1 over the number of channels.
      **call: what all methods take, see :class:`xrcam_jax.explain.calls.common.Call`.

    Returns:
      The explanation.

    Example:
      >>> xr.kpca_cam(model, images).plot()  # doctest: +SKIP
    """
    return ask(kpca_cam, model, images, targets, layers, call, kernel=kernel, gamma=gamma)


def finer_cam(
    model: Callable,
    images: Inputs,
    targets: Targets | None = None,
    layers: Layers | None = None,
    *,
    alpha: float = 1.0,
    comparison: int | tuple[int, ...] = 3,
    composite: Composite | None = None,
    **call: Unpack[Call],
) -> Explanation:
    """Explains a batch by Finer-CAM: Grad-CAM of the logit against those of similar classes (zhang2025).

    Args:
      model: see :func:`xrcam_jax.attribute`.
      images: preprocessed.
      targets: the classes to explain; the predicted ones by default.
      layers: names and globs; all marks by default.
      alpha: how strongly classes are compared, see :func:`xrcam_jax.seeds.finer`.
      comparison: how many similar classes there are, or which, by number.
      composite: the rules of propagation; those of the gradient by default.
      **call: what all methods take, see :class:`xrcam_jax.explain.calls.common.Call`.

    Returns:
      The explanation.

    Example:
      >>> xr.finer_cam(model, images).plot()  # doctest: +SKIP
    """
    return ask(finer_cam, model, images, targets, layers, call, alpha=alpha, comparison=comparison, composite=composite)


def shapley_cam(
    model: Callable,
    images: Inputs,
    targets: Targets | None = None,
    layers: Layers | None = None,
    *,
    utility: Utility = "rest",
    **call: Unpack[Call],
) -> Explanation:
    """Explains a batch by ShapleyCAM: mean of the gradient less half the Hessian times the activation (cai2025).

    Args:
      model: see :func:`xrcam_jax.attribute`.
      images: preprocessed.
      targets: the classes to explain; the predicted ones by default.
      layers: names and globs; all marks by default.
      utility: what is explained: logit and log-probability (``"rest"``), ``"logit"`` or ``"probability"``.
      **call: what all methods take, see :class:`xrcam_jax.explain.calls.common.Call`.

    Returns:
      The explanation.

    Example:
      >>> xr.shapley_cam(model, images).plot()  # doctest: +SKIP
    """
    return ask(shapley_cam, model, images, targets, layers, call, utility=utility)


def full_grad(
    model: Callable,
    images: Inputs,
    targets: Targets | None = None,
    layers: Layers | None = None,
    *,
    rescale: Literal["channel", "layer"] = "channel",
    **call: Unpack[Call],
) -> Explanation:
    """Explains a batch by FullGrad: gradients times the input and times all biases, each by size (srinivas2019).

    Args:
      model: see :func:`xrcam_jax.attribute`.
      images: preprocessed.
      targets: the classes to explain; the predicted ones by default.
      layers: the input by default, where the method works.
      rescale: what is scaled to [0, 1] together: each ``"channel"``, or all channels of a ``"layer"``.
      **call: what all methods take, see :class:`xrcam_jax.explain.calls.common.Call`.

    Returns:
      The explanation.

    Example:
      >>> xr.full_grad(model, images).plot()  # doctest: +SKIP
    """
    return ask(full_grad, model, images, targets, layers, call, rescale=rescale)
