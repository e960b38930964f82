"""Finding the network's tensors among all that a training script has saved.

Scripts put them into dictionaries (``state_dict``, ``model_ema``), and compilers, parallel trainers and frameworks put
prefixes before their names (``_orig_mod.``, ``module.``, ``model.``). Both are parts of a path here, and the network is
where its first convolution is, with its other layers beside it.
"""

import re
from collections.abc import Mapping
from typing import Any, TypeVar

#: Leaves of nested dictionaries.
Leaf = TypeVar("Leaf")

#: A network's first tensor, and how names of others beside it begin: ResNets, EfficientNets and MobileNets, those from
#: PyPI, DenseNets, VGG.
ANCHORS = (
    ("conv1.weight", "layer1."),
    ("conv_stem.weight", "blocks."),
    ("_conv_stem.weight", "_blocks."),
    # Vision transformers, Swin transformers and ConvNeXt.
    ("patch_embed.proj.weight", "blocks."),
    ("patch_embed.proj.weight", "layers."),
    ("stem.0.weight", "stages."),
    ("features.conv0.weight", "features.denseblock1."),
    ("features.0.weight", "pre_logits."),
)
#: What compilers and wrappers put into names, wherever they wrap a part of the network.
INSERTED = ("_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module")
#: How deep dictionaries may lie in one another; a dictionary may even hold itself.
DEEPEST = 12
#: How many entries all of them may have together; a few dictionaries that hold each other many times have billions.
LARGEST = 200_000

_AVERAGED = re.compile(r"(?:^|[._])(?:ema|swa|avg|averaged?)(?=[._\d]|$)", re.IGNORECASE)
_MANY = 4


def flattened(content: Mapping[Any, Any], kind: type[Leaf]) -> dict[str, Leaf]:
    """Collects the leaves of one kind from dictionaries inside of one another.

    Args:
      content: the outermost dictionary.
      kind: the type of the leaves; all others are passed over.

    Returns:
      The leaves by name, with dots between the keys on the way.

    Raises:
      ValueError: two leaves get the same name, or dictionaries that hold one another unfold without end.

    Example:
      >>> flattened({"state_dict": {"fc.bias": 1.5}, "epoch": 3}, float)
      {'state_dict.fc.bias': 1.5}
    """
    found: dict[str, Leaf] = {}
    left = [LARGEST]

    def collect(content: Mapping[Any, Any], prefix: str, depth: int) -> None:
        left[0] -= len(content)
        if left[0] < 0:
            raise ValueError(f"dictionaries in it hold one another, and unfold to more than {LARGEST} entries")
        for key, value in content.items():
            name = f"{prefix}{key}"
            if isinstance(value, kind):
                if name in found:
                    raise ValueError(f"two tensors are called {name}")
                found[name] = value
            elif isinstance(value, Mapping) and depth < DEEPEST:
                collect(value, f"{name}.", depth + 1)

    collect(content, "", 0)
    return found


def unwrapped(tensors: Mapping[str, Leaf]) -> tuple[dict[str, Leaf], list[str]]:
    """Takes off what training scripts put around and before a network's tensors.

    Where there are averaged weights beside plain ones, the averaged ones are taken, as timm does.

    Args:
      tensors: by name, as saved.

    Returns:
      The network's tensors under its own names, and sentences that say what was taken off, chosen and left out.

    Raises:
      ValueError: there are several networks, or two tensors get the same name.

    Example:
      >>> found, notes = unwrapped({"model.conv1.weight": 1, "model.layer1.0.conv1.weight": 2, "loss.weight": 3})
      >>> list(found), notes
      (['conv1.weight', 'layer1.0.conv1.weight'], ["'model.' was taken off the names", 'left out: loss'])
    """
    names = {key: ".".join(part for part in key.split(".") if part not in INSERTED) for key in tensors}
    notes = [
        f"{part!r} was taken out of the names" for part in INSERTED if any(part in key.split(".") for key in names)
    ]
    if len(set(names.values())) < len(names):
        twice = sorted(name for name in names.values() if list(names.values()).count(name) > 1)
        raise ValueError(f"two tensors are called {twice[0]}, with and without what a compiler inserts")
    roots = _roots(names.values()) or [_common(names.values())]
    root = _chosen(roots)
    if root:
        notes.append(f"{root!r} was taken off the names")
    if others := [other for other in roots if other != root]:
        notes.append(f"averaged weights are taken, not those under {', '.join(map(repr, others))}")
    if left := _outside(names.values(), roots):
        more = f" and {len(left) - _MANY} more" if len(left) > _MANY else ""
        notes.append(f"left out: {', '.join(left[:_MANY])}{more}")
    found = {name.removeprefix(root): tensors[key] for key, name in names.items() if name.startswith(root)}
    return found, notes


def _roots(names: Any) -> list[str]:
    """Returns what comes before the names of each network that is there."""
    names = set(names)
    roots = []
    for first, beside in ANCHORS:
        ends = [name.removesuffix(first) for name in names if name == first or name.endswith(f".{first}")]
        roots += [root for root in ends if any(name.startswith(root + beside) for name in names)]
    return sorted(roots)


def _common(names: Any) -> str:
    """Returns the parts with which all names begin, for a network of another kind or a piece of one."""
    split = [name.split(".")[:-1] for name in names]
    common = []
    for parts in zip(*split, strict=False):
        if len(set(parts)) > 1:
            break
        common.append(parts[0])
    return "".join(f"{part}." for part in common)


def _chosen(roots: list[str]) -> str:
    averaged = [root for root in roots if _AVERAGED.search(root)]
    fitting = averaged or roots
    if len(fitting) > 1:
        raise ValueError(
            f"there are several networks in it, under {', '.join(repr(root or 'no prefix') for root in fitting)}; "
            "save the tensors of one alone"
        )
    return fitting[0]


def _outside(names: Any, roots: list[str]) -> list[str]:
    """Returns what belongs to no network, cut where its name parts from the network's."""
    inside = tuple(roots)
    found: dict[str, None] = {}
    for name in names:
        if not name.startswith(inside):
            parts = name.split(".")
            depth = 1 + max(len(_common([name, f"{root}x"]).split(".")) - 1 for root in roots)
            found[".".join(parts[:depth])] = None
    return sorted(found)
