"""Scripts over the library, run from a clone: they reproduce the thesis and compare with other libraries.

``reproduce`` runs the experiments of the thesis on drawn data and sets its figures (``thesis``) beside ours
(``results``, ``comparison``, ``claims``). ``benchmark`` measures other libraries (``peers``, ``torch_relevance``)
beside ours. ``demo_checkpoint`` makes the network that comes with the package.
"""
