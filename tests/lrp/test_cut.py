"""A model cut at a mark: its halves make the whole again."""

import jax
import jax.numpy as jnp
import networks
import numpy as np
import pytest

import xrcam_jax as xr
from xrcam_jax.lrp.cut import cut

NETWORKS = networks.functions()


@pytest.mark.parametrize("mark", ["first", "second"])
@pytest.mark.parametrize("name", ["nnx", "linen"])
def test_the_halves_make_the_whole(name, mark):
    f, args, x = NETWORKS[name]
    halves = cut(f, mark, x, *args)
    activation, rest = halves.head(x, *args)
    taps = xr.taps(f, xr.composites.gradient(), x, *args, seed=jnp.ones_like)
    np.testing.assert_allclose(activation, taps.activations[mark], rtol=1e-5, atol=1e-6)
    output, pullback = jax.vjp(lambda a: halves.tail(a, rest), activation)
    np.testing.assert_allclose(output, f(x, *args), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(pullback(jnp.ones_like(output))[0], taps.relevances[mark], rtol=1e-4, atol=1e-6)


def around(x):
    """The mark is on one of two branches."""
    return xr.mark(jnp.sin(x), "branch") * 2 + jnp.cos(x)


def test_what_goes_around_the_mark_is_kept():
    x = jnp.arange(6.0).reshape(2, 3)
    halves = cut(around, "branch", jax.ShapeDtypeStruct((2, 3), x.dtype))
    activation, rest = jax.jit(halves.head)(x)
    np.testing.assert_allclose(jax.jit(halves.tail)(activation, rest), around(x), rtol=1e-6)
    changed = jax.vmap(lambda a: halves.tail(a, rest))(jnp.stack([activation, jnp.zeros_like(activation)]))
    np.testing.assert_allclose(changed[1], jnp.cos(x), rtol=1e-6)


def test_an_unknown_mark_is_named():
    with pytest.raises(ValueError, match="unknown mark 'brunch'; did you mean 'branch'"):
        cut(around, "brunch", jnp.ones(3))


@pytest.mark.parametrize(
    "wrap", [jax.checkpoint, lambda f: lambda x: jax.lax.scan(lambda c, _: (f(c), None), x, None, 2)[0]]
)
def test_inside_a_loop_or_remat_it_cannot_be_cut(wrap):
    with pytest.raises(NotImplementedError, match="mark 'branch' is inside remat, scan or cond"):
        cut(wrap(around), "branch", jnp.ones(3))
