"""Checkpoints to models and back: the safetensors and .pth files of timm, hub names, Orbax directories."""
