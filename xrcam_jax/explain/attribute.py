"""One method by its name, in one call."""

from collections.abc import Callable, Sequence
from typing import Any

from xrcam_jax.attribution.case import Progress, no_progress
from xrcam_jax.attribution.tokens import Tokens
from xrcam_jax.explain.explainer import Explainer
from xrcam_jax.explain.explanation import Explanation
from xrcam_jax.explain.given import Inputs, Target, Targets
from xrcam_jax.pictures.preprocessing import Preprocessing


def attribute(
    model: Callable,
    images: Inputs,
    method: str,
    targets: Targets | None = None,
    layers: Sequence[str] | str | None = None,
    *,
    top_k: int | None = None,
    target: Target | None = None,
    labels: Sequence[str] | None = None,
    preprocessing: Preprocessing | None = None,
    explain: Sequence[str] | None = None,
    relu: bool = True,
    chunk_size: int | None = None,
    progress: Progress = no_progress,
    random_seed: int = 0,
    tokens: Tokens | None = None,
    **options: Any,
) -> Explanation:
    """Explains a batch by one method: ``Explainer(model, method, layers, ...)(images, targets)``.

    What was compiled for a model serves all models of the same structure, and later calls too.

    Args:
      model: see :class:`Explainer`.
      images: preprocessed; or a dictionary or tuple of arrays, with which the model is called.
      method: a name in ``xrcam_jax.METHODS``, which may have options, such as ``rise+samples=500``.
      targets: the class to explain, one for all images, one for each, or t for each, by number or name; the predicted
        one by default.
      layers: see :class:`Explainer`.
      top_k: explain the k likeliest classes of each image instead.
      target: explain what this function says of the model's output instead: one number for each picture, (b,); or a
        class for all, by number or name.
      labels: see :class:`Explainer`.
      preprocessing: see :class:`Explainer`.
      explain: see :class:`Explainer`.
      relu: see :class:`Explainer`.
      chunk_size: see :class:`Explainer`.
      progress: see :class:`Explainer`.
      random_seed: see :class:`Explainer`.
      tokens: see :class:`Explainer`.
      **options: the method's own, e.g. ``samples=50``, or of LRP ``composite=xr.composites.epsilon_plus()`` and
        ``seed=xr.seeds.clrp_zero_sum``.

    Returns:
      The explanation: maps (b, *space) in [0, 1], or (b, t, *space) of t classes, by method and layer. Space is (h, w)
        for images.

    Raises:
      ValueError: as the Explainer does, naming what is wrong.
      TypeError: the model cannot be called, or is a Linen module without variables.

    Example:
      >>> import jax.numpy as jnp
      >>> import xrcam_jax as xr
      >>> model = lambda images: (images**2).sum((1, 2))
      >>> e = xr.attribute(model, jnp.array([1.0, 3.0]).reshape(1, 1, 2, 1), "gradient_x_input")
      >>> e.attributions["gradient_x_input"]["input"].ravel().tolist()
      [2.0, 18.0]
    """
    explainer = Explainer(
        model,
        method,
        layers,
        options={method: options},
        relu=relu,
        chunk_size=chunk_size,
        progress=progress,
        random_seed=random_seed,
        labels=labels,
        preprocessing=preprocessing,
        explain=explain,
        tokens=tokens,
    )
    return explainer(images, targets, top_k=top_k, target=target)
