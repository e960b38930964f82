"""Measures how little maps of relevance depend on what lies above their layer, and what changes that.

    python -m experiments.weakness      # ten minutes on 2 cores

By the network of the package, on drawn frames of patients that it has not seen, it takes maps at layer 3 with the
published rules and seed, then with others. It draws the classifier, then layer 4 too, anew, and says how alike the maps
stay, and how alike those of both classes are. The table goes into ``docs/weakness.md``.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, PyTree

import xrcam_jax as xr
from xrcam_jax.checkpoints.packaged import MODEL, WEIGHTS
from xrcam_jax.data.cohort import Cohort, scans, views
from xrcam_jax.data.synthetic import LABELS
from xrcam_jax.explain.functional import as_function
from xrcam_jax.lrp.assignments import Assign, Composite
from xrcam_jax.metrics.sanity import randomised, similarity
from xrcam_jax.metrics.uncertainty import Estimate, mean
from xrcam_jax.pictures.field_of_view import find_view
from xrcam_jax.runtime.files import write_whole

PAGE = Path(__file__).parent.parent / "docs" / "weakness.md"
BEGIN, END = "<!-- begin: python -m experiments.weakness -->", "<!-- end -->"
UNSEEN = Cohort(gbm=10, meningioma=10, videos=1, frames=4, side=96, seed=987654321)
LAYER, DRAWS = "layer3", 3
#: What is drawn anew.
PARTS = {"classifier": ("fc",), "classifier and layer 4": ("fc", "layer4"), "and layer 3": ("fc", "layer4", "layer3")}
PUBLISHED = xr.composites.relevance_cam()


@dataclass(frozen=True)
class Setting:
    """Is a way of making maps.

    Attributes:
      says: what it is, a line of the table.
      method: of the package's table.
      options: of the method.
    """

    says: str
    method: str = "xrelevance_cam"
    options: Mapping[str, Any] = field(default_factory=dict)


def first(rule: xr.rules.Rule, name: str = "*") -> Composite:
    """Returns the published rules, but for layers with weights, where a name fits, another one."""
    return replace(PUBLISHED, assignments=(Assign(rule, ("convolution", "dense"), name), *PUBLISHED.assignments))


def alone(logits: Float[Array, "b n"], targets: Int[Array, " b"]) -> Float[Array, "b n"]:
    """Puts 1 at the target, whatever its logit."""
    return jax.nn.one_hot(targets, logits.shape[1], dtype=logits.dtype)


SETTINGS = (
    Setting("XRelevance-CAM as published: α1β0, seed 1 and -1/N"),
    Setting("seed 1 at the target alone", options={"seed": alone}),
    Setting("seed 1 at the target, -1 at the other class", options={"seed": xr.seeds.sglrp_unit}),
    Setting("α2β1 for all layers", options={"composite": xr.composites.relevance_cam(alpha=2.0, beta=1.0)}),
    Setting("γ = 0.25 for all layers", options={"composite": first(xr.rules.Gamma(0.25, 1e-6, bias=False))}),
    Setting("ε for the classifier", options={"composite": first(xr.rules.Epsilon(1e-6), "fc")}),
    Setting("ε for layer 4", options={"composite": first(xr.rules.Epsilon(1e-6), "layer4")}),
    Setting("ε for all layers", options={"composite": first(xr.rules.Epsilon(1e-6))}),
    Setting("Relevance-CAM as published", "relevance_cam"),
    Setting("XGrad-CAM", "x_grad_cam"),
    Setting("Grad-CAM", "grad_cam"),
)


def frames(model: Any) -> tuple[Float[np.ndarray, "b h w c"], Int[np.ndarray, " b"], Int[np.ndarray, " b"]]:
    """Returns frames as the network wants them, their classes, and the number of each one's patient."""
    pictures, labels, patients = [], [], []
    for number, scan in enumerate(scans(UNSEEN)):
        grey = [view.picture for view in views(UNSEEN, scan)][::2]
        box = find_view(grey).box
        seen = np.repeat(np.stack(grey)[:, *box.slices, None], 3, axis=3)
        pictures.append(np.asarray(xr.preprocess(seen, model.preprocessing)))
        labels += [LABELS.index(scan.label)] * len(seen)
        patients += [number] * len(seen)
    return np.concatenate(pictures), np.array(labels), np.array(patients)


def measured(
    model: Any, images: Float[np.ndarray, "b h w c"], labels: Int[np.ndarray, " b"], setting: Setting
) -> dict[str, Float[np.ndarray, " b"]]:
    """Returns for each frame how alike maps stay, by what is drawn anew, and how alike both classes' maps are."""
    explain = xr.Explainer(model, setting.method, LAYER, options={setting.method: dict(setting.options)})
    _, trained = as_function(model)

    @jax.jit
    def maps_of(parameters: PyTree, targets: Int[Array, " b"]) -> Float[Array, "b h w"]:
        return explain.explain(parameters, jnp.asarray(images), targets).maps[setting.method][LAYER]

    here = np.asarray(maps_of(trained, jnp.asarray(labels)))
    found = {}
    for says, parts in PARTS.items():
        alike = []
        for draw in range(DRAWS):
            drawn = randomised(trained, parts, jax.random.key(draw))
            alike.append(_similarities("ssim", here, np.asarray(maps_of(drawn, jnp.asarray(labels)))))
        found[says] = np.mean(alike, axis=0)
    other = np.asarray(maps_of(trained, jnp.asarray(1 - labels)))
    return found | {"both classes": _similarities("rank", here, other)}


def _similarities(name: str, a: np.ndarray, b: np.ndarray) -> Float[np.ndarray, " b"]:
    measure = similarity(name)
    return np.array(
        [measure(*(np.nan_to_num(each.astype(np.float32)) for each in pair)) for pair in zip(a, b, strict=True)]
    )


def rows() -> Iterator[str]:
    """Yields the lines of the table."""
    with jax.enable_x64(True):
        model = xr.load_model(MODEL, WEIGHTS, dtype=jnp.float64)
        images, labels, patients = frames(model)
        heads = [*(f"SSIM, {says} anew" for says in PARTS), "rank correlation of both classes"]
        yield f"| maps at layer 3 | {' | '.join(heads)} |"
        yield "|---|" + "---:|" * (len(PARTS) + 1)
        for setting in SETTINGS:
            found = measured(model, images.astype(np.float64), labels, setting)
            yield f"| {setting.says} | {' | '.join(_cell(mean(each, patients)) for each in found.values())} |"


def _cell(figure: Estimate) -> str:
    return f"{figure.value:.2f} [{figure.low:.2f}, {figure.high:.2f}]"


def main() -> int:
    """Writes the table into the page; returns the exit status."""
    lines = []
    for line in rows():
        print(line, flush=True)
        lines.append(line)
    text = PAGE.read_text(encoding="utf-8")
    before, after = text[: text.index(BEGIN) + len(BEGIN)], text[text.index(END) :]
    write_whole(PAGE, "\n".join([before, "", *lines, "", after]).encode())
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
