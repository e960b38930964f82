"""Checkpoints to models and back: timm's safetensors and .pth files, hub names, Orbax directories."""

# First, because the end of its __init__ imports load_model from here: whichever is asked for first works.
import xrcam_jax  # noqa: F401
