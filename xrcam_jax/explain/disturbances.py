"""What makes the passes of a repeated explanation differ: dropout, noise in the pictures, or the network itself.

References:
  gal2016, smilkov2017, lakshminarayanan2017
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from copy import copy
from dataclasses import dataclass, replace
from math import isfinite
from numbers import Real
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import PyTree

from xrcam_jax.cam.channel_cams import noisy
from xrcam_jax.explain.explainer import Explainer
from xrcam_jax.explain.functional import alike_at_inference, as_function, as_module, with_dropout
from xrcam_jax.pictures.preprocessing import Preprocessing
from xrcam_jax.runtime.devices import replicate

#: How many passes there are, unless it is said.
PASSES = 10


class Disturbance(ABC):
    """Says what makes passes differ; a subclass for each way.

    Attributes:
      networks: whether each pass is another network. In a loop inside one program the parameters of each pass would be
        copied out of those of all; so such passes are called one after another.
    """

    networks: ClassVar[bool] = False

    def passes(self, explain: Explainer, count: int | None) -> PyTree:
        """Returns what differs from pass to pass: by default, a key of noise.

        It is a tree with a leading axis of the passes, or, if each is another network, a list of trees.
        """
        # By folding in, a pass has the same noise however many passes there are.
        key, numbers = jax.random.key(explain.random_seed), jnp.arange(PASSES if count is None else count)
        return jax.vmap(lambda number: jax.random.fold_in(key, number))(numbers)

    def explainer(self, explain: Explainer) -> Explainer:
        """Returns the Explainer of the disturbed model: by default, the same one."""
        return explain

    @abstractmethod
    def disturbed(self, parameters: PyTree, images: PyTree, one: PyTree) -> tuple[PyTree, PyTree]:
        """Returns what that Explainer is given in a pass: parameters and images."""


@dataclass(frozen=True)
class Dropout(Disturbance):
    """Has passes differ by dropout, which is switched on while all else stays as at inference (gal2016).

    It is for NNX modules with ``nnx.Dropout``, such as all networks of :func:`xrcam_jax.create_model`.

    Attributes:
      rate: share of the activations that are lost, in (0, 1); by default the rates that the model has.
      shared: whether the pictures of a batch lose the same activations. Then a pass is one thinned network, and no
        picture's maps depend on those beside it; without, they differ as they do in training.

    Raises:
      ValueError: the rate is not between 0 and 1.

    References:
      gal2016
    """

    rate: float | None = None
    shared: bool = True

    def __post_init__(self) -> None:
        if self.rate is not None and not (isinstance(self.rate, Real) and 0 < self.rate < 1):
            raise ValueError(f"dropout: the rate must be a number between 0 and 1; got {self.rate!r}")

    def explainer(self, explain: Explainer) -> Explainer:
        noisy = copy(explain)
        noisy._function = with_dropout(explain._function, explain.parameters, self.rate, shared=self.shared)
        return noisy

    def disturbed(self, parameters: PyTree, images: PyTree, one: PyTree) -> tuple[PyTree, PyTree]:
        return {"model": parameters, "key": one}, images


@dataclass(frozen=True)
class Noise(Disturbance):
    """Has passes differ by Gaussian noise in the pictures, the same for all pictures of a pass (smilkov2017).

    Attributes:
      level: standard deviation of the noise, as a share of each picture's range, from 0.

    Raises:
      ValueError: the level is negative or not finite.

    References:
      smilkov2017
    """

    level: float

    def __post_init__(self) -> None:
        if not (isinstance(self.level, Real) and isfinite(self.level) and self.level >= 0):
            raise ValueError(f"noise: the level must be a number from 0; got {self.level!r}")

    def disturbed(self, parameters: PyTree, images: PyTree, one: PyTree) -> tuple[PyTree, PyTree]:
        def with_noise(a: Any) -> Any:
            if jnp.ndim(a) < 3 or not jnp.issubdtype(a.dtype, jnp.floating):
                return a
            # Picture by picture with one key: what a picture gets does not depend on the batch that it is in.
            return jax.vmap(lambda picture: noisy(picture[None], one, self.level)[0])(jnp.asarray(a))

        found = jax.tree.map(with_noise, images)
        if all(a is b for a, b in zip(jax.tree.leaves(found), jax.tree.leaves(images), strict=True)):
            raise ValueError("noise: there are no pictures among the inputs; let passes differ by dropout or networks")
        return parameters, found


@dataclass(frozen=True, eq=False)
class Ensemble(Disturbance):
    """Has passes differ by the network: that of the Explainer comes first, and others follow (lakshminarayanan2017).

    Attributes:
      others: models like the Explainer's that differ in their parameters, or such parameters. All lie in memory. NNX
        modules may also differ in the mean and deviation of their ``preprocessing``, as those of a cross-validation do:
        the pictures are given as the first network wants them, and each is shown them as it wants them.

    Raises:
      ValueError: there are no others.

    References:
      lakshminarayanan2017
    """

    others: Sequence[Callable | PyTree]
    networks: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if not len(self.others):
            raise ValueError("ensemble: give at least one network beside the Explainer's")

    def passes(self, explain: Explainer, count: int | None) -> PyTree:
        first = _preprocessing(as_module(explain._function, explain.parameters))
        networks = [explain.parameters, *(self._parameters(explain, first, i) for i in range(len(self.others)))]
        if count not in (None, len(networks)):
            raise ValueError(f"passes: an ensemble of {len(networks)} networks has as many passes; got {count}")
        if explain._mesh is not None:
            networks = [replicate(explain._mesh, parameters) for parameters in networks]
        each = [{"parameters": parameters} for parameters in networks]
        wanted = [first, *(_preprocessing(other) or first for other in self.others)]
        if first is None or all(one == first for one in wanted):
            return each
        mean, std = (np.array([getattr(one, part) for one in wanted], np.float32) for part in ("mean", "std"))
        # Pictures x as the first network wants them are intensities std[0] x + mean[0].
        slope, offset = std[0] / std, (mean[0] - mean) / std
        return [{**one, "slope": slope[i], "offset": offset[i]} for i, one in enumerate(each)]

    def disturbed(self, parameters: PyTree, images: PyTree, one: PyTree) -> tuple[PyTree, PyTree]:
        if "slope" in one:
            images = (one["slope"] * images + one["offset"]).astype(images.dtype)
        return one["parameters"], images

    def _parameters(self, explain: Explainer, first: Preprocessing | None, index: int) -> PyTree:
        """Returns the parameters of one of the others."""
        given, wanted = self.others[index], _shapes(explain.parameters)
        given = with_intensities_of(given, first) if callable(given) else given
        function, parameters = as_function(given) if callable(given) else (explain._function, given)
        if not wanted:
            raise ValueError("ensemble: the Explainer's model is a function without parameters; nothing can differ")
        found = _shapes(parameters)
        for name in sorted({*found, *wanted}):
            if found.get(name) != wanted.get(name):
                difference = f"{name} is {found.get(name, 'missing')} and not {wanted.get(name, 'there')}"
                raise ValueError(f"ensemble: network {index + 2} is not like the first: {difference}")
        # What adapters make is never the same.
        if isinstance(given, nnx.Module) and not alike_at_inference(function, explain._function, parameters):
            raise ValueError(f"ensemble: network {index + 2} computes something else than the first")
        return parameters


def with_intensities_of(model: Callable, first: Preprocessing | None) -> Callable:
    """Returns a model that says of the mean and deviation of its pictures what another's ``preprocessing`` says.

    Args:
      model: with a ``preprocessing``, or any other model, which is returned as it is.
      first: the preprocessing of the other model; None if it has none.

    Example:
      >>> from flax import nnx
      >>> from xrcam_jax.explain.disturbances import with_intensities_of
      >>> from xrcam_jax.pictures.preprocessing import Preprocessing
      >>> model = nnx.Linear(3, 2, rngs=nnx.Rngs(0))
      >>> model.preprocessing = Preprocessing(mean=(0.4,), std=(0.2,), input_size=(96, 96))
      >>> alike = with_intensities_of(model, Preprocessing(mean=(0.5,), std=(0.1,)))
      >>> alike.preprocessing.mean, alike.preprocessing.std, alike.preprocessing.input_size
      ((0.5,), (0.1,), (96, 96))
    """
    own = _preprocessing(model)
    if own is None or first is None or len(own.mean) != len(first.mean):
        return model
    alike: Any = copy(model)
    alike.preprocessing = replace(own, mean=first.mean, std=first.std)
    return alike


def _preprocessing(model: Any) -> Preprocessing | None:
    found = getattr(model, "preprocessing", None)
    return found if isinstance(found, Preprocessing) else None


def _shapes(parameters: PyTree) -> dict[str, tuple[int, ...]]:
    leaves = jax.tree.leaves_with_path(parameters)
    return {jax.tree_util.keystr(path, simple=True, separator="/"): jnp.shape(leaf) for path, leaf in leaves}
