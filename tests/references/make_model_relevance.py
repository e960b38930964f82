"""Writes ``relevance_NETWORK.npz`` and ``shallow_NETWORK.npz``: relevances by autoLRP and LXT.

    PYTHONPATH=. python tests/references/make_model_relevance.py [--check] [--out FOLDER]

torch 2.13.0 on CPU, timm 1.0.31, LXT 2.1, autoLRP 0.2.0, grad-cam 1.5.7, all in float64 with stabilisers as good as
zero (``attention_peers.py``). Takes four minutes of one core. Each picture's largest logit is explained.

``relevance_NETWORK.npz`` is of whole networks, which ``oracle.seeded_state`` draws: ViT-tiny and Swin-tiny with the
first of ``oracle.model_images``, the others with the first of ``oracle.images``. ``shallow_NETWORK.npz`` is of the
networks of ``networks.SHALLOW`` with both of ``oracle.images``. Keys, for images b, classes n and pixels h, w:
  ``R/PEER`` (b, h, w): the relevance of the input, summed over its channels.
  ``logits_f64`` (b, n).
  ``METHOD/MODULE`` and ``target``, of shallow networks: as in ``make_model_maps.py``, but at other layers, and with
  the last class as the second target.

Peers: ``lxt_attn`` and ``lxt_cp`` on ViT, ``autolrp_default`` and ``autolrp_attnlrp``. With batch norm autoLRP's
default, the epsilon rule everywhere, gives relevances of millions and more, whose digits are those of rounding, so it
is left out. autoLRP takes second derivatives, of which PyTorch's hard sigmoid has none; another formula stands in.
"""

from functools import partial

import torch
from attention_peers import by_lxt, lxt
from autolrp.forward.intercept import register_rewrite
from autolrp.forward.ops import elementwise_function
from make_attention import autolrps, largest, named
from make_model_maps import maps_at
from make_models import pictures
from networks import CLASSES, SHALLOW, network, shallow, single
from torch import Tensor, nn
from writing import Arrays, main

from tests import oracle

#: Which layers of the shallow networks have maps.
LAYERS = {
    "vit_tiny_patch16_224": ("blocks.1", "blocks.2.norm1"),
    "swin_tiny_patch4_window7_224": ("layers.1", "layers.2"),
    "convnext_atto": ("stages.1", "stages.2"),
    "vgg16": ("features.4", "features.9"),
    "densenet121": ("features.denseblock2", "features.norm5"),
    "mobilenetv3_small_100": ("blocks.0", "blocks.1"),
}

register_rewrite("hardsigmoid", lambda x, inplace=False: _HARD.apply(x, lambda x: (x + 3).clamp(0, 6) / 6, (), {}))
_HARD = elementwise_function("Hardsigmoid")


def relevances(name: str, model: nn.Module, x: Tensor) -> Arrays:
    """Those of the input, by peer, and the logits."""
    logits = model(x).detach()
    seed, found = largest(logits), {}
    if name.startswith("vit"):
        for kind in ("attn", "cp"):
            with lxt("timm", f"{kind}_lrp"):
                found |= named(f"lxt_{kind}", by_lxt(model, x, seed))
    found |= autolrps(model, x, seed, {})
    summed = {f"R/{key.removesuffix('/R_x')}": single(torch.as_tensor(r.sum(1))) for key, r in found.items()}
    normed = any(isinstance(module, nn.BatchNorm2d) for module in model.modules())
    dropped = {"R/autolrp_cplrp", "R/autolrp_default" if normed else ""}
    return {key: r for key, r in summed.items() if key not in dropped} | {"logits_f64": logits.numpy()}


def whole(name: str) -> Arrays:
    images = oracle.model_images(name) if name[:3] in ("vit", "swi") else oracle.images()
    arrays = relevances(name, network(name), pictures(images[:1], torch.float64))
    # Two of 224 pixels a side would make a large file.
    kept = {"vit": ["R/lxt_attn"], "swi": ["R/autolrp_attnlrp"]}.get(name[:3], arrays)
    return {key: arrays[key] for key in (*kept, "logits_f64")}


def small(name: str) -> Arrays:
    model, x = shallow(name), pictures(oracle.images(), torch.float64)
    manifest = {key: list(value.shape) for key, value in model.state_dict().items()}
    assert manifest == {key: list(shape) for key, shape in oracle.manifest(f"shallow_{name}", CLASSES).items()}
    return relevances(name, model, x) | maps_at(name, model, x, LAYERS[name], CLASSES - 1)


if __name__ == "__main__":
    makers = {f"shallow_{name}": partial(small, name) for name in SHALLOW}
    makers |= {f"relevance_{name}": partial(whole, name) for name in SHALLOW}
    main(__doc__, makers, tolerance=1e-6, up_to_sign=("eigencam",))
