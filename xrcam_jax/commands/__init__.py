"""The commands of ``xrcam``, a file each: its name, one line on it, an example, its arguments, what it does.

What they use of JAX is imported when they run, so that ``--help`` and a mistyped argument answer at once.
"""
