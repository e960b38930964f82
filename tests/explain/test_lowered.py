"""Programs that are lowered for a GPU and a TPU hold nothing that one would wait for; neither has to be there."""

from dataclasses import replace
from functools import cache

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx
from jax import lax

import xrcam_jax as xr
from tests.lowered import faults, kernels, lowered
from tests.models.narrow import NARROW
from tests.models.shallow import shallow
from tests.tiny_networks import PLAIN_SPEC, tiny  # noqa: F401, a fixture
from xrcam_jax.data.augment import Augmentation, augment, normalise
from xrcam_jax.data.manifest import Statistics
from xrcam_jax.explain.passes import Cam
from xrcam_jax.models.resnet import STAGES
from xrcam_jax.models.specs import SPECS
from xrcam_jax.runtime.devices import data_mesh
from xrcam_jax.train.step import initial_state, make_train_step

SINGLE_PASS = tuple(name for name, method in xr.METHODS.items() if isinstance(method.kind, Cam))
BATCH, SIDE = 3, 64
GROUPED, DEPTHWISE = "grouped_tiny", "efficientnet_narrow"
# At 128 channels a 3 x 3 convolution is done by Winograd's filtering on a CPU, in groups by products of blocks.
WIDE = replace(PLAIN_SPEC, bottleneck=True, groups=4, base_width=32, planes=32)


@pytest.fixture(scope="module", autouse=True)
def networks():
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(SPECS, GROUPED, WIDE)
        patch.setitem(SPECS, DEPTHWISE, NARROW[DEPTHWISE])
        yield


@cache
def shapes_of(name):
    """A network of which only the shapes are there, which is all that lowering needs."""
    return nnx.eval_shape(lambda: xr.create_model(name, num_classes=5))


def programs(model, methods, layers, **options):
    explain = xr.Explainer(model, methods, layers)
    images = jax.ShapeDtypeStruct((BATCH, SIDE, SIDE, 3), jnp.float32)
    return lowered(explain.explain, explain.parameters, images, **options)


def own_kernels(model):
    """The shapes of a network's own kernels, but for those of a single place, which are products of matrices."""
    shapes = {leaf.shape for leaf in jax.tree.leaves(nnx.state(model, nnx.Param)) if leaf.ndim == 4}
    return {shape for shape in shapes if shape[:2] != (1, 1)}


@pytest.mark.long(but=[GROUPED])
@pytest.mark.parametrize("name", ["tiny", "sktiny", GROUPED, DEPTHWISE])
def test_xrelevance_cam_at_four_layers(name):
    model = shapes_of(name)
    for program in programs(model, "xrelevance_cam", STAGES):
        assert faults(program) == set()
        assert own_kernels(model) <= kernels(program)


@pytest.mark.long
def test_formulations_for_a_cpu_are_for_a_cpu_alone():
    model = shapes_of(GROUPED)
    (program,) = programs(model, "xrelevance_cam", STAGES, platforms=["cpu"])
    assert not own_kernels(model) <= kernels(program)


@pytest.mark.long
@pytest.mark.parametrize("name", ["tiny", DEPTHWISE])
def test_all_single_pass_cams(name):
    """The one loop is Eigen-CAM's, which goes on for all pictures together until the last is done."""
    for program in programs(shapes_of(name), SINGLE_PASS, STAGES):
        assert faults(program) == set()


@pytest.mark.long
@pytest.mark.parametrize("name", ["vit_tiny_patch16_224", "convnext_atto"])
def test_relevance_of_transformers_and_convnexts(name):
    with shallow(name, jnp.float32) as model:
        for program in programs(model, ("xrelevance_cam", "lrp", "grad_cam"), None):
            assert faults(program) == set()


class Small(nnx.Module):
    """Has one layer of each kind that training treats in a way of its own."""

    def __init__(self, rngs):
        self.conv, self.norm = nnx.Conv(3, 4, (3, 3), rngs=rngs), nnx.BatchNorm(4, rngs=rngs)
        self.dropout, self.head = nnx.Dropout(0.5), nnx.Linear(4, 2, rngs=rngs)

    def __call__(self, x, *, rngs=None):
        return self.head(self.dropout(nnx.relu(self.norm(self.conv(x))), rngs=rngs).mean((1, 2)))


def test_training_takes_over_the_buffers_of_its_state():
    mesh, optimiser = data_mesh(jax.devices()[:1]), optax.adamax(1e-3)
    static, state = initial_state(Small(nnx.Rngs(0)), optimiser, mesh)

    def prepare(key, images):
        return normalise(augment(key, images, Augmentation()), Statistics(0.5, 0.25))

    step = make_train_step(static, optimiser, prepare, mesh, seed=0)
    batch = {"image": jnp.zeros((4, SIDE, SIDE, 1), jnp.uint8), "label": jnp.zeros(4, jnp.int32)}
    for program in lowered(step, state, batch):
        assert faults(program) == set()
        assert all(leaf.donated for leaf in jax.tree.leaves(program.args_info[0][0]))
        # Each buffer is that of an array of the next state: one of another shape or dtype could not take it over.
        assert program.as_text().count("tf.aliasing_output") == len(jax.tree.leaves(state))


def turned(x):
    kernel = np.ones((3, 3, 4, 4), np.float32)
    dimensions = lax.conv_dimension_numbers(x.shape, kernel.shape, ("NHWC", "HWIO", "NHWC"))
    options = {"rhs_dilation": (2, 2), "lhs_dilation": (2, 2), "dimension_numbers": dimensions}
    return lax.conv_general_dilated(x, kernel, (1, 1), ((1, 1), (1, 1)), **options)


@pytest.mark.parametrize(
    ("f", "fault"),
    [
        (lambda x: jnp.linalg.eigh(x[..., 0])[0], "call of cusolver_syevd_ffi"),
        (lambda x: lax.map(jnp.sum, x), "loop that takes its turns one after the other"),
        (lambda x: x + jnp.arange(4, dtype=jnp.float64).astype(x.dtype), "in float64"),
        (turned, "convolution with holes in its input and in its kernel"),
    ],
)
def test_faults_are_seen(f, fault, float64, mixed):
    (program,) = lowered(f, jax.ShapeDtypeStruct((2, 8, 8, 4), jnp.float32), platforms=["cuda"])
    assert any(fault in line for line in faults(program)), faults(program)


@pytest.mark.parametrize("platform", ["cuda", "tpu"])
def test_a_program_that_calls_its_host_is_not_lowered(platform):
    def told(x):
        jax.debug.callback(lambda x: None, x)
        return x

    with pytest.raises(ValueError, match="different from the lowering platform"):
        lowered(told, jax.ShapeDtypeStruct((2, 4), jnp.float32), platforms=[platform])
