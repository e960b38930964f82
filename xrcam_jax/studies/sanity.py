"""Do the maps depend on what the network has learnt (Figures 5.16 and 5.17)?

    xrcam evaluate sanity --data prepared --weights run/ --limit 16

Kernels of convolutions and linear layers are drawn anew, part by part: cascading (fc, then layer4 too, ... down to
layer1) and one part alone. The map at layer3 of the labelled class is compared with that of the trained network: by
SSIM, by Spearman's rank correlation (of the map, and of absolute values before the ReLU), and by the correlation of HOG
features. The less alike the maps are, the more a method depends on the weights.

Each picture is explained for ten networks. Weights of N(0, 1) let activations grow beyond float32, so all is computed
in float64; maps that even so are not finite count as zeros. 8 frames of 96 x 96 take the demo's network a minute on 2
cores.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from itertools import product

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

import xrcam_jax as xr
from xrcam_jax.arguments.parser import Options
from xrcam_jax.cam.saliency import upsample
from xrcam_jax.checkpoints.load import load_model
from xrcam_jax.explain.functional import as_function
from xrcam_jax.figures.comparison import comparison
from xrcam_jax.figures.grid import scales
from xrcam_jax.figures.overlay import overlay
from xrcam_jax.figures.save import save
from xrcam_jax.figures.style import Style
from xrcam_jax.metrics.sanity import SIMILARITIES, randomised, similarity
from xrcam_jax.metrics.uncertainty import Estimate
from xrcam_jax.runtime.devices import first_alone
from xrcam_jax.studies.batches import Arrays, Batch, each_batch, read_batch
from xrcam_jax.studies.compare import frame_title
from xrcam_jax.studies.folds import CrossValidated
from xrcam_jax.studies.networks import Network
from xrcam_jax.studies.per_picture import mean_figure, write_figures
from xrcam_jax.studies.study import Study, open_study
from xrcam_jax.studies.tables import Table, write_contents
from xrcam_jax.titles import layer_title, method_title

NAME = "sanity"
PARTS = ("fc", "layer4", "layer3", "layer2", "layer1")
TITLES = {
    "ssim": "SSIM",
    "rank": "Spearman's rank correlation",
    "rank_abs": "Spearman's rank correlation of absolute values",
    "hog": "Correlation of HOG features",
}
SHOWN = 2


def run(options: Options) -> int:
    """Runs the study; returns the exit status."""
    with open_study(NAME, options, draw=options.draw) as study:
        with jax.enable_x64(True):
            found = {n.label: each_batch(study, n, partial(figures, study)) for n in study.networks}
        first_alone(lambda: write(study, found))
    return 0


def variants() -> dict[str, tuple[str, ...]]:
    """Returns by column which parts of the network are drawn anew."""
    cascading = {f"{part} down from fc" if part != "fc" else "fc": PARTS[: i + 1] for i, part in enumerate(PARTS)}
    return cascading | {f"{part} alone": (part,) for part in PARTS[1:]}


def figures(study: Study, network: Network) -> Callable[[Batch], Arrays]:
    """Returns a function that measures a batch: logits, maps, and each similarity by ``FIGURE/METHOD/COLUMN``."""
    model = load_model(network.model.name, network.weights, dtype=jnp.float64)
    explain = xr.Explainer(model, study.methods, study.layers)
    _, parameters = as_function(model)
    key = jax.random.key(study.seed)
    networks = {"trained": parameters} | {
        column: randomised(parameters, parts, key, draw=study.settings["draw"]) for column, parts in variants().items()
    }
    run = jax.jit(lambda p, images, labels: explain.explain(p, images, labels))

    def compute(batch: Batch) -> Arrays:
        images, labels = jnp.asarray(batch.images, jnp.float64), jnp.asarray(batch.labels)
        found: dict[str, Array] = {}
        for column, drawn in networks.items():
            e = run(drawn, images, labels)
            found.setdefault("logits", e.logits)
            for method, layer in product(study.methods, study.layers):
                shown = jnp.nan_to_num(e.maps[method][layer], posinf=0, neginf=0).astype(jnp.float32)
                signed = jnp.nan_to_num(e.raw[method][layer], posinf=0, neginf=0)
                found[f"map/{method}/{layer} {column}"] = shown
                found[f"signed/{method}/{layer} {column}"] = upsample(signed, model.preprocessing.input_size)
        maps = jax.device_get(found)
        pictures = {name: np.rint(255 * a).astype(np.uint8) for name, a in maps.items() if name in _shown(study)}
        return {"logits": maps["logits"], **pictures, **alike(maps, study.methods, study.layers)}

    return compute


def _shown(study: Study) -> set[str]:
    """Returns the names of the maps that there are pictures of."""
    return {f"map/{study.methods[0]}/{study.layers[0]} {column}" for column in ("trained", *variants())}


def alike(found: Arrays, methods: Sequence[str], layers: Sequence[str]) -> Arrays:
    """Returns every similarity of each variant's maps to those of the trained network."""
    similarities = {}
    for method, layer, column, name in product(methods, layers, variants(), SIMILARITIES):
        kind = "signed" if name == "rank_abs" else "map"
        trained, drawn = (found[f"{kind}/{method}/{layer} {c}"] for c in ("trained", column))
        pairs = zip(trained, drawn, strict=True)
        similarities[f"{name}/{method}/{layer} {column}"] = np.array([similarity(name)(a, b) for a, b in pairs])
    return similarities


