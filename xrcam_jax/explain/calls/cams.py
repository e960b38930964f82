"""Class activation maps from one pass, a function each, whose arguments are the method's options."""

from collections.abc import Callable
from typing import Literal, Unpack

from xrcam_jax.cam.weights import GradCamPpVariant
from xrcam_jax.explain.calls.common import Call, Inputs, Layers, Targets, ask
from xrcam_jax.explain.explanation import Explanation
from xrcam_jax.lrp.composites import Composite


def xrelevance_cam(
    model: Callable,
    images: Inputs,
    targets: Targets | None = None,
    layers: Layers | None = None,
    *,
    eps: float = 1e-09,
    axiom: Literal["conservation", "sensitivity"] | None = None,
    composite: Composite | None = None,
    seed: Callable | None = None,
    **call: Unpack[Call],
) -> Explanation:
    """Explains a batch by XRelevance-CAM: relevance of a channel over its total activation; conserves relevance
    (you2024).

    Args:
      model: see :func:`xrcam_jax.attribute`.
      images: preprocessed.
      targets: the classes to explain; the predicted ones by default.
      layers: names and globs; all marks by default.
      eps: ε.
      axiom: the axiom whose own weights are taken: φ conserves relevance, Ψ is sensitive; by default those of the
        thesis.
      composite: the rules of propagation; the method's own by default.
      seed: what is put at the logits (``xr.seeds``); the method's own by default.
      **call: what all methods take, see :class:`xrcam_jax.explain.calls.common.Call`.

    Returns:
      The explanation.

    Example:
      >>> xr.xrelevance_cam(model, images).plot()  # doctest: +SKIP
    """
    return ask(
        xrelevance_cam, model, images, targets, layers, call, eps=eps, axiom=axiom, composite=composite, seed=seed
    )


def relevance_cam(
    model: Callable,
    images: Inputs,
    targets: Targets | None = None,
    layers: Layers | None = None,
    *,
    composite: Composite | None = None,
    seed: Callable | None = None,
    **call: Unpack[Call],
) -> Explanation:
    """Explains a batch by Relevance-CAM: mean relevance of a channel (lee2021).

    Args:
      model: see :func:`xrcam_jax.attribute`.
      images: preprocessed.
      targets: the classes to explain; the predicted ones by default.
      layers: names and globs; all marks by default.
      composite: the rules of propagation; the method's own by default.
      seed: what is put at the logits (``xr.seeds``); the method's own by default.
      **call: what all methods take, see :class:`xrcam_jax.explain.calls.common.Call`.

    Returns:
      The explanation.

    Example:
      >>> xr.relevance_cam(model, images).plot()  # doctest: +SKIP
    """
    return ask(relevance_cam, model, images, targets, layers, call, composite=composite, seed=seed)


def cam(
    model: Callable,
    images: Inputs,
    targets: Targets | None = None,
    layers: Layers | None = None,
    *,
    composite: Composite | None = None,
    seed: Callable | None = None,
    **call: Unpack[Call],
) -> Explanation:
    """Explains a batch by CAM: classifier weight of a channel; last layer only (zhou2016).

    Args:
      model: see :func:`xrcam_jax.attribute`.
      images: preprocessed.
      targets: the classes to explain; the predicted ones by default.
      layers: names and globs; all marks by default.
      composite: the rules of propagation; those of the gradient by default.
      seed: what is put at the logits (``xr.seeds``); one at the target by default.
      **call: what all methods take, see :class:`xrcam_jax.explain.calls.common.Call`.

    Returns:
      The explanation.

    Example:
      >>> xr.cam(model, images).plot()  # doctest: +SKIP
    """
    return ask(cam, model, images, targets, layers, call, composite=composite, seed=seed)


