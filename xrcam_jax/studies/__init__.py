"""The experiments of ``xrcam evaluate``, one a file, and what they share: settings, batches, tables, plots.

Each writes a folder of results that :mod:`xrcam_jax.report` can show.
"""
