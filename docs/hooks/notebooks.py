"""Runs the tutorials, scripts in jupytext's percent format, and keeps what comes out in the notebooks beside them.

    python docs/hooks/notebooks.py                 # runs docs/notebooks/*.py anew, and writes their .ipynb
    python docs/hooks/notebooks.py first_map       # one of them

A cell begins with ``# %%``, and with ``# %% [markdown]`` if it is text. The site shows the notebooks as pages.
"""

import ast
import base64
import io
import json
import re
import sys
import tempfile
import time
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parents[1] / "notebooks"


def cells(script: str) -> list[tuple[str, str]]:
    """Splits a script into its cells.

    Args:
      script: in the percent format.

    Returns:
      Of each cell its kind, ``"markdown"`` or ``"code"``, and its text.

    Example:
      >>> cells("# %% [markdown]\\n# # One\\n#\\n# two\\n\\n# %%\\nx = 1\\n")
      [('markdown', '# One\\n\\ntwo'), ('code', 'x = 1')]
    """
    parts = re.split(r"^# %%(.*)\n", script, flags=re.MULTILINE)[1:]
    kinds = ["markdown" if "[markdown]" in head else "code" for head in parts[::2]]
    bodies = [body.strip("\n") for body in parts[1::2]]
    return [
        (kind, re.sub(r"^# ?", "", body, flags=re.MULTILINE) if kind == "markdown" else body)
        for kind, body in zip(kinds, bodies, strict=True)
    ]


def run(script: str, name: str) -> dict[str, Any]:
    """Runs a script cell by cell, as a notebook does.

    Args:
      script: in the percent format.
      name: of the script, for messages.

    Returns:
      The notebook: cells with what they printed, returned and drew.
    """
    names: dict[str, Any] = {"__name__": "__main__"}
    notebook = unrun(script)
    for cell in notebook["cells"]:
        if cell["cell_type"] == "code":
            cell["outputs"] = outputs("".join(cell["source"]), names, name)
    return notebook


def unrun(script: str) -> dict[str, Any]:
    """Returns a script as a notebook without outputs.

    Args:
      script: in the percent format.

    Example:
      >>> [cell["source"] for cell in unrun("# %% [markdown]\\n# One\\n\\n# %%\\nx = 1\\n")["cells"]]
      [['One'], ['x = 1']]
    """
    found = []
    for number, (kind, text) in enumerate(cells(script)):
        cell: dict[str, Any] = {"cell_type": kind, "id": f"cell-{number}", "metadata": {}, "source": lines(text)}
        found.append(cell | ({"execution_count": None, "outputs": []} if kind == "code" else {}))
    kernel = {"display_name": "Python 3", "language": "python", "name": "python3"}
    pair = {"formats": "ipynb,py:percent"}
    return {"cells": found, "metadata": {"jupytext": pair, "kernelspec": kernel}, "nbformat": 4, "nbformat_minor": 5}


def outputs(code: str, names: dict[str, Any], name: str) -> list[dict[str, Any]]:
    """Runs one cell; returns what it printed, the value of its last expression, and the figures that it drew."""
    import matplotlib.pyplot as plt
    from matplotlib.figure import Figure

    tree = ast.parse(code)
    last = tree.body.pop() if tree.body and isinstance(tree.body[-1], ast.Expr) else None
    said, value = io.StringIO(), None
    with redirect_stdout(said):
        exec(compile(tree, name, "exec"), names)
        if last is not None:
            value = eval(compile(ast.Expression(last.value), name, "eval"), names)
    figures = [plt.figure(number) for number in plt.get_fignums()]
    if isinstance(value, Figure) and value not in figures:
        figures.append(value)
    shown: list[dict[str, Any]] = []
    if said.getvalue():
        # Folders that go away at the end have another name each time.
        text = re.sub(re.escape(tempfile.gettempdir()) + r"/tmp\w+", "folder", said.getvalue())
        shown.append({"name": "stdout", "output_type": "stream", "text": lines(text)})
    if value is not None and not figures:
        result = {"text/plain": lines(repr(value))}
        shown.append({"data": result, "execution_count": None, "metadata": {}, "output_type": "execute_result"})
    for figure in figures:
        content = io.BytesIO()
        figure.savefig(content, format="jpeg", dpi=90, bbox_inches="tight", pil_kwargs={"quality": 85})
        drawn = {"image/jpeg": base64.b64encode(content.getvalue()).decode()}
        shown.append({"data": drawn, "metadata": {}, "output_type": "display_data"})
    plt.close("all")
    return shown


def lines(text: str) -> list[str]:
    """Returns a text as notebooks keep it, line by line."""
    return text.splitlines(keepends=True)


def page(notebook: dict[str, Any], name: str, *, kept: bool = True) -> str:
    """Returns a notebook as a page of the site.

    Args:
      notebook: with its outputs.
      name: of its files.
      kept: whether there is a notebook beside the script.

    Returns:
      Markdown, with the figures inside.

    Example:
      >>> print(page({"cells": [{"cell_type": "markdown", "source": ["# One"], "metadata": {}}]}, "one"))
      # One
      <BLANKLINE>
      As a [notebook](one.ipynb) and as a [script](one.py).
    """
    parts = []
    for cell in notebook["cells"]:
        source = "".join(cell["source"])
        parts.append(source if cell["cell_type"] == "markdown" else f"```python\n{source}\n```")
        for output in cell.get("outputs", ()):
            data = output.get("data", {})
            if "image/jpeg" in data:
                parts.append(f'<img alt="What the code above draws" src="data:image/jpeg;base64,{data["image/jpeg"]}">')
            else:
                text = "".join(output.get("text") or data["text/plain"]).rstrip()
                parts.append(f"```text\n{text}\n```")
    head = f"As a [notebook]({name}.ipynb) and as a [script]({name}.py)." if kept else f"As a [script]({name}.py)."
    title, _, rest = "\n\n".join(parts).partition("\n\n")
    return "\n\n".join(part for part in (title, head, rest) if part)


def main(chosen: list[str]) -> None:
    """Runs scripts and writes their notebooks."""
    import matplotlib

    matplotlib.use("agg")
    for path in sorted(FOLDER.glob("*.py")):
        if not chosen or path.stem in chosen:
            begin = time.monotonic()
            notebook = run(path.read_text(), path.name)
            content = json.dumps(notebook, indent=1, ensure_ascii=False) + "\n"
            path.with_suffix(".ipynb").write_text(content)
            print(f"{path.stem}: {time.monotonic() - begin:.0f} s, {len(content) // 1000} kB", flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
