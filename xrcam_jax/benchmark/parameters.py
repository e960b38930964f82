"""What each suite can be told. It stands here and not with the suites, so that ``--help`` need not load JAX."""

from collections.abc import Mapping
from functools import partial
from typing import Any

import click

from xrcam_jax.arguments.checks import batch_size
from xrcam_jax.arguments.parser import NAMES, Text, numbers

#: What suites share, by option: each has those for which it has a value by default.
_SHARED: Mapping[str, dict[str, Any]] = {
    "models": {"type": NAMES, "metavar": "M[,M]", "help": "networks, see xrcam models"},
    "batch_size": {"type": Text(batch_size), "metavar": "N", "help": "pictures at a time"},
    "size": {"type": int, "metavar": "N", "help": "height and width of the pictures"},
    "dtype": {"type": click.Choice(["float32", "bfloat16"]), "help": "what networks compute in"},
    "repeats": {"type": int, "metavar": "N", "help": "of each run"},
}
_ALSO = {"models": "--model", "size": "--img-size"}
#: :data:`xrcam_jax.models.resnet.STAGES`.
STAGES = ("layer1", "layer2", "layer3", "layer4")


def _shared(**defaults: Any) -> tuple[click.Option, ...]:
    return tuple(
        click.Option(
            [f"--{name.replace('_', '-')}", *([_ALSO[name]] if name in _ALSO else []), name],
            default=default,
            **_SHARED[name],
        )
        for name, default in defaults.items()
    )


def _several(name: str, also: str | None, default: tuple[int, ...], help: str, least: int = 1) -> click.Option:
    names = [name, *([also] if also else []), name[2:].replace("-", "_")]
    return click.Option(names, type=Text(partial(numbers, least=least)), default=default, metavar="N[,N]", help=help)


#: Networks of each kind of layer that there is.
NETWORKS = ("resnet50", "skresnext50_32x4d", "efficientnet_lite0", "vit_base_patch16_224", "convnext_tiny")

PARAMETERS: Mapping[str, tuple[click.Option, ...]] = {
    "explain": _shared(models=NETWORKS, batch_size=8, size=224, dtype="float32", repeats=7),
    "train": _shared(models=("skresnext50_32x4d",), batch_size=8, size=224, repeats=7),
    "evaluate": _shared(models=("resnet50",), batch_size=8, size=224, repeats=5),
    "channels": (
        *_shared(models=("resnet50",), size=224, repeats=1),
        click.Option(["--layer", "--layers", "layer"], default="layer4", type=click.Choice(STAGES), help="which one"),
        click.Option(["--chunk-size"], type=int, metavar="N", help="as many as fit into 1 GiB by default"),
    ),
    "scaling": (
        *_shared(models=("resnet50",), batch_size=8, size=224, repeats=5),
        _several("--devices", None, (1, 2, 4, 8), "over which the batch is laid"),
    ),
    "latency": _shared(models=("resnet50", "skresnext50_32x4d"), size=224, repeats=7),
    "accelerator": (
        *_shared(models=NETWORKS, batch_size=8, size=224, repeats=7),
        _several("--batch-sizes", None, (1, 8, 32, 128, 512, 2048), "of the pace, up to what memory has room for"),
        click.Option(["--concepts"], type=int, default=256, metavar="N", help="channels of layer3"),
        click.Option(["--rate"], type=float, default=12.0, metavar="HZ", help="of live frames"),
        click.Option(["--seconds"], type=float, default=20.0, metavar="S", help="that live frames come for"),
    ),
    "start": _shared(models=("resnet50",), size=224, repeats=5),
    "memory": (
        *_shared(models=("resnet50", "skresnext50_32x4d"), dtype="float32"),
        _several("--batch-sizes", "--batch-size", (1, 8), "pictures at a time"),
        _several("--sizes", "--size", (224,), "height and width of the pictures", least=32),
    ),
    "precision": _shared(models=("skresnet18_narrow",), batch_size=8, size=224),
}
