"""Explanations that say how sure they are: repeated with dropout, noise or other networks, and how the maps spread.

References:
  roddan2023
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from numbers import Integral, Real
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, PyTree

from xrcam_jax.attribution.case import INPUT
from xrcam_jax.attribution.shapes import at_least_float32
from xrcam_jax.cam.saliency import AGGREGATE, Aggregation
from xrcam_jax.classes import softmax_logits
from xrcam_jax.explain import drawing
from xrcam_jax.explain.disturbances import Disturbance
from xrcam_jax.explain.explained import Explained, in_order, with_images
from xrcam_jax.explain.explainer import Explainer
from xrcam_jax.explain.explanation import Explanation, register
from xrcam_jax.explain.given import Inputs, Target, Targets
from xrcam_jax.explain.inputs import first_rows
from xrcam_jax.explain.showing import PICTURES, Drawable, chosen_maps, scaled
from xrcam_jax.explain.spread import Moments, Spread, no_passes, over_passes, spread, with_more
from xrcam_jax.pictures.preprocessing import Preprocessing
from xrcam_jax.runtime.compiling import compiler_options
from xrcam_jax.runtime.devices import shards

#: The number of pictures times passes that run at a time on one device. On several devices one pass runs at a time,
#: since vmap over passes would gather the batch from the devices that it is laid across.
TOGETHER = 16
#: The largest number of passes; more would never end.
MOST = 100_000


@dataclass(frozen=True, repr=False)
class RepeatedExplanation(Explained[Spread]):
    """Holds what a :class:`Repeated` finds out about a batch; all arrays stay on the device.

    Methods, layers and pictures are chosen as of an :class:`xrcam_jax.Explanation`, which :meth:`mean` gives, to be
    plotted, laid over pictures and saved.

    Attributes:
      logits: what the undisturbed model returns, (b, n).
      targets: the classes that all passes explain, (b,) or (b, t): those of the undisturbed model by default.
      maps: how the saliency maps spread, by method and layer; and by ``"aggregate"``, what all layers show together as
        :meth:`xrcam_jax.Explanation.aggregate` gives it in each pass, of methods that work at layers.
      raw: the same of what the maps show, signed and at the layer's own size.
      value: of the number that is explained, the logit of the target, (b,) or (b, t).
      probabilities: of each class, (b, classes); of a target function there are none.
      passes: how many there were.
      relu: whether evidence against the target was cut off.
      images: what was explained, as it was given.
      labels: names of the classes; None where they have none.
      preprocessing: how the images were prepared; None where that is unknown.
    """

    logits: Float[Array, "b n"]
    targets: Int[Array, "b *t"]
    maps: dict[str, dict[str, Spread]]
    raw: dict[str, dict[str, Spread]]
    value: Spread
    probabilities: Spread | None
    passes: int
    relu: bool = True
    images: PyTree = None
    labels: tuple[str, ...] | None = None
    preprocessing: Preprocessing | None = None

    @property
    def coverage(self) -> float:
        """Returns how likely one more pass lies between low and high, at any one pixel: (n - 1) / (n + 1) of n passes.

        Of n + 1 passes, each is as likely as any other to be the smallest or the largest.
        """
        return (self.passes - 1) / (self.passes + 1)

    def mean(self) -> Explanation:
        """Returns the means over the passes as an explanation, with the logits of the undisturbed model."""
        maps, raw = (
            {method: {layer: each.mean for layer, each in by_layer.items()} for method, by_layer in part.items()}
            for part in (self.maps, self.raw)
        )
        return Explanation(
            self.logits,
            self.targets,
            maps,
            raw,
            self.relu,
            images=self.images,
            labels=self.labels,
            preprocessing=self.preprocessing,
        )

    def plot(
        self,
        methods: Sequence[str] | str | None = None,
        layers: Sequence[str] | str | None = None,
        *,
        style: Any = None,
    ) -> Any:
        """Returns a matplotlib ``Figure`` of the pictures, the mean maps and, beside each, how it varies.

        The variation, deviation over mean, is shown from 0 to its largest value in each map.

        Args:
          methods: those that are shown; all by default.
          layers: likewise; a method that has none of them is shown at all of its own.
          style: an :class:`xrcam_jax.Style`: colours, opacity, contours.

        Raises:
          ValueError: a method or layer was not asked for, or there are no pictures that can be shown.
          ImportError: matplotlib is not installed.
        """
        chosen: dict[str, dict[str, Any]] = {}
        first = self[:PICTURES] if len(self) > PICTURES else self
        for method, by_layer in chosen_maps(first.maps, methods, layers).items():
            chosen[method] = {}
            for layer, each in by_layer.items():
                varies = scaled(each.variation, self.targets.ndim)
                chosen[method] |= {layer: each.mean, f"{layer}, variation": varies}
        return drawing.figure(first._drawable("plot", chosen), style, of=len(self))

    def _drawn(self, what: str) -> Drawable:
        return self.mean()._drawn(what)

    def _headline(self) -> str:
        return f"{super()._headline()}, {self.passes} passes"


register(
    RepeatedExplanation,
    ("logits", "targets", "maps", "raw", "value", "probabilities", "images"),
    ("passes", "relu", "labels", "preprocessing"),
)


class Repeated:
    """Explains a model's decisions many times over, and says how the maps spread (roddan2023).

    All passes explain the same class. Methods that need one pass forth and back are computed by one program for all
    passes, and memory does not grow with their number; others run pass by pass, and so do networks of an ensemble.
    What methods draw at random is the same in each pass.

    Args:
      explain: the model, methods and layers; its ``random_seed`` is that of the passes.
      by: what makes the passes differ: a :class:`xrcam_jax.Dropout`, :class:`xrcam_jax.Noise` or
        :class:`xrcam_jax.Ensemble`.
      passes: how many, at least 2; by default 10, or as many as there are networks.
      quantiles: levels in [0, 1] of quantiles over the passes. For them the maps of all passes are kept until the
        batch is done.
      how: the layers of a pass are aggregated, see :meth:`xrcam_jax.Explanation.aggregate`.

    Raises:
      TypeError: ``explain`` is no Explainer, or ``by`` none of these.
      ValueError: too few passes, another number than there are networks, a level outside of [0, 1], or a model that
        cannot be disturbed in this way.

    Example:
      >>> import jax.numpy as jnp
      >>> import xrcam_jax as xr
      >>> model = lambda images: images.sum((1, 2))
      >>> explain = xr.Explainer(model, "gradient_x_input")
      >>> e = xr.Repeated(explain, xr.Noise(0.1), passes=3)(jnp.ones((1, 2, 2, 2)).at[0, 0, 0].set(5.0))
      >>> there = e.maps["gradient_x_input"]["input"]
      >>> float(there.mean[0, 0, 0]), float(there.variation[0, 0, 0]), e.coverage
      (1.0, 0.0, 0.5)

    References:
      roddan2023
    """

    def __init__(
        self,
        explain: Explainer,
        by: Disturbance,
        passes: int | None = None,
        *,
        quantiles: Sequence[float] = (),
        how: Aggregation = "mean",
    ):
        if not isinstance(explain, Explainer):
            raise TypeError(f"explain must be an Explainer; got {explain!r}")
        if not isinstance(by, Disturbance):
            raise TypeError(f"by must be xr.Dropout, xr.Noise or xr.Ensemble, with what they take; got {by!r}")
        if not isinstance(quantiles, Sequence | np.ndarray) or isinstance(quantiles, str):
            raise TypeError(f"quantiles must be several levels, such as [0.05, 0.95]; got {quantiles!r}")
        for level in quantiles:
            if not (isinstance(level, Real) and 0 <= level <= 1):
                raise ValueError(f"quantiles must be numbers in [0, 1]; got {level!r}")
        whole = isinstance(passes, Integral) and not isinstance(passes, bool)
        if passes is not None and not (whole and 2 <= passes <= MOST):
            raise ValueError(f"passes must be a whole number of at least 2 and at most {MOST}; got {passes!r}")
        self.explainer, self.by, self.quantiles, self.how = explain, by, tuple(quantiles), how
        self._disturbed, self._each = by.explainer(explain), by.passes(explain, passes)
        self.passes = len(self._each) if by.networks else len(jax.tree.leaves(self._each)[0])
        self._single_pass = [name for name, kind in explain.kinds.items() if kind.single_pass]
        self._layers: dict[str, tuple[str, ...]] = {}
        options = dict(compiler_options())
        self._together = jax.jit(self._in_one_program, static_argnums=(0, 1, 2), compiler_options=options)
        self._observed, self._with_more = jax.jit(partial(_observed, how=how)), jax.jit(with_more)

    def __call__(
        self,
        images: Inputs,
        targets: Targets | None = None,
        *,
        top_k: int | None = None,
        target: Target | None = None,
    ) -> RepeatedExplanation:
        """Explains a batch.

        Args:
          images: as for :class:`xrcam_jax.Explainer`.
          targets: the class of each image to explain, or t classes; by default the one that the undisturbed model
            predicts, of an ensemble the first network.
          top_k: explain the k classes instead that are the likeliest by that model.
          target: explain what this function says of the model's output instead.

        Raises:
          ValueError: as the Explainer does.
        """
        shown = self.explainer.as_arrays(images)
        images, chosen, target, batch = self.explainer.checked(shown, targets, top_k=top_k, target=target)
        if self.by.networks:
            plain = self.explainer.explain(
                self.explainer.parameters, images, chosen, top_k=top_k, target=target, methods=()
            )
            logits, chosen = plain.logits, plain.targets
            found = self._pass_by_pass(self._single_pass, images, chosen, target)
        else:
            # A function is part of the program; the arrays of one that holds some are not.
            is_function = target is not None and jax.tree_util.all_leaves([target])
            fixed, arrays = (target, None) if is_function else (None, target)
            given = self.explainer.parameters, self._each, images, chosen, arrays
            logits, chosen, found = self._together(at_a_time(self.passes, images), top_k, fixed, given)
        for name, kind in self.explainer.kinds.items():
            if not kind.single_pass:
                also = self._pass_by_pass([name], images, chosen, target)
                found = {**found, "maps": found["maps"] | also["maps"], "raw": found["raw"] | also["raw"]}
        maps, raw = (self._in_order(found[part]) for part in ("maps", "raw"))
        probabilities = found["probabilities"] if target is None else None
        explain = self.explainer
        held = logits, chosen, maps, raw, found["value"], probabilities
        labels = explain.labels if target is None else None
        e = RepeatedExplanation(*held, self.passes, explain.relu, labels=labels, preprocessing=explain.preprocessing)
        return with_images(e if len(logits) == batch else in_order(e, first_rows(e, batch)), shown)

    def _in_one_program(
        self, together: int, top_k: int | None, fixed: Callable | None, given: PyTree
    ) -> tuple[Array, Array, dict[str, Any]]:
        """Returns the undisturbed logits, the targets, and how what single-pass methods show spreads."""
        parameters, each, images, targets, held = given
        target = held if fixed is None else fixed
        plain = self.explainer.explain(parameters, images, targets, top_k=top_k, target=target, methods=())

        def one(x: PyTree) -> dict[str, Any]:
            return _observed(self._explained(parameters, images, plain.targets, target, x, self._single_pass), self.how)

        return plain.logits, plain.targets, over_passes(one, each, together, self.quantiles)

    def _pass_by_pass(
        self, methods: list[str], images: PyTree, targets: Array, target: Callable | None
    ) -> dict[str, Any]:
        """Returns how what methods show spreads, of which each pass is programs of its own."""
        found: Moments | None = None
        kept = []
        for number in self.explainer.progress(range(self.passes), self.passes, "passes"):
            x = self._each[number] if self.by.networks else jax.tree.map(lambda a, i=number: a[i], self._each)
            e = self._explained(self.explainer.parameters, images, targets, target, x, methods)
            values = self._observed(e)
            before = no_passes(values) if found is None else found
            found = self._with_more(before, jax.tree.map(lambda a: a[None], values))
            kept += [values] if self.quantiles else []
        assert found is not None
        return spread(found, self.quantiles, jax.tree.map(lambda *a: jnp.stack(a), *kept) if kept else None)

    def _explained(
        self, parameters: PyTree, images: PyTree, targets: Array, target: Callable | None, x: PyTree, methods: list[str]
    ) -> Explanation:
        """Returns the explanation of one pass."""
        parameters, images = self.by.disturbed(parameters, images, x)
        e = self._disturbed.explain(parameters, images, targets, target=target, methods=methods)
        # Compiled functions return dictionaries sorted by name, so the order is noted where it is still known.
        self._layers |= {method: tuple(layers) for method, layers in e.raw.items()}
        return e

    def _in_order(self, found: dict[str, dict[str, Spread]]) -> dict[str, dict[str, Spread]]:
        """Returns the same with methods and layers in the order in which they were asked for."""
        return {
            method: {layer: found[method][layer] for layer in (*layers, AGGREGATE) if layer in found[method]}
            for method, layers in ((method, self._layers[method]) for method in self.explainer.methods)
        }


def _observed(e: Explanation, how: Aggregation) -> dict[str, Any]:
    """Returns what of an explanation is followed over the passes."""
    probabilities = jax.nn.softmax(softmax_logits(at_least_float32(e.logits)))
    maps = {method: with_aggregate(e, method, how) for method in e.maps}
    return {"maps": maps, "raw": e.raw, "value": e.value, "probabilities": probabilities}


def with_aggregate(e: Explanation, method: str, how: Aggregation = "mean") -> dict[str, Float[Array, "b *rest"]]:
    """Returns a method's maps by layer, and by ``"aggregate"`` their aggregate, unless they are of the input alone.

    Args:
      e: an explanation.
      method: one that was asked for.
      how: layers are aggregated, see :meth:`xrcam_jax.Explanation.aggregate`.

    Example:
      >>> import jax.numpy as jnp
      >>> import xrcam_jax as xr
      >>> from xrcam_jax.explain.repeated import with_aggregate
      >>> model = lambda images: xr.mark(images, "colours").mean((1, 2))
      >>> e = xr.Explainer(model, ["grad_cam", "gradient"])(jnp.ones((1, 2, 2, 3)))
      >>> list(with_aggregate(e, "grad_cam")), list(with_aggregate(e, "gradient"))
      (['colours', 'aggregate'], ['input'])
    """
    maps = e.maps[method]
    at_input = all(layer.partition(".")[0] == INPUT for layer in maps)
    # Inputs of several sizes have no mean.
    alike = len({each.shape for each in maps.values()}) == 1
    return dict(maps) if at_input or not alike else {**maps, AGGREGATE: e.aggregate(method, how=how)}


def at_a_time(passes: int, images: PyTree) -> int:
    """Returns how many passes run together: with all their pictures no more than :data:`TOGETHER`.

    Args:
      passes: how many there are.
      images: a batch, or several inputs.

    Returns:
      A divisor of the number of passes; 1 for a batch that lies across devices.

    Example:
      >>> import jax.numpy as jnp
      >>> from xrcam_jax.explain.repeated import at_a_time
      >>> [at_a_time(10, jnp.ones((batch, 4, 4, 3))) for batch in (1, 2, 6, 32)]
      [10, 5, 2, 1]
    """
    first = jax.tree.leaves(images)[0]
    most = 1 if shards(first) > 1 else max(1, TOGETHER // len(first))
    return max(number for number in range(1, min(most, passes) + 1) if passes % number == 0)
