"""What does the network see, besides where: which channels of a layer count, and what do they look like?

``xrcam concepts DATA --weights RUN`` looks at every frame once. For each channel of the layer, a concept, it keeps the
frames in which the largest share of the relevance of the class goes through it (RelMax), and those that activate it
most (ActMax), at most a few of each patient, with the place in the layer where that is. What such a place sees of a
frame, its receptive field, is cut out: the references of the concept. The report makes a glossary of them, which shows
some frames with the concepts that speak most for what the network says of them, where these lie, and what they look
like in other patients.

References:
  achtibat2023
"""

import json

from xrcam_jax.arguments.checks import check_at_least_one, check_methods
from xrcam_jax.arguments.parser import Options
from xrcam_jax.concepts.field import ReceptiveFields
from xrcam_jax.errors import CommandError
from xrcam_jax.explain.methods import configure
from xrcam_jax.explain.passes import Signal, SinglePass
from xrcam_jax.explain.variants import base
from xrcam_jax.runtime.devices import first_alone
from xrcam_jax.runtime.files import write_rows, write_whole
from xrcam_jax.studies.channels import Channels, channels_of
from xrcam_jax.studies.concept_scan import groups_of, scan
from xrcam_jax.studies.concept_tables import Tables
from xrcam_jax.studies.glossary import FILE, Subject, glossary
from xrcam_jax.studies.networks import Network
from xrcam_jax.studies.study import open_study
from xrcam_jax.studies.tables import accuracy_table, write_contents
from xrcam_jax.titles import layer_title

NAME = "concepts"
LABELLED = "the labelled class"
#: What the figures say, for clinicians.
READ = (
    "A concept is what one channel of the network reacts to; it has no name, and its references show what it is. That "
    "a concept counts does not say that it should: one whose references are of one patient, or show a logo, an edge or "
    "a reflection, may be a shortcut."
)


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
        channels = channels_of(study, network, layer, signal, target)
        _check_top(study.settings["top"], channels)
        # What cannot be cut out is said before a pass over all frames, and not behind it.
        fields = channels.fields()
        found = scan(study, network, channels.shape[2], channels.measure)
        first_alone(lambda: write(Subject(study, channels, fields, found), options.shown))
    return 0


def _check_top(top: int, channels: Channels) -> None:
    """Refuses to count more channels of a frame as the most relevant than there are."""
    count = channels.shape[2]
    if top > count:
        raise CommandError(f"--top: expected no more than the {count} channels of {channels.layer}, found {top}")


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


def write(subject: Subject, shown: int) -> None:
    """Writes the tables of all concepts, their references, and the glossary."""
    study, channels, fields = subject.study, subject.channels, subject.fields
    tables = Tables(study, groups_of(study), subject.found)
    write_rows(study.folder / "all_concepts.csv", tables.concepts())
    write_rows(study.folder / "by_patient.csv", tables.by_patient())
    write_rows(study.folder / "references.csv", tables.references(fields))
    leading = tables.leading
    said = {concept: tables.described(concept) for concept in leading}
    content = glossary(subject, said, shown)
    write_whole(study.folder / FILE, json.dumps(content).encode())
    explained = LABELLED if channels.target is None else f"class {study.prepared.classes[channels.target]}"
    write_contents(
        study.folder,
        title=f"Concepts of {layer_title(channels.layer)}",
        text=f"{tables.said(explained)} {_seen(fields, channels.network.input_size)} {READ}",
        order=9,
        tables=[tables.table(leading), accuracy_table({channels.network.label: tables.accuracy()})],
        glossary=FILE,
    )


def _seen(fields: ReceptiveFields, size: tuple[int, int]) -> str:
    """Says how much of a frame a place of the layer sees."""
    rows, columns = (int((ends[:, 1] - ends[:, 0]).max()) for ends in (fields.rows, fields.columns))
    height, width = size
    return f"A place of the layer sees up to {rows} x {columns} of the {height} x {width} pixels."
