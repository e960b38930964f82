"""The commands of ``xrcam``, each in a file that has its name, a summary, an example, its arguments and what it does.

What they use of JAX is imported when they run, so that ``--help`` and a mistyped argument answer at once.
"""
