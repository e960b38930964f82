"""Single-pass methods: one forward pass and one backward pass for each signal, for all methods and layers together."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Self, TypeGuard

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, PyTree

from xrcam_jax.attribution.case import INPUT, Case, Function
from xrcam_jax.attribution.targets import over_targets
from xrcam_jax.cam.saliency import weighted_sum
from xrcam_jax.explain.kinds import Channels, Found, Kind, Where, keywords, split
from xrcam_jax.lrp.composites import Composite
from xrcam_jax.lrp.program import trace
from xrcam_jax.lrp.transform import Tapped, tap_program
from xrcam_jax.marks import mark
from xrcam_jax.runtime.compiling import compiled


@dataclass(frozen=True)
class Signal:
    """What is propagated from the logits to the layers: all methods of equal signal share one backward pass.

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
    """A method that one forward and one backward pass are enough for.

    Attributes:
      signal: what arrives at the layer.
    """

    single_pass: ClassVar[bool] = True

    signal: Signal

    @property
    def is_relevance(self) -> bool:
        return self.signal.is_relevance

    def find(self, value: Array, signal: Array) -> Found:
        """Returns what the method makes of a layer's values and of the signal that arrives there."""
        raise NotImplementedError

    def option_names(self) -> tuple[str, ...]:
        return "composite", "seed"

    def configured(self, options: Mapping[str, Any]) -> Self:
        return replace(self, signal=replace(self.signal, **options))

    def run(self, case: Case, layers: tuple[str, ...]) -> dict[str, Found]:
        return run_together((Request("", self, layers),), case)[""]


def is_single_pass(kind: Kind) -> TypeGuard[SinglePass]:
    """Whether one forward pass and shared backward passes are all that a method needs."""
    return kind.single_pass


def unchanged(a: Array, s: Array) -> Array:
    """A itself."""
    return a


@dataclass(frozen=True)
class Cam(SinglePass):
    """A class activation map: sum_k weight · A_k, weights from the activation and a signal.

    Attributes:
      weights: (activation, signal, **options) -> weights, see :mod:`xrcam_jax.cam.weights`.
      weighed: (activation, signal) -> what the weights are of, A itself but for Eigen-CAM.
      behind_pooling: whether it is defined only where nothing but global pooling and a linear layer follows.
      options: of ``weights``, by name.
    """

    weights: Callable[..., Array]
    weighed: Callable[[Array, Array], Array] = unchanged
    behind_pooling: bool = False
    options: tuple[tuple[str, Any], ...] = ()

    def option_names(self) -> tuple[str, ...]:
        return *super().option_names(), *keywords(self.weights)

    def configured(self, options: Mapping[str, Any]) -> Self:
        of_signal, of_weights = split(options, super().option_names())
        return replace(super().configured(of_signal), options=tuple(sorted(of_weights.items())))

    def find(self, value: Array, signal: Array) -> Found:
        # Half precision would lose the small terms of the sums over space.
        dtype = jnp.promote_types(value.dtype, jnp.float32)
        a, s = value.astype(dtype), signal.astype(dtype)
        return Found(maps=weighted_sum(self.weighed(a, s), self.weights(a, s, **dict(self.options))))


@dataclass(frozen=True)
class Propagation(SinglePass):
    """The signal itself, at a mark or at the input, element by element.

    Attributes:
      times_value: whether it is multiplied with the layer's values.
      channels: how a map is made of it, see :class:`Kind`.
    """

    times_value: bool = False
    channels: Channels = "sum"

    @property
    def where(self) -> Where:
        return "both"

    def find(self, value: Array, signal: Array) -> Found:
        return Found(values=signal * value if self.times_value else signal)


@dataclass(frozen=True)
class Request:
    """A single-pass method and the layers where it is wanted."""

    name: str
    kind: SinglePass
    layers: tuple[str, ...]


def requests(kinds: Mapping[str, Kind], layers: Mapping[str, tuple[str, ...]]) -> tuple[Request, ...]:
    """Those of the methods that share one forward pass."""
    return tuple(Request(name, kind, layers[name]) for name, kind in kinds.items() if is_single_pass(kind))


def run_together(requests: tuple[Request, ...], case: Case) -> dict[str, dict[str, Found]]:
    """What the requests find in one pass, by name and layer."""
    return single_pass(case.images, case.parameters, case.targets, function=case.function, requests=requests)[2]


@compiled(static=("function", "requests", "top_k"))
def single_pass(
    images: Float[Array, "b h w c"],
    parameters: PyTree,
    targets: Int[Array, "b t"] | None,
    *,
    function: Function,
    requests: tuple[Request, ...],
    top_k: int = 1,
) -> tuple[Float[Array, "b n"], Int[Array, "b t"], dict[str, dict[str, Found]]]:
    """Logits, targets, and what each request finds at each of its layers.

    Args:
      images: preprocessed.
      parameters: of the model.
      targets: what to explain; the ``top_k`` likeliest classes by default.
      function: the model.
      requests: what is wanted.
      top_k: how many classes, without ``targets``.
    """
    taps = _taps(images, parameters, function, requests)
    logits = next(iter(taps.values())).outputs[0] if taps else function(images, parameters)
    if targets is None:
        # Where a batch is laid across devices, top_k gathers it.
        targets = logits.argmax(1, keepdims=True) if top_k == 1 else jax.lax.top_k(logits, top_k)[1]
        targets = targets.astype(jnp.int32)

    def find(target: Int[Array, " b"]) -> dict[str, dict[str, Found]]:
        arrived = {}
        for signal in dict.fromkeys(request.kind.signal for request in requests):
            tapped = taps[signal.composite]
            arriving = tapped.pullback([signal.seed(logits, target)])
            arrived[signal] = {layer: (tapped.activations[layer], arriving[layer]) for layer in arriving}
        return {r.name: {layer: r.kind.find(*arrived[r.kind.signal][layer]) for layer in r.layers} for r in requests}

    return logits, targets, over_targets(find, targets, axis=1)


def _taps(
    images: Array, parameters: PyTree, function: Function, requests: Sequence[Request]
) -> dict[Composite, Tapped]:
    """By composite: the outputs, the activations, and the pullback to all layers that its signals are wanted at."""
    wanted: dict[Composite, dict[str, None]] = {}
    for request in requests:
        wanted.setdefault(request.kind.signal.composite, {}).update(dict.fromkeys(request.layers))
    has_input = any(INPUT in layers for layers in wanted.values())
    # Of a jitted function, JAX keeps the trace: the outline has made it already.
    model = jax.jit(function)
    f = (lambda x, p: model(mark(x, INPUT), p)) if has_input else model
    closed, _ = trace(f, images, parameters)
    values = jax.tree.leaves((images, parameters))
    explained = [True] + [False] * (len(values) - 1)
    return {
        composite: tap_program(closed, composite, explained, values, tuple(layers))
        for composite, layers in wanted.items()
    }
