"""``xrcam concepts``: finds what the channels of a layer look like, over a prepared data set."""

from xrcam_jax.arguments.parser import Options
from xrcam_jax.errors import CommandError
from xrcam_jax.studies.parameters import CONCEPTS as PARAMETERS

__all__ = ["EXAMPLE", "NAME", "PARAMETERS", "run"]

NAME = "concepts"
EXAMPLE = """Example:
  xrcam concepts prepared --weights run/ --layer layer3 --part all
  xrcam concepts prepared --weights run/ --layer layer2 --method lrp+composite=epsilon_plus --target GBM --out results
  xrcam report results
Results are in OUT/concepts; docs/concepts.md says how to read them. Interrupted, it goes on after the last batch."""


def run(options: Options) -> int:
    """Runs the scan; returns the exit status."""
    from xrcam_jax.runtime.compiling import keep_compiled
    from xrcam_jax.studies import concepts

    keep_compiled()
    try:
        return concepts.run(options)
    except (ImportError, ValueError) as error:
        # The library's errors about bad input name it: they need no traceback.
        raise CommandError(str(error)) from error
