"""Judges explanations by name: a table of metrics, and the function that measures them with as few passes as they need.

Each metric is a function of :mod:`xrcam_jax.metrics`; ``metric.py`` says of it what it needs and how to read it,
``metrics.py`` has the table, ``measure.py`` runs the model once for all metrics that need the same passes, and
``evaluate.py`` is ``xr.evaluate``.
"""
