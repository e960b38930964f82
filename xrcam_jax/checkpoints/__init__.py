"""Checkpoints of models: timm's safetensors and .pth files, hub names and Orbax directories, read and written.

A conversion is exact, or it fails with one error that lists every tensor that is missing, left over or misshapen.

A checkpoint here is the weights of a network, for anyone to use. The states from which an interrupted training goes on
are another thing, see :mod:`xrcam_jax.train.checkpoint`.
"""
