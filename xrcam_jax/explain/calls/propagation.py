"""Methods that propagate to the input, a function each, whose arguments are the method's options."""

from collections.abc import Callable
from typing import Literal, Unpack

from xrcam_jax.attribution.baseline import Baseline
from xrcam_jax.explain.calls.common import Call, Inputs, Layers, Targets, ask
from xrcam_jax.explain.explanation import Explanation
from xrcam_jax.lrp.composites import Composite


def gradient(
    model: Callable,
    images: Inputs,
    targets: Targets | None = None,
    layers: Layers | None = None,
    *,
    composite: Composite | None = None,
    seed: Callable | None = None,
    **call: Unpack[Call],
) -> Explanation:
    """Explains a batch by Gradient: derivative of the logit (simonyan2014).

    Args:
      model: see :func:`xrcam_jax.attribute`.
      images: preprocessed.
      targets: the classes to explain; the predicted ones by default.
      layers: names and globs, or ``"input"``, which is the default.
      composite: the rules of propagation; those of the gradient by default.
      seed: what is put at the logits (``xr.seeds``); one at the target by default.
      **call: what all methods take, see :class:`xrcam_jax.explain.calls.common.Call`.

    Returns:
      The explanation.

    Example:
      >>> xr.gradient(model, images).plot()  # doctest: +SKIP
    """
    return ask(gradient, model, images, targets, layers, call, composite=composite, seed=seed)


def gradient_x_input(
    model: Callable,
    images: Inputs,
    targets: Targets | None = None,
    layers: Layers | None = None,
    *,
    composite: Composite | None = None,
    seed: Callable | None = None,
    **call: Unpack[Call],
) -> Explanation:
    """Explains a batch by Gradient × input: derivative of the logit times the input (shrikumar2016).

    Args:
      model: see :func:`xrcam_jax.attribute`.
      images: preprocessed.
      targets: the classes to explain; the predicted ones by default.
      layers: names and globs, or ``"input"``, which is the default.
      composite: the rules of propagation; those of the gradient by default.
      seed: what is put at the logits (``xr.seeds``); one at the target by default.
      **call: what all methods take, see :class:`xrcam_jax.explain.calls.common.Call`.

    Returns:
      The explanation.

    Example:
      >>> xr.gradient_x_input(model, images).plot()  # doctest: +SKIP
    """
    return ask(gradient_x_input, model, images, targets, layers, call, composite=composite, seed=seed)


def guided_backprop(
    model: Callable,
    images: Inputs,
    targets: Targets | None = None,
    layers: Layers | None = None,
    *,
    composite: Composite | None = None,
    seed: Callable | None = None,
    **call: Unpack[Call],
) -> Explanation:
    """Explains a batch by Guided backpropagation: gradient that passes ReLUs only where it is positive
    (springenberg2015).

    Args:
      model: see :func:`xrcam_jax.attribute`.
      images: preprocessed.
      targets: the classes to explain; the predicted ones by default.
      layers: names and globs, or ``"input"``, which is the default.
      composite: the rules of propagation; the method's own by default.
      seed: what is put at the logits (``xr.seeds``); the method's own by default.
      **call: what all methods take, see :class:`xrcam_jax.explain.calls.common.Call`.

    Returns:
      The explanation.

    Example:
      >>> xr.guided_backprop(model, images).plot()  # doctest: +SKIP
    """
    return ask(guided_backprop, model, images, targets, layers, call, composite=composite, seed=seed)


def deconvnet(
    model: Callable,
    images: Inputs,
    targets: Targets | None = None,
    layers: Layers | None = None,
    *,
    composite: Composite | None = None,
    seed: Callable | None = None,
    **call: Unpack[Call],
) -> Explanation:
    """Explains a batch by DeconvNet: gradient with a ReLU on the way back (zeiler2014).

    Args:
      model: see :func:`xrcam_jax.attribute`.
      images: preprocessed.
      targets: the classes to explain; the predicted ones by default.
      layers: names and globs, or ``"input"``, which is the default.
      composite: the rules of propagation; the method's own by default.
      seed: what is put at the logits (``xr.seeds``); the method's own by default.
      **call: what all methods take, see :class:`xrcam_jax.explain.calls.common.Call`.

    Returns:
      The explanation.

    Example:
      >>> xr.deconvnet(model, images).plot()  # doctest: +SKIP
    """
    return ask(deconvnet, model, images, targets, layers, call, composite=composite, seed=seed)


