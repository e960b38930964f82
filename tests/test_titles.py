"""Each method has a title, and titles tell methods apart."""

from xrcam_jax.explain.methods import METHODS
from xrcam_jax.titles import TITLES, layer_title, method_title


def test_every_method_has_one_title():
    assert list(TITLES) == list(METHODS)
    assert {name: method.title for name, method in METHODS.items()} == TITLES
    assert len(set(TITLES.values())) == len(TITLES)
    assert not any("_" in title for title in TITLES.values())


def test_titles_with_options():
    assert method_title("grad_cam_pp+variant=inside") == "Grad-CAM++, variant=inside"
    assert method_title("centred disc") == "centred disc"


def test_layers():
    names = ("layer3", "layer4+3+2", "aggregate", "input", "blocks.11", "features/denseblock2", "conv2d_1")
    shown = ["layer 3", "layer 4+3+2", "all layers", "input", "blocks.11", "features/denseblock2", "conv2d_1"]
    assert list(map(layer_title, names)) == shown
