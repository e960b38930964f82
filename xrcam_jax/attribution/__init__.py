"""Explanations by propagation and by perturbation: pure functions of a :class:`xrcam_jax.attribution.case.Case`."""
