"""The tutorials run, and the notebooks beside them are of these scripts."""

import json
import os
import runpy
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SCRIPTS = sorted((ROOT / "docs" / "notebooks").glob("*.py"))
TOOLS = runpy.run_path(str(ROOT / "docs" / "hooks" / "notebooks.py"))

TWO = "# %% [markdown]\n# # Title\n\n# %%\nx = 2\nprint('said')\nx + 1\n"


def test_a_cell_has_what_it_prints_and_its_last_value():
    text, code = TOOLS["run"](TWO, "two")["cells"]
    assert (text["source"], code["source"]) == (["# Title"], ["x = 2\n", "print('said')\n", "x + 1"])
    said, value = code["outputs"]
    assert (said["text"], value["data"]["text/plain"]) == (["said\n"], ["3"])


def test_a_figure_is_kept_as_a_picture():
    code = "# %%\nimport matplotlib.pyplot as plt\nplt.plot([1, 2])\n"
    ((drawn,),) = (cell["outputs"] for cell in TOOLS["run"](code, "drawn")["cells"])
    assert drawn["data"]["image/jpeg"].startswith("/9j/")


@pytest.mark.parametrize(
    "script", [path for path in SCRIPTS if path.with_suffix(".ipynb").exists()], ids=lambda path: path.stem
)
def test_the_notebook_is_that_of_the_script(script):
    notebook = json.loads(script.with_suffix(".ipynb").read_text())
    found = [(cell["cell_type"], "".join(cell["source"])) for cell in notebook["cells"]]
    assert found == TOOLS["cells"](script.read_text()), f"python docs/hooks/notebooks.py {script.stem} writes it anew"


@pytest.mark.long(but=["own_flax_model", "compare_and_judge", "lrp_by_hand"])
@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.stem)
def test_it_runs(script, tmp_path):
    """As a script of its own, that leaves nothing behind."""
    environment = os.environ | {"MPLBACKEND": "agg", "PYTHONPATH": str(ROOT)}
    command = [sys.executable, str(script)]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert not list(tmp_path.iterdir())
