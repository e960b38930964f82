"""Writes manifests of token models and convolutional networks: timm's keys and shapes, and digests of drawn weights.

    PYTHONPATH=. python tests/references/make_manifests.py [--out FOLDER]

timm 1.0.31. Takes two minutes of one core, for the digests. DINOv2 has pictures of 518 pixels and no classifier.
"""

import argparse
import hashlib
import json
from pathlib import Path

import timm
import torch

from tests import oracle

NETWORKS = (
    *(f"vit_{size}_patch16_224" for size in ("tiny", "small", "base")),
    *(f"deit_{size}_patch16_224" for size in ("tiny", "small", "base")),
    "deit3_small_patch16_224",
    *(f"vit_{size}_patch14_{kind}" for size in ("small", "base") for kind in ("dinov2", "reg4_dinov2")),
    "swin_tiny_patch4_window7_224",
    *(f"convnext_{size}" for size in ("atto", "femto", "pico", "nano", "tiny", "small", "base")),
    "efficientnet_b0",
    "mobilenetv3_large_100",
    "mobilenetv3_small_100",
    "densenet121",
    "vgg16",
    "vgg16_bn",
)


def digest(shapes: dict[str, tuple[int, ...]], seed: int) -> str:
    """SHA-256 of the state that is drawn with ``seed``."""
    state, found = oracle.drawn(shapes, seed), hashlib.sha256()
    for key in sorted(state):
        found.update(key.encode())
        found.update(state[key].astype(state[key].dtype.newbyteorder("<")).tobytes())
    return found.hexdigest()


def written(name: str, folder: Path) -> tuple[str, dict]:
    """Writes a network's manifest; returns its file's name and its entry in ``digests.json``."""
    with torch.device("meta"):
        model = timm.create_model(name)
    shapes = {key: tuple(value.shape) for key, value in model.state_dict().items()}
    file = f"{name}_nc{model.num_classes}.json"
    lines = (f' "{key}": {json.dumps(shape)}' for key, shape in shapes.items())
    (folder / file).write_text("{\n" + ",\n".join(lines) + "\n}\n")
    entry = {"n_tensors": len(shapes), "n_params": sum(value.numel() for value in model.parameters())}
    return file, entry | {f"sha256_seed{seed}": digest(shapes, seed) for seed in (0, 1)}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=oracle.DATA / "manifests", metavar="FOLDER")
    folder = parser.parse_args().out
    digests = oracle.digests() | dict(written(name, folder) for name in NETWORKS)
    (folder / "digests.json").write_text(json.dumps(digests, indent=1) + "\n")
