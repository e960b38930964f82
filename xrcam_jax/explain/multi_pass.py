"""Methods that run the model again and again, in chunks."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from jaxtyping import Array, Float

from xrcam_jax.attribution.case import Case
from xrcam_jax.attribution.gradients import Contributions
from xrcam_jax.cam.full_grad import FullGrad
from xrcam_jax.explain.kinds import Found, Kind, Where, keywords


def maps(found: Float[Array, "b t *layer"], case: Case, layer: str) -> Found:
    """Returns what a function has found that gives maps.

    Args:
      found: the maps.
      case: what is explained.
      layer: where.

    Example:
      >>> import jax.numpy as jnp
      >>> from xrcam_jax.attribution.case import Case
      >>> from xrcam_jax.explain import multi_pass
      >>> case = Case(lambda x, p: x.sum((1, 2)), (), jnp.ones((1, 2, 2, 3)), jnp.array([[0]]))
      >>> multi_pass.maps(jnp.ones((1, 1, 2, 2)), case, "input").maps.shape
      (1, 1, 2, 2)
    """
    return Found(maps=found)


def maps_with_error(found: FullGrad, case: Case, layer: str) -> Found:
    """Returns what a function has found that gives maps, and by how much what they are made of misses its sum.

    Args:
      found: the maps and the error.
      case: what is explained.
      layer: where.

    Example:
      >>> import jax.numpy as jnp
      >>> from xrcam_jax.attribution.case import Case
      >>> from xrcam_jax.cam.full_grad import FullGrad
      >>> from xrcam_jax.explain import multi_pass
      >>> case = Case(lambda x, p: x.sum((1, 2)), (), jnp.ones((1, 2, 2, 3)), jnp.array([[0]]))
      >>> given = FullGrad(jnp.ones((1, 1, 2, 2)), jnp.zeros((1, 1)))
      >>> multi_pass.maps_with_error(given, case, "input").error.tolist()
      [[0.0]]
    """
    return Found(maps=found.maps, error=found.error)


def contributions(found: Contributions, case: Case, layer: str) -> Found:
    """Returns what a function has found that gives contributions of a layer's elements.

    Args:
      found: the contributions, and by how much they miss their sum.
      case: what is explained.
      layer: where.

    Example:
      >>> import jax.numpy as jnp
      >>> from xrcam_jax.attribution.case import Case
      >>> from xrcam_jax.attribution.gradients import Contributions
      >>> from xrcam_jax.explain import multi_pass
      >>> case = Case(lambda x, p: x.sum((1, 2)), (), jnp.ones((1, 2, 2, 3)), jnp.array([[0]]))
      >>> given = Contributions(jnp.ones((1, 1, 2, 2, 3)), jnp.zeros((1, 1)))
      >>> multi_pass.contributions(given, case, "input").error.tolist()
      [[0.0]]
    """
    return Found(values=found.values, error=found.error)


def weights(found: Float[Array, "b t *one k"], case: Case, layer: str) -> Found:
    """Returns what a function has found that gives weights of channels: their class activation map.

    Args:
      found: the weights.
      case: what is explained.
      layer: where.

    Example:
      >>> import jax.numpy as jnp
      >>> from xrcam_jax.attribution.case import Case
      >>> from xrcam_jax.explain import multi_pass
      >>> image = jnp.array([[1.0, 2.0], [3.0, 4.0]]).reshape(1, 1, 2, 2)
      >>> case = Case(lambda x, p: x.sum((1, 2)), (), image, jnp.array([[0]]))
      >>> multi_pass.weights(jnp.array([10.0, 1.0]).reshape(1, 1, 1, 1, 2), case, "input").maps.ravel().tolist()
      [12.0, 34.0]
    """
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
      needs_attention: whether it is for models with attention only.
      changes_input: whether it runs the model on pictures that it has changed.
      signed: whether negative values speak against the class.
    """

    function: Callable[..., Any]
    gives: Callable[[Any, Case, str], Found] = maps
    where: Where = "marks"
    needs_attention: bool = False
    changes_input: bool = True
    signed: bool = False

    def options_known(self) -> dict[str, Any]:
        return keywords(self.function)

    def configured(self, options: Mapping[str, Any]) -> Kind:
        return replace(self, function=partial(self.function, **options))

    def run(self, case: Case, layers: tuple[str, ...]) -> dict[str, Found]:
        def find(layer: str) -> Any:
            return self.function(case) if self.where == "input" else self.function(case, layer)

        return {layer: self.gives(find(layer), case, layer) for layer in layers}
