"""Scripts over the library: one file per experiment, whose docstring is the command and the time it takes."""
