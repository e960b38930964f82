"""Operations in formulations that XLA compiles well on CPU; elsewhere they are XLA's own.

The models call them, and nothing needs them but for speed. Those that other parts of the package look for in a program
(see :mod:`xrcam_jax.ops.operation`) are known there by name alone.
"""
