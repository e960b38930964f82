"""``xrcam methods``: lists the explanation methods."""

import sys

from xrcam_jax.arguments.parser import Options, flag

NAME = "methods"
EXAMPLE = """Example:
  xrcam methods
  xrcam methods --options    # +samples=500 and others, for --method"""


PARAMETERS = (flag("--options", help="list the options of each method too, with their values"),)


def run(options: Options) -> int:
    """Prints the list; returns the exit status."""
    import xrcam_jax as xr
    from xrcam_jax.arguments.screen import show_rows
    from xrcam_jax.explain.variants import SIGN, described

    if sys.stdout.isatty() and not options.options:
        heads = ["family", "method", "title", "what it does", "source"]
        show_rows(heads, [[m.family, name, m.title, m.summary, m.source] for name, m in xr.METHODS.items()])
        return 0
    family = None
    for name, method in xr.METHODS.items():
        if method.family != family:
            family = method.family
            print(f"{family}-driven")
        print(f"  {name:22} {method.title}: {method.summary} [{method.source}]")
        if options.options:
            inside = [] if method.kind.inside is None else [f"{method.kind.inside}=METHOD"]
            for option in inside + described(method.kind.options_known()):
                print(f"  {'':22}   {SIGN}{option}")
    return 0
