"""Recordings to batches: frames, patients, annotations, and drawn recordings to stand in for real ones.

A prepared folder lies between the two halves: ``xrcam prepare`` writes it, and training and the studies read it.
:mod:`xrcam_jax.data.manifest` says what is in it.
"""
