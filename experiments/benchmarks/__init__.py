"""The suites of ``xrcam benchmark``, one a file, and in ``shared.py`` what they have in common.

A suite is a module with ``DEFAULTS`` (of the options that suites share), ``PEERS`` (names of other libraries that can
do the same), ``add_arguments(parser)`` for options of its own, and ``measure(options)``, which yields rows: flat
dictionaries whose keys are the table's headings.
"""
