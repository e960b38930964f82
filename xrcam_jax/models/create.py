"""The networks by name."""

import jax.numpy as jnp
from flax import nnx
from jax.typing import DTypeLike

from xrcam_jax.models.classifier import Classifier
from xrcam_jax.models.efficientnet import EfficientNet
from xrcam_jax.models.resnet import ResNet
from xrcam_jax.models.specs import Spec, find_spec


def create_model(
    name: str,
    *,
    num_classes: int = 1000,
    dropout_rate: float = 0.0,
    dtype: DTypeLike = jnp.float32,
    rngs: nnx.Rngs | None = None,
) -> Classifier:
    """Creates a freshly initialised network in inference mode; training code calls ``.train()`` on it.

    Args:
      name: one of :func:`xrcam_jax.list_models`.
      num_classes: number of logits; 1 for a network that decides between two classes (:mod:`xrcam_jax.classes`).
      dropout_rate: share of the activations that dropout sets to zero after each block, in training mode; in [0, 1).
      dtype: what the network computes in. Parameters and statistics are kept in float32, or in float64 for
        a float64 network (which needs ``jax_enable_x64``), since bfloat16 would not hold a checkpoint exactly.
      rngs: random streams for parameters and dropout; ``nnx.Rngs(0)`` by default.

    Returns:
      The network: a callable from ``(b, h, w, 3)`` pictures to ``(b, num_classes)`` logits.

    Raises:
      ValueError: no network is called so (the message offers the nearest name), ``num_classes`` is less than
        one, or ``dtype`` is not of floating point.

    Example:
      Only the shapes, since drawing the values takes a while:

      >>> from flax import nnx
      >>> model = nnx.eval_shape(lambda: create_model("resnet18", num_classes=2))
      >>> model.num_classes, model.fc.kernel.get_value().shape
      (2, (512, 2))
    """
    network = ResNet if isinstance(find_spec(name), Spec) else EfficientNet
    model = network(
        name,
        num_classes=num_classes,
        dropout_rate=dropout_rate,
        dtype=dtype,
        rngs=nnx.Rngs(0) if rngs is None else rngs,
    )
    model.eval()
    return model
