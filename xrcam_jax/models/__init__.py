"""Networks in Flax NNX, with timm's names and numbers.

Residual networks, EfficientNet and MobileNetV3, DenseNet, VGG and ConvNeXt, vision and Swin transformers.

References:
  he2015, he2016, xie2017, li2019, tan2019, howard2019, huang2017, simonyan2015, dosovitskiy2021, liu2021, liu2022
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from xrcam_jax.models.classifier import Classifier
    from xrcam_jax.models.convnext import ConvNext
    from xrcam_jax.models.create import create_model
    from xrcam_jax.models.densenet import DenseNet
    from xrcam_jax.models.efficientnet import EfficientNet
    from xrcam_jax.models.mobilenet import MobileNetV3
    from xrcam_jax.models.resnet import ResNet
    from xrcam_jax.models.specs import list_models
    from xrcam_jax.models.swin import SwinTransformer
    from xrcam_jax.models.vgg import Vgg
    from xrcam_jax.models.vision_transformer import VisionTransformer

__all__ = [
    "Classifier",
    "ConvNext",
    "DenseNet",
    "EfficientNet",
    "MobileNetV3",
    "ResNet",
    "SwinTransformer",
    "Vgg",
    "VisionTransformer",
    "create_model",
    "list_models",
]

# Modules of the public names, imported when a name is first asked for: the list of networks needs no JAX and no Flax.
_LATER = {
    "Classifier": "classifier",
    "ConvNext": "convnext",
    "DenseNet": "densenet",
    "EfficientNet": "efficientnet",
    "MobileNetV3": "mobilenet",
    "ResNet": "resnet",
    "SwinTransformer": "swin",
    "Vgg": "vgg",
    "VisionTransformer": "vision_transformer",
    "create_model": "create",
    "list_models": "specs",
}


def __getattr__(name: str) -> Any:
    if name not in _LATER:
        raise AttributeError(f"module 'xrcam_jax.models' has no attribute {name!r}")
    return globals().setdefault(name, getattr(import_module(f"xrcam_jax.models.{_LATER[name]}"), name))
