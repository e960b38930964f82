"""The channels of a layer of a network: what is to be found, before it is looked for."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Int, PyTree

from xrcam_jax.classes import class_logits
from xrcam_jax.concepts.field import ReceptiveFields, receptive_fields
from xrcam_jax.concepts.measuring import Measured, layer_shape, measured
from xrcam_jax.errors import CommandError
from xrcam_jax.explain.functional import as_function
from xrcam_jax.explain.given import class_named
from xrcam_jax.explain.passes import Signal
from xrcam_jax.studies.batches import Batch
from xrcam_jax.studies.networks import Network
from xrcam_jax.studies.study import Study


@dataclass(frozen=True, eq=False)
class Channels:
    """Holds the layer whose channels are concepts.

    Attributes:
      network: whose layer it is.
      layer: its name.
      shape: height, width and number of channels.
      function: the model.
      parameters: of the model.
      signal: what is propagated to the layer.
      target: the class to explain; None for that of each frame.
    """

    network: Network
    layer: str
    shape: tuple[int, int, int]
    function: Callable
    parameters: PyTree
    signal: Signal
    target: int | None

    def targets(self, batch: Batch) -> Int[Array, " b"]:
        """Returns the class that is explained of each frame of a batch."""
        labels = jnp.asarray(batch.labels)
        return labels if self.target is None else jnp.full_like(labels, self.target)

    def measure(self, batch: Batch) -> Measured:
        """Measures the channels in each frame of a batch."""
        return self._measured(batch, self.targets(batch))

    def measure_said(self, batch: Batch) -> tuple[Measured, Int[np.ndarray, " b"], Int[Array, " b"]]:
        """Measures the channels for the class that the network says of each frame, or else for the one to explain.

        Returns:
          What the channels have to do with that class, what the network says, and the class.
        """
        first = self.measure(batch)
        said = class_logits(np.asarray(first.logits)).argmax(1)
        if self.target is not None:
            return first, said, self.targets(batch)
        targets = jnp.asarray(said, jnp.int32)
        return self._measured(batch, targets), said, targets

    def _measured(self, batch: Batch, targets: Int[Array, " b"]) -> Measured:
        fixed: dict[str, Any] = {"function": self.function, "signal": self.signal, "layer": self.layer}
        return measured(batch.images, self.parameters, targets, **fixed)

    def fields(self) -> ReceptiveFields:
        """Returns what each place of the layer sees of a picture.

        Raises:
          CommandError: it is not to be found below this layer.
        """
        height, width, _ = self.shape
        picture = (*self.network.input_size, 3)
        try:
            return receptive_fields(self.function, self.parameters, self.layer, picture, (height, width))
        except (ValueError, NotImplementedError) as error:
            raise CommandError(f"--layer: {error}") from error


def channels_of(study: Study, network: Network, layer: str, signal: Signal, target: str | None) -> Channels:
    """Returns the channels of a layer, whose shape is found without running the network.

    Args:
      study: whose frames are looked at.
      network: of the study.
      layer: its name.
      signal: what is propagated to it.
      target: the class to explain, by number or name; None for that of each frame.

    Raises:
      CommandError: there is no such layer, it has no places, or there is no such class.
    """
    function, parameters = as_function(network.model)
    fixed: dict[str, Any] = {"function": function, "signal": signal, "layer": layer}
    try:
        shape = layer_shape((*network.input_size, 3), parameters, **fixed)
    except (ValueError, NotImplementedError) as error:
        raise CommandError(f"--layer: {error}") from error
    if len(shape) != 4:
        raise CommandError(f"--layer: {layer} has shape {shape}, and references need places: (b, h, w, k)")
    return Channels(network, layer, shape[1:], function, parameters, signal, _class(target, study.prepared.classes))


def _class(target: str | None, classes: Sequence[str]) -> int | None:
    """Returns the number of the class that ``--target`` says by number or name."""
    if target is None:
        return None
    if target.isdecimal():
        if int(target) >= len(classes):
            raise CommandError(f"--target: {target} is not a class; there are 0 to {len(classes) - 1}")
        return int(target)
    try:
        return class_named(target, classes)
    except ValueError as error:
        raise CommandError(f"--target: {error}") from None
