"""What the methods of every kind have in common: where they work, which options they have, and what they find."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from inspect import signature
from typing import Any, ClassVar, Literal, NamedTuple

from jax import export
from jaxtyping import Array, Float

from xrcam_jax.attribution.case import Case

Where = Literal["marks", "input", "both"]
Channels = Literal["sum", "largest"]


class Found(NamedTuple):
    """Holds what a method finds at a layer, for t targets of each image.

    Attributes:
      maps: signed, at the layer's own size; None if ``values`` says it all.
      values: attributions of each element, if the method gives them.
      error: completeness error, where the attributions are to have a certain sum.
    """

    maps: Float[Array, "b t *layer"] | None = None
    values: Float[Array, "b t *layer k"] | None = None
    error: Float[Array, "b t"] | None = None


export.register_namedtuple_serialization(Found, serialized_name="xrcam_jax.Found")


@dataclass(frozen=True)
class Kind(ABC):
    """Is a method with its options; the subclasses are the kinds of methods, by what they have to run.

    Attributes:
      single_pass: whether one forward pass and shared backward passes are all it needs.
      inside: the option that names another method inside this one; None if there is no such option.
    """

    single_pass: ClassVar[bool] = False
    inside: ClassVar[str | None] = None

    @property
    def where(self) -> Where:
        """Says for which layers the method can be asked: marks, the input or both."""
        return "marks"

    @property
    def channels(self) -> Channels:
        """Says how a map is made of values: by their sum over the channels, or by the largest absolute value."""
        return "sum"

    @property
    def signed(self) -> bool:
        """Says whether negative values speak against the class, so that figures show them."""
        return False

    @property
    def behind_pooling(self) -> bool:
        """Says whether the method is defined only where nothing but global pooling and a linear layer follows."""
        return False

    @property
    def needs_attention(self) -> bool:
        """Says whether the method is for models with attention only."""
        return False

    @property
    def is_relevance(self) -> bool:
        """Says whether the method propagates relevance, so that the Explainer's ``composite`` is for it too."""
        return False

    @property
    def changes_input(self) -> bool:
        """Says whether the method runs the model on pictures that it has changed."""
        return False

    @abstractmethod
    def options_known(self) -> dict[str, Any]:
        """Returns the types of the method's options by name, but for the choice of another method inside it."""

    @abstractmethod
    def configured(self, options: Mapping[str, Any]) -> "Kind":
        """Returns the method with ``options``, all of which it has."""

    def around(self, name: str, method: "Kind") -> "Kind":
        """Returns the method with another one inside it, which the option ``inside`` has named.

        Raises:
          ValueError: a method of that kind cannot be inside.
        """
        raise NotImplementedError(f"{type(self).__name__} has no method inside")

    @abstractmethod
    def run(self, case: Case, layers: tuple[str, ...]) -> dict[str, Found]:
        """Returns what the method finds, by layer."""


def split(options: Mapping[str, Any], names: Collection[str]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Returns the options with some names, and the others.

    Args:
      options: values by name.
      names: of options, which need not be there.

    Example:
      >>> from xrcam_jax.explain.kinds import split
      >>> split({"samples": 4, "eps": 1e-6}, ("samples", "noise"))
      ({'samples': 4}, {'eps': 1e-06})
    """
    of_names = {name: value for name, value in options.items() if name in names}
    return of_names, {name: value for name, value in options.items() if name not in names}


def keywords(function: Callable) -> dict[str, Any]:
    """Returns the types of a function's keyword-only arguments by name.

    Args:
      function: any callable that has a signature.

    Example:
      >>> from xrcam_jax.explain.kinds import keywords
      >>> def smooth(case, layer, *, samples: int = 4, noise: float = 0.1): ...
      >>> keywords(smooth)
      {'samples': <class 'int'>, 'noise': <class 'float'>}
    """
    return {p.name: p.annotation for p in signature(function).parameters.values() if p.kind is p.KEYWORD_ONLY}
