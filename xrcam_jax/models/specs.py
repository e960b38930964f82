"""The numbers that tell one network from another, under timm's names."""

from dataclasses import dataclass
from typing import ClassVar, Protocol, TypeVar, runtime_checkable

from xrcam_jax.errors import unknown
from xrcam_jax.models.convnext_specs import CONVNEXTS
from xrcam_jax.models.densenet_specs import DENSE_SPECS
from xrcam_jax.models.differences import CONVOLUTIONAL, POOLINGS
from xrcam_jax.models.mobile_specs import MOBILE_SPECS
from xrcam_jax.models.swin_specs import SWINS
from xrcam_jax.models.vgg_specs import VGG_SPECS
from xrcam_jax.models.vit_specs import VITS
from xrcam_jax.pictures.preprocessing import Preprocessing


@runtime_checkable
class NetworkSpec(Protocol):
    """Describes a network: what the specs of all families have in common.

    Attributes:
      first_conv: timm's name of the first convolution.
      classifier: timm's name of the linear layer at the end, which is ``fc`` in all of our models.
      poolings: what may become of the last layer; the first is what becomes of it by the network's name.
      variants: the other attributes of a :class:`xrcam_jax.models.variant.Variant` in which such networks may differ.
      hub: the checkpoint on the Hugging Face hub that timm loads by default; None where there is none.
      num_classes: number of logits of that checkpoint; 0 where it has no classifier, and features are what comes out.
      preprocessing: how that checkpoint wants its pictures.
    """

    first_conv: ClassVar[str]
    classifier: ClassVar[str]
    poolings: ClassVar[tuple[str, ...]]
    variants: ClassVar[frozenset[str]]

    @property
    def hub(self) -> str | None: ...

    @property
    def num_classes(self) -> int: ...

    @property
    def preprocessing(self) -> Preprocessing: ...


@dataclass(frozen=True)
class SelectiveKernelSpec:
    """Holds the proportions of a Selective Kernel.

    Attributes:
      reduction: the attention's width is ``channels / reduction``, rounded to a multiple of ``divisor``.
      divisor: also the least width of the attention.
      split_input: whether each path sees its own half of the input channels, instead of all of them.

    References:
      li2019, section 3.1
    """

    reduction: int
    divisor: int
    split_input: bool


@dataclass(frozen=True)
class Spec:
    """Describes a ResNet, and the pictures that its ImageNet checkpoint was trained on.

    Attributes:
      depths: number of blocks in each of the four stages.
      bottleneck: whether blocks are of 1x1, 3x3 and 1x1 convolutions with four-fold expansion, instead of two 3x3.
      hub: the checkpoint on the Hugging Face hub that timm loads by default; None where there is none.
      preprocessing: how that checkpoint wants its pictures.
      groups: number of groups of the 3x3 convolutions.
      base_width: channels per group at 64 planes.
      selective_kernel: what replaces the (first) 3x3 convolution of each block; None if nothing does.
      planes: channels of the stem and of the first stage's 3x3 convolutions. Each later stage has twice as many as the
        one before.
    """

    first_conv: ClassVar[str] = "conv1"
    classifier: ClassVar[str] = "fc"
    poolings: ClassVar[tuple[str, ...]] = POOLINGS
    variants: ClassVar[frozenset[str]] = CONVOLUTIONAL
    num_classes: ClassVar[int] = 1000

    depths: tuple[int, int, int, int]
    bottleneck: bool
    hub: str | None
    preprocessing: Preprocessing
    groups: int = 1
    base_width: int = 64
    selective_kernel: SelectiveKernelSpec | None = None
    planes: int = 64

    @property
    def expansion(self) -> int:
        """Returns the number of a block's output channels per plane."""
        return 4 if self.bottleneck else 1


_CROP_95 = Preprocessing(crop_pct=0.95)
_CROP_87 = Preprocessing(crop_pct=0.875)
_SK_BASIC = SelectiveKernelSpec(reduction=8, divisor=16, split_input=True)
_SK_BOTTLENECK = SelectiveKernelSpec(reduction=16, divisor=32, split_input=False)

SPECS: dict[str, NetworkSpec] = {
    "resnet18": Spec((2, 2, 2, 2), False, "timm/resnet18.a1_in1k", _CROP_95),
    "resnet34": Spec((3, 4, 6, 3), False, "timm/resnet34.a1_in1k", _CROP_95),
    "resnet50": Spec((3, 4, 6, 3), True, "timm/resnet50.a1_in1k", _CROP_95),
    "resnet101": Spec((3, 4, 23, 3), True, "timm/resnet101.a1h_in1k", _CROP_95),
    "resnext50_32x4d": Spec((3, 4, 6, 3), True, "timm/resnext50_32x4d.a1h_in1k", _CROP_95, groups=32, base_width=4),
    "skresnet18": Spec((2, 2, 2, 2), False, "timm/skresnet18.ra_in1k", _CROP_87, selective_kernel=_SK_BASIC),
    # The package's own networks are a quarter as wide. One comes with it, trained; the others are for comparison.
    "resnet18_narrow": Spec((2, 2, 2, 2), False, None, _CROP_87, planes=16),
    "resnet34_narrow": Spec((3, 4, 6, 3), False, None, _CROP_87, planes=16),
    "skresnet18_narrow": Spec((2, 2, 2, 2), False, None, _CROP_87, selective_kernel=_SK_BASIC, planes=16),
    "skresnet34": Spec((3, 4, 6, 3), False, "timm/skresnet34.ra_in1k", _CROP_87, selective_kernel=_SK_BASIC),
    "skresnext50_32x4d": Spec(
        (3, 4, 6, 3),
        True,
        "timm/skresnext50_32x4d.ra_in1k",
        _CROP_87,
        groups=32,
        base_width=4,
        selective_kernel=_SK_BOTTLENECK,
    ),
    **MOBILE_SPECS,
    **DENSE_SPECS,
    **VGG_SPECS,
    **VITS,
    **SWINS,
    **CONVNEXTS,
}


def list_models() -> list[str]:
    """Lists the names of networks that :func:`xrcam_jax.create_model` and :func:`xrcam_jax.load_model` know.

    Returns:
      The names, sorted.

    Example:
      >>> "skresnext50_32x4d" in list_models()
      True
    """
    return sorted(SPECS)


def find_spec(name: str) -> NetworkSpec:
    """Finds the spec of a network.

    Args:
      name: one of :func:`list_models`.

    Returns:
      The spec.

    Raises:
      ValueError: no network is called so; the message offers the nearest name.

    Example:
      >>> find_spec("resnet50").hub
      'timm/resnet50.a1_in1k'
    """
    if name not in SPECS:
        raise unknown("model", name, list_models())
    return SPECS[name]


_Family = TypeVar("_Family")


def find_spec_of(name: str, family: type[_Family]) -> _Family:
    """Finds the spec of a network of one family.

    Args:
      name: one of :func:`list_models`.
      family: the kind of its spec.

    Returns:
      The spec.

    Raises:
      ValueError: no network is called so, or it is of another family.

    Example:
      >>> find_spec_of("resnet50", Spec).depths
      (3, 4, 6, 3)
    """
    spec = find_spec(name)
    if not isinstance(spec, family):
        raise ValueError(f"{name} is described by a {type(spec).__name__}, and a {family.__name__} is needed")
    return spec
