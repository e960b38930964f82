"""The same work in PyTorch, for comparison: optional, and never imported unless asked for."""

from collections.abc import Callable
from functools import partial
from typing import Any

LAYERS = ("layer1", "layer2", "layer3", "layer4")


def torch_runs(name: str, batch: int, size: int, threads: int) -> dict[str, Callable[[], Any]]:
    """Forward pass and gradient at the four layers of timm's model ``name``, channels last, random weights.

    Raises:
      ImportError: torch or timm is missing.
    """
    import timm
    import torch

    torch.set_num_threads(threads)
    model = timm.create_model(name).eval().to(memory_format=torch.channels_last)
    images = torch.randn(batch, 3, size, size).to(memory_format=torch.channels_last)
    outputs: dict[str, Any] = {}
    for layer in LAYERS:
        getattr(model, layer).register_forward_hook(lambda _, __, output, layer=layer: outputs.update({layer: output}))

    def forward() -> Any:
        with torch.no_grad():
            return model(images)

    def gradient() -> Any:
        logits = model(images)
        return torch.autograd.grad(logits.amax(1).sum(), [outputs[layer] for layer in LAYERS])

    return {"torch forward": forward, "torch gradient": gradient}


def torch_training(name: str, batch: int, size: int, threads: int) -> Callable[[], Any]:
    """One training step of timm's model ``name`` with Adamax on random pictures of two classes, channels last.

    Raises:
      ImportError: torch or timm is missing.
    """
    import timm
    import torch

    torch.set_num_threads(threads)
    model = timm.create_model(name, num_classes=2).train().to(memory_format=torch.channels_last)
    optimiser = torch.optim.Adamax(model.parameters(), lr=1e-3)
    images = torch.randn(batch, 3, size, size).to(memory_format=torch.channels_last)
    labels = torch.arange(batch) % 2

    def step() -> Any:
        optimiser.zero_grad()
        loss = torch.nn.functional.cross_entropy(model(images), labels)
        loss.backward()
        optimiser.step()
        return loss.item()

    return step


def layer_cams(name: str, batch: int, size: int, threads: int) -> Callable[[], Any]:
    """pytorch-grad-cam's six CAMs that one gradient gives, of random pictures, at each layer of timm's model ``name``.

    Raises:
      ImportError: torch, timm or grad-cam is missing.
    """
    import timm
    import torch
    from pytorch_grad_cam import GradCAM, GradCAMElementWise, GradCAMPlusPlus, HiResCAM, LayerCAM, XGradCAM
    from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget

    torch.set_num_threads(threads)
    model = timm.create_model(name).eval()
    images = torch.randn(batch, 3, size, size)
    targets = [ClassifierOutputTarget(0)] * batch

    def run() -> Any:
        maps = []
        for cam in (GradCAM, GradCAMPlusPlus, XGradCAM, HiResCAM, LayerCAM, GradCAMElementWise):
            for layer in LAYERS:
                with cam(model=model, target_layers=[getattr(model, layer)]) as explain:
                    maps.append(explain(input_tensor=images, targets=targets))
        return maps

    return run


def channel_cams(name: str, layer: str, size: int, threads: int) -> dict[str, Callable[[], Any]]:
    """pytorch-grad-cam's Score-CAM and Ablation-CAM of one random picture at ``layer`` of timm's model ``name``.

    Raises:
      ImportError: torch, timm or grad-cam is missing.
    """
    import timm
    import torch
    from pytorch_grad_cam import AblationCAM, ScoreCAM

    torch.set_num_threads(threads)
    model = timm.create_model(name).eval()
    image = torch.randn(1, 3, size, size)
    cams = {"score_cam": ScoreCAM, "ablation_cam": AblationCAM}

    def run(cam: Any) -> Any:
        with cam(model=model, target_layers=[getattr(model, layer)]) as explain:
            return explain(input_tensor=image, targets=None)

    return {method: partial(run, cam) for method, cam in cams.items()}
