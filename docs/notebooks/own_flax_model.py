# %% [markdown]
# # A Flax model of my own
#
# A small network is trained on pictures of two classes. That it is right does not say why it is right. Its accuracy
# does not tell; a map does.
#
# The pictures are drawn: in each is an ellipse of upright or level stripes, which is the class, and a logo in the
# corner, which differs by class too, as when each hospital has its own machine.

# %%
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
import optax
from flax import nnx

import xrcam_jax as xr

drawn = xr.datasets.planted("shortcut", 48)
images, labels = jnp.asarray(drawn.images), jnp.asarray(drawn.labels)
figure, axes = plt.subplots(1, 4, figsize=(8, 2.2))
for ax, image, label in zip(axes, drawn.images, drawn.labels, strict=False):
    ax.imshow(image)
    ax.set_title(f"class {label}", fontsize=9)
    ax.set_axis_off()

# %% [markdown]
# An ordinary network in Flax NNX. The only line for us is `xr.mark`: it names a value and changes nothing.


# %%
class Net(nnx.Module):
    def __init__(self, rngs):
        self.first = nnx.Conv(3, 12, (4, 4), strides=2, rngs=rngs)
        self.second = nnx.Conv(12, 24, (3, 3), strides=2, rngs=rngs)
        self.head = nnx.Linear(24, 2, rngs=rngs)

    def __call__(self, x):
        x = nnx.relu(self.first(x - 0.5))
        x = xr.mark(nnx.relu(self.second(x)), "features")
        return self.head(x.max((1, 2)))


net = Net(nnx.Rngs(0))
optimizer = nnx.Optimizer(net, optax.adam(1e-2), wrt=nnx.Param)


@nnx.jit
def step(net, optimizer):
    def loss(net):
        return optax.softmax_cross_entropy_with_integer_labels(net(images), labels).mean()

    value, gradient = nnx.value_and_grad(loss)(net)
    optimizer.update(net, gradient)
    return value


losses = [float(step(net, optimizer)) for _ in range(60)]
accuracy = float((net(images).argmax(1) == labels).mean())
f"loss {losses[0]:.2f} -> {losses[-1]:.2f}, accuracy {accuracy:.0%}"

# %% [markdown]
# ## Where does it look?
#
# The module itself goes into the Explainer.

# %%
shown = {"xrelevance_cam": "features", "gradient_x_input": "input"}
e = xr.Explainer(net, tuple(shown))(images[:4], labels[:4])
figure, axes = plt.subplots(2, 4, figsize=(8, 4.2))
for row, (method, layer) in zip(axes, shown.items(), strict=True):
    for ax, image, saliency in zip(row, drawn.images, np.asarray(e.maps[method][layer]), strict=False):
        ax.imshow(image)
        ax.imshow(saliency, cmap="inferno", alpha=0.75 * saliency)
        ax.set_axis_off()
    row[0].set_title(f"{method} at {layer}", fontsize=9, loc="left")

# %% [markdown]
# Not the same for both classes: upright stripes speak for class 0, and for class 1 it is the logo. The gradient
# times the input of single pixels shows little that a person could read.
#
# ## The proof
#
# Grey over the logo (`drawn.truth`), grey over the structure (`drawn.decoy`). The answer may stay, as the other
# reason is left; by how much the logit of the right class is ahead says what each is worth.

# %%
for name, mask in (("nothing", drawn.truth & False), ("the logo", drawn.truth), ("the structure", drawn.decoy)):
    logits = net(jnp.where(mask[..., None], 0.5, images))
    ahead = (logits[:, 0] - logits[:, 1]) * jnp.where(labels == 0, 1, -1)
    by_class = [f"class {c} ahead by {float(ahead[labels == c].mean()):5.1f}" for c in (0, 1)]
    print(f"{name + ' hidden':22}", ", ".join(by_class), f"accuracy {float((ahead > 0).mean()):.0%}")

# %% [markdown]
# *Compare methods and judge them* asks the same of other methods, on networks where the answer is proven.
