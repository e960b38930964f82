"""Stand-ins for the convolutional networks: as deep as it takes to have every kind of layer, a few channels wide."""

import numpy as np
import pytest
from flax import nnx

import xrcam_jax as xr
from tests import oracle
from xrcam_jax.checkpoints.convert import flat_state, from_timm, timm_tensors
from xrcam_jax.models.densenet_specs import DenseSpec
from xrcam_jax.models.mobile_specs import GateSpec, MobileSpec, MobileStage, MobileV3Spec
from xrcam_jax.models.specs import SPECS
from xrcam_jax.models.variant import PLAIN
from xrcam_jax.models.vgg_specs import VggSpec
from xrcam_jax.pictures.preprocessing import Preprocessing

STAGES = (
    MobileStage(1, 3, 1, 1, 8),
    MobileStage(1, 3, 2, 2, 8, gated=False, act="relu"),
    MobileStage(1, 5, 2, 2, 8),
    MobileStage(2, 3, 2, (3, 2.5), 16),
    MobileStage(1, 5, 2, 2, 24),
)
SIGMOID, HARD = GateSpec("sigmoid", None, False), GateSpec("hard_sigmoid", "relu", True)
VGG = VggSpec((1, 1, 1, 1, 2), False, "", (8, 8, 8, 16, 16), 16)
NARROW = {
    "vgg_narrow": VGG,
    "vgg_bn_narrow": VggSpec(VGG.depths, True, "", VGG.planes, VGG.hidden),
    "densenet_narrow": DenseSpec((1, 2, 2, 2), 4, ""),
    "efficientnet_narrow": MobileSpec(STAGES, False, "", Preprocessing(), "silu", SIGMOID, 8, 32),
    "mobilenetv3_narrow": MobileV3Spec(STAGES, False, "", Preprocessing(), "hard_swish", HARD, 8, 32, 16),
    "mobilenetv3_tensorflow": MobileV3Spec(STAGES, True, "", Preprocessing(), "hard_swish", HARD, 8, 32, 16),
}


@pytest.fixture(scope="module", autouse=True)
def narrow():
    """The stand-ins are known by name."""
    with pytest.MonkeyPatch.context() as patch:
        for name, spec in NARROW.items():
            patch.setitem(SPECS, name, spec)
        yield


def shapes(name, num_classes=5, variant=PLAIN):
    """timm's keys of a network and the shapes of its tensors, by our model alone."""
    state = flat_state(nnx.eval_shape(lambda: xr.create_model(name, num_classes=num_classes, **vars(variant))))
    tensors = timm_tensors(name, {path: np.zeros(leaf.shape, np.float32) for path, leaf in state.items()})
    return {key: tensor.shape for key, tensor in tensors.items()}


def weights(name, variant=PLAIN):
    """Drawn tensors of a network of five classes."""
    return oracle.drawn(shapes(name, variant=variant))


def model(name, variant=PLAIN, **options):
    """The network with these."""
    return from_timm(name, weights(name, variant), variant=variant, **options)