def smooth_grad(
    model: Callable,
    images: Inputs,
    targets: Targets | None = None,
    layers: Layers | None = None,
    *,
    base: str = "gradient",
    samples: int = 16,
    noise: float = 0.15,
    composite: Composite | None = None,
    seed: Callable | None = None,
    **call: Unpack[Call],
) -> Explanation:
    """Explains a batch by SmoothGrad: mean over noisy images of the gradient, or of the method that ``base`` names
    (smilkov2017).

    Args:
      model: see :func:`xrcam_jax.attribute`.
      images: preprocessed.
      targets: the classes to explain; the predicted ones by default.
      layers: names and globs, or ``"input"``, which is the default.
      base: the method of which the mean is taken; for its options see :func:`xrcam_jax.attribute`.
      samples: number of copies, at least 1.
      noise: standard deviation of the noise, as a share of each image's range.
      composite: the rules of propagation; those of the gradient by default.
      seed: what is put at the logits (``xr.seeds``); one at the target by default.
      **call: what all methods take, see :class:`xrcam_jax.explain.calls.common.Call`.

    Returns:
      The explanation.

    Example:
      >>> xr.smooth_grad(model, images).plot()  # doctest: +SKIP
    """
    return ask(
        smooth_grad,
        model,
        images,
        targets,
        layers,
        call,
        base=base,
        samples=samples,
        noise=noise,
        composite=composite,
        seed=seed,
    )


def integrated_gradients(
    model: Callable,
    images: Inputs,
    targets: Targets | None = None,
    layers: Layers | None = None,
    *,
    baseline: Baseline = 0.0,
    steps: int = 32,
    quadrature: Literal["gauss_legendre", "trapezoid"] = "gauss_legendre",
    **call: Unpack[Call],
) -> Explanation:
    """Explains a batch by Integrated Gradients: gradients integrated from a baseline; sums to the difference of the
    logits (sundararajan2017).

    Args:
      model: see :func:`xrcam_jax.attribute`.
      images: preprocessed.
      targets: the classes to explain; the predicted ones by default.
      layers: names and globs, or ``"input"``, which is the default.
      baseline: what an image without information looks like after preprocessing; broadcast to the images.
      steps: points of the quadrature, at least 2.
      quadrature: ``"gauss_legendre"``, exact for polynomials of degree 2 steps - 1 in α, or ``"trapezoid"``.
      **call: what all methods take, see :class:`xrcam_jax.explain.calls.common.Call`.

    Returns:
      The explanation.

    Example:
      >>> xr.integrated_gradients(model, images).plot()  # doctest: +SKIP
    """
    return ask(
        integrated_gradients,
        model,
        images,
        targets,
        layers,
        call,
        baseline=baseline,
        steps=steps,
        quadrature=quadrature,
    )


def deep_lift(
    model: Callable,
    images: Inputs,
    targets: Targets | None = None,
    layers: Layers | None = None,
    *,
    baseline: Baseline = 0.0,
    rule: Literal["rescale", "reveal_cancel"] = "rescale",
    max_pool: Literal["rescale", "gradient"] = "rescale",
    **call: Unpack[Call],
) -> Explanation:
    """Explains a batch by DeepLIFT: rescaled differences from a baseline; sums to the difference of the logits
    (shrikumar2017).

    Args:
      model: see :func:`xrcam_jax.attribute`.
      images: preprocessed.
      targets: the classes to explain; the predicted ones by default.
      layers: names and globs, or ``"input"``, which is the default.
      baseline: what an image without information looks like after preprocessing; broadcast to the images.
      rule: of activations; ``"reveal_cancel"`` has multipliers of its own for what raises and what lowers a value,
        see :func:`xrcam_jax.attribution.reveal_cancel.reveal_cancel`.
      max_pool: of ``"rescale"``, see :func:`xrcam_jax.lrp.composites.deep_lift`.
      **call: what all methods take, see :class:`xrcam_jax.explain.calls.common.Call`.

    Returns:
      The explanation.

    Example:
      >>> xr.deep_lift(model, images).plot()  # doctest: +SKIP
    """
    return ask(deep_lift, model, images, targets, layers, call, baseline=baseline, rule=rule, max_pool=max_pool)


