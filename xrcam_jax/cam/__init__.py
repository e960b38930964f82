"""Class activation maps: weights of channels, weighted sums, and saliency maps in [0, 1].

:mod:`~xrcam_jax.cam.weights` has the methods that need one pass, a formula each. Those of
:mod:`~xrcam_jax.cam.path_cams` and :mod:`~xrcam_jax.cam.channel_cams` run the model again.
"""
