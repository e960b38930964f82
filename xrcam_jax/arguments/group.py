"""Groups of commands, each of which is loaded when it is asked for: the help of a group has to be quick."""

from collections.abc import Callable, Mapping
from typing import Any

import click

from xrcam_jax.arguments.help import Formatter
from xrcam_jax.errors import CommandError, unknown


class Group(click.Group):
    """Commands, of which only the one that is asked for is loaded.

    Args:
      name: of the group.
      summaries: what each command does, by its name.
      load: returns the command of a name.
      what: what a message calls an unknown name, such as "command".
      default: the command that is meant where none is named.
      **settings: of :class:`click.Group`.
    """

    def __init__(
        self,
        name: str,
        summaries: Mapping[str, str],
        load: Callable[[str], click.Command],
        *,
        what: str,
        default: str | None = None,
        **settings: Any,
    ):
        shown = {"help_option_names": ["-h", "--help"], "max_content_width": 120}
        metavar = f"{what.upper()} [ARGUMENTS] ..." if default is None else f"[{what.upper()}] [ARGUMENTS] ..."
        super().__init__(name, context_settings=shown, subcommand_metavar=metavar, **settings)
        self.summaries, self.load, self.what, self.default = summaries, load, what, default

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Returns the names of the commands, in the order of the help."""
        return [*self.summaries]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Returns a command; None if there is none of that name."""
        return self.load(cmd_name) if cmd_name in self.summaries else None

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Reads the options of the group itself."""
        own = {name for param in self.get_params(ctx) for name in param.opts}
        if self.default is not None and (not args or (args[0].startswith("-") and args[0] not in own)):
            args = [self.default, *args]
        if not args and not ctx.resilient_parsing:
            # Click would take its help, of many lines, for the message.
            known = ", ".join(self.summaries)
            raise CommandError(f"{self.what.upper()}: is missing; known: {known} (see {ctx.command_path} --help)")
        return super().parse_args(ctx, args)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Finds the command that is asked for."""
        if args[0] not in self.summaries and not ctx.resilient_parsing:
            raise CommandError(f"{unknown(self.what, args[0], self.summaries)} (see {ctx.command_path} --help)")
        return super().resolve_command(ctx, args)

    def get_help(self, ctx: click.Context) -> str:
        """Returns the help."""
        formatter = Formatter(width=ctx.terminal_width, max_width=ctx.max_content_width)
        self.format_help(ctx, formatter)
        return formatter.getvalue().rstrip("\n")

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Writes options and commands."""
        click.Command.format_options(self, ctx, formatter)
        with formatter.section(f"{self.what.capitalize()}s"):
            formatter.write_dl(list(self.summaries.items()))

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Writes the example."""
        if self.epilog:
            formatter.write(f"\n{self.epilog}\n")

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[Any]:
        """Completes names of commands without loading them."""
        from click.shell_completion import CompletionItem

        found = [(name, what) for name, what in self.summaries.items() if name.startswith(incomplete)]
        return [CompletionItem(name, help=what) for name, what in found] + click.Command.shell_complete(
            self, ctx, incomplete
        )
