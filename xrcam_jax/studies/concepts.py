"""What does the network see, besides where: which channels of a layer count, and what do they look like?

``xrcam concepts DATA --weights RUN`` looks at every frame once. For each channel of the layer, a concept, it keeps the
frames through which most of the relevance of the class goes through it (RelMax), and those that activate it most
(ActMax), at most a few of each patient, with the place in the layer where that is. What such a place can see of a frame,
its receptive field, is cut out: the references of the concept. The report makes a glossary of them, which shows some
frames with the concepts that speak most for their class, where these lie, and what they look like in other patients.

References:
  achtibat2023
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import jax.numpy as jnp
from jaxtyping import Array, Int, PyTree

from xrcam_jax.arguments.checks import check_at_least_one, check_methods
from xrcam_jax.arguments.parser import Options
from xrcam_jax.concepts.field import ReceptiveFields, receptive_fields
from xrcam_jax.concepts.measuring import Measured, layer_shape, measured
from xrcam_jax.errors import CommandError
from xrcam_jax.explain.functional import as_function
from xrcam_jax.explain.given import class_named
from xrcam_jax.explain.methods import configure
from xrcam_jax.explain.passes import Signal, SinglePass
from xrcam_jax.explain.variants import base
from xrcam_jax.runtime.devices import first_alone
from xrcam_jax.runtime.files import write_rows, write_whole
from xrcam_jax.studies.batches import Batch
from xrcam_jax.studies.concept_scan import Scan, groups_of, scan
from xrcam_jax.studies.concept_tables import Tables
from xrcam_jax.studies.glossary import FILE, Subject, glossary
from xrcam_jax.studies.networks import Network
from xrcam_jax.studies.study import Study, open_study
from xrcam_jax.studies.tables import write_contents
from xrcam_jax.titles import layer_title

NAME = "concepts"
LABELLED = "the labelled class"
#: So many concepts of each class stand in the overview.
LEADING = 8
#: What the figures say, for clinicians.
READ = (
    "A concept is what one channel of the network reacts to; it has no name, and its references show what it is. That a "
    "concept counts does not say that it should: one whose references are of one patient, or show a logo, an edge or a "
    "reflection, may be a shortcut."
)


@dataclass(frozen=True, eq=False)
class Channels:
    """Holds the layer whose channels are concepts.

    Attributes:
      layer: its name.
      shape: height, width and number of channels.
      function: the model.
      parameters: of the model.
      signal: what is propagated to the layer.
      target: the class to explain; None for that of each frame.
    """

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
        fixed = {"function": self.function, "signal": self.signal, "layer": self.layer}
        return measured(batch.images, self.parameters, self.targets(batch), **fixed)


def run(options: Options) -> int:
    """Runs the study; returns the exit status."""
    for name in ("references", "per_patient", "top", "shown"):
        check_at_least_one(f"--{name.replace('_', '-')}", getattr(options, name))
    if len(options.weights) != 1:
        raise CommandError("--weights: one network at a time, each with an --out of its own: channels of others differ")
    signal = _signal(options.method)
    method, layer, target = options.method, options.layer, options.target
    # What studies of maps can be told beside, and this one cannot.
    options.methods, options.layers, options.folds, options.annotations, options.seed = None, (), False, None, 0
    kept = {name: getattr(options, name) for name in ("references", "per_patient", "top")}
    recorded = {"methods": [method], "layers": [layer], "target": target or LABELLED, **kept}
    with open_study(NAME, options, **recorded) as study:
        (network,) = study.networks
        assert isinstance(network, Network)
        channels = _channels(study, network, layer, signal, target)
        found = scan(study, network, channels.shape[2], channels.measure)
        first_alone(lambda: write(study, network, channels, found, options.shown))
    return 0


def _signal(method: str) -> Signal:
    """Returns what ``--method`` propagates.

    Raises:
      CommandError: it is not ``lrp``, or has options that ``lrp`` has not.
    """
    if base(method) != "lrp":
        raise CommandError(f"--method: expected lrp, with options behind it or without, found {method!r}")
    check_methods("--method", [method], ["lrp"])
    kind = configure(method, {})
    assert isinstance(kind, SinglePass)
    return kind.signal


def _channels(study: Study, network: Network, layer: str, signal: Signal, target: str | None) -> Channels:
    """Returns the channels of a layer, whose shape is found without running the network.

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
    return Channels(layer, shape[1:], function, parameters, signal, _class(target, study.prepared.classes))


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


def write(study: Study, network: Network, channels: Channels, found: Scan, shown: int) -> None:
    """Writes the tables of all concepts, their references, and the glossary."""
    picture, (height, width, _) = (*network.input_size, 3), channels.shape
    fields = receptive_fields(channels.function, channels.parameters, channels.layer, picture, (height, width))
    tables = Tables(study, groups_of(study), found)
    write_rows(study.folder / "all_concepts.csv", tables.concepts())
    write_rows(study.folder / "by_patient.csv", tables.by_patient())
    write_rows(study.folder / "references.csv", tables.references(fields))
    subject = Subject(
        study, network, channels.layer, channels.signal, channels.measure, channels.targets, fields, found
    )
    leading = tables.leading(LEADING)
    content = json.dumps(glossary(subject, leading, shown))
    write_whole(study.folder / FILE, content.encode())
    write_contents(
        study.folder,
        title=f"Concepts of {layer_title(channels.layer)}",
        text=f"{tables.said()} {_seen(fields, network)} {READ}",
        order=9,
        tables=[tables.table(leading)],
        glossary=FILE,
    )


def _seen(fields: ReceptiveFields, network: Network) -> str:
    """Says how much of a frame a place of the layer sees."""
    rows, columns = (int((ends[:, 1] - ends[:, 0]).max()) for ends in (fields.rows, fields.columns))
    height, width = network.input_size
    return f"A place of the layer sees up to {rows} x {columns} of the {height} x {width} pixels."
