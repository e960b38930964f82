"""What all networks here have in common: they map pictures to class logits, and know their name and their pictures."""

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax.typing import DTypeLike
from jaxtyping import Array, Float, Real

from xrcam_jax.models.specs import find_spec
from xrcam_jax.models.variant import Variant


class Classifier(nnx.Module):
    """Maps pictures to class logits; :func:`xrcam_jax.create_model` builds one.

    Four layers are marked, ``"layer1"`` to ``"layer4"`` (see :func:`xrcam_jax.mark`): the last values of a quarter, an
    eighth, a sixteenth and a 32nd of the picture's side, as far as the output stride lets them shrink. A vision
    transformer has one size throughout, and is marked at quarters of its depth. For stochastic
    passes without training, ``model.set_attributes(deterministic=False)`` switches on dropout and leaves the norms
    alone.

    Attributes:
      name: timm's name of the network.
      num_classes: number of logits; with 1 there are two classes (:mod:`xrcam_jax.classes`), with 0 there is no
        classifier, and what is called logits are features.
      variant: in what it differs from others of its name.
      preprocessing: how pictures have to be prepared for it.
      labels: names of the classes, in their order; None where they are not known.
      dtype: what it computes in.
      param_dtype: what parameters and statistics are kept in.
      dropout: the dropout after each block; in VGG, which has no blocks, after both hidden layers of its head.
      fc: the linear layer at the end, or what stands in its place where there are no classes.
    """

    dropout: nnx.Dropout
    fc: "nnx.Linear | Unclassified"

    def __init__(self, name: str, *, num_classes: int, variant: Variant, dtype: DTypeLike):
        least = min(1, find_spec(name).num_classes)
        if num_classes < least:
            raise ValueError(f"num_classes has to be at least {least}, got {num_classes}")
        self.name = name
        self.num_classes = num_classes
        self.variant = variant
        self.preprocessing = find_spec(name).preprocessing.for_channels(variant.in_channels)
        self.labels: tuple[str, ...] | None = None
        self.dtype = jnp.dtype(dtype)
        self.param_dtype = _parameter_dtype(self.dtype)

    @property
    def num_outputs(self) -> int:
        """Returns the number of logits; without a classifier, that of the features."""
        return self.num_classes

    def __call__(self, x: Real[Array | np.ndarray, "b h w c"], *, rngs: nnx.Rngs | None = None) -> Float[Array, "b n"]:
        """Computes the logits of a batch of preprocessed pictures.

        Args:
          x: pictures of any size (32 pixels or more are sensible), cast to the model's dtype.
          rngs: where active dropout takes its noise from; by default from a stream that the model carries and that each
            pass moves on. In a pure function: ``rngs=nnx.Rngs(dropout=key)``.

        Returns:
          The logits, in the model's dtype.

        Raises:
          ValueError: ``x`` is not a batch of pictures with as many channels as the network wants, channels last.
        """
        channels = self.variant.in_channels
        if jnp.ndim(x) != 4 or jnp.shape(x)[-1] != channels:
            raise ValueError(
                f"{self.name} takes a batch of pictures, shape (batch, height, width, {channels}), got {jnp.shape(x)}"
            )
        return self.logits(jnp.asarray(x, self.dtype), rngs)

    def logits(self, x: Float[Array, "b h w c"], rngs: nnx.Rngs | None) -> Float[Array, "b n"]:
        """Computes the logits of pictures that are known to be some."""
        raise NotImplementedError


class Unclassified(nnx.Module):
    """Stands in the place of a classifier where there is none, and returns the features."""

    def __call__(self, x: Float[Array, "b d"]) -> Float[Array, "b d"]:
        return x


def _parameter_dtype(dtype: jnp.dtype) -> jnp.dtype:
    """Returns what parameters are kept in for computations in ``dtype``: float32, or float64 for float64.

    Raises:
      ValueError: ``dtype`` is not a floating-point type, or JAX is not set to compute in it.
    """
    if not jnp.issubdtype(dtype, jnp.floating):
        raise ValueError(f"dtype has to be a floating-point type, got {dtype}")
    if jax.dtypes.canonicalize_dtype(dtype) != dtype:
        raise ValueError("dtype float64 needs jax.config.update('jax_enable_x64', True)")
    return jnp.dtype(jnp.float64 if dtype == jnp.float64 else jnp.float32)
