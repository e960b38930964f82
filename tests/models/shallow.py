"""Shallow networks of the library's classes, as ``references/networks.py`` has them in PyTorch: cheap to compile."""

from contextlib import contextmanager
from dataclasses import replace
from unittest.mock import patch

import jax.numpy as jnp

from tests import oracle
from xrcam_jax.checkpoints.convert import from_timm
from xrcam_jax.models.specs import SPECS
from xrcam_jax.pictures.preprocessing import Preprocessing

CLASSES = 10
_SMALL = Preprocessing(input_size=(64, 64))

#: What differs from the network whose name it is.
CHANGES = {
    "vit_tiny_patch16_224": {"width": 24, "heads": 3, "depth": 3, "preprocessing": _SMALL},
    "swin_tiny_patch4_window7_224": {
        "width": 12,
        "heads": (1, 2, 3, 4),
        "depths": (2, 2, 2, 2),
        "window": 2,
        "preprocessing": _SMALL,
    },
    "convnext_atto": {"depths": (1, 1, 2, 1), "widths": (8, 16, 24, 32)},
    "vgg16": {"depths": (1, 1, 2, 2, 1), "planes": (8, 16, 24, 32, 32), "hidden": 48},
    "densenet121": {"layers": (2, 3, 2, 2), "growth": 8},
    "mobilenetv3_small_100": {
        "stages": ((1, 3, 2, 1, 16, True, "relu"), (1, 3, 2, 3, 16, False, "relu"), (2, 5, 2, 2, 24)),
        "head": 32,
        "pooled": 48,
    },
}


@contextmanager
def shallow(name, dtype=jnp.float64):
    """The shallow network of the class of ``name``, which is called so while this lasts."""
    spec, changes = SPECS[name], dict(CHANGES[name])
    if "stages" in changes:
        changes["stages"] = tuple(type(spec.stages[0])(*stage) for stage in changes["stages"])
    with patch.dict(SPECS, {name: replace(spec, **changes)}):
        yield from_timm(name, oracle.seeded_state(f"shallow_{name}", CLASSES), dtype=dtype)
