"""The studies of ``xrcam evaluate``, each in a file of its own, and what they share.

A study reads its subject matter (``study.py``), computes figures for each batch (``batches.py``) and writes tables,
plots and pictures of them (``tables.py``, ``plots.py``).
"""
