"""A viewer of maps that are computed while somebody looks at them: a page, and the server on this machine behind it.

:mod:`~xrcam_jax.view.session` computes what the page asks for and :mod:`~xrcam_jax.view.regions` says what speaks for a
region that is drawn in it; :mod:`~xrcam_jax.view.server` gives both to the page, and :mod:`~xrcam_jax.view.guard` to
nobody else.
"""
