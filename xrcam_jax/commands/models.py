"""``xrcam models``: lists the networks."""

from xrcam_jax.arguments.parser import Options

NAME = "models"
EXAMPLE = "Example:\n  xrcam models"


PARAMETERS = ()


def run(options: Options) -> int:
    """Prints the list; returns the exit status."""
    from xrcam_jax.models.parameter_counts import PARAMETERS
    from xrcam_jax.models.specs import SPECS

    for name in sorted(SPECS):
        print(f"{name:29} {PARAMETERS[name]:>12,}   {SPECS[name].hub or '(in the package)'}")
    return 0
