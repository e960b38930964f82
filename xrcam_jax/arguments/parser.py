"""All commands are read by click, with the parameters and in the manner that are defined here."""

from collections.abc import Callable, Sequence
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import click

from xrcam_jax.arguments import config
from xrcam_jax.arguments.help import Formatter
from xrcam_jax.errors import CommandError

PATH = click.Path(path_type=Path, readable=False)
"""A file or folder; shells complete its name."""


class Options(SimpleNamespace):
    """Holds the values of a command's parameters by their names, and ``repeat``, a config file that repeats the run."""

    repeat: str = ""


class Text(click.ParamType):
    """A value that a function makes of text.

    Args:
      read: takes the text and returns the value; a ValueError says what is wrong with it.
    """

    name = "text"

    def __init__(self, read: Callable[[str], Any]):
        self.read = read

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Returns the value of a text; default values that are lists count as their elements with commas between."""
        try:
            return self.read(",".join(map(str, value)) if isinstance(value, list | tuple) else str(value))
        except ValueError as error:
            self.fail(str(error), param, ctx)


class Argument(click.Argument):
    """An argument without a name, which may also be given by one.

    Args:
      name: of the value among the command's options.
      help: what the help says of it.
      option: the name by which it can also be given, such as ``--out``.
      required: whether it has to be given.
      **settings: of :class:`click.Argument`.
    """

    def __init__(self, name: str, *, help: str, option: str | None = None, required: bool = True, **settings: Any):
        super().__init__([name], required=False, **{"type": PATH, "metavar": name.upper(), **settings})
        self.help, self.option, self.needed = help, option, required

    def make_metavar(self, ctx: click.Context) -> str:
        """Returns what the usage calls it; dots say that there may be several."""
        return f"{self.metavar}{'...' if self.nargs < 0 else ''}"

    def by_name(self) -> list[click.Parameter]:
        """Returns the option by which it can also be given, which the help shows in the argument's line."""
        return [click.Option([self.option, f"{self.name}_by_name"], type=self.type, hidden=True)] if self.option else []

    def settle(self, context: click.Context) -> None:
        """Puts what was given by name in the argument's place, and refuses it if it is missing."""
        assert self.name is not None
        named = context.params.pop(f"{self.name}_by_name", None)
        if named is not None:
            if context.get_parameter_source(self.name) is click.core.ParameterSource.COMMANDLINE:
                raise click.UsageError(f"{self.metavar} is given, and {self.option} too", context)
            context.params[self.name] = named
        if self.needed and context.params[self.name] in (None, ()):
            raise click.MissingParameter(ctx=context, param=self)


def flag(name: str, *, help: str, default: bool = False, hidden: bool = False) -> click.Option:
    """Returns a switch; its opposite, with ``--no-`` before it, is for what a config file has switched on.

    Args:
      name: such as ``--folds``.
      help: what the help says of it.
      default: whether it is on if it is not given.
      hidden: whether the help leaves it out.
    """
    names = [f"{name}/--no-{name[2:]}"]
    return click.Option(names, default=default, help=help, show_default=default, hidden=hidden)


class Many(click.Option):
    """An option of several values, which may follow each other: ``--weights a b``, as globs of a shell put them."""

    def __init__(self, names: Sequence[str], **settings: Any):
        super().__init__(names, multiple=True, **settings)


