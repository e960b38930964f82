"""The same work in PyTorch, for comparison: optional, and never imported unless asked for."""

from collections.abc import Callable
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
