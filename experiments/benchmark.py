"""Runs ``xrcam benchmark`` with other libraries measured beside, where they are installed.

    python -m experiments.benchmark --models resnet50 --peers torch,relevance-cam

The suites and their options are those of ``xrcam benchmark``; ``peers.py`` has the same work by other libraries.
"""

import sys

from experiments import peers
from xrcam_jax.cli import exit_status
from xrcam_jax.commands import benchmark

if __name__ == "__main__":
    raise SystemExit(exit_status("benchmark", lambda: benchmark.main(sys.argv[1:], peers.SUITES)))