def grad_cam(
    model: Callable,
    images: Inputs,
    targets: Targets | None = None,
    layers: Layers | None = None,
    *,
    composite: Composite | None = None,
    seed: Callable | None = None,
    **call: Unpack[Call],
) -> Explanation:
    """Explains a batch by Grad-CAM: mean gradient of a channel (selvaraju2017).

    Args:
      model: see :func:`xrcam_jax.attribute`.
      images: preprocessed.
      targets: the classes to explain; the predicted ones by default.
      layers: names and globs; all marks by default.
      composite: the rules of propagation; those of the gradient by default.
      seed: what is put at the logits (``xr.seeds``); one at the target by default.
      **call: what all methods take, see :class:`xrcam_jax.explain.calls.common.Call`.

    Returns:
      The explanation.

    Example:
      >>> xr.grad_cam(model, images).plot()  # doctest: +SKIP
    """
    return ask(grad_cam, model, images, targets, layers, call, composite=composite, seed=seed)


def grad_cam_pp(
    model: Callable,
    images: Inputs,
    targets: Targets | None = None,
    layers: Layers | None = None,
    *,
    variant: GradCamPpVariant = "library",
    eps: float = 1e-06,
    composite: Composite | None = None,
    seed: Callable | None = None,
    **call: Unpack[Call],
) -> Explanation:
    """Explains a batch by Grad-CAM++: weighted sum of a channel's positive gradients (chattopadhay2018).

    Args:
      model: see :func:`xrcam_jax.attribute`.
      images: preprocessed.
      targets: the classes to explain; the predicted ones by default.
      layers: names and globs; all marks by default.
      variant: ``"library"`` adds ε to the denominator (gildenblat2021; the thesis's tables); ``"inside"`` has sum_p(A
        G³) there and no ε (the code of lee2021); ``"normalised"`` has no ε and divides α by its sum over the places
        where G > 0 (the authors' code).
      eps: ε of ``"library"``. It is absolute and not small beside G², so the scale of G matters.
      composite: the rules of propagation; those of the gradient by default.
      seed: what is put at the logits (``xr.seeds``); one at the target by default.
      **call: what all methods take, see :class:`xrcam_jax.explain.calls.common.Call`.

    Returns:
      The explanation.

    Example:
      >>> xr.grad_cam_pp(model, images).plot()  # doctest: +SKIP
    """
    return ask(
        grad_cam_pp, model, images, targets, layers, call, variant=variant, eps=eps, composite=composite, seed=seed
    )


def x_grad_cam(
    model: Callable,
    images: Inputs,
    targets: Targets | None = None,
    layers: Layers | None = None,
    *,
    eps: float = 1e-07,
    composite: Composite | None = None,
    seed: Callable | None = None,
    **call: Unpack[Call],
) -> Explanation:
    """Explains a batch by XGrad-CAM: gradient of a channel, averaged by its activation (fu2020).

    Args:
      model: see :func:`xrcam_jax.attribute`.
      images: preprocessed.
      targets: the classes to explain; the predicted ones by default.
      layers: names and globs; all marks by default.
      eps: ε.
      composite: the rules of propagation; those of the gradient by default.
      seed: what is put at the logits (``xr.seeds``); one at the target by default.
      **call: what all methods take, see :class:`xrcam_jax.explain.calls.common.Call`.

    Returns:
      The explanation.

    Example:
      >>> xr.x_grad_cam(model, images).plot()  # doctest: +SKIP
    """
    return ask(x_grad_cam, model, images, targets, layers, call, eps=eps, composite=composite, seed=seed)


def hires_cam(
    model: Callable,
    images: Inputs,
    targets: Targets | None = None,
    layers: Layers | None = None,
    *,
    composite: Composite | None = None,
    seed: Callable | None = None,
    **call: Unpack[Call],
) -> Explanation:
    """Explains a batch by HiResCAM: gradient times activation, place by place (draelos2020).

    Args:
      model: see :func:`xrcam_jax.attribute`.
      images: preprocessed.
      targets: the classes to explain; the predicted ones by default.
      layers: names and globs; all marks by default.
      composite: the rules of propagation; those of the gradient by default.
      seed: what is put at the logits (``xr.seeds``); one at the target by default.
      **call: what all methods take, see :class:`xrcam_jax.explain.calls.common.Call`.

    Returns:
      The explanation.

    Example:
      >>> xr.hires_cam(model, images).plot()  # doctest: +SKIP
    """
    return ask(hires_cam, model, images, targets, layers, call, composite=composite, seed=seed)


