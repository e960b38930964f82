"""Which frames does the network judge for other reasons than the rest, and are these of one patient or one device?

    xrcam evaluate cohort --data prepared --weights run/ --method xrelevance_cam --layer layer3 --part all

Spectral relevance analysis: the maps of each class are made small and joined to those most like them, and the graph
falls into clusters. Where most of a cluster is of one patient, or of one recording device, and chance would hardly put
so many there, the study gives an alarm: the network may go by a mark on the pictures, and not by the tissue. The device
is the manifest's column "device", or any other that --group names, such as "width", the width of the recorded frames;
add the column by hand where there is none. Sheets show the mean map of each cluster, and the frames in its middle.

It costs what the maps cost, of one method at one layer. docs/cohort.md says how to read it.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from importlib.util import find_spec
from itertools import chain

import numpy as np
from jaxtyping import Array, Float, Int

import xrcam_jax as xr
from xrcam_jax.arguments.checks import check_at_least_one
from xrcam_jax.arguments.parser import Options
from xrcam_jax.classes import class_logits
from xrcam_jax.data.manifest import read_rows
from xrcam_jax.errors import CommandError
from xrcam_jax.figures.comparison import comparison
from xrcam_jax.figures.grid import scales
from xrcam_jax.figures.overlay import overlay
from xrcam_jax.figures.save import save
from xrcam_jax.figures.scatter import clustered
from xrcam_jax.figures.style import Style
from xrcam_jax.metrics.alarms import Suspicion, corrected, least_p_values, of_groups, of_patients, one_each
from xrcam_jax.metrics.spray import EXTRA, FEWEST_MAPS, MOST_MAPS, Clusters, clusters, downsized, placed
from xrcam_jax.metrics.uncertainty import Estimate
from xrcam_jax.runtime.devices import first_alone
from xrcam_jax.runtime.files import write_rows
from xrcam_jax.runtime.names import file_stem, printable
from xrcam_jax.studies.batches import Arrays, Batch, each_batch, read_batch, rgb
from xrcam_jax.studies.compare import frame_title
from xrcam_jax.studies.networks import Network
from xrcam_jax.studies.per_picture import accuracy
from xrcam_jax.studies.study import Study, open_study
from xrcam_jax.studies.tables import Table, accuracy_table, write_contents
from xrcam_jax.titles import layer_title, method_title

NAME = "cohort"
DEVICE, PATIENT = "device", "patient"
#: How many groups are named that could give no alarm.
NAMED = 3
#: What is clustered together where classes are not told apart.
TOGETHER = "all classes"
#: What the alarm says, for clinicians.
READ = (
    "An alarm says that the network looks at the frames of one patient or device in a way of its own; the sheet shows "
    "whether it goes by a mark, an edge or a reflection, or by tissue that only this patient has. No alarm does "
    "not say that there is no shortcut: one that all frames of a class have makes no cluster of its own."
)

Grouping = Mapping[str, Sequence[str]]


@dataclass(frozen=True, eq=False)
class Part:
    """Holds the frames whose maps are clustered together, and what was found of them.

    Attributes:
      name: of their class.
      places: of the frames among those of the study.
      maps: small ones.
      found: their clusters.
      points: where each map lies in the plane.
    """

    name: str
    places: Int[np.ndarray, " n"]
    maps: Float[np.ndarray, "n p q"]
    found: Clusters
    points: Float[np.ndarray, "n 2"]

    def cluster(self, number: int) -> Int[np.ndarray, " m"]:
        """Returns which of the part's frames are in a cluster, those that are most like its mean map first."""
        of_it = np.flatnonzero(self.found.labels == number)
        away = ((self.maps[of_it] - self.maps[of_it].mean(0)) ** 2).sum((1, 2))
        return of_it[np.argsort(away, kind="stable")]


