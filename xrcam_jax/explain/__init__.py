"""All methods behind one call: the table of methods, the Explainer, and the explanation that it returns.

The gradient and its product with the input have no file of their own: they are rows of
:mod:`xrcam_jax.explain.methods`, and the pullback of the model gives them.

References:
  simonyan2014, shrikumar2016
"""
