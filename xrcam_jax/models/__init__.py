"""Residual networks in Flax NNX, with timm's names and numbers.

References:
  he2015, he2016, xie2017, li2019
"""

from xrcam_jax.models.resnet import ResNet, create_model
from xrcam_jax.models.specs import list_models

__all__ = ["ResNet", "create_model", "list_models"]
