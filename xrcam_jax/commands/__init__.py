"""The commands of ``xrcam``, one a file: a name, a line on it, an example, its arguments, and what it does.

What they use of JAX is imported when they run, so that ``--help`` and a mistyped argument answer at once.
"""
