"""Networks in Flax NNX, with timm's names and numbers: residual networks and EfficientNet-Lite.

References:
  he2015, he2016, xie2017, li2019, tan2019
"""

from xrcam_jax.models.classifier import Classifier
from xrcam_jax.models.create import create_model
from xrcam_jax.models.efficientnet import EfficientNet
from xrcam_jax.models.resnet import ResNet
from xrcam_jax.models.specs import list_models

__all__ = ["Classifier", "EfficientNet", "ResNet", "create_model", "list_models"]
