"""Explanations by propagation and by perturbation, as pure functions of a case.

A :class:`xrcam_jax.attribution.case.Case` is a model, a batch and the classes to explain. Each function returns
attributions or maps; which name a user calls it by is said in :mod:`xrcam_jax.explain.methods`.
"""
