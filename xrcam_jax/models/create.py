"""The networks by name."""

from collections.abc import Callable

import jax.numpy as jnp
from flax import nnx
from jax.typing import DTypeLike

from xrcam_jax.models.classifier import Classifier
from xrcam_jax.models.convnext import ConvNext
from xrcam_jax.models.convnext_specs import ConvNextSpec
from xrcam_jax.models.densenet import DenseNet
from xrcam_jax.models.densenet_specs import DenseSpec
from xrcam_jax.models.efficientnet import EfficientNet
from xrcam_jax.models.mobile_specs import MobileSpec, MobileV3Spec
from xrcam_jax.models.mobilenet import MobileNetV3
from xrcam_jax.models.resnet import ResNet
from xrcam_jax.models.specs import Spec, find_spec
from xrcam_jax.models.swin import SwinTransformer
from xrcam_jax.models.swin_specs import SwinSpec
from xrcam_jax.models.variant import PLAIN, Variant
from xrcam_jax.models.vgg import Vgg
from xrcam_jax.models.vgg_specs import VggSpec
from xrcam_jax.models.vision_transformer import VisionTransformer
from xrcam_jax.models.vit_specs import VitSpec

#: The network that each kind of spec describes.
NETWORKS: dict[type, Callable[..., Classifier]] = {
    Spec: ResNet,
    MobileSpec: EfficientNet,
    MobileV3Spec: MobileNetV3,
    DenseSpec: DenseNet,
    VggSpec: Vgg,
    VitSpec: VisionTransformer,
    SwinSpec: SwinTransformer,
    ConvNextSpec: ConvNext,
}


def create_model(
    name: str,
    *,
    num_classes: int | None = None,
    dropout_rate: float = 0.0,
    global_pool: str | None = None,
    act_layer: str | None = None,
    output_stride: int = 32,
    in_channels: int = 3,
    img_size: int | tuple[int, int] | None = None,
    dtype: DTypeLike = jnp.float32,
    rngs: nnx.Rngs | None = None,
) -> Classifier:
    """Creates a freshly initialised network in inference mode; training code calls ``.train()`` on it.

    Args:
      name: one of :func:`xrcam_jax.list_models`.
      num_classes: number of logits; 1 for a network that decides between two classes (:mod:`xrcam_jax.classes`). By
        default as many as the checkpoint of this name has: 1000, or none of a network that was trained without classes,
        which then returns its features.
      dropout_rate: share of the activations that dropout sets to zero after each block, in training mode; in [0, 1).
        In DenseNet that is after each layer of a block, in VGG after both hidden layers of the head.
      global_pool: ``"avg"``, ``"max"``, ``"avgmax"`` or ``"catavgmax"``: what is made of the last layer's places; or
        ``"token"``, the default of vision transformers, for their class token.
      act_layer: the activation in the place of the network's own, by timm's name, such as ``"silu"``.
      output_stride: 32, 16 or 8: how many pixels apart the places of the last layer lie.
      in_channels: 3, or 1 for grey pictures.
      img_size: side of the pictures in pixels, or height and width, of a network that knows positions by heart; by
        default as its checkpoint has it. Other networks take pictures of any size.
      dtype: what the network computes in. Parameters and statistics are kept in float32, or in float64 for
        a float64 network (which needs ``jax_enable_x64``), since bfloat16 would not hold a checkpoint exactly.
      rngs: random streams for parameters and dropout; ``nnx.Rngs(0)`` by default.

    Returns:
      The network: a callable from ``(b, h, w, in_channels)`` pictures to ``(b, num_classes)`` logits.

    Raises:
      ValueError: no network is called so (the message offers the nearest name), ``num_classes`` is less than
        one, ``dtype`` is not of floating point, or another argument is none of these.

    Example:
      Only the shapes, since drawing the values takes a while:

      >>> from flax import nnx
      >>> model = nnx.eval_shape(lambda: create_model("resnet18", num_classes=2))
      >>> model.num_classes, model.fc.kernel.get_value().shape
      (2, (512, 2))
    """
    spec = find_spec(name)
    global_pool = None if global_pool == spec.poolings[0] else global_pool
    sides = (img_size, img_size) if isinstance(img_size, int) else img_size
    variant = Variant(global_pool, act_layer, output_stride, in_channels, sides)
    if global_pool is not None and global_pool not in spec.poolings:
        raise ValueError(f"global_pool: {global_pool!r} is none of {', '.join(spec.poolings)}, which {name} comes with")
    for attribute, value in vars(variant).items():
        if value != getattr(PLAIN, attribute) and attribute not in {"global_pool", *spec.variants}:
            raise ValueError(f"{attribute}: {name} comes with {getattr(PLAIN, attribute)!r} only, got {value!r}")
    model = NETWORKS[type(spec)](
        name,
        num_classes=spec.num_classes if num_classes is None else num_classes,
        dropout_rate=dropout_rate,
        variant=variant,
        dtype=dtype,
        rngs=nnx.Rngs(0) if rngs is None else rngs,
    )
    model.eval()
    return model
