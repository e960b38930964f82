# %% [markdown]
# # A recording, from frames to a report
#
# The commands of the whole way, run from Python in a folder that goes away at the end; in a shell they are `xrcam
# synth`, `xrcam prepare` and so on. Drawn recordings stand in for yours, and the network that comes along for one
# that you would train: `xrcam train prepared --model skresnet18_narrow --out run` takes minutes.

# %%
import csv
import tempfile
from pathlib import Path

import matplotlib.pyplot as plt

import xrcam_jax as xr
from xrcam_jax.checkpoints.packaged import MODEL, WEIGHTS
from xrcam_jax.cli import main

folder = tempfile.TemporaryDirectory()
at = Path(folder.name)


def xrcam(*arguments):
    """Runs a command as a shell would, and says so if it fails."""
    status = main([str(argument) for argument in arguments])
    assert status == 0, arguments


# %% [markdown]
# ## Recordings
#
# They lie in `CLASS/PATIENT/` folders.

# %%
xrcam("synth", at / "drawn", "--patients", "6", "--frames", "12", "--side", "96")
for video in sorted((at / "drawn" / "recordings").rglob("*.avi"))[:3]:
    print(video.relative_to(at))

# %% [markdown]
# ## Frames
#
# `prepare` finds the round view, cuts the largest square out of it, drops repeated frames, and splits by patient.

# %%
xrcam("prepare", at / "drawn" / "recordings", at / "prepared")
with (at / "prepared" / "manifest.csv").open() as file:
    print(len(list(csv.DictReader(file))), "frames")
print((at / "prepared" / "split.csv").read_text())

# %% [markdown]
# ## Maps

# %%
recording = next((at / "drawn" / "recordings" / "Meningioma").rglob("*.avi"))
xrcam("explain", recording, "--model", MODEL, "--weights", WEIGHTS, "--every", "4", "--out", at / "explained")
sheet = sorted((at / "explained" / "sheets").iterdir())[0]
plt.figure(figsize=(10, 4))
plt.imshow(xr.load_images([sheet])[0])
plt.axis("off")

# %% [markdown]
# ## Measured, and a report
#
# How far do maps cover what was outlined? Here the outlines are known, as the frames are drawn.

# %%
data = ("--data", at / "prepared", "--annotations", at / "drawn" / "annotations.json", "--part", "all", "--limit", "6")
xrcam(
    "evaluate",
    "segmentation",
    *data,
    "--weights",
    WEIGHTS,
    "--method",
    "xrelevance_cam,grad_cam",
    "--out",
    at / "results",
)

# %%
xrcam("report", at / "results")
print((at / "results" / "report.html").stat().st_size > 1000)
folder.cleanup()
