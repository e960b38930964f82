"""Fresh networks are drawn; those that weights are loaded into are not."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import xrcam_jax as xr
from xrcam_jax.models.draws import OnlyShapes, normal


@pytest.mark.parametrize("name", ["resnet18", "vit_tiny_patch16_224", "convnext_atto", "efficientnet_lite0"])
def test_a_network_of_only_shapes_has_the_shapes_of_a_drawn_one(name):
    drawn = nnx.eval_shape(lambda: xr.create_model(name, rngs=nnx.Rngs(0)))
    shapes = nnx.eval_shape(lambda: xr.create_model(name, rngs=OnlyShapes()))

    def described(model):
        return [(path, a.shape, a.dtype) for path, a in jax.tree.leaves_with_path(nnx.state(model, nnx.Param))]

    assert described(shapes) == described(drawn)


def test_values_are_of_the_standard_normal_distribution_and_others_for_each_key():
    rngs = nnx.Rngs(0)
    first, second = np.asarray(normal(rngs, (64, 64), jnp.float32)), np.asarray(normal(rngs, (64, 64), jnp.float32))
    assert abs(first.mean()) < 0.05
    assert abs(first.std() - 1) < 0.05
    assert abs(np.corrcoef(first.ravel(), second.ravel())[0, 1]) < 0.05
