"""Single-pass methods: one forward pass and one backward pass for each signal, for all methods and layers together."""

from abc import abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, ClassVar, TypeGuard

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, PyTree, Shaped

from xrcam_jax.attribution.asked import explained_flags, is_value
from xrcam_jax.attribution.case import INPUT, Case, Function
from xrcam_jax.attribution.shapes import at_least_float32
from xrcam_jax.attribution.targets import over_targets
from xrcam_jax.cam.saliency import weighted_sum
from xrcam_jax.classes import class_logits
from xrcam_jax.explain.kinds import Channels, Found, Kind, Where, keywords, split
from xrcam_jax.lrp.composites import Composite
from xrcam_jax.lrp.program import trace
from xrcam_jax.lrp.sides import seed_of_sides
from xrcam_jax.lrp.transform import Tapped, tap_program
from xrcam_jax.marks import mark
from xrcam_jax.runtime.compiling import compiled


@dataclass(frozen=True)
class Signal:
    """Describes what is propagated from the logits to the layers; methods of equal signal share one backward pass.

    Attributes:
      composite: the rules.
      seed: (logits, targets) -> what is put at the logits.
      is_relevance: whether it is relevance, so that the Explainer's ``composite`` takes the place of these rules.
    """

    composite: Composite
    seed: Callable[[Float[Array, "b n"], Int[Array, " b"]], Float[Array, "b n"]]
    is_relevance: bool = False


@dataclass(frozen=True)
class SinglePass(Kind):
    """Is a method that one forward and one backward pass are enough for.

    Attributes:
      signal: what is propagated to the layer.
    """

    single_pass: ClassVar[bool] = True

    signal: Signal

    @property
    def is_relevance(self) -> bool:
        return self.signal.is_relevance

    @abstractmethod
    def find(self, value: Array, signal: Array) -> Found:
        """Returns what the method makes of a layer's values and of the signal that arrives there."""

    def options_known(self) -> dict[str, Any]:
        return {"composite": Composite, "seed": Callable}

    def configured(self, options: Mapping[str, Any]) -> Kind:
        return replace(self, signal=replace(self.signal, **options))

    def run(self, case: Case, layers: tuple[str, ...]) -> dict[str, Found]:
        return run_together((Request("", self, layers),), case)[""]


def _activation(a: Array, s: Array) -> Array:
    return a


@dataclass(frozen=True)
class Cam(SinglePass):
    """Is a class activation map, sum_k weight · A_k, with weights from the activation and a signal.

    Attributes:
      weights: (activation, signal, **options) -> weights, see :mod:`xrcam_jax.cam.weights`.
      weighed: (activation, signal) -> what the weights multiply: the activation itself, or a centred one for Eigen-CAM.
      behind_pooling: whether it is defined only where nothing but global pooling and a linear layer follows.
      options: values of the options of ``weights``, by name.
    """

    weights: Callable[..., Array]
    weighed: Callable[[Array, Array], Array] = _activation
    behind_pooling: bool = False
    options: tuple[tuple[str, Any], ...] = ()

    def options_known(self) -> dict[str, Any]:
        return {**super().options_known(), **keywords(self.weights)}

    def configured(self, options: Mapping[str, Any]) -> Kind:
        of_signal, of_weights = split(options, super().options_known())
        return replace(self, signal=replace(self.signal, **of_signal), options=tuple(sorted(of_weights.items())))

    def find(self, value: Array, signal: Array) -> Found:
        a, s = at_least_float32(value), at_least_float32(signal)
        return Found(maps=weighted_sum(self.weighed(a, s), self.weights(a, s, **dict(self.options))))


@dataclass(frozen=True)
class Propagation(SinglePass):
    """Is the signal itself, at a mark or at the input, element by element.

    Attributes:
      times_value: whether the signal is multiplied by the layer's values.
      channels: how a map is made of it, see :class:`xrcam_jax.explain.kinds.Kind`.
    """

    times_value: bool = False
    channels: Channels = "sum"

    @property
    def where(self) -> Where:
        return "both"

    @property
    def signed(self) -> bool:
        return self.channels == "sum"

    def find(self, value: Array, signal: Array) -> Found:
        return Found(values=signal * value if self.times_value else signal)


@dataclass(frozen=True)
class Request:
    """Asks for a single-pass method at some layers.

    Attributes:
      name: under which the result is wanted.
      kind: the method.
      layers: names of marks, and ``"input"``.
    """

    name: str
    kind: SinglePass
    layers: tuple[str, ...]


def requests(kinds: Mapping[str, Kind], layers: Mapping[str, tuple[str, ...]]) -> tuple[Request, ...]:
    """Returns requests for those of the methods that share one forward pass.

    Args:
      kinds: methods, by name.
      layers: where each of them is wanted.

    Example:
      >>> from xrcam_jax.explain.methods import METHODS
      >>> from xrcam_jax.explain.passes import requests
      >>> kinds = {name: METHODS[name].kind for name in ("grad_cam", "score_cam")}
      >>> [request.name for request in requests(kinds, dict.fromkeys(kinds, ("layer4",)))]
      ['grad_cam']
    """
    return tuple(Request(name, kind, layers[name]) for name, kind in kinds.items() if _is_single_pass(kind))


def _is_single_pass(kind: Kind) -> TypeGuard[SinglePass]:
    return kind.single_pass


