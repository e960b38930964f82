"""This program is one of two processes that share the work of commands: PORT PROCESS COMMANDS (as JSON)."""

import json
import sys

import jax

from tests.tiny_networks import PLAIN, PLAIN_SPEC
from xrcam_jax.cli import main
from xrcam_jax.models.specs import SPECS


def run(port, process, commands):
    """Runs the commands; the first one joins, and the others find that done."""
    jax.config.update("jax_num_cpu_devices", 1)
    SPECS[PLAIN] = PLAIN_SPEC
    first, *others = json.loads(commands)
    join = ["--coordinator", f"localhost:{port}", "--processes", "2", "--process", process]
    statuses = [main([*first, *join]), *map(main, others)]
    print(statuses)
    return max(statuses)


if __name__ == "__main__":
    sys.exit(run(*sys.argv[1:]))
