"""Tokens on their grid: layers (b, n, k) of a transformer are looked at as (b, h, w, k), as those of other networks.

Class and register tokens lie nowhere in the picture. They are left out of what is looked at, and go on as they are.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
from jaxtyping import Array, PyTree

from xrcam_jax.attribution.case import Function
from xrcam_jax.attribution.tokens import Tokens
from xrcam_jax.lrp.composites import gradient
from xrcam_jax.lrp.planned import with_layers
from xrcam_jax.lrp.program import Probes, Step, run, trace
from xrcam_jax.lrp.transform import explained_leaves
from xrcam_jax.marks import mark


@dataclass(frozen=True)
class OnGrid:
    """Is a model of which some layers are marks: those of tokens while they lie on their grid, others as they are.

    Attributes:
      function: the model.
      tokens: where the tokens lie.
      layers: names of layers.

    Raises:
      NotImplementedError: a layer is inside remat.

    Example:
      >>> import jax.numpy as jnp
      >>> import xrcam_jax as xr
      >>> from xrcam_jax.attribution.on_grid import OnGrid
      >>> from xrcam_jax.attribution.tokens import Tokens
      >>> model = lambda images, parameters: xr.mark(images.reshape(1, 4, 3), "patches").mean(1)
      >>> laid = OnGrid(model, Tokens((2, 2)), ("patches",))
      >>> xr.layers(laid, jnp.ones((1, 2, 2, 3)), ())["patches"].shape
      (1, 2, 2, 3)
    """

    function: Function
    tokens: Tokens
    layers: tuple[str, ...]

    def __call__(self, images: Array, parameters: PyTree) -> PyTree:
        closed, structure = trace(jax.jit(self.function), images, parameters)
        explained = explained_leaves(images, (parameters,))
        program, names = with_layers(closed, gradient(), explained, self.layers)
        marks = {e.mark: position for position, e in enumerate(program.equations) if e.mark is not None}
        for name in names:
            if name not in marks:
                raise NotImplementedError(f"layer {name!r} is inside remat, where its tokens cannot be laid on a grid")
        steps = {
            position: Step(program.equations[position].inputs, partial(self._mark, name))
            for name, position in marks.items()
        }
        outputs, _ = run(program, steps, jax.tree.leaves((images, parameters)), Probes())
        return jax.tree.unflatten(structure, outputs)

    def _mark(self, name: str, values: Sequence[Array], probes: Probes) -> tuple[Sequence[Any], dict[str, Any]]:
        """Sets a mark again, with the name that it has among all turns of a loop."""
        (value,) = values
        is_of_grid = name in self.layers and value.ndim == 3 and value.shape[1] == self.tokens.count
        return (self.tokens.marked(value, name) if is_of_grid else mark(value, name),), {}
