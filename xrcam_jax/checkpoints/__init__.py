"""Checkpoints to models and back: safetensors and .pth files of timm, hub names, Orbax directories.

A conversion is exact, or it fails with one error that lists every tensor that is missing, left over or misshapen.
"""
