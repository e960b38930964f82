"""The documentation site is built without a warning, and what it shows is loaded from nowhere else."""

import os
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
#: Attributes whose address a browser loads by itself; of a link element only some kinds are.
LOADED = {"src", "srcset", "poster", "data"}
KINDS = {"stylesheet", "icon", "preload", "modulepreload", "preconnect", "prefetch", "dns-prefetch", "manifest"}


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The site, built as for publication; warnings are errors."""
    out = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(out)]
    environment = os.environ | {"NO_MKDOCS_2_WARNING": "1", "PYTHONWARNINGS": "default"}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return out


class Loads(HTMLParser):
    """Collects the addresses that a page loads."""

    def __init__(self):
        super().__init__()
        self.addresses = []

    def handle_starttag(self, tag, attributes):
        given = {name: value or "" for name, value in attributes}
        self.addresses += [given[name] for name in LOADED & given.keys()]
        if tag == "link" and KINDS & set(given.get("rel", "").split()):
            self.addresses.append(given.get("href", ""))


def loads(html):
    parser = Loads()
    parser.feed(html)
    return parser.addresses


def test_a_page_that_loads_from_elsewhere_would_be_found():
    html = '<img src="https://a.b/c.png"><link rel="stylesheet" href="//d.e/f.css"><a href="https://g.h">i</a>'
    assert [address for address in loads(html) if re.match(r"(https?:)?//", address)] == [
        "https://a.b/c.png",
        "//d.e/f.css",
    ]


def test_nothing_is_loaded_from_elsewhere(site):
    pages = sorted(site.rglob("*.html"))
    assert len(pages) > 40
    elsewhere = {
        (page.name, address)
        for page in pages
        for address in loads(page.read_text())
        if re.match(r"(https?:)?//", address)
    }
    assert not elsewhere
    for sheet in site.rglob("*.css"):
        assert not re.search(r"(url\(|@import\s*)['\"]?(https?:)?//", sheet.read_text())


def test_every_page_of_the_docs_is_in_the_site(site):
    for page in (ROOT / "docs").rglob("*.md"):
        path = page.relative_to(ROOT / "docs").with_suffix("")
        found = site / (path.parent if path.name == "index" else path) / "index.html"
        assert found.is_file(), path


def test_the_reference_has_examples_and_no_roles(site):
    html = (site / "api" / "relevance" / "index.html").read_text()
    assert "&gt;&gt;&gt; " in html
    assert ":func:" not in html
    assert ":class:" not in html
