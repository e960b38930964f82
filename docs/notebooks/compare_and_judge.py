# %% [markdown]
# # Compare methods and judge them
#
# Methods disagree. On a network whose weights are set by hand it is proven which pixels it reads, so a map can be
# right or wrong.

# %%
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np

import xrcam_jax as xr
from xrcam_jax.metrics.mass import mass_accuracy, outshines

METHODS = ("grad_cam", "layer_cam", "xrelevance_cam", "eigen_cam", "gradient_x_input", "occlusion")
drawn = {name: xr.datasets.planted(name, 8) for name in ("shortcut", "distractors", "cancelled")}
maps = {}
for name, case in drawn.items():
    e = xr.Explainer(case.network, METHODS)(case.images, targets=case.labels)
    maps[name] = {method: np.asarray(e.aggregate(method)) for method in METHODS}

# %% [markdown]
# In `shortcut` the network reads the logo in the corner and nothing of the structure. The first picture, and what
# each method says:

# %%
figure, axes = plt.subplots(len(drawn), 1 + len(METHODS), figsize=(11, 5))
for row, (name, case) in zip(axes, drawn.items(), strict=True):
    row[0].imshow(case.images[0])
    row[0].contour(case.truth[0].astype(float), [0.5], colors="lime", linewidths=1)
    row[0].set_title(f"{name}: what is read", fontsize=8)
    for ax, method in zip(row[1:], METHODS, strict=True):
        ax.imshow(case.images[0])
        ax.imshow(maps[name][method][0], cmap="inferno", alpha=0.8 * maps[name][method][0])
        ax.set_title(xr.METHODS[method].title, fontsize=8)
    for ax in row:
        ax.set_axis_off()
figure.tight_layout()

# %% [markdown]
# In numbers: the share of a map that lies on what is read (1 is perfect), and how often it is brighter there than on
# what is planted beside it and does not matter.

# %%
print(f"{'method':18}" + "".join(f"{name:>24}" for name in drawn))
for method in METHODS:
    cells = []
    for name, case in drawn.items():
        share = float(mass_accuracy(jnp.asarray(maps[name][method]), case.truth).mean())
        wins = float(outshines(jnp.asarray(maps[name][method]), case.truth, case.decoy).mean())
        cells.append(f"{share:10.2f} (wins {wins:4.0%})")
    print(f"{method:18}" + "".join(f"{cell:>24}" for cell in cells))

# %% [markdown]
# Eigen-CAM knows no class, and takes what is strongest. `xrcam evaluate planted` measures all methods on all sets,
# with intervals. On a network of your own nothing is proven; hiding, drawing weights anew and outlines measure
# something else each: *Run the experiments* has them.
