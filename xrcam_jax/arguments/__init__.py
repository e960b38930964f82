"""Checks of what the command line, the studies and the benchmark are given, before anything is loaded or compiled.

:mod:`~xrcam_jax.arguments.parser` has the one argument parser, :mod:`~xrcam_jax.arguments.checks` refuses bad values in
one line, and :mod:`~xrcam_jax.arguments.processes` has the options of a command that is one process of several.
"""
