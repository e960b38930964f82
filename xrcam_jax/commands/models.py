"""``xrcam models``: lists the networks."""

from xrcam_jax.arguments.parser import Options

NAME = "models"
EXAMPLE = "Example:\n  xrcam models"


PARAMETERS = ()


def run(options: Options) -> int:
    """Prints the list; returns the exit status."""
    from xrcam_jax.arguments.screen import show_rows
    from xrcam_jax.models.parameter_counts import PARAMETERS
    from xrcam_jax.models.specs import SPECS

    rows = [[name, f"{PARAMETERS[name]:,}", SPECS[name].hub or "(in the package)"] for name in sorted(SPECS)]
    show_rows(["network", "parameters", "checkpoint"], rows, numbers=["parameters"])
    return 0
