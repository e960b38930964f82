"""timm's key of a tensor of a ResNet and its path in our models, one from the other.

In our models every convolution sits with its norm in one unit (``conv1/conv``, ``conv1/bn``). timm does that in
Selective Kernel blocks only. Elsewhere it lists them side by side (``conv1``, ``bn1``) or numbers them
(``downsample.0``, ``downsample.1``). All else has the same name on both sides.
"""

import re

#: The path of a variable in an NNX state, e.g. ``("layer1", 0, "conv1", "bn", "scale")``.
NnxPath = tuple[str | int, ...]

#: timm's names of variables by ours.
TIMM_LEAF = {
    "kernel": "weight",
    "scale": "weight",
    "bias": "bias",
    "mean": "running_mean",
    "var": "running_var",
}
_NORM_LEAF = {"weight": "scale", "bias": "bias", "running_mean": "mean", "running_var": "var"}
_PLAIN_LEAF = {"weight": "kernel", "bias": "bias"}


def timm_key(path: NnxPath, *, selective: bool) -> str:
    """Returns timm's key of the tensor at a path.

    Args:
      path: path in the state of one of our models.
      selective: whether the model has Selective Kernels, whose blocks timm names in another way.

    Returns:
      The key.

    Example:
      >>> timm_key(("layer1", 0, "conv1", "bn", "scale"), selective=False)
      'layer1.0.bn1.weight'
      >>> timm_key(("layer1", 0, "conv1", "bn", "scale"), selective=True)
      'layer1.0.conv1.bn.weight'
    """
    *module, leaf = (str(part) for part in path)
    match module:
        case [*block, "downsample", "conv"]:
            module = [*block, "downsample", "0"]
        case [*block, "downsample", "bn"]:
            module = [*block, "downsample", "1"]
        case [*block, ("conv1" | "conv2" | "conv3") as unit, ("conv" | "bn") as kind]:
            if not (selective and block):
                module = [*block, unit.replace("conv", kind)]
    return ".".join([*module, TIMM_LEAF[leaf]])


def plain_key(path: NnxPath, *, classifier: str) -> str:
    """Returns timm's key of the tensor at a path, in a model whose modules have timm's names.

    Args:
      path: path in the state of one of our models.
      classifier: timm's name of the linear layer at the end, which is ``fc`` in all of our models.

    Returns:
      The key.

    Example:
      >>> plain_key(("blocks", 1, "norm1", "scale"), classifier="head")
      'blocks.1.norm1.weight'
      >>> plain_key(("fc", "kernel"), classifier="head"), plain_key(("cls_token",), classifier="head")
      ('head.weight', 'cls_token')
    """
    *module, leaf = (str(part) for part in path)
    module = [classifier] if module == ["fc"] else module
    return ".".join([*module, TIMM_LEAF.get(leaf, leaf)])


def nnx_path(key: str) -> NnxPath:
    """Returns the path of a tensor of timm: the inverse of :func:`timm_key`, for either kind of model.

    Args:
      key: timm's.

    Returns:
      The path in the state of our model.

    Raises:
      ValueError: no tensor of a model is called so.

    Example:
      >>> nnx_path("layer1.0.bn1.weight")
      ('layer1', 0, 'conv1', 'bn', 'scale')
    """
    *module, leaf = key.split(".")
    match module:
        case [*block, "downsample", ("0" | "1") as index]:
            module = [*block, "downsample", "conv" if index == "0" else "bn"]
        case [*block, last] if re.fullmatch("(conv|bn)[123]", last):
            module = [*block, f"conv{last[-1]}", last[:-1]]
    leaves = _NORM_LEAF if module and module[-1] == "bn" else _PLAIN_LEAF
    if not module or leaf not in leaves:
        raise ValueError(f"{key!r} is not the key of a tensor in a ResNet of timm")
    return (*(int(part) if part.isdigit() else part for part in module), leaves[leaf])
