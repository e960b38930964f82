"""Layer-wise relevance propagation as a transformation of functions.

:func:`xrcam_jax.lrp.transform.lrp` traces a function and gives each operation a backward pass that is a rule
(:mod:`~xrcam_jax.lrp.rules`); a composite (:mod:`~xrcam_jax.lrp.composites`) says which operation gets which.

References:
  bach2015, montavon2019
"""
