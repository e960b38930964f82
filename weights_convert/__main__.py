"""Converts one checkpoint into another, exactly or not at all: ``xrcam convert`` as a script.

python -m weights_convert resnet50 resnet50.safetensors resnet50_orbax
"""

import sys

from xrcam_jax.commands.convert import main

if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
