"""Filling in the pages: every text of others is escaped and printable, and only what is of the page itself may run."""

import base64
import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from importlib.resources import files
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from xrcam_jax.runtime.names import printable

Filter = Callable[..., Any]


def filled_in(
    name: str,
    *,
    styles: Sequence[str],
    scripts: Sequence[str],
    filters: Mapping[str, Callable[..., Any]],
    **values: Any,
) -> bytes:
    """Fills in a page, which has its styles and scripts in it.

    Args:
      name: of the template, a file beside this one.
      styles: files of CSS, one after the other.
      scripts: files of JavaScript, likewise.
      filters: functions that the template calls, by the names that it has for them.
      **values: what it shows.

    Returns:
      The page in HTML, in UTF-8.

    Example:
      >>> from xrcam_jax.report.templates import filled_in
      >>> html = filled_in("reader.html", styles=[], scripts=[], filters={}, question="How well?", data="{}").decode()
      >>> html.splitlines()[0]
      '<!doctype html>'
    """
    style, script = _parts(styles), _parts(scripts)
    # The browser itself then refuses all that is not of this page, whatever its texts may say.
    policy = f"default-src 'none'; img-src data:; style-src {_hash(style)}; script-src {_hash(script)}"
    content = (
        _environment(filters)
        .get_template(name)
        .render(policy=policy, style=Markup(style), script=Markup(script), **values)
    )
    # A lone half of a surrogate pair, which JSON allows, has no bytes of its own.
    return content.encode("utf-8", "replace")


def json_text(content: Any) -> Markup:
    """Returns JSON that can stand in an element of a page.

    Args:
      content: of which JSON can be made.

    Returns:
      The text: without "<" it can neither end the element nor begin a comment in it.

    Example:
      >>> from xrcam_jax.report.templates import json_text
      >>> print(json_text(["</script>"]))
      ["\\u003c/script>"]
    """
    return Markup(json.dumps(content, separators=(",", ":"), allow_nan=False).replace("<", "\\u003c"))


def _environment(filters: Mapping[str, Filter]) -> Environment:
    environment = Environment(
        loader=PackageLoader("xrcam_jax.report", ""),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_printable,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters |= filters
    return environment


def _printable(value: Any) -> Any:
    """Returns a text without controls that would turn its direction around; what is markup already stays."""
    return printable(value, lines=True) if isinstance(value, str) and not isinstance(value, Markup) else value


def _parts(names: Sequence[str]) -> str:
    return "\n".join(files("xrcam_jax.report").joinpath(name).read_text(encoding="utf-8") for name in names)


def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
