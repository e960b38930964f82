"""Residual networks in Flax NNX, with timm's names and numbers."""

from xrcam_jax.models.resnet import ResNet, create_model
from xrcam_jax.models.specs import list_models

__all__ = ["ResNet", "create_model", "list_models"]
