"""Other libraries do the same work as ours, for comparison; none is imported unless it is asked for.

Each function returns runs by their labels; ``SUITES`` has the functions by suite and peer. All take timm's networks
with random weights, as many threads as we use, and the kind of device that JAX computes on.

Raises:
  ImportError: a package is missing.
  ValueError: timm does not have the network, the peer cannot do it, or PyTorch cannot use JAX's device.
"""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import jax

from xrcam_jax.benchmark.runs import Run
from xrcam_jax.models.resnet import STAGES
from xrcam_jax.models.specs import Spec, find_spec


def _network(name: str, threads: int, **options: Any) -> Any:
    """Returns timm's model ``name``, in inference mode."""
    import timm
    import torch

    if name not in timm.list_models():
        raise ValueError(f"timm has no network {name}")
    torch.set_num_threads(threads)
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


def torch_runs(name: str, batch: int, size: int, threads: int) -> dict[str, Run]:
    """Runs the forward pass, and the gradient at the four layers; arrays have their channels last."""
    import torch

    model = _network(name, threads).to(memory_format=torch.channels_last)
    images = torch.randn(batch, 3, size, size, device=_device()).to(memory_format=torch.channels_last)
    outputs: dict[str, Any] = {}
    for layer in STAGES:
        getattr(model, layer).register_forward_hook(lambda _, __, output, layer=layer: outputs.update({layer: output}))

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
    images = torch.randn(batch, 3, size, size, device=_device())

    def run() -> Any:
        with GradCAM(model=model, target_layers=[getattr(model, layer) for layer in STAGES]) as explain:
            return explain(input_tensor=images, targets=None)

    return {"pytorch-grad-cam grad_cam": run}


def zennit_epsilon_plus(name: str, batch: int, size: int, threads: int) -> dict[str, Run]:
    """Runs zennit's EpsilonPlus of the predicted class at the input, without canonizers."""
    import torch
    from zennit.attribution import Gradient
    from zennit.composites import EpsilonPlus

    model = _network(name, threads)
    images = torch.randn(batch, 3, size, size, device=_device(), requires_grad=True)

    def predicted(logits: Any) -> Any:
        return torch.nn.functional.one_hot(logits.argmax(1), logits.shape[1]).to(logits.dtype)

    def run() -> Any:
        with Gradient(model=model, composite=EpsilonPlus()) as attribute:
            return _done(attribute(images, predicted))

    return {"zennit epsilon_plus": run}


def captum_grad_cam(name: str, batch: int, size: int, threads: int) -> dict[str, Run]:
    """Runs captum's LayerGradCam at the four layers, one after the other."""
    import torch
    from captum.attr import LayerGradCam

    model = _network(name, threads)
    images = torch.randn(batch, 3, size, size, device=_device())
    targets = torch.zeros(batch, dtype=torch.long, device=_device())

    def run() -> Any:
        explainers = [LayerGradCam(model, getattr(model, layer)) for layer in STAGES]
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


SUITES: Mapping[str, Mapping[str, Callable[..., dict[str, Any]]]] = {
    "explain": {
        "torch": torch_runs,
        "relevance-cam": relevance_cam,
        "pytorch-grad-cam": grad_cam,
        "zennit": zennit_epsilon_plus,
        "captum": captum_grad_cam,
    },
    "train": {"torch": torch_training},
    "evaluate": {"pytorch-grad-cam": layer_cams},
    "channels": {"pytorch-grad-cam": channel_cams},
}