def run(options: Options) -> int:
    """Runs the study; returns the exit status."""
    if find_spec("sklearn") is None or find_spec("scipy") is None:
        raise CommandError(f"cohort: spectral clusters need scikit-learn and SciPy: {EXTRA}")
    check_at_least_one("--shown", options.shown)
    # One cluster has all frames, and maps of one pixel are all alike: nothing could be found.
    for name in ("side", "clusters"):
        value = getattr(options, name)
        if value is not None and value < 2:
            raise CommandError(f"--{name}: expected 2 or more, found {value}")
    if not 0 < options.level < 1:
        raise CommandError(f"--level: {options.level} is not between 0 and 1")
    if options.folds:
        raise CommandError("--folds: each fold has a network of its own, and the maps of two networks differ anyway")
    if len(options.weights) != 1:
        raise CommandError(
            "--weights: one network at a time, each with its own --out: the maps of others differ anyway"
        )
    if len(options.methods) != 1 or len(options.layers) != 1:
        raise CommandError("--method, --layer: the maps of one method at one layer at a time, each with its own --out")
    # Studies of outlines can be told them, and this one cannot.
    options.annotations = None
    names = ("side", "clusters", "together", "group", "level")
    with open_study(NAME, options, **{name: getattr(options, name) for name in names}) as study:
        groups = grouping(study, options.group)
        _check_sizes(study)
        found = each_batch(study, study.networks[0], partial(figures, study))
        first_alone(lambda: write(study, groups, found, options.shown))
    return 0


def grouping(study: Study, asked: str | None) -> dict[str, list[str]]:
    """Returns what the frames may be grouped by: the patient, and the device or what ``asked`` names if there is one.

    Raises:
      CommandError: the manifest has no such column, or several values of it for one patient.
    """
    rows = read_rows(study.prepared.folder)
    columns = list(next(iter(rows.values())))
    if asked is not None and asked not in columns:
        raise CommandError(f"--group: {asked!r} is no column of {study.prepared.folder}/manifest.csv: {columns}")
    patients = [frame.patient for frame in study.frames]
    name = asked or (DEVICE if DEVICE in columns else None)
    if name in (None, PATIENT):
        return {PATIENT: patients}
    groups = [rows[frame.file][name] for frame in study.frames]
    try:
        one_each(patients, groups)
    except ValueError as error:
        raise CommandError(f"--group: {name}: {error}") from error
    return {PATIENT: patients, name: groups}


def _check_sizes(study: Study) -> None:
    """Refuses what cannot be clustered before any map is made."""
    sizes = {name: len(places) for name, places in _chosen(study)}
    if not any(size >= FEWEST_MAPS for size in sizes.values()):
        raise CommandError(f"--part: expected {FEWEST_MAPS} frames or more of some class; found {sizes}")
    if max(sizes.values()) > MOST_MAPS:
        raise CommandError(f"--limit: expected at most {MOST_MAPS} frames of a class; found {sizes}")


def _chosen(study: Study) -> Iterator[tuple[str, Int[np.ndarray, " n"]]]:
    """Yields what is clustered together: the name, and the places of the frames."""
    if study.settings["together"]:
        yield TOGETHER, np.arange(len(study.frames))
        return
    for number, name in enumerate(study.prepared.classes):
        yield name, np.flatnonzero(study.labels == number)


def figures(study: Study, network: Network) -> Callable[[Batch], Mapping[str, Array]]:
    """Returns a function that measures a batch: the logits, and the small maps of the labelled class."""
    explain = xr.Explainer(network.model, study.methods, study.layers, random_seed=study.seed)

    def compute(batch: Batch) -> Mapping[str, Array]:
        e = explain(batch.images, targets=batch.labels)
        return {
            "logits": e.logits,
            "maps": downsized(e.maps[study.methods[0]][study.layers[0]], study.settings["side"]),
        }

    return compute


def parts(study: Study, maps: Float[np.ndarray, "n p q"]) -> list[Part]:
    """Returns the clusters of each class that has enough frames."""
    found = []
    for name, places in _chosen(study):
        if len(places) < FEWEST_MAPS:
            continue
        some = maps[places].astype(np.float64)
        features, wanted = some.reshape(len(some), -1), study.settings["clusters"]
        count = None if wanted is None else min(wanted, len(places) - 1)
        of_it = clusters(features, count, seed=study.seed)
        found.append(Part(name, places, some, of_it, placed(features, seed=study.seed)))
    return found


def suspicions(study: Study, some: Sequence[Part], groups: Grouping) -> dict[str, list[list[Suspicion]]]:
    """Returns by what frames are grouped, and for each part, all that was tested, corrected for their number."""
    found = {}
    for name, values in groups.items():
        tested = []
        for part in some:
            patients, here = ([column[i] for i in part.places] for column in (groups[PATIENT], values))
            labels = part.found.labels
            tested.append(
                of_patients(labels, patients) if name == PATIENT else of_groups(labels, patients, here, seed=study.seed)
            )
        whole = iter(corrected(list(chain(*tested))))
        found[name] = [[next(whole) for _ in each] for each in tested]
    return found


