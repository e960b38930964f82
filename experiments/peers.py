"""Other libraries do the same work as ours, for comparison; none is imported unless it is asked for.

Each function returns runs by their labels; ``SUITES`` has the functions by suite and peer. All take timm's networks
with random weights, as many threads as we use, and the kind of device that JAX computes on.

Raises:
  ImportError: a package is missing.
  ValueError: timm does not have the network, the peer cannot do it, or PyTorch cannot use JAX's device.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any
from unittest.mock import patch

import jax

from xrcam_jax.benchmark.runs import Run
from xrcam_jax.models.convnext_specs import ConvNextSpec
from xrcam_jax.models.mobile_specs import MobileSpec
from xrcam_jax.models.resnet import STAGES
from xrcam_jax.models.specs import Spec, find_spec
from xrcam_jax.models.vit_specs import VitSpec


def _network(name: str, threads: int, size: int | None = None, **options: Any) -> Any:
    """Returns timm's model ``name``, in inference mode; one that knows positions by heart, for pictures of ``size``."""
    import timm
    import torch

    if name not in timm.list_models():
        raise ValueError(f"timm has no network {name}")
    torch.set_num_threads(threads)
    # Products are rounded where ours are.
    rounded = jax.config.jax_default_matmul_precision == "tensorfloat32"  # type: ignore[attr-defined]
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = rounded
    if size is not None and "img_size" in find_spec(name).variants:
        options["img_size"] = size
    return timm.create_model(name, **options).eval().to(_device())


def _device() -> str:
    """Returns PyTorch's name of the kind of device that JAX computes on."""
    import torch

    if jax.default_backend() == "cpu":
        return "cpu"
    if torch.cuda.is_available():
        return "cuda"
    raise ValueError(f"PyTorch cannot use the {jax.default_backend()} that JAX computes on")


def _done(result: Any) -> Any:
    """Returns ``result`` once it is computed: a GPU is still at work when PyTorch returns."""
    import torch

    if torch.cuda.is_initialized():
        torch.cuda.synchronize()
    return result


