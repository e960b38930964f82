"""Networks of PyTorch through torchax: run by pip install -e ".[torchax]" timm, and skipped without these."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import xrcam_jax as xr
from tests.test_house import ROOT

torch = pytest.importorskip("torch")
pytest.importorskip("torchax", reason="needs torchax, and a PyTorch that it works with", exc_type=ImportError)

#: torchax warns of what PyTorch deprecates, and mixes dtypes.
pytestmark = [pytest.mark.filterwarnings("ignore"), pytest.mark.usefixtures("mixed")]
PICTURES = jax.random.normal(jax.random.key(0), (2, 16, 16, 3))


class Block(torch.nn.Module):
    def __init__(self, ins, outs):
        super().__init__()
        self.convs = torch.nn.ModuleList([torch.nn.Conv2d(ins, outs, 3, padding=1), torch.nn.Conv2d(outs, outs, 1)])
        self.norm = torch.nn.BatchNorm2d(outs)

    def forward(self, x):
        y = torch.nn.functional.hardswish(self.convs[0](x))
        return torch.nn.functional.hardswish(self.norm(self.convs[1](y))).add_(y)


class Network(torch.nn.Module):
    """Convolutions without a container around them, in one, in place, and a mean before the linear layer."""

    def __init__(self):
        super().__init__()
        self.stages = torch.nn.Sequential(Block(3, 4), torch.nn.MaxPool2d(2), Block(4, 6))
        self.head = torch.nn.Linear(6, 5)

    def forward(self, x):
        return self.head(torch.relu_(self.stages(x)).mean((2, 3)))


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(0)
    network = Network().eval()
    with torch.no_grad():
        network.stages[2].norm.running_mean += 0.3
    return network


@pytest.fixture(scope="module")
def model(network):
    return xr.adapters.pytorch(network)


def channels_first(pictures):
    return torch.from_numpy(np.array(pictures).transpose(0, 3, 1, 2).copy())


def test_it_computes_what_pytorch_does(network, model):
    with torch.no_grad():
        own = network(channels_first(PICTURES)).numpy()
    np.testing.assert_allclose(model(PICTURES), own, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(jax.jit(model.function)(PICTURES, model.parameters), own, rtol=1e-5, atol=1e-6)


def test_layers_have_the_modules_names_and_values(network, model):
    found = xr.layers(model, PICTURES)
    scopes = [name for name, layer in found.items() if layer.kind == "scope" and "aten" not in name]
    blocks = [f"stages/{i}{inside}" for i in (0, 2) for inside in ("", "/convs/0", "/convs/1", "/norm")]
    assert {"stages", "head", "stages/1", *blocks} <= set(scopes)
    assert not [name for name in scopes if ":" in name]
    seen = {}
    hook = network.stages[0].convs[1].register_forward_hook(lambda _, __, y: seen.update(y=y.detach().numpy()))
    network(channels_first(PICTURES))
    hook.remove()
    seed = jnp.ones((2, 5))
    taps = xr.taps(model, xr.composites.gradient(), PICTURES, seed=seed, marks=["stages/0/convs/1"])
    found = taps.activations["stages/0/convs/1"]
    np.testing.assert_allclose(found, seen["y"].transpose(0, 2, 3, 1), rtol=1e-5, atol=1e-6)


def test_hooks_are_taken_away(network, model):
    model(PICTURES)
    assert not any(module._forward_pre_hooks or module._forward_hooks for module in network.modules())


def test_maps_are_those_of_pytorchs_gradients(network, model):
    e = xr.Explainer(model, ("grad_cam", "xrelevance_cam"), ["stages"])(PICTURES)
    y = network.stages(channels_first(PICTURES)).detach().requires_grad_()
    logits = network.head(torch.relu(y).mean((2, 3)))
    logits.gather(1, torch.from_numpy(np.array(e.targets, np.int64))[:, None]).sum().backward()
    wanted = (y * y.grad.mean((2, 3), keepdim=True)).sum(1).detach().numpy()
    np.testing.assert_allclose(e.raw["grad_cam"]["stages"], wanted, rtol=1e-4, atol=1e-6)
    assert e.maps["xrelevance_cam"]["stages"].shape == (2, 16, 16)


def test_all_relevance_is_accounted_for(model):
    report = xr.conservation(
        model.function,
        xr.composites.epsilon_plus(),
        PICTURES,
        model.parameters,
        seed=lambda logits: xr.seeds.one_hot(logits, logits.argmax(1)),
    )
    assert all(balance.relative_rest < 1e-5 for _, balance in report.operations)
    lost = sum(balance.lost for balance in report.stages.values())
    np.testing.assert_allclose(report.seed - report.reached, lost, rtol=1e-5)


def test_channels_last_goes_in_as_it_is(network):
    class Last(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.inside = network

        def forward(self, x):
            return self.inside(x.permute(0, 3, 1, 2))

    found = xr.adapters.pytorch(Last().eval(), channels_first=False)(PICTURES)
    np.testing.assert_allclose(found, xr.adapters.pytorch(network)(PICTURES), rtol=1e-6)


def test_what_cannot_be_explained_is_refused():
    with pytest.raises(ValueError, match=r"model must be in inference mode, as model\.eval\(\) has it"):
        xr.adapters.pytorch(Network().train())
    with pytest.raises(TypeError, match=r"model must be a torch\.nn\.Module; got 'resnet18'"):
        xr.adapters.pytorch("resnet18")


def test_the_code_of_the_page_is_true():
    """What stands before a comment is what the comment says."""
    pytest.importorskip("timm")
    names = {}
    for block in re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "pytorch.md").read_text(), re.DOTALL):
        exec(block, names)
        for shown, value in re.findall(r"^(\w.*?)  # (.*)$", block, re.MULTILINE):
            assert eval(shown, names) == eval(value), shown
