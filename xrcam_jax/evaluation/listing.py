"""The table of metrics in words."""

from collections.abc import Iterator

from xrcam_jax.evaluation.metric import Metric
from xrcam_jax.evaluation.metrics import METRICS
from xrcam_jax.explain.variants import SIGN, described

#: What the values of options are.
SIGNS = (
    "N is a whole number, X a number, NAME a name; NxN several with an x between them, such as "
    "sensitivity_n+sizes=10x100x1000, and NAME:NAME several names with a colon."
)
_BEST = {"max": "higher is better", "min": "lower is better", None: "neither is better"}
_NEEDS = {"model": "the model", "outlines": "outlines", "explain": "explaining again"}


def lines() -> Iterator[str]:
    """Yields the metrics by family, each with what it needs, how it is read, its source and its options.

    The last line says what values of options are.

    Example:
      >>> from xrcam_jax.evaluation.listing import lines
      >>> next(lines()), next(line for line in lines() if "pointing_game" in line).split(":")[0].split(maxsplit=1)
      ('faithfulness', ['pointing_game', 'Pointing game'])
    """
    family = None
    for name, metric in METRICS.items():
        if metric.family != family:
            family = metric.family
            yield family
        yield f"  {name:33} {metric.title}: {metric.summary}"
        yield f"  {'':33}   {_BEST[metric.best]}; needs {needs(metric)} [{metric.source}]"
        for option in described(metric.options_known):
            yield f"  {'':33}   {SIGN}{option}"
    yield SIGNS


def needs(metric: Metric) -> str:
    """Returns what a metric needs beside the maps, in words.

    Args:
      metric: of the table.

    Example:
      >>> from xrcam_jax.evaluation.listing import needs
      >>> from xrcam_jax.evaluation.metrics import METRICS
      >>> needs(METRICS["joint_faithfulness"]), needs(METRICS["deletion"])
      ('the model and outlines', 'the model')
    """
    return " and ".join(_NEEDS[need] for need in metric.needs) or "the map alone"
