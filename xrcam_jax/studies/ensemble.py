"""Do several networks together show better where to look than one does, and where they agree most (section 5.4.1)?

    xrcam evaluate ensemble --data prepared --annotations annotations.json --weights runs/seed0 runs/seed1 runs/seed2

Each network explains the labelled class of each frame. The mean of their maps is measured as one network's map is,
beside the maps of each alone, over the frames that the networks together classify correctly: by the mean of their
probabilities. The variation of the maps, deviation over mean where the mean map stands out, then parts the frames of
each method and column into two halves: if it tells how far a map can be trusted, the half that varies less overlaps
better with the outlines.

It costs what ``segmentation`` costs of all networks.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from functools import partial
from itertools import chain, product

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Array, Bool, Float

import xrcam_jax as xr
from xrcam_jax.arguments.parser import Options
from xrcam_jax.classes import softmax_logits
from xrcam_jax.errors import CommandError
from xrcam_jax.explain.spread import no_passes, spread, with_more
from xrcam_jax.metrics.overlap import salient
from xrcam_jax.metrics.uncertainty import Estimate
from xrcam_jax.models import Classifier
from xrcam_jax.runtime.devices import first_alone
from xrcam_jax.studies.batches import Arrays, Batch, each_batch
from xrcam_jax.studies.folds import number_of_networks
from xrcam_jax.studies.layers import all_maps, columns, described
from xrcam_jax.studies.networks import Network
from xrcam_jax.studies.per_picture import accuracy, counted, pooled_iou, write_figures
from xrcam_jax.studies.segmentation import counts_by_place, measured
from xrcam_jax.studies.study import Study, open_study
from xrcam_jax.studies.tables import Table, accuracy_table, scaled, write_contents

NAME = "ensemble"
#: What the networks together are called.
TOGETHER = "ensemble"
#: Figures of a mean map: how the maps vary where it stands out, and whether this is more than of other frames.
VARIATION, HALF = "variation", "half"


def run(options: Options) -> int:
    """Runs the study; returns the exit status."""
    if options.folds:
        raise CommandError("--folds: each network of an ensemble explains all frames; expected --weights alone")
    if number_of_networks(options) < 2:
        raise CommandError(f"--weights: an ensemble has two networks or more; found {len(options.weights)}")
    with open_study(NAME, options, annotated=True, aggregate=options.aggregate) as study:
        # --folds is refused above, so that none of them is a cross-validation.
        networks = [network for network in study.networks if isinstance(network, Network)]
        _check_alike(networks)
        together = replace(networks[0], label=TOGETHER)
        found = each_batch(study, together, lambda _: figures(study, networks))
        first_alone(lambda: write(study, found))
    return 0


def _check_alike(networks: Sequence[Network]) -> None:
    """Refuses networks that see other parts of a frame, or another size: their maps have no mean."""
    first = networks[0]
    for network in networks[1:]:
        ours, theirs = first.model.preprocessing, network.model.preprocessing
        if replace(theirs, mean=ours.mean, std=ours.std) != ours:
            raise CommandError(
                f"--weights: all networks of an ensemble see frames of one size and cut; {first.label} has {ours}, and "
                f"{network.label} {theirs}"
            )


def figures(study: Study, networks: Sequence[Network]) -> Callable[[Batch], Mapping[str, Array]]:
    """Returns a function that measures a batch: logits, and each figure by ``FIGURE/METHOD/COLUMN``.

    The logits are the logarithms of the mean probabilities. Figures of the third network alone are called
    ``FIGURE/METHOD/COLUMN of network 3``.
    """
    explainers = [xr.Explainer(network.model, study.methods, study.layers) for network in networks]
    how = study.settings["aggregate"]

    def compute(batch: Batch) -> Mapping[str, Array]:
        explained = [
            explain(as_wanted(batch.images, networks[0].model, network.model), targets=batch.labels)
            for explain, network in zip(explainers, networks, strict=True)
        ]
        maps = [all_maps(e, how) for e in explained]
        check_places({network.label: list(each) for network, each in zip(networks, maps, strict=True)})
        return {"logits": mean_probability([e.logits for e in explained]), **of_maps(maps, batch.masks)}

    return compute


def check_places(places: Mapping[str, Collection[str]]) -> None:
    """Refuses methods that have maps at layers of one network, and of another one not: these have no mean.

    Args:
      places: of each network by its label, ``METHOD/COLUMN`` of its maps.

    Raises:
      CommandError: a network lacks some.
    """
    for label, found in places.items():
        lacking = [place for place in dict.fromkeys(chain(*places.values())) if place not in found]
        if lacking:
            raise CommandError(f"--weights: {label} has no maps {', '.join(lacking)}, and another network has")


def as_wanted(
    images: Float[ArrayLike, "b h w c"], given: Classifier, wanted: Classifier
) -> Float[ArrayLike, "b h w c"]:
    """Returns images that were normalised for one network as another one wants them."""
    ours, theirs = given.preprocessing, wanted.preprocessing
    if (ours.mean, ours.std) == (theirs.mean, theirs.std):
        return images
    images = jnp.asarray(images)
    intensities = images * jnp.asarray(ours.std, images.dtype) + jnp.asarray(ours.mean, images.dtype)
    return (intensities - jnp.asarray(theirs.mean, images.dtype)) / jnp.asarray(theirs.std, images.dtype)


@jax.jit
def mean_probability(logits: list[Float[Array, "b _"]]) -> Float[Array, "b m"]:
    """Returns logits of the mean of several networks' probabilities: its logarithms.

    Args:
      logits: of each network, with an output for each class or, of two classes, one for both.
    """
    # One network may have an output for each of two classes, and another one for both.
    shares = [jax.nn.softmax(softmax_logits(each), axis=-1) for each in logits]
    return jnp.log(jnp.mean(jnp.stack(shares), axis=0))


@jax.jit
def of_maps(
    maps: list[dict[str, Float[Array, "b h w"]]], masks: Bool[Array, "b h w"]
) -> dict[str, Float[Array, " b"] | Array]:
    """Returns the overlaps of the mean map and of each network's, and the variation, by ``FIGURE/METHOD/COLUMN``.

    Args:
      maps: of each network, by ``METHOD/COLUMN``.
      masks: True where something is outlined.
    """
    found = spread(with_more(no_passes(maps[0]), jax.tree.map(lambda *each: jnp.stack(each), *maps)))
    mean = {place: each.mean for place, each in found.items()}
    figures = counts_by_place(measured(mean, masks))
    for place, each in found.items():
        region = salient(each.mean)
        size = region.sum((1, 2))
        inside = jnp.where(region, each.variation, 0).sum((1, 2))
        figures[f"{VARIATION}/{place}"] = inside / jnp.maximum(size, 1).astype(inside.dtype)
    for number, alone in enumerate(maps):
        named = {f"{place} of network {number + 1}": each for place, each in alone.items()}
        figures |= counts_by_place(measured(named, masks))
    return figures


def write(study: Study, found: Arrays) -> None:
    """Writes the figures of each picture, and the tables."""
    chosen = counted(study, found)
    found = found | halves(found, chosen)
    write_figures(study, {TOGETHER: found})
    count = len(study.networks)
    write_contents(
        study.folder,
        title="Several networks together",
        text=f"{len(study.frames)} annotated frames, of which the {count} networks together classify "
        f"{int(chosen.sum())} correctly, by the mean of their probabilities; these count. "
        f"{described(study.settings['aggregate'])} Networks: {', '.join(each.label for each in study.networks)}.",
        order=3,
        tables=[accuracy_table({TOGETHER: accuracy(study, found)}), *_tables(study, found, chosen)],
    )


def _tables(study: Study, found: Arrays, chosen: Bool[np.ndarray, " n"]) -> list[Table]:
    """Returns the pooled IoU of the mean map beside single ones, and that of both halves of the frames."""
    names, labels = columns(study.layers), ("method", "maps")
    numbers = range(1, len(study.networks) + 1)

    def iou(place: str, some: np.ndarray) -> Estimate:
        return scaled(pooled_iou(study, found, place, some))

    def alone(place: str) -> Estimate:
        values = [iou(f"{place} of network {number}", chosen).value for number in numbers]
        return Estimate(float(np.mean(values)), min(values), max(values))

    def of_half(number: int, place: str) -> Estimate:
        return iou(place, chosen & (found[f"{HALF}/{place}"] == number))

    def rows(of: Mapping[str, Callable[[str], Estimate]]) -> dict[tuple[str, str], list[Estimate]]:
        return {
            (method, name): [
                measure(f"{method}/{column}") if f"both/{method}/{column}" in found else Estimate(float("nan"))
                for column in names
            ]
            for (method, (name, measure)) in product(study.methods, of.items())
        }

    together = rows({"mean of all networks": lambda place: iou(place, chosen)})
    single = rows({"one network": alone})
    parts = rows({"less": partial(of_half, 1), "more": partial(of_half, 2)})
    spread = "the least and the largest of the networks"
    split = "Pooled IoU of the half of the frames whose maps vary less from network to network, and where more"
    return [
        Table("together", "Pooled IoU of the mean of all networks' maps", together, names, labels),
        Table("alone", "Mean of the pooled IoU of each network's maps", single, names, labels, interval=spread),
        Table("halves", split, parts, names, labels, best=None),
    ]


def halves(found: Arrays, chosen: Bool[np.ndarray, " n"]) -> Arrays:
    """Returns by ``half/METHOD/COLUMN`` which half each frame is in.

    Args:
      found: with ``variation/METHOD/COLUMN``.
      chosen: the frames that count.

    Returns:
      1 for the frames whose maps vary less, 2 for those that vary more, one frame more if their number is odd, and 0
      for those that do not count.

    Example:
      >>> import numpy as np
      >>> from xrcam_jax.studies.ensemble import halves
      >>> variation = {"variation/grad_cam/layer4": np.array([0.3, 0.1, 0.2, 0.0])}
      >>> halves(variation, np.array([True, True, True, False]))["half/grad_cam/layer4"].tolist()
      [2, 1, 2, 0]
    """
    places = np.flatnonzero(chosen)
    parts = {}
    for name, variation in found.items():
        figure, _, place = name.partition("/")
        if figure == VARIATION:
            order = places[np.argsort(variation[places], kind="stable")]
            half = np.zeros(len(chosen), np.int32)
            half[order] = 2
            half[order[: len(order) // 2]] = 1
            parts[f"{HALF}/{place}"] = half
    return parts
