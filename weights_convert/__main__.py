"""Converts one checkpoint into another, exactly or not at all: this is ``xrcam convert`` as a script.

    python -m weights_convert resnet50 resnet50.safetensors resnet50_orbax

``python -m weights_convert.verify`` compares a checkpoint with timm's own network.
"""

import sys

from xrcam_jax.cli import exit_status
from xrcam_jax.commands.convert import main

if __name__ == "__main__":
    raise SystemExit(exit_status("convert", lambda: main(sys.argv[1:])))
