"""Measurements in processes of their own, which begin with nothing compiled and nothing allocated."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import xrcam_jax as xr
from xrcam_jax.errors import CommandError


def fresh_process(module: str, *arguments: object, **environment: str) -> Any:
    """Runs ``python -m module arguments`` and returns what it prints as JSON in its last line.

    Args:
      module: its full name.
      *arguments: of the module, passed as text.
      **environment: variables that the process has beside those of this one.

    Raises:
      CommandError: the process fails; the message ends with its last line.
    """
    return json.loads(run_module(module, *arguments, **environment).strip().splitlines()[-1])


def run_module(module: str, *arguments: object, **environment: str) -> str:
    """Runs ``python -m module arguments`` and returns what it prints.

    Args:
      module: its full name.
      *arguments: of the module, passed as text.
      **environment: variables that the process has beside those of this one.

    Raises:
      CommandError: the process fails; the message ends with its last line.
    """
    # The process is to import this very package, whichever one is installed.
    root = str(Path(xr.__file__).parents[1])
    path = os.pathsep.join(filter(None, (root, os.environ.get("PYTHONPATH"))))
    finished = subprocess.run(
        [sys.executable, "-m", module, *map(str, arguments)],
        env={**os.environ, **environment, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=False,
    )
    if finished.returncode:
        last = finished.stderr.strip().splitlines()[-1:] or ["no message"]
        raise CommandError(f"{module} {' '.join(map(str, arguments))}: {last[0]}")
    return finished.stdout


def leave_room_on_the_device() -> None:
    """Keeps this process from taking most of a GPU's memory, which its fresh processes need; before JAX starts."""
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