def layer_cam(
    model: Callable,
    images: Inputs,
    targets: Targets | None = None,
    layers: Layers | None = None,
    *,
    composite: Composite | None = None,
    seed: Callable | None = None,
    **call: Unpack[Call],
) -> Explanation:
    """Explains a batch by LayerCAM: positive gradient times activation, place by place (jiang2021).

    Args:
      model: see :func:`xrcam_jax.attribute`.
      images: preprocessed.
      targets: the classes to explain; the predicted ones by default.
      layers: names and globs; all marks by default.
      composite: the rules of propagation; those of the gradient by default.
      seed: what is put at the logits (``xr.seeds``); one at the target by default.
      **call: what all methods take, see :class:`xrcam_jax.explain.calls.common.Call`.

    Returns:
      The explanation.

    Example:
      >>> xr.layer_cam(model, images).plot()  # doctest: +SKIP
    """
    return ask(layer_cam, model, images, targets, layers, call, composite=composite, seed=seed)


def elementwise_grad_cam(
    model: Callable,
    images: Inputs,
    targets: Targets | None = None,
    layers: Layers | None = None,
    *,
    composite: Composite | None = None,
    seed: Callable | None = None,
    **call: Unpack[Call],
) -> Explanation:
    """Explains a batch by Elementwise Grad-CAM: positive part of gradient times activation, place by place
    (gildenblat2021).

    Args:
      model: see :func:`xrcam_jax.attribute`.
      images: preprocessed.
      targets: the classes to explain; the predicted ones by default.
      layers: names and globs; all marks by default.
      composite: the rules of propagation; those of the gradient by default.
      seed: what is put at the logits (``xr.seeds``); one at the target by default.
      **call: what all methods take, see :class:`xrcam_jax.explain.calls.common.Call`.

    Returns:
      The explanation.

    Example:
      >>> xr.elementwise_grad_cam(model, images).plot()  # doctest: +SKIP
    """
    return ask(elementwise_grad_cam, model, images, targets, layers, call, composite=composite, seed=seed)


def eigen_cam(
    model: Callable,
    images: Inputs,
    targets: Targets | None = None,
    layers: Layers | None = None,
    *,
    composite: Composite | None = None,
    seed: Callable | None = None,
    **call: Unpack[Call],
) -> Explanation:
    """Explains a batch by Eigen-CAM: first principal component of the activations, whatever the class (muhammad2020).

    Args:
      model: see :func:`xrcam_jax.attribute`.
      images: preprocessed.
      targets: the classes to explain; the predicted ones by default.
      layers: names and globs; all marks by default.
      composite: the rules of propagation; those of the gradient by default.
      seed: what is put at the logits (``xr.seeds``); one at the target by default.
      **call: what all methods take, see :class:`xrcam_jax.explain.calls.common.Call`.

    Returns:
      The explanation.

    Example:
      >>> xr.eigen_cam(model, images).plot()  # doctest: +SKIP
    """
    return ask(eigen_cam, model, images, targets, layers, call, composite=composite, seed=seed)


def eigen_grad_cam(
    model: Callable,
    images: Inputs,
    targets: Targets | None = None,
    layers: Layers | None = None,
    *,
    composite: Composite | None = None,
    seed: Callable | None = None,
    **call: Unpack[Call],
) -> Explanation:
    """Explains a batch by Eigen-Grad-CAM: first principal component of gradient times activation (gildenblat2021).

    Args:
      model: see :func:`xrcam_jax.attribute`.
      images: preprocessed.
      targets: the classes to explain; the predicted ones by default.
      layers: names and globs; all marks by default.
      composite: the rules of propagation; those of the gradient by default.
      seed: what is put at the logits (``xr.seeds``); one at the target by default.
      **call: what all methods take, see :class:`xrcam_jax.explain.calls.common.Call`.

    Returns:
      The explanation.

    Example:
      >>> xr.eigen_grad_cam(model, images).plot()  # doctest: +SKIP
    """
    return ask(eigen_grad_cam, model, images, targets, layers, call, composite=composite, seed=seed)
