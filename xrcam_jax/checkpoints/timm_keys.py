"""timm's name of a tensor and its place in our models: text to text, both ways.

Here, every convolution sits with its norm in one unit (``conv1/conv``, ``conv1/bn``); timm does that in
Selective Kernel blocks only, and elsewhere lists them side by side (``conv1``, ``bn1``) or numbers them
(``downsample.0``, ``downsample.1``). The rest has the same name on both sides.
"""

import re

#: A place in an NNX state, e.g. ``("layer1", 0, "conv1", "bn", "scale")``.
Path = tuple[str | int, ...]

_TIMM_LEAF = {
    "kernel": "weight",
    "scale": "weight",
    "bias": "bias",
    "mean": "running_mean",
    "var": "running_var",
}
_NORM_LEAF = {"weight": "scale", "bias": "bias", "running_mean": "mean", "running_var": "var"}
_PLAIN_LEAF = {"weight": "kernel", "bias": "bias"}


def timm_key(path: Path, *, selective: bool) -> str:
    """timm's key of the tensor at ``path``.

    Args:
      path: in the state of one of our models.
      selective: whether the model has Selective Kernels, whose blocks timm names in another way.
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
    return ".".join([*module, _TIMM_LEAF[leaf]])


def nnx_path(key: str) -> Path:
    """The place of timm's tensor ``key``, the inverse of :func:`timm_key` for either kind of model.

    Raises:
      ValueError: no tensor of a model is called so.
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
