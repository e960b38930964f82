"""Makes the network that comes with the package, and its model card.

    python -m experiments.demo_checkpoint work/      # about 15 minutes on 2 cores

Draws 80 patients, prepares their recordings, trains skresnet18_narrow from scratch, rounds the best weights
to float16 and measures it on 20 patients drawn from another seed. Started again, the training goes on where
it was stopped.
"""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from safetensors import safe_open
from safetensors.numpy import save

import xrcam_jax as xr
from xrcam_jax.checkpoints.packaged import MODEL, WEIGHTS
from xrcam_jax.checkpoints.verify import seal
from xrcam_jax.cli import main as xrcam
from xrcam_jax.data.cohort import Cohort, draw_frames
from xrcam_jax.runtime.files import write_whole
from xrcam_jax.studies.structures import find_structures

SYNTH = ["--small", "--patients", "80", "--frames", "1920"]
TRAIN = f"--model {MODEL} --epochs 16 --patience 8 --score loss".split()
UNSEEN = Cohort(gbm=10, meningioma=10, videos=1, frames=48, side=96, seed=987654321)
METHODS = ("xrelevance_cam", "relevance_cam", "grad_cam")

CARD = """# Model card: {model}

A classifier of **drawn** pictures into GBM and Meningioma. It has seen no patient and no tissue, and says nothing
about any: it is here so that `xrcam demo` and the documentation explain a network that has learnt something.

- Architecture: SK-ResNet18 with a quarter of the channels, input 96 x 96; {parameters:,} parameters, stored in float16.
- Made by `python -m experiments.demo_checkpoint`: `xrcam synth {synth}`, `xrcam prepare`, `xrcam train {train}`.
- Trained from scratch on 64 drawn patients (1,536 frames), chosen on 8 others. The frames are grey and cut to
  their field of view, as the file's metadata say, so that `xrcam explain` does the same to a raw recording.
- On {frames} frames of 20 patients drawn from another seed: accuracy {accuracy:.1f} %.

Overlap of saliency (above mean + standard deviation) and drawn structures, pooled IoU in percent over the {chosen}
meningioma frames that are classified correctly:

{table}
"""


def to_float16(source: Path, target: Path) -> None:
    """Writes the checkpoint ``source`` to ``target`` in half the bytes; its description stays, under new digests.

    Raises:
      ValueError: a weight is too large for float16.
    """
    with safe_open(source, framework="np") as file:
        tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
        metadata = file.metadata()
    halved = {k: t.astype(np.float16) if np.issubdtype(t.dtype, np.floating) else t for k, t in tensors.items()}
    if not all(np.isfinite(t).all() for t in halved.values()):
        raise ValueError(f"{source}: a weight is too large for float16")
    sealed = seal(json.loads(metadata["config"]), halved)
    write_whole(target, save(halved, metadata={**metadata, "config": json.dumps(sealed)}))


def main(argv: Sequence[str] | None = None) -> int:
    """Makes the checkpoint and its card; returns the exit status."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("work", type=Path, help="folder for recordings, frames and the run")
    work = options.parse_args(argv).work
    steps = (
        ["synth", str(work / "synthetic"), *SYNTH],
        ["prepare", str(work / "synthetic" / "recordings"), str(work / "prepared")],
        ["train", str(work / "prepared"), *TRAIN, "--out", str(work / "run")],
    )
    for step in steps:
        if xrcam(step):
            return 1
    to_float16(work / "run" / "best.safetensors", WEIGHTS)
    frames = draw_frames(UNSEEN)
    found, _ = find_structures(xr.load_model(MODEL, WEIGHTS), frames, METHODS)
    with safe_open(WEIGHTS, framework="np") as file:
        trained = [key for key in file.keys() if key.endswith((".weight", ".bias"))]  # noqa: SIM118
        parameters = sum(file.get_tensor(key).size for key in trained)
    card = CARD.format(
        model=MODEL,
        parameters=parameters,
        synth=" ".join(SYNTH),
        train=" ".join(TRAIN),
        frames=len(frames.labels),
        accuracy=100 * found.accuracy,
        chosen=found.frames,
        table=found.table(),
    )
    write_whole(WEIGHTS.with_name("MODEL_CARD.md"), card.encode())
    print(card)
    print(json.dumps({"bytes": WEIGHTS.stat().st_size}))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
