# %% [markdown]
# # LRP rules and conservation by hand
#
# Relevance propagation is four lines for one layer. Here they are in NumPy, beside what the library does with the
# same network.

# %%
import jax
import jax.numpy as jnp
import numpy as np

import xrcam_jax as xr
from xrcam_jax.lrp.composites import Assign, Composite

x = np.array([[1.0, 2.0, -1.0]])
first = np.array([[1.0, -1.0], [0.5, 1.0], [-1.0, 0.5]])
second = np.array([[2.0, 0.0], [-1.0, 1.0]])


def model(x, first, second):
    hidden = xr.mark(jax.nn.relu(x @ first), "hidden")
    return hidden @ second


hidden = np.maximum(x @ first, 0)
out = hidden @ second
np.testing.assert_allclose(model(x, first, second), out)
hidden, out

# %% [markdown]
# ## The ε rule
#
# An output j hands its relevance to its inputs in proportion to what they contributed: R_i = Σ_j x_i w_ij R_j / z_j.
# With ε = 0:


# %%
def epsilon(x, w, relevance):
    z = x @ w
    s = np.divide(relevance, z, out=np.zeros_like(z), where=z != 0)
    return x * (s @ w.T)


seed = np.array([[out[0, 0], 0.0]])  # all of the logit of class 0
at_hidden = epsilon(hidden, second, seed)
at_input = epsilon(x, first, at_hidden)
at_hidden, at_input

# %% [markdown]
# The library does the same for the whole network. A composite says which operation gets which rule.

# %%
rule = xr.rules.Epsilon(eps=0)
composite = Composite((Assign(rule, kinds=("dense",)), Assign(xr.rules.Pass(), kinds=("activation",))))
arguments = [jnp.asarray(a, jnp.float32) for a in (x, first, second)]
taps = xr.taps(model, composite, *arguments, seed=jnp.asarray(seed, jnp.float32))
np.testing.assert_allclose(taps.relevances["hidden"], at_hidden, rtol=1e-5)
_, pullback = jax.vjp(lambda x: xr.lrp(model, composite)(x, *arguments[1:]), arguments[0])
np.testing.assert_allclose(pullback(jnp.asarray(seed, jnp.float32))[0], at_input, rtol=1e-5)
print("relevance sums to", at_input.sum(), "the logit is", out[0, 0])

# %% [markdown]
# With ε = 0 and no biases this is gradient times input:

# %%
gradient = jax.grad(lambda x: model(x, *arguments[1:])[0, 0])(arguments[0])
np.asarray(gradient) * x

# %% [markdown]
# ## The z+ rule
#
# Shares among what speaks *for* an output. A positive and a negative part of x go separately.


# %%
def z_plus(x, w, relevance):
    w_for, w_against = np.maximum(w, 0), np.minimum(w, 0)
    x_for, x_against = np.maximum(x, 0), np.minimum(x, 0)
    z = x_for @ w_for + x_against @ w_against
    s = np.divide(relevance, z, out=np.zeros_like(z), where=z > 0)
    return x_for * (s @ w_for.T) + x_against * (s @ w_against.T)


by_hand = z_plus(x, first, z_plus(hidden, second, seed))
composite = Composite((Assign(xr.rules.ZPlus(eps=0), kinds=("dense",)), Assign(xr.rules.Pass(), kinds=("activation",))))
_, pullback = jax.vjp(lambda x: xr.lrp(model, composite)(x, *arguments[1:]), arguments[0])
np.testing.assert_allclose(pullback(jnp.asarray(seed, jnp.float32))[0], by_hand, rtol=1e-5)
by_hand, by_hand.sum()

# %% [markdown]
# Both sum to the logit, and they disagree about the pixels: conservation is no proof of being right.
#
# ## A bias
#
# What a bias contributed belongs to no pixel. The ledger says how much that is, stage by stage.


# %%
def biased(x, first, second):
    return xr.mark(jax.nn.relu(x @ first + 1.0), "hidden") @ second


report = xr.conservation(
    biased, xr.composites.epsilon_plus(eps=0), *arguments, seed=lambda out: xr.seeds.one_hot(out, jnp.array([0]))
)
print(report)

# %% [markdown]
# ## What a share matrix does
#
# z+ multiplies relevance by matrices of non-negative shares whose columns sum to 1. After a few random layers, what
# comes out hardly depends on what was put in. Here are two opposite seeds, followed down through eight layers: the
# angle between what becomes of them.

# %%
rng = np.random.default_rng(0)
activations = np.abs(rng.standard_normal((9, 32)))
relevances = np.stack([np.eye(32)[0], np.eye(32)[1]])
for depth, a in enumerate(activations[1:], start=1):
    weights = np.maximum(rng.standard_normal((32, 32)), 0)
    shares = a[:, None] * weights / (a @ weights)
    relevances = relevances @ shares.T
    cosine = relevances[0] @ relevances[1] / np.linalg.norm(relevances[0]) / np.linalg.norm(relevances[1])
    print(f"layer {depth}: cosine {cosine:.4f}")
