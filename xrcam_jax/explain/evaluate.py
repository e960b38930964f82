"""Running methods on a case, of whatever kinds they are."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import jax
import jax.numpy as jnp
from jaxtyping import Array, PyTree

from xrcam_jax.attribution.case import INPUT, Case, Function, bytes_of_gradient, summed
from xrcam_jax.cam.channel_cams import noisy
from xrcam_jax.cam.saliency import min_max, upsample
from xrcam_jax.errors import unknown
from xrcam_jax.explain.kinds import Found, Guided, Kind, Propagation, Search, Signal, Smooth, is_single_pass, where
from xrcam_jax.explain.passes import Outline, Request, single_pass
from xrcam_jax.lrp import seeds
from xrcam_jax.lrp.composites import guided_backprop
from xrcam_jax.runtime.compiling import compiled


@dataclass(frozen=True)
class Task:
    """A method with its options, and the layers where it is wanted."""

    name: str
    kind: Kind
    layers: tuple[str, ...]


GUIDED_BACKPROP = Task(
    "guided_backprop", Propagation(Signal(guided_backprop(), seeds.unit), channels="largest"), (INPUT,)
)


def requests(tasks: Sequence[Task]) -> tuple[Request, ...]:
    """Those of the tasks that share one forward pass."""
    return tuple(Request(t.name, t.kind, t.layers) for t in tasks if is_single_pass(t.kind))  # type: ignore[arg-type]


def run(tasks: Sequence[Task], case: Case) -> dict[str, dict[str, Found]]:
    """What all tasks find, by method and layer."""
    shared = requests(tasks)
    found = {}
    if shared:
        _, _, found = single_pass(case.images, case.parameters, case.targets, function=case.function, requests=shared)
    return found | {task.name: search(task, case) for task in tasks if not is_single_pass(task.kind)}


def search(task: Task, case: Case) -> dict[str, Found]:
    """What a task finds that does not share its passes, by layer."""
    if isinstance(task.kind, Smooth):
        return _smooth(task, task.kind, case)
    if isinstance(task.kind, Guided):
        return _guided(task, task.kind, case)
    assert isinstance(task.kind, Search)
    return {layer: task.kind.run(case, layer) for layer in task.layers}


def _guided(task: Task, kind: Guided, case: Case) -> dict[str, Found]:
    found = run([replace(task, name="cam", kind=kind.cam), GUIDED_BACKPROP], case)
    backprop = found[GUIDED_BACKPROP.name][INPUT].values
    assert backprop is not None
    _, height, width, _ = case.images.shape

    def product(cam: Found) -> Found:
        assert cam.maps is not None
        return Found(values=backprop * upsample(min_max(jax.nn.relu(cam.maps)), (height, width))[..., None])

    return {layer: product(cam) for layer, cam in found["cam"].items()}


def _smooth(task: Task, kind: Smooth, case: Case) -> dict[str, Found]:
    key = jax.random.key(case.seed)
    base = replace(task, kind=kind.base)
    if not is_single_pass(kind.base):
        # The base fills the device by itself: one copy of the batch at a time.
        one = replace(case, chunk_size=1)
        return summed(lambda i, _: _share(run([base], _noisy(case, key, i[0], kind.noise)), kind)[task.name],
                      kind.samples, one, 1, f"SmoothGrad {task.name}")  # fmt: skip

    def step(indices: Array, real: Array) -> dict[str, Found]:
        return _smoothed(
            case.images, case.parameters, case.targets, key, indices, real / kind.samples,
            function=case.function, request=requests([base])[0], noise=kind.noise,
        )  # fmt: skip

    each = bytes_of_gradient(case.function, INPUT, case.images, case.parameters)
    return summed(step, kind.samples, case, each, f"SmoothGrad {task.name}")


def _noisy(case: Case, key: Array, index: Array, noise: float) -> Case:
    return replace(case, images=noisy(case.images, jax.random.fold_in(key, index), noise))


def _share(found: PyTree, kind: Smooth) -> PyTree:
    return jax.tree.map(lambda a: a / kind.samples, found)


@compiled(static=("function", "request", "noise"))
def _smoothed(
    images: Array, parameters: PyTree, targets: Array, key: Array, indices: Array, weight: Array,
    *, function: Function, request: Request, noise: float,
) -> dict[str, Found]:  # fmt: skip
    copies = jax.vmap(lambda index: noisy(images, jax.random.fold_in(key, index), noise), out_axes=1)(indices)
    count = len(indices)
    _, _, found = single_pass(
        copies.reshape(-1, *images.shape[1:]), parameters, jnp.repeat(targets, count, axis=0),
        function=function, requests=(request,),
    )  # fmt: skip

    def mean(a: Array) -> Array:
        each = a.reshape(-1, count, *a.shape[1:])
        return jnp.tensordot(each, weight.astype(a.dtype), axes=(1, 0))

    return jax.tree.map(mean, found[request.name])


def assign_layers(name: str, kind: Kind, wanted: Sequence[str] | None, model: Outline) -> tuple[str, ...]:
    """The layers at which a method is computed: those ``wanted`` at which it can be; by default all marks for maps
    of activations, and the input for what works there.

    Raises:
      ValueError: a layer that the model does not have, or none where the method can be computed.
    """
    for layer in wanted or ():
        if layer not in model.marks and layer != INPUT:
            raise unknown("layer", layer, [*model.marks, INPUT])
    if where(kind) == "input":
        return (INPUT,)
    if where(kind) == "both":
        return tuple(wanted) if wanted else (INPUT,)
    layers = tuple(layer for layer in wanted or model.marks if layer != INPUT)
    if not layers:
        raise ValueError(
            f"{name} needs a layer of activations, not the input"
            if model.marks
            else "the model has no marked layers; put xr.mark(x, name) after those to explain"
        )
    for layer in layers:
        if len(model.marks[layer]) != 4:
            raise ValueError(
                f"layer {layer!r} must be (b, h, w, k) for a class activation map, has shape {model.marks[layer]}"
            )
    return layers
