"""Networks from ONNX files, as functions in JAX with named layers.

:func:`xrcam_jax.onnx.load.from_onnx` is the door: it reads a file, checks it, and gives a model for the Explainer.
"""