def run_together(requests: tuple[Request, ...], case: Case) -> dict[str, dict[str, Found]]:
    """Returns what requests find in one pass, by name and layer.

    Args:
      requests: what is wanted.
      case: the model, the batch and the targets.

    Example:
      >>> import jax.numpy as jnp
      >>> from xrcam_jax.attribution.case import Case
      >>> from xrcam_jax.explain.methods import METHODS
      >>> from xrcam_jax.explain.passes import Request, run_together
      >>> model = lambda images, parameters: (images**2).sum((1, 2))
      >>> case = Case(model, (), jnp.array([1.0, 3.0]).reshape(1, 1, 2, 1), jnp.array([[1]]))
      >>> request = Request("gradient", METHODS["gradient"].kind, ("input",))
      >>> run_together((request,), case)["gradient"]["input"].values.ravel().tolist()
      [2.0, 6.0]
    """
    return single_pass(case.images, case.parameters, case.targets, function=case.function, requests=requests)[2]


@compiled(static=("function", "requests", "top_k"))
def single_pass(
    images: Shaped[Array, "b ..."],
    parameters: PyTree,
    targets: Int[Array, "b t"] | None,
    *,
    function: Function,
    requests: tuple[Request, ...],
    top_k: int = 1,
) -> tuple[Float[Array, "b n"], Int[Array, "b t"], dict[str, dict[str, Found]]]:
    """Returns the logits, the targets, and what each request finds at each of its layers.

    Args:
      images: preprocessed.
      parameters: of the model.
      targets: t classes of each image to explain, 0 or 1 of a model of one output; the ``top_k`` likeliest by default,
        and 1 of a target function.
      function: the model.
      requests: what is wanted.
      top_k: how many classes are explained if there are no ``targets``.

    Returns:
      Logits, targets, and what is found by name and layer.

    Raises:
      NotImplementedError: an operation between the logits and a layer has no rule.

    Example:
      >>> import jax.numpy as jnp
      >>> from xrcam_jax.explain.methods import METHODS
      >>> from xrcam_jax.explain.passes import Request, single_pass
      >>> model = lambda images, parameters: (images**2).sum((1, 2)) * parameters
      >>> images, parameters = jnp.array([1.0, 3.0]).reshape(1, 1, 2, 1), jnp.array([1.0, 2.0])
      >>> request = Request("gradient", METHODS["gradient"].kind, ("input",))
      >>> logits, targets, found = single_pass(images, parameters, None, function=model, requests=(request,))
      >>> logits.tolist(), targets.tolist(), found["gradient"]["input"].values.ravel().tolist()
      ([[10.0, 20.0]], [[1]], [4.0, 12.0])
    """
    taps = _taps(images, parameters, function, requests)
    logits = next(iter(taps.values())).logits if taps else function(images, parameters)
    if targets is None and is_value(function):
        targets = jnp.ones_like(logits, jnp.int32)
    elif targets is None:
        # Of one class argmax is enough: top_k would gather a batch that is laid across devices.
        each = class_logits(logits)
        targets = each.argmax(1, keepdims=True) if top_k == 1 else jax.lax.top_k(each, top_k)[1]
        targets = targets.astype(jnp.int32)

    def find(target: Int[Array, " b"]) -> dict[str, dict[str, Found]]:
        arrived = {}
        for signal in dict.fromkeys(request.kind.signal for request in requests):
            arrived[signal] = taps[signal.composite].arrived(signal, target)
        return {r.name: {layer: r.kind.find(*arrived[r.kind.signal][layer]) for layer in r.layers} for r in requests}

    return logits, targets, over_targets(find, targets, axis=1)


@dataclass(frozen=True)
class _Tapped:
    """Holds a model with the taps of one composite.

    Attributes:
      composite: the rules.
      logits: what the model returns.
      found: the activations and the pullback to all layers where the composite's signals are wanted. Of a model of one
        output it is that of the model's two sides.
    """

    composite: Composite
    logits: Float[Array, "b n"]
    found: Tapped

    def arrived(self, signal: Signal, target: Int[Array, " b"]) -> dict[str, tuple[Array, Array]]:
        """Returns by layer the activation there, and what of a signal arrives."""
        one_output = self.logits.shape[1] == 1
        seed = partial(seed_of_sides, signal.seed, self.composite, rule=self.found.rule) if one_output else signal.seed
        arriving = self.found.pullback([seed(self.logits, target)])
        return {layer: (self.found.activations[layer], arriving[layer]) for layer in arriving}


def _taps(
    images: Shaped[Array, "b ..."], parameters: PyTree, function: Function, requests: Sequence[Request]
) -> dict[Composite, _Tapped]:
    """Returns by composite the model with taps at all layers where its signals are wanted."""
    wanted: dict[Composite, dict[str, None]] = {}
    for request in requests:
        wanted.setdefault(request.kind.signal.composite, {}).update(dict.fromkeys(request.layers))
    has_input = any(INPUT in layers for layers in wanted.values())
    # JAX keeps the trace of a jitted function, and the outline has traced this one already.
    model = jax.jit(function)
    f = (lambda x, p: model(mark(x, INPUT), p)) if has_input else model
    closed, _ = trace(f, images, parameters)
    values = jax.tree.leaves((images, parameters))
    explained = explained_flags(images, parameters)
    one_output = closed.out_avals[0].shape[1] == 1

    def tap(composite: Composite, layers: Iterable[str]) -> _Tapped:
        of = {"sides": one_output, "of_value": is_value(function)}
        found = tap_program(closed, composite, explained, values, tuple(layers), **of)
        return _Tapped(composite, found.outputs[0][:, 1:] if one_output else found.outputs[0], found)

    return {composite: tap(composite, layers) for composite, layers in wanted.items()}
