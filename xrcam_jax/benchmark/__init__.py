"""The suites of ``xrcam benchmark``, one a file; :mod:`xrcam_jax.benchmark.runs` has what they share.

A suite is a module with ``DEFAULTS`` (of the options that suites share), ``add_arguments(parser)`` for options of its
own, and ``measure(options, peers)``, which yields rows: flat dictionaries whose keys are the table's headings.
"""