def lrp(
    model: Callable,
    images: Inputs,
    targets: Targets | None = None,
    layers: Layers | None = None,
    *,
    composite: Composite | None = None,
    seed: Callable | None = None,
    **call: Unpack[Call],
) -> Explanation:
    """Explains a batch by LRP: layer-wise relevance, by the rules of any composite (bach2015).

    Args:
      model: see :func:`xrcam_jax.attribute`.
      images: preprocessed.
      targets: the classes to explain; the predicted ones by default.
      layers: names and globs, or ``"input"``, which is the default.
      composite: the rules of propagation; the method's own by default.
      seed: what is put at the logits (``xr.seeds``); the method's own by default.
      **call: what all methods take, see :class:`xrcam_jax.explain.calls.common.Call`.

    Returns:
      The explanation.

    Example:
      >>> xr.lrp(model, images).plot()  # doctest: +SKIP
    """
    return ask(lrp, model, images, targets, layers, call, composite=composite, seed=seed)


def clrp(
    model: Callable,
    images: Inputs,
    targets: Targets | None = None,
    layers: Layers | None = None,
    *,
    composite: Composite | None = None,
    seed: Callable | None = None,
    **call: Unpack[Call],
) -> Explanation:
    """Explains a batch by CLRP: relevance of the class against all others (gu2019).

    Args:
      model: see :func:`xrcam_jax.attribute`.
      images: preprocessed.
      targets: the classes to explain; the predicted ones by default.
      layers: names and globs, or ``"input"``, which is the default.
      composite: the rules of propagation; the method's own by default.
      seed: what is put at the logits (``xr.seeds``); the method's own by default.
      **call: what all methods take, see :class:`xrcam_jax.explain.calls.common.Call`.

    Returns:
      The explanation.

    Example:
      >>> xr.clrp(model, images).plot()  # doctest: +SKIP
    """
    return ask(clrp, model, images, targets, layers, call, composite=composite, seed=seed)


def sglrp(
    model: Callable,
    images: Inputs,
    targets: Targets | None = None,
    layers: Layers | None = None,
    *,
    composite: Composite | None = None,
    seed: Callable | None = None,
    **call: Unpack[Call],
) -> Explanation:
    """Explains a batch by SGLRP: relevance of the class against the others, each by its probability (iwana2019).

    Args:
      model: see :func:`xrcam_jax.attribute`.
      images: preprocessed.
      targets: the classes to explain; the predicted ones by default.
      layers: names and globs, or ``"input"``, which is the default.
      composite: the rules of propagation; the method's own by default.
      seed: what is put at the logits (``xr.seeds``); the method's own by default.
      **call: what all methods take, see :class:`xrcam_jax.explain.calls.common.Call`.

    Returns:
      The explanation.

    Example:
      >>> xr.sglrp(model, images).plot()  # doctest: +SKIP
    """
    return ask(sglrp, model, images, targets, layers, call, composite=composite, seed=seed)


def chefer(
    model: Callable,
    images: Inputs,
    targets: Targets | None = None,
    layers: Layers | None = None,
    **call: Unpack[Call],
) -> Explanation:
    """Explains a batch by Chefer: attention weights times their positive gradients, rolled out over the layers;
    transformers only (chefer2021).

    Args:
      model: see :func:`xrcam_jax.attribute`.
      images: preprocessed.
      targets: the classes to explain; the predicted ones by default.
      layers: the input by default, where the method works.
      **call: what all methods take, see :class:`xrcam_jax.explain.calls.common.Call`.

    Returns:
      The explanation.

    Example:
      >>> xr.chefer(model, images).plot()  # doctest: +SKIP
    """
    return ask(chefer, model, images, targets, layers, call)


def legrad(
    model: Callable,
    images: Inputs,
    targets: Targets | None = None,
    layers: Layers | None = None,
    **call: Unpack[Call],
) -> Explanation:
    """Explains a batch by LeGrad: positive gradients at attention weights, of what each layer's tokens say;
    transformers only (bousselham2025).

    Args:
      model: see :func:`xrcam_jax.attribute`.
      images: preprocessed.
      targets: the classes to explain; the predicted ones by default.
      layers: the input by default, where the method works.
      **call: what all methods take, see :class:`xrcam_jax.explain.calls.common.Call`.

    Returns:
      The explanation.

    Example:
      >>> xr.legrad(model, images).plot()  # doctest: +SKIP
    """
    return ask(legrad, model, images, targets, layers, call)