def write(study: Study, groups: Grouping, found: Arrays, shown: int) -> None:
    """Writes the cluster of each frame, tables, pictures, and the alarms."""
    some = parts(study, found["maps"])
    tested = suspicions(study, some, groups)
    predicted = class_logits(found["logits"]).argmax(1)
    _write_frames(study, some, groups, predicted)
    network = study.networks[0]
    pictures = chain.from_iterable(_pictures(study, network, part, shown) for part in some)  # type: ignore[arg-type]
    where = f"{method_title(study.methods[0])} at {layer_title(study.layers[0])}"
    counts = ", ".join(f"{part.name} {part.found.count}" for part in some)
    level = study.settings["level"]
    alarms = said(level, [part.name for part in some], tested)
    what = " or ".join(f"one {name}" for name in tested)
    none = [f"No alarm: no cluster is of {what} beyond chance (p <= {level:g}, corrected)."]
    mute = out_of_reach(level, [part.name for part in some], tested, _sizes(some, groups))
    paragraphs = "\n\n".join([*(alarms or none), *mute])
    write_contents(
        study.folder,
        title="Clusters of maps",
        text=f"{paragraphs}\n\nMaps of {where} of {len(study.frames)} frames of "
        f"{study.settings['data']['patients']} patients, the labelled class explained. Clusters: {counts}. {READ}",
        order=7,
        tables=[
            *(_table(name, some, each) for name, each in tested.items()),
            accuracy_table({network.label: accuracy(study, found)}),
        ],
        pictures=list(pictures),
        alarms=alarms,
    )


def said(level: float, parts: Sequence[str], tested: Mapping[str, Sequence[Sequence[Suspicion]]]) -> list[str]:
    """Returns a sentence for each alarm, those of patients last: they ring without a shortcut, too."""
    return [
        f"ALARM: {each.frames} of the {each.size} frames of cluster {each.cluster + 1} of {part} are of the "
        f"{name} {printable(each.group)}, which has {100 * each.share_of_all:.0f} % of all these frames "
        f"(p = {each.p_value:.1g})."
        for name, by_part in reversed(list(tested.items()))
        for part, suspected in zip(parts, by_part, strict=True)
        for each in suspected
        if each.alarming(level)
    ]


def out_of_reach(
    level: float,
    parts: Sequence[str],
    tested: Mapping[str, Sequence[Sequence[Suspicion]]],
    sizes: Mapping[str, Sequence[Mapping[str, int]]],
) -> list[str]:
    """Returns a sentence for each class with groups of which no cluster could have given an alarm, whatever the maps.

    Args:
      level: of the corrected p-value.
      parts: what is clustered together.
      tested: as :func:`suspicions` returns it.
      sizes: likewise, how many frames each patient has, and how many patients each other group.
    """
    said = []
    for name, by_part in tested.items():
        unit = "frames" if name == PATIENT else "patients"
        least = list(map(least_p_values, sizes[name]))
        each_least = [replace(each, p_value=least[i][each.group]) for i, some in enumerate(by_part) for each in some]
        # Holm's procedure is monotone: nothing that is found can be below what it makes of the least values.
        whole = iter(corrected(each_least))
        for part, suspected, here in zip(parts, by_part, sizes[name], strict=True):
            best = {each.group: each.p_value for each in (next(whole) for _ in suspected)}
            rang = {each.group for each in suspected if each.alarming(level)}
            mute = [group for group in here if best[group] > level and group not in rang]
            if mute:
                smallest = min(best[group] for group in mute)
                total, more = sum(here.values()), f" or {len(mute) - NAMED} more" if len(mute) > NAMED else ""
                named = " or ".join(f"{printable(group)} ({here[group]} of {total} {unit})" for group in mute[:NAMED])
                said.append(
                    f"Whatever the maps are, no cluster of {part} could have given an alarm of the {name} "
                    f"{named}{more}: the smallest p that so many {unit} allow is {smallest:.2g}, corrected."
                )
    return said


