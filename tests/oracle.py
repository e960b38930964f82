"""What PyTorch computes: reference outputs in ``tests/references``, and the weights and pictures they are for.

The scripts that make the references lie beside them, and ``tests/references/README.md`` says which makes what. The
weights are drawn, not stored. ``tests/references/manifests`` has, for each network, timm's keys and shapes, and
digests of what has to come out. Any change to the order of the draws below changes all of them.
"""

import json
import math
from functools import lru_cache
from pathlib import Path

import numpy as np

DATA = Path(__file__).parent / "references"
MANIFESTS = sorted(path.stem for path in (DATA / "manifests").glob("*_nc*.json"))
REFERENCES = [
    ("resnet50", 1000),
    ("resnext50_32x4d", 1000),
    ("skresnext50_32x4d", 1000),
    ("resnet50", 2),
    ("skresnext50_32x4d", 2),
]
#: Networks with the same tensors, whose manifest and drawn weights are those of the first.
MOBILE = ("efficientnet_lite0", "tf_efficientnet_lite0")
#: Token models and convolutional networks with references; DINOv2's have features in place of classes.
MODELS = [
    *((f"vit_{size}_patch16_224", 1000) for size in ("tiny", "small", "base")),
    ("deit_tiny_patch16_224", 1000),
    ("deit3_small_patch16_224", 1000),
    ("vit_small_patch14_dinov2", 0),
    ("vit_small_patch14_reg4_dinov2", 0),
    ("swin_tiny_patch4_window7_224", 1000),
    ("convnext_atto", 1000),
    ("convnext_tiny", 1000),
    ("efficientnet_b0", 1000),
    ("mobilenetv3_large_100", 1000),
    ("mobilenetv3_small_100", 1000),
    ("densenet121", 1000),
    ("vgg16", 1000),
    ("vgg16_bn", 1000),
]


def manifest(name: str, num_classes: int = 1000) -> dict[str, tuple[int, ...]]:
    """timm's key and shape of each tensor of a network, in timm's order."""
    path = DATA / "manifests" / f"{name}_nc{num_classes}.json"
    return {key: tuple(shape) for key, shape in json.loads(path.read_text()).items()}


def digests() -> dict[str, dict]:
    """Counts and SHA-256 digests of the drawn weights, by manifest."""
    return json.loads((DATA / "manifests" / "digests.json").read_text())


def reference(name: str, num_classes: int = 1000) -> dict[str, np.ndarray]:
    """What timm computes from :func:`seeded_state` with seed 0 and :func:`images`, on CPU."""
    with np.load(DATA / f"forward_{name}_nc{num_classes}.npz") as arrays:
        return dict(arrays)


def images() -> np.ndarray:
    """The pictures of all references: (2, 64, 64, 3) float32, as if preprocessed."""
    with np.load(DATA / "images.npz") as arrays:
        return arrays["images"].transpose(0, 2, 3, 1)


def model_images(name: str) -> np.ndarray:
    """The pictures of a network of ``MODELS``: of 224 pixels a side where timm fixes the size, else :func:`images`."""
    fixed = name.startswith(("vit", "deit", "swin", "vgg"))
    return seeded_images(3, 2, 224) if fixed else images()


def model_state(name: str, num_classes: int) -> dict[str, np.ndarray]:
    """The drawn weights of a network of ``MODELS``, DINOv2's for the pictures of :func:`model_images`."""
    shapes = manifest(name, num_classes)
    if "dinov2" in name:
        _, tokens, width = shapes["pos_embed"]
        # 37 x 37 patches of a picture of 518 pixels are 16 x 16 of one of 224.
        shapes["pos_embed"] = (1, tokens - 37**2 + 16**2, width)
    return drawn(shapes)


def photographs(side: int = 224) -> np.ndarray:
    """The middles of photographs that come with scikit-image: (4, side, side, 3) float32 in [-1, 1]."""
    from skimage import data

    pictures = [data.chelsea(), data.astronaut(), data.coffee(), data.rocket()]
    corners = [[(size - side) // 2 for size in picture.shape[:2]] for picture in pictures]
    squares = [p[top : top + side, left : left + side] for p, (top, left) in zip(pictures, corners, strict=True)]
    return np.stack(squares).astype(np.float32) / 127.5 - 1


def picture(height: int, width: int) -> np.ndarray:
    """A picture of coarse and fine structure in all colours: (height, width, 3) uint8."""
    rng = np.random.default_rng([height, width])
    coarse = rng.integers(0, 200, (-(-height // 8), -(-width // 8), 3)).repeat(8, axis=0).repeat(8, axis=1)
    return (coarse[:height, :width] + rng.integers(0, 56, (height, width, 3))).astype(np.uint8)


def seeded_images(seed: int, batch: int, size: int) -> np.ndarray:
    """Coarse 8x8 patches under fine noise: (batch, size, size, 3) float32; size is a multiple of 8."""
    rng = np.random.default_rng([seed, 1])
    patches = rng.standard_normal((batch, 3, size // 8, size // 8)).repeat(8, axis=2).repeat(8, axis=3)
    noise = rng.standard_normal((batch, 3, size, size))
    return (patches + 0.3 * noise).astype(np.float32).transpose(0, 2, 3, 1)


@lru_cache(maxsize=2)
def seeded_state(name: str, num_classes: int = 1000, seed: int = 0) -> dict[str, np.ndarray]:
    """Weights that keep activations and relevances sane, float32 under timm's keys. Do not write to them."""
    return drawn(manifest(name, num_classes), seed)


def drawn(shapes: dict[str, tuple[int, ...]], seed: int = 0) -> dict[str, np.ndarray]:
    """The same of any network, by the keys and shapes of its tensors."""
    rng = np.random.default_rng(seed)
    tensors = {key: _draw(rng, key, shapes) for key in sorted(shapes)}
    return {key: tensors[key] for key in shapes}


def _draw(rng: np.random.Generator, key: str, shapes: dict[str, tuple[int, ...]]) -> np.ndarray:
    shape, leaf = shapes[key], key.rpartition(".")[2]
    if leaf == "num_batches_tracked":
        return np.zeros(shape, np.int64)
    if leaf == "running_mean":
        values = 0.1 * rng.standard_normal(shape)
    elif leaf == "running_var":
        values = rng.uniform(0.5, 1.5, shape)
    elif leaf == "bias":
        values = (0.01 if key == "fc.bias" else 0.1) * rng.standard_normal(shape)
    elif len(shape) == 1:
        values = rng.uniform(*((0.1, 0.4) if _ends_branch(key, shapes) else (0.5, 1.5)), shape)
    elif len(shape) == 2:
        values = rng.standard_normal(shape) / math.sqrt(shape[1])
    else:
        values = rng.standard_normal(shape) * math.sqrt(2.0 / math.prod(shape[1:]))
    return values.astype(np.float32)


def _ends_branch(key: str, shapes: dict[str, tuple[int, ...]]) -> bool:
    """Whether a norm is the last before an addition: small weights there keep the sums from growing."""
    if "downsample" in key:
        return True
    stage, _, rest = key.partition(".")
    index, _, rest = rest.partition(".")
    last = 3 if {f"{stage}.{index}.bn3.weight", f"{stage}.{index}.conv3.bn.weight"} & shapes.keys() else 2
    return stage.startswith("layer") and rest in (f"bn{last}.weight", f"conv{last}.bn.weight")
