"""Do the methods satisfy the axioms of sensitivity and of conservation (Tables 5.8 and 5.9)?

    xrcam evaluate axioms --data prepared --weights run/ --limit 16

The claim of channel k is c_k = sum_hw w_k A_k. For every method and layer, and the score of the labelled class, the
study measures how far the c_k are from what the score loses without channel k (eq. 5.5), and how far their sum is from
the score (eq. 5.6). The score is the contrastive one L_t / N for the methods that propagate relevance, the logit L_t
for the others.

Sensitivity takes a pass from the layer on for each of its channels: for ResNet50 3,840 passes a picture. --conservation
leaves it out. 16 frames of 96 x 96 take the demo's network a minute and a half on 2 cores.
"""

from collections.abc import Callable, Mapping
from functools import partial
from itertools import product

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

import xrcam_jax as xr
from xrcam_jax.arguments.checks import check_methods
from xrcam_jax.arguments.parser import Options
from xrcam_jax.attribution.case import Case
from xrcam_jax.cam.channel_cams import ablated_scores
from xrcam_jax.classes import class_count, class_logits
from xrcam_jax.errors import CommandError
from xrcam_jax.explain.functional import as_function
from xrcam_jax.explain.methods import RELEVANCE, configure
from xrcam_jax.explain.passes import Cam
from xrcam_jax.metrics import axioms
from xrcam_jax.metrics.uncertainty import Estimate
from xrcam_jax.runtime.compiling import compiled
from xrcam_jax.runtime.devices import first_alone
from xrcam_jax.studies.batches import Arrays, Batch, each_batch
from xrcam_jax.studies.networks import Network
from xrcam_jax.studies.parameters import SEVEN
from xrcam_jax.studies.per_picture import mean_figure, write_figures
from xrcam_jax.studies.study import Study, open_study
from xrcam_jax.studies.tables import Table, mean_of, write_contents

NAME = "axioms"


def run(options: Options) -> int:
    """Runs the study; returns the exit status."""
    check_methods("--method", options.methods, xr.METHODS)
    for method in options.methods:
        kind = configure(method, {})
        if not isinstance(kind, Cam) or kind.behind_pooling:
            raise CommandError(
                f"--method: {method} has no weights of channels at every layer; take of {', '.join(SEVEN)}"
            )
    with open_study(NAME, options, sensitivity=not options.conservation) as study:
        found = {network.label: each_batch(study, network, partial(figures, study)) for network in study.networks}
        first_alone(lambda: write(study, found))
    return 0


def figures(study: Study, network: Network) -> Callable[[Batch], Mapping[str, Array]]:
    """Returns a function that measures a batch: logits, and each figure by ``FIGURE/METHOD/COLUMN``."""
    function, parameters = as_function(network.model)

    def compute(batch: Batch) -> Mapping[str, Array]:
        images, labels = jnp.asarray(batch.images), jnp.asarray(batch.labels)
        logits, claims = claimed(
            images, parameters, labels, function=function, methods=study.methods, layers=study.layers
        )
        case = Case(function, parameters, images, labels[:, None])
        found = {"logits": logits}
        for layer in study.layers:
            if study.settings["sensitivity"]:
                intact, without = ablated_scores(case, layer, name=f"ablation {layer}")
                drops = (intact - without)[..., 0].T
            for method in study.methods:
                share = score_share(method, class_count(logits.shape[1]))
                score = share * jnp.take_along_axis(class_logits(logits), labels[:, None], 1)[:, 0]
                claim = claims[f"{method}/{layer}"]
                found[f"conservation/{method}/{layer}"] = axioms.conservation_error(score, claim)
                if study.settings["sensitivity"]:
                    found[f"sensitivity/{method}/{layer}"] = axioms.sensitivity_error(share * drops, claim)
        return found

    return compute


def cam_of(method: str) -> Cam:
    """Returns what a method consists of that has weights of channels, as all here have."""
    kind = configure(method, {})
    assert isinstance(kind, Cam)
    return kind


def score_share(method: str, classes: int) -> float:
    """Returns a method's score as a share of the target's logit.

    It is 1 / N where the method's seed sets all other classes against the target, else 1.
    """
    return 1 / classes if cam_of(method).signal == RELEVANCE else 1.0


@compiled(static=("function", "methods", "layers"))
def claimed(
    images: Float[Array, "b h w c"],
    parameters: object,
    labels: Int[Array, " b"],
    *,
    function: Callable,
    methods: tuple[str, ...],
    layers: tuple[str, ...],
) -> tuple[Float[Array, "b n"], dict[str, Float[Array, "b _k"]]]:
    """Returns the logits, and by ``METHOD/LAYER`` what each channel claims of the score: sum_hw w_k A_k."""
    found, logits = {}, None
    one_output = jax.eval_shape(function, images, parameters).shape[1] == 1
    function = xr.two_sided(function) if one_output else function
    cams = {method: cam_of(method) for method in methods}
    for signal in dict.fromkeys(cam.signal for cam in cams.values()):

        def seed(logits: Array, signal=signal) -> Array:
            return signal.seed(logits, labels)

        taps = xr.taps(function, signal.composite, images, parameters, seed=seed, marks=layers)
        logits = taps.output
        for method, cam in cams.items():
            if cam.signal == signal:
                for layer in layers:
                    a, s = taps.activations[layer], taps.relevances[layer]
                    claim = axioms.contributions(cam.weighed(a, s), cam.weights(a, s))
                    if signal == RELEVANCE:
                        # Relevance is seeded with 1 and -1/N, but the axiom is about L_t and -L_t/N.
                        claim *= jnp.take_along_axis(logits, labels[:, None], 1)
                    found[f"{method}/{layer}"] = claim
    assert logits is not None
    return logits[:, 1:] if one_output else logits, found


def write(study: Study, found: Mapping[str, Arrays]) -> None:
    """Writes the figures of each picture, and the tables."""
    write_figures(study, found)
    everything = np.ones(len(study.frames), bool)
    rows = list(product(study.methods, found))

    def cells(figure: str, method: str, label: str) -> list[Estimate]:
        values = [mean_figure(study, found[label], f"{figure}/{method}/{layer}", everything) for layer in study.layers]
        return [*values, mean_of(values)]

    titles = {"sensitivity": "Error of the sensitivity axiom (eq. 5.5)"} if study.settings["sensitivity"] else {}
    titles["conservation"] = "Error of the conservation axiom (eq. 5.6)"
    heads, labels = [*study.layers, "average"], ("method", "network")
    tables = [
        Table(file, title, {row: cells(file, *row) for row in rows}, heads, labels, best="min", unit="", decimals=4)
        for file, title in titles.items()
    ]
    write_contents(
        study.folder,
        title="Axioms",
        text=f"{len(study.frames)} frames of {study.settings['data']['patients']} patients; 0 is perfect, a map of "
        "zeros has a sensitivity error of 1. Computed in float32.",
        order=4,
        tables=tables,
    )
