"""``xr.evaluate``: the figures of an explanation, by as many metrics as asked for."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Array, Float, Int, PyTree

from xrcam_jax.attribution.case import Case, Progress, no_progress
from xrcam_jax.cam.saliency import AGGREGATE, AGGREGATIONS, Aggregation
from xrcam_jax.errors import unknown
from xrcam_jax.evaluation.evaluation import Evaluation
from xrcam_jax.evaluation.measure import Given, measured
from xrcam_jax.evaluation.metric import Chosen, chosen, needed_by
from xrcam_jax.evaluation.metrics import METRICS, USUAL
from xrcam_jax.explain.again import Again, explain_again, stacked_maps
from xrcam_jax.explain.explainer import Explainer
from xrcam_jax.explain.explanation import Explanation
from xrcam_jax.explain.given import as_array, asked_of
from xrcam_jax.explain.inputs import views_of
from xrcam_jax.explain.outline import layers_of
from xrcam_jax.explain.variants import check_value
from xrcam_jax.metrics.judged import Explain

#: A method and a layer, or ``"aggregate"``.
Place = tuple[str, str]


def evaluate(
    explanation: Explanation,
    metrics: Sequence[str] | str | None = None,
    *,
    masks: ArrayLike | None = None,
    model: Callable | None = None,
    explainer: Explainer | None = None,
    options: Mapping[str, Mapping[str, Any]] | None = None,
    aggregate: Aggregation | None = None,
    chunk_size: int | None = None,
    progress: Progress = no_progress,
    random_seed: int = 0,
) -> Evaluation:
    """Returns how good the maps of an explanation are, by as many metrics as asked for.

    Metrics that run the model on changed pictures share the passes that they have in common, and no figure depends on
    which other pictures are in the batch.

    Args:
      explanation: its maps are judged, of one target for each picture.
      metrics: names in ``xrcam_jax.METRICS``, which may have options, such as ``deletion+steps=20``; so one metric can
        be there in several variants. By default some of the usual ones, those for which there is what they need.
      masks: what was outlined in each picture, (b, h, w), which metrics of localisation need.
      model: that is explained, as for an :class:`xrcam_jax.Explainer`; others need that.
      explainer: that has explained it, which metrics of robustness and randomisation need. The model is its own.
      options: by metric, its keyword arguments: ``{"deletion": {"steps": 20}}``.
      aggregate: also judge each method's maps of several layers together, and how they are joined, see
        :meth:`xrcam_jax.Explanation.aggregate`.
      chunk_size: how many changed versions of the batch run at a time; as many as fit into a gibibyte by default.
      progress: (iterable, its length, a name) -> the iterable; shows a bar for long loops.
      random_seed: of all that is random.

    Raises:
      ValueError: an unknown metric or option, something that a metric needs is missing or of another shape, or an
        explanation of several targets, of several inputs, or of no pictures that it refers to.

    Example:
      >>> import jax.numpy as jnp
      >>> import xrcam_jax as xr
      >>> kernel, head = jnp.array([[1.0, -1.0], [0.0, 1.0], [0.0, 0.0]]), jnp.eye(2)
      >>> model = lambda images: xr.mark(jnp.maximum(images @ kernel, 0), "layer").mean((1, 2)) @ head
      >>> images = jnp.zeros((1, 2, 2, 3)).at[0, 1, 1, 0].set(1.0)
      >>> e = xr.grad_cam(model, images)
      >>> v = xr.evaluate(e, ["contrast+steps=4", "iou"], masks=images[..., 0] > 0, model=model)
      >>> v["iou", "grad_cam", "layer"].tolist(), v["contrast+steps=4", "grad_cam", "layer"].tolist()
      ([1.0], [1.0])
    """
    if not isinstance(explanation, Explanation):
        raise ValueError(f"explanation must be an xrcam_jax.Explanation; got {type(explanation).__name__}")
    check_value("chunk_size", chunk_size, int | None)
    check_value("random_seed", random_seed, int)
    given = _given(explanation, masks, model, explainer, aggregate, (chunk_size, progress, random_seed))
    names = _names(metrics, given)
    by_metric = _options(options, names)
    wanted = {name: chosen(name, METRICS, by_metric.get(name, {})) for name in names}
    check_needs(wanted, given)
    if explainer is not None and given.case is not None and needed_by(wanted, "explain"):
        _check_same_maps(explanation, explainer, given.case)
    if any(each.metric.signed for each in wanted.values()):
        if not explanation.raw:
            raise ValueError("explanation: it has no raw maps, which metrics of signed maps need")
        given = replace(given, signed=stacked_maps(explanation, raw=True))
    found = jax.device_get(measured(wanted, given))
    values: dict[str, dict[str, dict[str, np.ndarray]]] = {name: {} for name in wanted}
    places = stacked(explanation, aggregate)[0]
    for name, figures in found.items():
        signed = wanted[name].metric.signed
        of = [place for place in places if not (signed and place[1] == AGGREGATE)]
        for (method, layer), each in zip(of, np.asarray(figures), strict=True):
            values[name].setdefault(method, {})[layer] = each
    return Evaluation(values)


def check_needs(wanted: Mapping[str, Chosen], given: Given) -> None:
    """Refuses metrics for which something is missing.

    Args:
      wanted: metrics by name.
      given: what there is.

    Raises:
      ValueError: a metric needs a model, outlines, or what explains again, and there is none.

    Example:
      >>> import jax.numpy as jnp
      >>> from xrcam_jax.evaluation.evaluate import check_needs
      >>> from xrcam_jax.evaluation.measure import Given
      >>> from xrcam_jax.evaluation.metric import chosen
      >>> from xrcam_jax.evaluation.metrics import METRICS
      >>> check_needs({"iou": chosen("iou", METRICS, {})}, Given(jnp.ones((1, 1, 2, 2))))
      Traceback (most recent call last):
      ValueError: iou: needs outlines; give masks=, one for each picture
    """
    there = {"model": given.case, "outlines": given.masks, "explain": given.explain}
    cures = {
        "model": "needs the model; give model= or explainer=",
        "outlines": "needs outlines; give masks=, one for each picture",
        "explain": "explains again; give explainer=, the Explainer that made the maps",
    }
    for need, cure in cures.items():
        missing = needed_by(wanted, need)  # type: ignore[arg-type]
        if missing and there[need] is None:
            raise ValueError(f"{', '.join(missing)}: {cure}")


def _names(metrics: Sequence[str] | str | None, given: Given) -> list[str]:
    """Returns the names of the metrics that are asked for, or of the usual ones for which there is what they need."""
    if not (metrics is None or isinstance(metrics, Iterable)):
        raise ValueError(f"metrics: expected a name or a list of names, found {metrics!r}")
    names = _affordable(given) if metrics is None else [metrics] if isinstance(metrics, str) else list(metrics)
    if metrics is None and not names:
        raise ValueError(
            "metrics: none of the usual ones can be measured of maps alone; give masks=, model= or explainer="
        )
    if not names:
        raise ValueError("metrics: expected at least one name, got none")
    if wrong := [name for name in names if not isinstance(name, str)]:
        raise ValueError(f"metrics: expected names, found {wrong[0]!r}")
    if len(set(names)) != len(names):
        raise ValueError(f"metrics: the same name twice in {', '.join(names)}")
    return names


def _options(options: Mapping[str, Mapping[str, Any]] | None, names: Sequence[str]) -> Mapping[str, Mapping[str, Any]]:
    """Returns the options of each metric, of which there are names."""
    options = {} if options is None else options
    if not isinstance(options, Mapping):
        raise ValueError(f'options must be given by metric, such as {{"deletion": {{"steps": 20}}}}; got {options!r}')
    for name, each in options.items():
        if name not in names:
            raise unknown("metric in options", str(name), names)
        if not isinstance(each, Mapping):
            raise ValueError(f'options of {name} must be given by name, such as {{"steps": 20}}; got {each!r}')
    return options


def _affordable(given: Given) -> list[str]:
    """Returns the usual metrics for which there is what they need."""
    there = {"model": given.case, "outlines": given.masks, "explain": given.explain}
    return [name for name in USUAL if all(there[need] is not None for need in METRICS[name].needs)]


def stacked(
    explanation: Explanation, aggregate: Aggregation | None = None
) -> tuple[list[Place], Float[Array, "m b *_s"]]:
    """Returns all maps of an explanation as one array.

    Args:
      explanation: of one target for each picture, whose maps have one size.
      aggregate: how the maps of a method that has several layers are joined; left out by default.

    Returns:
      For each map its method and layer, or ``"aggregate"``; and the maps.

    Raises:
      ValueError: there are several targets or sizes, no maps, or another aggregation.

    Example:
      >>> import jax.numpy as jnp
      >>> import xrcam_jax as xr
      >>> from xrcam_jax.evaluation.evaluate import stacked
      >>> e = xr.Explanation(jnp.eye(2), jnp.arange(2), {"lrp": {"a": jnp.ones((2, 4, 4))}}, {})
      >>> places, maps = stacked(e)
      >>> places, maps.shape
      ([('lrp', 'a')], (1, 2, 4, 4))
    """
    if explanation.targets.ndim != 1:
        count = explanation.targets.shape[1]
        raise ValueError(
            f"explanation: expected one target for each picture, found {count}; explain one after the other"
        )
    if aggregate is not None and aggregate not in AGGREGATIONS:
        raise unknown("aggregation", str(aggregate), AGGREGATIONS)
    maps: dict[Place, Array] = {}
    for method, by_layer in explanation.maps.items():
        maps |= {(method, layer): each for layer, each in by_layer.items()}
        if aggregate is not None and len(by_layer) > 1:
            maps[method, AGGREGATE] = explanation.aggregate(method, how=aggregate)
    sizes = {each.shape[1:] for each in maps.values()}
    if len(sizes) != 1:
        raise ValueError(f"explanation: expected maps of one size, found {', '.join(map(str, sizes)) or 'no maps'}")
    return list(maps), jnp.stack(list(maps.values()))


def _given(
    e: Explanation,
    masks: ArrayLike | None,
    model: Callable | None,
    explainer: Explainer | None,
    aggregate: Aggregation | None,
    settings: tuple[int | None, Progress, int],
) -> Given:
    _, maps = stacked(e, aggregate)
    if masks is not None:
        masks = as_array("masks", masks)
        if masks.dtype != bool or masks.shape != maps.shape[1:]:
            found = f"{masks.dtype} of shape {masks.shape}"
            raise ValueError(f"masks must be one of True and False for each picture, {maps.shape[1:]}; got {found}")
    if model is not None and explainer is not None:
        raise ValueError("give model or explainer, not both: an Explainer has its model")
    if explainer is not None and not isinstance(explainer, Explainer):
        raise ValueError(f"explainer must be an xrcam_jax.Explainer; got {type(explainer).__name__}; a model is model=")
    if isinstance(model, Explainer):
        raise ValueError("model is an Explainer; give it as explainer=")
    own = explainer if model is None else Explainer(model, ())
    case = None if own is None else _case(e, own, settings)
    again = None if explainer is None else _Again(explainer, tuple(e.maps), aggregate)
    return Given(maps, case=case, explain=again, masks=masks)


def _check_same_maps(e: Explanation, explainer: Explainer, case: Case) -> None:
    """Refuses an Explainer that would make maps of other layers than those that are judged."""
    for method, by_layer in e.maps.items():
        if method not in explainer.methods:
            raise unknown("method of explainer", method, explainer.methods)
        # Layers of a transformer's tokens count with marks that the Explainer adds: these are not compared.
        if explainer.tokens is None:
            kind, model = explainer.kinds[method], (case.function, case.images, case.parameters)
            if (layers := layers_of(method, kind, explainer.layers, *model)) != tuple(by_layer):
                found = f"it explains {method} at {', '.join(layers)}, and the explanation is of {', '.join(by_layer)}"
                raise ValueError(f"explainer: expected the one that made the maps; {found}")


@dataclass(frozen=True, eq=False)
class _Again:
    """Makes what explains again, see :class:`xrcam_jax.evaluation.measure.Given`."""

    explainer: Explainer
    methods: tuple[str, ...]
    aggregate: Aggregation | None

    def __call__(self, signed: bool, shift: float) -> Explain:
        again = explain_again(self.explainer, self.methods, raw=signed, shift=shift)
        return again if signed or self.aggregate is None else Joined(again, self.aggregate, _with_aggregates)


@dataclass(frozen=True)
class Joined:
    """Is the function by which an Explainer explains again, with maps of several layers together.

    Attributes:
      again: without these.
      how: layers are joined.
      stack: (explanation, how) -> all maps (m, b, *space).
    """

    again: Again
    how: Aggregation
    stack: Callable[[Explanation, Aggregation], Array]

    def __call__(
        self, images: Float[Array, "b *space c"], parameters: PyTree, targets: Int[Array, "b 1"]
    ) -> Float[Array, "m b *space"]:
        """Returns the maps, as ``stack`` has them."""
        e = self.again.explainer.explain(parameters, images, targets[:, 0], methods=self.again.methods)
        return self.stack(e, self.how)


def _with_aggregates(e: Explanation, how: Aggregation) -> Array:
    return stacked(e, how)[1]


def _case(e: Explanation, own: Explainer, settings: tuple[int | None, Progress, int]) -> Case:
    """Returns the model and the pictures, as metrics that run the model want them."""
    if e.images is None:
        raise ValueError(
            "explanation: it refers to no pictures, as those that are made inside jit; explain them outside"
        )
    _, target = asked_of(own.target, None, None, None)
    views = views_of(own.function, own.parameters, own.as_arrays(e.images), own.explained, target)
    if len(views) != 1:
        raise ValueError(f"explanation: expected one input of pictures, found {', '.join(views)}; explain one of them")
    ((function, images, parameters),) = views.values()
    chunk_size, progress, random_seed = settings
    if chunk_size is not None and chunk_size < 1:
        raise ValueError(f"chunk_size must be at least 1; got {chunk_size}")
    case = Case(function, parameters, images, e.targets[:, None], chunk_size, progress, random_seed, own.tokens)
    if case.outputs != e.logits.shape[-1]:
        expected = f"an explanation of {case.outputs} logits, as the model gives"
        raise ValueError(
            f"explanation: expected {expected}; found {e.logits.shape[-1]} (of a target function, or another model)"
        )
    return case
