"""Config files: TOML with a table for a command, such as ``[explain]``, whose keys are the names of its options.

What a run was given, and what held by default, is written beside its results as such a file.
"""

import json
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from xrcam_jax.errors import CommandError, unknown
from xrcam_jax.runtime.files import write_whole
from xrcam_jax.runtime.names import file_stem
from xrcam_jax.runtime.texts import read_text

#: The file that is written beside results.
SETTINGS = "settings.toml"
#: Bytes of the name of a file of results that are left in front of that; names of files have 255 at most.
_LONGEST = 255 - len(f".{SETTINGS}")
#: Parameters that say where and beside which others a process runs, and nothing of what it does.
_OF_THE_RUN = frozenset({"distributed", "coordinator", "processes", "process"})


def option() -> click.Option:
    """Returns ``--config``, which every command with options has."""
    return click.Option(
        ["--config"],
        metavar="FILE",
        type=click.Path(path_type=Path, readable=False),
        is_eager=True,
        expose_value=False,
        callback=_read,
        help=f"TOML file with these options, such as a {SETTINGS} beside results; those that are given here win",
    )


def write_settings(place: Path, repeat: str) -> None:
    """Writes the file that repeats a run.

    Args:
      place: the folder of the results, or a file of results, beside which it then lies under the file's name.
      repeat: its text, as the command's options have it; nothing is written if there is none.

    Example:
      >>> from pathlib import Path
      >>> from tempfile import TemporaryDirectory
      >>> from xrcam_jax.arguments.config import write_settings
      >>> with TemporaryDirectory() as folder:
      ...     write_settings(Path(folder), "[synth]\\nseed = 1\\n")
      ...     print([path.name for path in Path(folder).iterdir()])
      ['settings.toml']
    """
    if repeat:
        path = place / SETTINGS
        if not place.is_dir():
            path = place.with_name(f"{file_stem(place.stem, _LONGEST)}.{SETTINGS}")
        # Names of files need not be text; they are left out of the values, and stand in comments as they can.
        write_whole(path, repeat.encode(errors="backslashreplace"))


def as_text(command: click.Command, values: Mapping[str, Any]) -> str:
    """Returns a config file that gives a command these values.

    Args:
      command: whose name is that of the table.
      values: by the names of its parameters.
    """
    lines = []
    for param in _recorded(command):
        value = values.get(str(param.name))
        if value is None or value == ():
            continue
        line = f"{_key(param)} = {_toml(value)}"
        # A name that is no Unicode text cannot stand in TOML.
        lines.append(line if _is_text(line) else f"# not text: {line}")
    table = ".".join((command.name or "").split())
    head = f"# Repeats this run: xrcam {command.name} --config {SETTINGS}\n"
    return f"{head}# Paths are relative to the folder in which the command is run.\n[{table}]\n" + "".join(
        f"{line}\n" for line in lines
    )


def place(context: click.Context | None, param: click.Parameter) -> str:
    """Returns the name of the config file that a value comes from, for messages; nothing if it was given otherwise."""
    source = context.get_parameter_source(str(param.name)) if context is not None else None
    if context is None or source is not click.core.ParameterSource.DEFAULT_MAP:
        return ""
    return f"--config: {context.meta['xrcam.config']}: "


def _read(context: click.Context, _: click.Parameter, path: Path | None) -> None:
    """Reads a config file; its values are then the defaults."""
    if path is None or context.resilient_parsing:
        return
    context.meta["xrcam.config"] = path
    table, command = _table(path, (context.command.name or "").split()), context.command
    known = {name: param for param in _recorded(command, of_the_run=True) for name in _names(param)}
    values: dict[str, Any] = {}
    for key, value in table.items():
        param = known.get(key.replace("-", "_"))
        if param is None:
            keys = [_key(each) for each in _recorded(command)]
            raise CommandError(f"--config: {path}: {unknown('key', key, keys)}")
        if param.name in values:
            raise CommandError(f"--config: {path}: {key} is another name of a key that is there too")
        values[str(param.name)] = _as_given(f"--config: {path}: {key}", param, value)
    context.default_map = values


def _table(path: Path, names: list[str]) -> Mapping[str, Any]:
    """Returns the table of a command."""
    try:
        table = tomllib.loads(read_text(path))
    except OSError as error:
        raise CommandError(f"--config: cannot read {path} ({error.strerror})") from error
    except (ValueError, RecursionError) as error:
        line = str(error).replace("\n", " ")
        raise CommandError(f"--config: {line if str(path) in line else f'{path}: {line}'}") from error
    for depth, name in enumerate(names, 1):
        found = table.get(name)
        if not isinstance(found, dict):
            tables = ", ".join(f"[{key}]" for key, value in table.items() if isinstance(value, dict)) or "none"
            raise CommandError(f"--config: {path}: expected a table [{'.'.join(names[:depth])}], found {tables}")
        table = found
    return table


def _as_given(where: str, param: click.Parameter, value: Any) -> Any:
    """Returns a value as the command line would have it: text, or several; true and false for switches."""
    switch = isinstance(param, click.Option) and param.is_flag
    elements = value if isinstance(value, list) else [value]
    scalar = all(isinstance(each, str | int | float) and (switch or not isinstance(each, bool)) for each in elements)
    if switch != isinstance(value, bool) or not scalar:
        expected = "true or false" if switch else "a text, a number or a list of them"
        raise CommandError(f"{where}: expected {expected}, found {value!r}")
    if switch:
        return value
    texts = [str(each) for each in elements]
    if any("\0" in text for text in texts):
        raise CommandError(f"{where}: a text cannot have zero bytes in it")
    return texts if param.multiple or param.nargs == -1 else ",".join(texts)


def _recorded(command: click.Command, *, of_the_run: bool = False) -> list[click.Parameter]:
    """Returns the parameters that a config file may have, or those that one has that is written beside results."""
    return [
        param
        for param in command.params
        if not str(param.name).endswith("_by_name")
        and param.name != "config"
        and (of_the_run or param.name not in _OF_THE_RUN)
    ]


def _names(param: click.Parameter) -> set[str]:
    """Returns all names of a parameter, with underscores."""
    return {str(param.name), *(name.lstrip("-").replace("-", "_") for name in param.opts)}


def _key(param: click.Parameter) -> str:
    """Returns the name of a parameter in a config file: that of its option."""
    return param.opts[0].lstrip("-")


def _is_text(line: str) -> bool:
    try:
        line.encode()
    except UnicodeEncodeError:
        return False
    return True


def _toml(value: Any) -> str:
    """Returns a value as TOML has it."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(_toml, value))}]"
    if isinstance(value, int | float):
        return repr(value)
    # JSON's texts are TOML's, but for one control character.
    return json.dumps(str(value), ensure_ascii=False).replace("\x7f", "\\u007f")