def _sizes(some: Sequence[Part], groups: Grouping) -> dict[str, list[Counter[str]]]:
    """Returns by what frames are grouped, and for each part, how many frames or patients each group has."""
    found: dict[str, list[Counter[str]]] = {}
    for name, values in groups.items():
        found[name] = []
        for part in some:
            patients, here = ([column[i] for i in part.places] for column in (groups[PATIENT], values))
            found[name].append(Counter(here if name == PATIENT else one_each(patients, here).values()))
    return found


def _table(name: str, some: Sequence[Part], tested: Sequence[Sequence[Suspicion]]) -> Table:
    """Returns for each cluster the group that most of its frames are of."""
    rows = {}
    for part, suspected in zip(some, tested, strict=True):
        for number in range(part.found.count):
            most = max((each for each in suspected if each.cluster == number), key=lambda each: each.frames)
            labels = (part.name, str(number + 1), str(most.size), most.group, str(most.frames))
            rows[labels] = [Estimate(most.share), Estimate(most.share_of_all), Estimate(most.p_value)]
    return Table(
        f"clusters_by_{file_stem(name)}",
        f"Each cluster, and the {name} that most of its frames are of",
        rows,
        ["share of the cluster", "share of all", "corrected p"],
        ("class", "cluster", "frames", name, "its frames"),
        best=None,
        unit="",
        decimals=3,
    )


def _write_frames(study: Study, some: Sequence[Part], groups: Grouping, predicted: np.ndarray) -> None:
    """Writes ``images.csv`` with the cluster and the place in the plane of each frame."""
    rows = []
    for part in some:
        for i, place in enumerate(part.places.tolist()):
            frame, (x, y) = study.frames[place], part.points[i]
            names = {"file": frame.file, "class": frame.label, **{name: each[place] for name, each in groups.items()}}
            numbers = {"cluster": part.found.labels[i] + 1, "x": f"{x:.7g}", "y": f"{y:.7g}"}
            rows.append({**names, "predicted": study.prepared.classes[predicted[place]], **numbers})
    write_rows(study.folder / "images.csv", rows)


def _pictures(study: Study, network: Network, part: Part, shown: int) -> list[tuple[str, str]]:
    """Saves the plane of a part, and its sheet; returns files and captions."""
    stem = file_stem(part.name)
    sizes = Counter(part.found.labels.tolist())
    names = [f"cluster {number + 1}: {sizes[number]}" for number in range(part.found.count)]
    save(
        clustered(part.points, part.found.labels, names, part.found.eigenvalues), study.folder / f"clusters_{stem}.png"
    )
    rows = [_row(study, network, part, number, shown) for number in range(part.found.count)]
    heads = ["mean map", *["like it"] * shown]
    sheet = comparison(rows, columns=heads, row_labels=names, scales=scales(Style()))
    save(sheet, study.folder / f"sheet_{stem}.jpg")
    titles = "; ".join(
        f"{name}: {', '.join(frame_title(study.frames[part.places[i]]) for i in part.cluster(number)[:shown])}"
        for number, name in enumerate(names)
    )
    return [
        (f"clusters_{stem}.png", f"{part.name}: maps that are alike lie together (t-SNE); colours are the clusters"),
        (
            f"sheet_{stem}.jpg",
            f"{part.name}: the mean map of each cluster, and the frames whose maps are most like it. {titles}",
        ),
    ]


def _row(study: Study, network: Network, part: Part, number: int, shown: int) -> list[np.ndarray]:
    """Returns the mean map of a cluster, and frames in its middle under their maps; grey where there are no more."""
    height, width = network.input_size
    grey = np.full((height, width, 3), 128, np.uint8)
    nearest = part.cluster(number)
    row = [overlay(grey, _scaled(part.maps[nearest].mean(0)))]
    for i in nearest[:shown].tolist():
        picture = rgb(read_batch(study, network, [int(part.places[i])]).pictures[0])
        row.append(overlay(picture, _scaled(part.maps[i])))
    return [*row, *[grey] * (1 + shown - len(row))]


def _scaled(values: Float[np.ndarray, "p q"]) -> Float[np.ndarray, "p q"]:
    """Returns a map in [0, 1]; without anything positive it is zero."""
    positive = np.maximum(values, 0)
    return positive / positive.max() if positive.any() else positive
