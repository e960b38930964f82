"""Adds pages to the documentation site that lie elsewhere: notebooks, changelog, guide for contributors, references.

mkdocs.yml names this file as a hook. Links between those files and docs/ work in a clone, and are changed for the site.
"""

import json
import os
import re
import runpy
from pathlib import Path, PurePosixPath
from typing import Any

ROOT = Path(__file__).parents[2]
#: Files of the clone that are pages of the site, by the pages' names.
ELSEWHERE = {
    "changelog.md": "CHANGELOG.md",
    "contributing.md": "CONTRIBUTING.md",
    "model_card.md": "xrcam_jax/checkpoints/packaged/MODEL_CARD.md",
}


def on_files(files: Any, config: Any) -> Any:
    """Adds the pages that are made of other files."""
    from mkdocs.structure.files import File

    texts = {page: relinked((ROOT / path).read_text(), path, page) for page, path in ELSEWHERE.items()}
    texts["references.md"] = references((ROOT / "docs" / "references.bib").read_text())
    texts |= tutorials()
    for page, text in texts.items():
        files.append(File.generated(config, page, content=text))
    return files


def tutorials() -> dict[str, str]:
    """Returns the notebooks as pages, by their names; a script that has not been run yet without what comes out."""
    # Hooks are loaded by their paths, and cannot import one another later.
    tools = runpy.run_path(str(Path(__file__).with_name("notebooks.py")))
    pages = {}
    for script in sorted((ROOT / "docs" / "notebooks").glob("*.py")):
        path = script.with_suffix(".ipynb")
        notebook = json.loads(path.read_text()) if path.exists() else tools["unrun"](script.read_text())
        pages[f"notebooks/{script.stem}.md"] = tools["page"](notebook, script.stem, kept=path.exists())
    return pages


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Turns the links of a page into those of the site."""
    path = page.file.src_uri
    return markdown if path in ELSEWHERE else relinked(markdown, f"docs/{path}", path)


def relinked(text: str, path: str, page: str) -> str:
    """Changes links between files of the clone into links between pages of the site.

    Args:
      text: Markdown.
      path: of the file in the clone.
      page: of the page in the site.

    Returns:
      The text, in which links to what is no page have become plain text.

    Example:
      >>> relinked("[folds](docs/folds.md#a), [code](LICENSE), [us](https://a.b)", "CHANGELOG.md", "changelog.md")
      '[folds](folds.md#a), code, [us](https://a.b)'
      >>> relinked("[changes](../CHANGELOG.md)", "docs/index.md", "index.md")
      '[changes](changelog.md)'
    """
    pages = {file: name for name, file in ELSEWHERE.items()}

    def link(found: re.Match) -> str:
        words, target, anchor = found.groups("")
        aim = os.path.normpath(PurePosixPath(path).parent / target)
        place = pages.get(aim) or (aim.removeprefix("docs/") if aim.startswith("docs/") else None)
        return f"[{words}]({os.path.relpath(place, PurePosixPath(page).parent)}{anchor})" if place else words

    return re.sub(r"\[([^\]]*)\]\((?!https?:|#|mailto:)([^)#\s]+)(#[^)\s]*)?\)", link, text)


def references(bibliography: str) -> str:
    """Lists a bibliography as a page, each entry with its key as an anchor.

    Args:
      bibliography: BibTeX, a field a line, as in docs/references.bib.

    Returns:
      Markdown.

    Example:
      >>> entry = "@article{bach2015,\\n  author = {Bach, S. and Binder, A.},\\n  title = {On},\\n  year = {2015},\\n}"
      >>> references(entry).splitlines()[-1]
      '- <a id="bach2015"></a>`bach2015` Bach, S.; Binder, A.: On. 2015.'
    """
    lines = ["# References", "", "The keys are those of the docstrings and of `docs/references.bib`.", ""]
    for key, body in re.findall(r"^@\w+\{(\w+),\n(.*?)^\}", bibliography, flags=re.MULTILINE | re.DOTALL):
        fields = {
            name: " ".join(value.split())
            for name, value in re.findall(
                r"^  (\w+) += \{(.*?)\},?$(?=\n  \w+ +=|\n\Z)", body, re.MULTILINE | re.DOTALL
            )
        }
        where = next((fields[name] for name in ("journal", "booktitle", "howpublished", "note") if name in fields), "")
        parts = [fields["title"], where, fields["year"]]
        authors = re.sub(r" and ", "; ", fields["author"])
        text = f"{authors}: {'. '.join(part for part in parts if part)}.".translate(str.maketrans("", "", "{}\\"))
        lines.append(f'- <a id="{key}"></a>`{key}` {text}')
    return "\n".join(lines)
