"""What a metric is: a function of maps, with what it needs beside them, and how its figures are read."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from inspect import Parameter, signature
from typing import Any, Literal

from xrcam_jax.errors import unknown
from xrcam_jax.explain.variants import base, check_value, value_of, written_options
from xrcam_jax.metrics.judged import Figures
from xrcam_jax.titles import SIGN

Family = Literal["faithfulness", "robustness", "localisation", "complexity", "randomisation", "axiomatic"]
Need = Literal["model", "outlines", "explain"]
#: What an argument of a metric's functions stands for, by its name; any other one is what a pass gives.
NEEDED: Mapping[str, Need] = {
    "case": "model",
    "explain": "explain",
    "explain_shifted": "explain",
    "masks": "outlines",
    "truth": "outlines",
}
MAPS = "maps"


@dataclass(frozen=True)
class Metric:
    """Describes a metric.

    Attributes:
      title: its name in tables and figures.
      summary: what it measures, in one line.
      family: the question it answers, as the field sorts them.
      source: the paper that it comes from.
      best: whether more or less is better; None where neither is.
      figure: gives a figure for each map of each picture. Its arguments without defaults are, as far as it needs them,
        ``case``, ``explain`` (or ``explain_shifted``, see :class:`xrcam_jax.evaluation.measure.Given`), ``maps`` and
        ``masks`` (or ``truth``); before these, under any other names, what the passes give. All others are options.
      passes: functions of such arguments that run the model. Metrics of one call that have a pass with the same options
        share what it gives.
      signed: whether it judges what maps show before evidence against the class is cut off.
      of_set: whether a figure depends on the other pictures that are judged with it.
    """

    title: str
    summary: str
    family: Family
    source: str
    best: Literal["max", "min"] | None
    figure: Callable[..., Figures]
    passes: tuple[Callable, ...] = ()
    signed: bool = False
    of_set: bool = False

    @property
    def needs(self) -> tuple[Need, ...]:
        """Returns what it needs beside the maps."""
        names = [name for function in (*self.passes, self.figure) for name in arguments(function)]
        return tuple(dict.fromkeys(NEEDED[name] for name in names if name in NEEDED))

    @property
    def options_known(self) -> dict[str, Any]:
        """Returns the types of its options by name."""
        known: dict[str, Any] = {}
        for function in (*self.passes, self.figure):
            known |= options(function)
        return known


def arguments(function: Callable) -> list[str]:
    """Returns the names of a function's arguments that have to be given by place.

    Args:
      function: that has a signature.

    Example:
      >>> from xrcam_jax.evaluation.metric import arguments
      >>> from xrcam_jax.metrics.faithfulness import scores_when
      >>> arguments(scores_when)
      ['change', 'case', 'maps']
    """
    return [p.name for p in signature(function).parameters.values() if not _is_option(p)]


def options(function: Callable) -> dict[str, Any]:
    """Returns the types of a function's other arguments, by name.

    Args:
      function: that has a signature.

    Example:
      >>> from xrcam_jax.evaluation.metric import options
      >>> from xrcam_jax.metrics.faithfulness import ordered_scores
      >>> list(options(ordered_scores))
      ['steps', 'fill', 'score']
    """
    return {p.name: p.annotation for p in signature(function).parameters.values() if _is_option(p)}


def _is_option(parameter: Parameter) -> bool:
    return parameter.kind is Parameter.KEYWORD_ONLY or parameter.default is not Parameter.empty


@dataclass(frozen=True)
class Chosen:
    """Holds a metric and the options that it is measured with.

    Attributes:
      metric: of the table.
      options: values by name; all others have their defaults.
    """

    metric: Metric
    options: Mapping[str, Any]


def chosen(name: str, metrics: Mapping[str, Metric], given: Mapping[str, Any]) -> Chosen:
    """Returns a metric of a table, with options.

    Args:
      name: of the metric; it may have options itself, such as ``deletion+steps=20``, see
        :mod:`xrcam_jax.explain.variants`.
      metrics: the table.
      given: options of the metric by name.

    Raises:
      ValueError: there is no such metric or option, an option is given twice, or its value is wrong.

    Example:
      >>> from xrcam_jax.evaluation.metric import chosen
      >>> from xrcam_jax.evaluation.metrics import METRICS
      >>> dict(chosen("deletion+steps=20", METRICS, {"fill": 0.5}).options)
      {'fill': 0.5, 'steps': 20}
    """
    metric, written = base(name), written_options(name)
    if metric not in metrics:
        raise unknown("metric", metric, metrics)
    known = metrics[metric].options_known
    for option in (*given, *written):
        if option not in known:
            raise unknown(f"option of {metric}", option, known)
        if option in given and option in written:
            raise ValueError(f"{name}: the option {option} is given twice")
    for option, value in given.items():
        check_value(f"value of {option} of {metric}", value, known[option])
    _check_all_given(name, metrics[metric], {*given, *written})
    values = {
        option: value_of(f"value of {option} of {metric}", text, known[option]) for option, text in written.items()
    }
    return Chosen(metrics[metric], {**given, **values})


def _check_all_given(name: str, metric: Metric, options_given: set[str]) -> None:
    """Refuses a metric of which an option is missing that has no default."""
    for function in (*metric.passes, metric.figure):
        for p in signature(function).parameters.values():
            if _is_option(p) and p.default is Parameter.empty and p.name not in options_given:
                raise ValueError(f"{name}: the option {p.name} has no default; give {base(name)}{SIGN}{p.name}=...")


def metric_title(name: str, metrics: Mapping[str, Metric]) -> str:
    """Returns what tables and figures call a metric, with its options if its name has some.

    Args:
      name: of a metric in the table.
      metrics: the table.

    Example:
      >>> from xrcam_jax.evaluation.metric import metric_title
      >>> from xrcam_jax.evaluation.metrics import METRICS
      >>> metric_title("deletion+steps=20", METRICS)
      'Deletion, steps=20'
    """
    return ", ".join([metrics[base(name)].title, *(f"{o}={text}" for o, text in written_options(name).items())])


def needed_by(wanted: Mapping[str, Chosen], need: Need) -> Sequence[str]:
    """Returns the names of the metrics that have a need.

    Args:
      wanted: metrics by name.
      need: ``"model"``, ``"outlines"`` or ``"explain"``.

    Example:
      >>> from xrcam_jax.evaluation.metric import chosen, needed_by
      >>> from xrcam_jax.evaluation.metrics import METRICS
      >>> needed_by({name: chosen(name, METRICS, {}) for name in ("deletion", "iou")}, "outlines")
      ['iou']
    """
    return [name for name, each in wanted.items() if need in each.metric.needs]
