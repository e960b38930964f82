"""Tables are drawn on a terminal and plain elsewhere; colours follow NO_COLOR."""

import os
import pty
import re
import subprocess
import sys

import pytest

PROGRAM = """
from xrcam_jax.arguments.screen import show_markdown, show_rows
show_markdown("| method | IoU |\\n|---|---:|\\n| **grad_cam** | 50 [40, 60] |")
show_rows(["network", "what"], [["resnet18", "[bold]" + "word " * 30]])
"""


def on_a_terminal(**variables):
    """What the program writes to a terminal of 60 columns."""
    reader, writer = pty.openpty()
    environment = {name: value for name, value in os.environ.items() if name not in ("NO_COLOR", "FORCE_COLOR")}
    environment |= {"COLUMNS": "60", "TERM": "xterm-256color", **variables}
    with subprocess.Popen([sys.executable, "-c", PROGRAM], stdout=writer, stdin=writer, env=environment) as process:
        os.close(writer)
        shown = b""
        try:
            while read := os.read(reader, 4096):
                shown += read
        except OSError:
            # Linux says so at the end of what is written.
            pass
    os.close(reader)
    assert process.returncode == 0
    return shown.decode()


def test_plain_where_there_is_no_terminal():
    shown = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True).stdout
    first, *_, last = shown.splitlines()
    assert first == "| method | IoU |"
    assert last == f"resnet18  [bold]{'word ' * 30}".rstrip()


@pytest.mark.parametrize("colours", [True, False])
def test_drawn_and_no_wider_than_the_terminal(colours):
    shown = on_a_terminal(**({} if colours else {"NO_COLOR": "1"}))
    assert "|" not in shown
    assert "grad_cam" in shown
    assert "50 [40, 60]" in shown
    assert "[bold]" in shown
    assert max(map(len, re.sub(r"\x1b\[[0-9;]*m", "", shown).splitlines())) <= 60
    if not colours:
        assert not re.search(r"\x1b\[[0-9;]*3[0-7]", shown)