def write(study: Study, found: Mapping[str, Arrays]) -> None:
    """Writes the figures of each picture, tables and pictures."""
    scores = {
        label: {name: a for name, a in arrays.items() if not name.startswith("map/")} for label, arrays in found.items()
    }
    write_figures(study, scores)
    everything = np.ones(len(study.frames), bool)

    def cells(name: str, method: str, layer: str, label: str) -> list[Estimate]:
        places = [f"{name}/{method}/{layer} {column}" for column in variants()]
        return [mean_figure(study, scores[label], place, everything) for place in places]

    rows = list(product(study.methods, study.layers, found))
    tables = [
        Table(
            name,
            f"{title} with the trained network's map",
            {row: cells(name, *row) for row in rows},
            list(variants()),
            ("method", "layer", "network"),
            best=None,
            unit="",
            decimals=3,
        )
        for name, title in TITLES.items()
    ]
    pictures = [_sheet(study, network, found[network.label]) for network in study.networks]
    write_contents(
        study.folder,
        title="Sanity checks: weights drawn anew",
        text=f"{len(study.frames)} frames of {study.settings['data']['patients']} patients, the labelled class "
        "explained. 1 is the same map; a method whose maps stay alike would show the picture, not the network.",
        order=5,
        tables=tables,
        pictures=pictures,
    )


def _sheet(study: Study, network: Network | CrossValidated, arrays: Arrays) -> tuple[str, str]:
    """Saves a sheet of the first method; returns its file and caption.

    For a frame of each class it shows the picture, the trained network's map, and those of the variants.
    """
    method, layer = study.methods[0], study.layers[0]
    first = [int(np.flatnonzero(study.labels == c)[0]) for c in np.unique(study.labels)][:SHOWN]
    names = ["trained", *variants()]
    rows = []
    for place in first:
        batch = read_batch(study, network.judge(study.frames[place].patient), [place])
        picture = np.repeat(batch.pictures[0][..., None], 3, axis=2)
        maps = [arrays[f"map/{method}/{layer} {name}"][place] / 255 for name in names]
        rows.append([picture, *(overlay(picture, m) for m in maps)])
    labels = [frame_title(study.frames[place]) for place in first]
    figure = comparison(rows, columns=["frame", *names], row_labels=labels, scales=scales(Style()))
    file = f"randomised_{network.label}.jpg"
    save(figure, study.folder / file)
    found = f"{network.label}: {method_title(method)} at {layer_title(layer)}"
    return file, f"{found}, weights drawn anew from the top down, and in one part alone"