def _stages(model: Any, name: str) -> list[Any]:
    """Returns the modules of timm's model after which ours have their four marks.

    Raises:
      ValueError: its family is none of those that are measured.
    """
    spec = find_spec(name)
    if isinstance(spec, Spec):
        return [getattr(model, layer) for layer in STAGES]
    if isinstance(spec, ConvNextSpec):
        return list(model.stages)
    if isinstance(spec, MobileSpec) and hasattr(model, "bn2"):
        return [*(blocks for blocks, mark in zip(model.blocks, spec.marks, strict=True) if mark), model.bn2]
    if isinstance(spec, VitSpec):
        depth = len(model.blocks)
        return [model.blocks[place - 1] for place in (depth // 4, depth // 2, 3 * depth // 4, depth - 1)]
    raise ValueError(f"which modules of {name} are at its marks is not known here")


def _stages_with_places(model: Any, name: str) -> list[Any]:
    """Returns the modules of :func:`_stages`, where what they return lies on a grid already."""
    if isinstance(find_spec(name), VitSpec):
        raise ValueError(f"{name} has tokens, which it would have to be told to lay on a grid")
    return _stages(model, name)


def torch_runs(name: str, batch: int, size: int, threads: int) -> dict[str, Run]:
    """Runs the forward pass, and the gradient at the four layers; arrays have their channels last."""
    import torch

    model = _network(name, threads, size).to(memory_format=torch.channels_last)
    images = torch.randn(batch, 3, size, size, device=_device()).to(memory_format=torch.channels_last)
    outputs: dict[str, Any] = {}
    for layer, stage in zip(STAGES, _stages(model, name), strict=True):
        stage.register_forward_hook(lambda _, __, output, layer=layer: outputs.update({layer: output}))

    def forward() -> Any:
        with torch.no_grad():
            return _done(model(images))

    def gradient() -> Any:
        logits = model(images)
        return _done(torch.autograd.grad(logits.amax(1).sum(), [outputs[layer] for layer in STAGES]))

    return {"torch forward": forward, "torch gradient": gradient}


def relevance_cam(name: str, batch: int, size: int, threads: int) -> dict[str, Run]:
    """Runs Relevance-CAM of the predicted class at layer1, as its authors' code does it (``torch_relevance.py``)."""
    spec = find_spec(name)
    if not isinstance(spec, Spec) or not spec.bottleneck or spec.selective_kernel:
        raise ValueError(f"expected a network of plain bottleneck blocks, such as resnet50, found {name}")
    # timm starts each last batch norm with weights of zero, which would leave all relevance to the shortcuts.
    model = _network(name, threads, zero_init_last=False)
    import torch

    from experiments import torch_relevance

    images = torch.randn(batch, 3, size, size, device=_device())
    return {"torch relevance_cam layer1": lambda: _done(torch_relevance.relevance_cam(model, images))}


def grad_cam(name: str, batch: int, size: int, threads: int) -> dict[str, Run]:
    """Runs pytorch-grad-cam's Grad-CAM of the predicted class at the four layers, in one pass."""
    import torch
    from pytorch_grad_cam import GradCAM

    model = _network(name, threads)
    layers = _stages_with_places(model, name)
    images = torch.randn(batch, 3, size, size, device=_device())

    def run() -> Any:
        with GradCAM(model=model, target_layers=layers) as explain:
            return explain(input_tensor=images, targets=None)

    return {"pytorch-grad-cam grad_cam": run}


def zennit_epsilon_plus(name: str, batch: int, size: int, threads: int) -> dict[str, Run]:
    """Runs zennit's EpsilonPlus of the predicted class at the input, without canonizers."""
    import torch
    from zennit.attribution import Gradient
    from zennit.composites import EpsilonPlus

    model = _network(name, threads, size)
    images = torch.randn(batch, 3, size, size, device=_device(), requires_grad=True)

    def predicted(logits: Any) -> Any:
        return torch.nn.functional.one_hot(logits.argmax(1), logits.shape[1]).to(logits.dtype)

    def run() -> Any:
        with Gradient(model=model, composite=EpsilonPlus()) as attribute:
            return _done(attribute(images, predicted))

    return {"zennit epsilon_plus": run}


def crp_epsilon_plus(name: str, batch: int, size: int, threads: int) -> dict[str, Run]:
    """Runs zennit-crp's relevance by EpsilonPlus of class 0 at the input, without conditions on channels."""
    import torch
    from crp.attribution import CondAttribution
    from zennit.composites import EpsilonPlus

    model = _network(name, threads, size)
    images = torch.randn(batch, 3, size, size, device=_device())
    attribute, composite = CondAttribution(model), EpsilonPlus()

    def run() -> Any:
        return _done(attribute(images.clone().requires_grad_(), [{"y": [0]}] * batch, composite).heatmap)

    return {"zennit-crp epsilon_plus": run}


def autolrp_runs(name: str, batch: int, size: int, threads: int) -> dict[str, Run]:
    """Runs autoLRP of timm's unmodified network, by its defaults and by its recipe for AttnLRP."""
    import autolrp
    import torch

    model = _network(name, threads, size)
    images = torch.randn(batch, 3, size, size, device=_device())

    def run(config: Any) -> Any:
        x = autolrp.tensor(images)
        model(x).amax(1).lrp(config=config)
        return _done(x.relevance)

    configs = {"autolrp default": autolrp.LRPConfig(), "autolrp attnlrp": autolrp.LRPConfig.attnlrp()}
    return {label: partial(run, config) for label, config in configs.items()}


def lxt_runs(name: str, batch: int, size: int, threads: int) -> dict[str, Run]:
    """Runs LXT's rules for vision transformers, which it has for torchvision's alone, on torchvision's network."""
    import torch
    import torchvision
    from lxt.efficient.models import vit_torch

    if name != "vit_base_patch16_224":
        raise ValueError(f"expected vit_base_patch16_224, which torchvision calls vit_b_16, found {name}")
    torch.set_num_threads(threads)
    model = torchvision.models.vit_b_16(image_size=size).eval().to(_device())
    # torchvision's head starts with weights of zero, which would leave no relevance at all.
    torch.nn.init.normal_(model.heads.head.weight, std=0.02)
    images = torch.randn(batch, 3, size, size, device=_device(), requires_grad=True)

    def run() -> Any:
        with _patched(vit_torch.cp_LRP):
            (gradient,) = torch.autograd.grad(model(images).amax(1).sum(), images)
        return _done(images.detach() * gradient)

    return {"lxt cp_lrp": run}


@contextmanager
def _patched(patches: Mapping[Any, Callable[[Any], bool]]) -> Iterator[None]:
    """Lets LXT patch these classes for a while: by itself it does so for good."""
    with ExitStack() as changes:
        for owner, patch_class in patches.items():
            changes.enter_context(patch.object(owner, "forward", owner.forward))
            patch_class(owner)
        yield


def captum_grad_cam(name: str, batch: int, size: int, threads: int) -> dict[str, Run]:
    """Runs captum's LayerGradCam at the four layers, one after the other."""
    import torch
    from captum.attr import LayerGradCam

    model = _network(name, threads)
    layers = _stages_with_places(model, name)
    images = torch.randn(batch, 3, size, size, device=_device())
    targets = torch.zeros(batch, dtype=torch.long, device=_device())

    def run() -> Any:
        explainers = [LayerGradCam(model, layer) for layer in layers]
        return _done([explain.attribute(images, target=targets) for explain in explainers])

    return {"captum grad_cam": run}


def torch_training(name: str, batch: int, size: int, threads: int) -> dict[str, Run]:
    """Runs a training step with Adamax on random pictures of two classes; arrays have their channels last."""
    import torch

    model = _network(name, threads, num_classes=2).train().to(memory_format=torch.channels_last)
    optimiser = torch.optim.Adamax(model.parameters(), lr=1e-3)
    images = torch.randn(batch, 3, size, size, device=_device()).to(memory_format=torch.channels_last)
    labels = torch.arange(batch, device=_device()) % 2

    def step() -> Any:
        optimiser.zero_grad()
        loss = torch.nn.functional.cross_entropy(model(images), labels)
        loss.backward()
        optimiser.step()
        return loss.item()

    return {"torch": step}


def layer_cams(name: str, batch: int, size: int, threads: int) -> dict[str, Run]:
    """Runs pytorch-grad-cam's six CAMs that one gradient gives, of random pictures, at each layer."""
    import torch
    from pytorch_grad_cam import GradCAM, GradCAMElementWise, GradCAMPlusPlus, HiResCAM, LayerCAM, XGradCAM
    from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget

    model = _network(name, threads)
    images = torch.randn(batch, 3, size, size, device=_device())
    targets = [ClassifierOutputTarget(0)] * batch

    def run() -> Any:
        maps = []
        for cam in (GradCAM, GradCAMPlusPlus, XGradCAM, HiResCAM, LayerCAM, GradCAMElementWise):
            for layer in STAGES:
                with cam(model=model, target_layers=[getattr(model, layer)]) as explain:
                    maps.append(explain(input_tensor=images, targets=targets))
        return maps

    return {"pytorch-grad-cam": run}


def channel_cams(name: str, layer: str, size: int, threads: int) -> dict[str, dict[str, Run]]:
    """Runs pytorch-grad-cam's Score-CAM and Ablation-CAM of one random picture at ``layer``.

    The runs are by our methods' names.
    """
    import torch
    from pytorch_grad_cam import AblationCAM, ScoreCAM

    model = _network(name, threads)
    image = torch.randn(1, 3, size, size, device=_device())
    cams = {"score_cam": ScoreCAM, "ablation_cam": AblationCAM}

    def run(cam: Any) -> Any:
        with cam(model=model, target_layers=[getattr(model, layer)]) as explain:
            return explain(input_tensor=image, targets=None)

    return {"pytorch-grad-cam": {method: partial(run, cam) for method, cam in cams.items()}}


_EXPLAINING: Mapping[str, Callable[..., dict[str, Run]]] = {
    "torch": torch_runs,
    "relevance-cam": relevance_cam,
    "pytorch-grad-cam": grad_cam,
    "zennit": zennit_epsilon_plus,
    "zennit-crp": crp_epsilon_plus,
    "captum": captum_grad_cam,
    "autolrp": autolrp_runs,
    "lxt": lxt_runs,
}
SUITES: Mapping[str, Mapping[str, Callable[..., dict[str, Any]]]] = {
    "explain": _EXPLAINING,
    "accelerator": _EXPLAINING,
    "train": {"torch": torch_training},
    "evaluate": {"pytorch-grad-cam": layer_cams},
    "channels": {"pytorch-grad-cam": channel_cams},
}
