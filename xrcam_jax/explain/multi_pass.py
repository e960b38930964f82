"""Methods that run the model again and again, in chunks."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Self

from jax import Array

from xrcam_jax.attribution.case import Case
from xrcam_jax.attribution.gradients import Contributions
from xrcam_jax.explain.kinds import Found, Kind, Where, keywords


def maps(found: Array, case: Case, layer: str) -> Found:
    """Takes maps (b, t, p, q) as they are."""
    return Found(maps=found)


def contributions(found: Contributions, case: Case, layer: str) -> Found:
    """Takes the contributions of a layer's elements, and by how much they miss their sum."""
    return Found(values=found.values, error=found.error)


def weights(found: Array, case: Case, layer: str) -> Found:
    """Makes a class activation map of weights (b, t, 1, 1, k)."""
    activation, _ = case.at(layer)
    return Found(maps=(found * activation[:, None]).sum(-1))


@dataclass(frozen=True)
class MultiPass(Kind):
    """Is a method that runs the model again and again, in chunks.

    Attributes:
      function: (case, layer, **options) -> maps, contributions or weights; (case, **options) where it works on the
        images alone. Its keyword arguments are the method's options.
      gives: which of these it returns: (what it returns, case, layer) -> :class:`Found`.
      where: the layers that the method can be asked for.
    """

    function: Callable[..., Any]
    gives: Callable[[Any, Case, str], Found] = maps
    where: Where = "marks"

    def option_names(self) -> tuple[str, ...]:
        return keywords(self.function)

    def configured(self, options: Mapping[str, Any]) -> Self:
        return replace(self, function=partial(self.function, **options))

    def run(self, case: Case, layers: tuple[str, ...]) -> dict[str, Found]:
        def find(layer: str) -> Any:
            return self.function(case) if self.where == "input" else self.function(case, layer)

        return {layer: self.gives(find(layer), case, layer) for layer in layers}
