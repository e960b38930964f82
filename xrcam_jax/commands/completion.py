"""``xrcam completion``: prints what a shell needs to complete the command line."""

import click

from xrcam_jax.arguments.completion import SHELLS, VARIABLE
from xrcam_jax.arguments.parser import Argument, Options

NAME = "completion"
EXAMPLE = """Example:
  xrcam completion bash >> ~/.bashrc
  xrcam completion zsh >> ~/.zshrc
  xrcam completion fish > ~/.config/fish/completions/xrcam.fish"""

PARAMETERS = (Argument("shell", type=click.Choice(SHELLS), help=f"one of {', '.join(SHELLS)}"),)


def run(options: Options) -> int:
    """Prints the lines; returns the exit status."""
    from click.shell_completion import get_completion_class

    shell = get_completion_class(options.shell)
    assert shell is not None
    print(shell(click.Command("xrcam"), {}, "xrcam", VARIABLE).source())
    return 0
