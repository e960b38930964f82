"""Measures metrics on a stack of maps; what several of them need is computed once."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from xrcam_jax.attribution.case import Case
from xrcam_jax.evaluation.metric import MAPS, NEEDED, Chosen, arguments, options
from xrcam_jax.metrics.judged import Explain, Figures, Maps, Masks


@dataclass(frozen=True, eq=False)
class Given:
    """Holds what metrics judge, and what they may need for it.

    Attributes:
      maps: m maps of each picture, in [0, 1].
      signed: those that there are before evidence against the class is cut off, unscaled and at the picture's size;
        aggregates have none.
      case: the model, the pictures and one target for each.
      explain: (whether maps are signed, what the model takes off its pictures) -> what makes these maps anew, of other
        pictures and parameters.
      masks: what was outlined.
    """

    maps: Maps
    signed: Float[Array | np.ndarray, "_n b *space"] | None = None
    case: Case | None = None
    explain: Callable[[bool, float], Explain] | None = None
    masks: Masks | None = None

    def of(self, name: str, *, signed: bool) -> Any:
        """Returns what stands for an argument of this name."""
        if name == "maps":
            return self.signed if signed else self.maps
        if name in ("explain", "explain_shifted"):
            assert self.explain is not None
            return self.explain(signed, 0.0) if name == "explain" else partial(self.explain, signed)
        return self.masks if name == "truth" else getattr(self, name)


def measured(wanted: Mapping[str, Chosen], given: Given) -> dict[str, Figures]:
    """Returns the figures of all metrics that are wanted, for each map of each picture.

    Args:
      wanted: metrics by name, of which ``given`` has all that they need.
      given: what is judged.

    Returns:
      By name, NaN where a figure is undefined: at least where a metric needs an outline, and nothing is outlined, and
        where a map has NaN. Of metrics of signed maps they are those of ``given.signed``.

    Example:
      >>> import jax.numpy as jnp
      >>> from xrcam_jax.evaluation.measure import Given, measured
      >>> from xrcam_jax.evaluation.metric import chosen
      >>> from xrcam_jax.evaluation.metrics import METRICS
      >>> given = Given(jnp.array([[[[0.0, 1.0]], [[0.0, 1.0]]]]), masks=jnp.array([[[False, True]], [[False, False]]]))
      >>> measured({"pointing_game": chosen("pointing_game", METRICS, {})}, given)["pointing_game"].tolist()
      [[1.0, nan]]
    """
    kept: dict[Any, Any] = {}

    def passed(function: Callable, each: Chosen) -> Any:
        """Returns what a pass gives, from before if another metric has had it."""
        values = _options(function, each, given)
        key = (function, each.metric.signed, *((name, _key(value)) for name, value in sorted(values.items())))
        if key not in kept:
            kept[key] = _called(function, each, given, [], values)
        return kept[key]

    found = {}
    for name, each in wanted.items():
        results = [passed(function, each) for function in each.metric.passes]
        values = _options(each.metric.figure, each, given)
        figures = jnp.asarray(_called(each.metric.figure, each, given, results, values))
        figures = figures if jnp.issubdtype(figures.dtype, jnp.floating) else figures.astype(jnp.float32)
        maps = given.of(MAPS, signed=each.metric.signed)
        figures = _where_outlined(figures, given.masks) if "outlines" in each.metric.needs else figures
        found[name] = _where_known(figures, maps)
    return found


def _options(function: Callable, each: Chosen, given: Given) -> dict[str, Any]:
    """Returns the options that are the function's own. The value of a target function has no probability."""
    known = options(function)
    usual = {"score": "logit"} if "score" in known and given.case is not None and given.case.of_value else {}
    return usual | {name: value for name, value in each.options.items() if name in known}


def _called(function: Callable, each: Chosen, given: Given, results: list[Any], values: Mapping[str, Any]) -> Any:
    rest = iter(results)
    places = (
        given.of(name, signed=each.metric.signed) if name in (MAPS, *NEEDED) else next(rest)
        for name in arguments(function)
    )
    return function(*places, **values)


def _key(value: Any) -> Any:
    try:
        return type(value), hash(value), value
    except TypeError:
        # Arrays have no hash. As long as the call lasts, no other one can have its number.
        return id(value)


def _where_known(figures: Array, maps: Any) -> Array:
    # A map with NaN is no map: sorted or compared, it would get some figure all the same.
    return jnp.where(jnp.isnan(jnp.asarray(maps)).any(tuple(range(2, maps.ndim))), jnp.nan, figures)


def _where_outlined(figures: Figures, masks: Any) -> Array:
    return jnp.where(jnp.asarray(masks).any(tuple(range(1, masks.ndim))), figures, jnp.nan)
