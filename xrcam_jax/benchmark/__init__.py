"""The suites of ``xrcam benchmark``, one a file, and in ``runs.py`` what they have in common.

A suite is a module with ``DEFAULTS`` (of the options that suites share), ``add_arguments(parser)`` for options of its
own, and ``measure(options, peers)``, which yields rows: flat dictionaries whose keys are the table's headings.
"""