class Command(click.Command):
    """A command, whose help is shown as it is written, and which can be repeated from a config file.

    Args:
      name: of the command, with that of its group before it.
      params: of the command.
      run: is given the options and returns the exit status.
      **settings: of :class:`click.Command`.
    """

    def __init__(
        self, name: str, params: Sequence[click.Parameter], run: Callable[[Options], int], **settings: Any
    ) -> None:
        arguments = [param for param in params if isinstance(param, Argument)]
        named = [param for argument in arguments for param in argument.by_name()]
        also = [config.option()] if any(isinstance(param, click.Option) for param in params) else []
        shown = {"help_option_names": ["-h", "--help"], "max_content_width": 120, "show_default": True}
        super().__init__(name, context_settings=shown, params=[*params, *named, *also], **settings)
        self.run, self.arguments = run, arguments

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Reads the words of a command line."""
        for word in args:
            if "\0" in word:
                raise click.UsageError(f"{word!r}: an argument cannot have zero bytes in it", ctx)
        rest = super().parse_args(ctx, self._repeated(args))
        for argument in self.arguments if not ctx.resilient_parsing else ():
            argument.settle(ctx)
        return rest

    def invoke(self, ctx: click.Context) -> int:
        """Runs the command; returns the exit status."""
        return self.run(self.options(ctx))

    def options(self, ctx: click.Context) -> Options:
        """Returns what was given and what holds by default."""
        return Options(**ctx.params, repeat=config.as_text(self, ctx.params))

    def _repeated(self, words: list[str]) -> list[str]:
        """Puts the name of an option of several values before each of them: ``--weights a b``."""
        many = {name for param in self.params if isinstance(param, Many) for name in param.opts}
        result: list[str] = []
        name, since = "", 0
        for word in words:
            if word.startswith("-"):
                name, since = word if word in many else "", 0
            elif name:
                since += 1
                result += [name] if since > 1 else []
            result.append(word)
        return result

    def get_help(self, ctx: click.Context) -> str:
        """Returns the help."""
        formatter = Formatter(width=ctx.terminal_width, max_width=ctx.max_content_width)
        self.format_help(ctx, formatter)
        return formatter.getvalue().rstrip("\n")

    def format_help_text(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Writes what the command does."""
        formatter.write(f"\n{self.help}\n")

    def format_arguments(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Writes what is given without a name."""
        if self.arguments:
            with formatter.section("Arguments"):
                formatter.write_dl([(_both(argument), str(argument.help)) for argument in self.arguments])

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Writes what is given by name."""
        rows = [param.get_help_record(ctx) for param in self.get_params(ctx) if isinstance(param, click.Option)]
        with formatter.section("Options"):
            formatter.write_dl([row for row in rows if row is not None])

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Writes the example."""
        if self.epilog:
            formatter.write(f"\n{self.epilog}\n")


def _both(argument: Argument) -> str:
    return f"{argument.metavar} or {argument.option} {argument.metavar}" if argument.option else str(argument.metavar)


def command_of(module: ModuleType | Any, name: str, summary: str = "") -> Command:
    """Returns the command of a module.

    Args:
      module: has ``PARAMETERS``, ``EXAMPLE`` and ``run``, as those of :mod:`xrcam_jax.commands` do.
      name: of the command.
      summary: what it does, in a line without a full stop.
    """
    # What runs is looked up when it is run.
    return Command(
        name,
        module.PARAMETERS,
        lambda options: module.run(options),
        help=f"{summary}.",
        epilog=getattr(module, "EXAMPLE", None),
    )


def run_words(command: click.Command, program: str, words: Sequence[str]) -> int:
    """Runs a command with the words of a command line; returns the exit status.

    Args:
      command: or a group of commands.
      program: what the usage calls the program.
      words: what follows the program's name.

    Raises:
      CommandError: a word is wrong.
    """
    try:
        with command.make_context(program, list(words)) as context:
            return command.invoke(context) or 0
    except click.exceptions.Exit as end:
        return end.exit_code
    except click.UsageError as error:
        path = error.ctx.command_path if error.ctx is not None else program
        raise CommandError(f"{_line(error)} (see {path} --help)") from error


def run_inside(module: ModuleType | Any, words: Sequence[str]) -> int:
    """Runs a command as a part of another one.

    Args:
      module: one of :mod:`xrcam_jax.commands`.
      words: its arguments.

    Returns:
      Its exit status.

    Raises:
      CommandError: an argument is wrong.

    Example:
      >>> from types import SimpleNamespace
      >>> from xrcam_jax.arguments.parser import Argument, run_inside
      >>> parameters = [Argument("word", type=str, help="to count")]
      >>> count = SimpleNamespace(NAME="count", PARAMETERS=parameters, run=lambda options: len(options.word))
      >>> run_inside(count, ["hello"])
      5
    """
    return run_words(command_of(module, module.NAME), f"xrcam {module.NAME}", words)


def _line(error: click.UsageError) -> str:
    """Returns what was wrong, in one line that begins with the name of the argument."""
    if isinstance(error, click.NoSuchOption):
        near = f"; did you mean {error.possibilities[0]!r}?" if error.possibilities else ""
        return f"unknown option {error.option_name!r}{near}"
    if isinstance(error, click.BadParameter) and error.param is not None:
        name = error.param.metavar if isinstance(error.param, click.Argument) else error.param.opts[0]
        where = config.place(error.ctx, error.param)
        missing = isinstance(error, click.MissingParameter)
        return f"{where}{name}: {'is missing' if missing else error.message.rstrip('.')}"
    return error.format_message().rstrip(".")


def names(text: str) -> list[str]:
    """Returns the names in ``text``, which has commas between them.

    Args:
      text: what was given; blanks around names do not count.

    Example:
      >>> from xrcam_jax.arguments.parser import names
      >>> names("grad_cam, layer_cam")
      ['grad_cam', 'layer_cam']
    """
    return [name.strip() for name in text.split(",") if name.strip()]


def numbers(text: str, least: int = 1) -> list[int]:
    """Returns the whole numbers in ``text``, which has commas between them.

    Args:
      text: what was given.
      least: the smallest number that may be given.

    Raises:
      ValueError: a number is less than that, or the text has something else than numbers.

    Example:
      >>> from xrcam_jax.arguments.parser import numbers
      >>> numbers("1,8,32")
      [1, 8, 32]
    """
    try:
        found = [int(part) for part in text.split(",")]
    except ValueError:
        raise ValueError(f"expected whole numbers with commas between, found {text!r}") from None
    if min(found) < least:
        raise ValueError(f"{min(found)} is less than {least}")
    return found


NAMES = Text(names)
