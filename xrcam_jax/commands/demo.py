"""``xrcam demo``: the whole way once, with nothing to download."""

import argparse
from pathlib import Path

from xrcam_jax.commands import explain
from xrcam_jax.commands.checks import prepare_folder

NAME = "demo"
SUMMARY = "Draw pictures, make weights and explain the one with the other, in a minute or two"
EXAMPLE = "example:\n  xrcam demo --out xrcam_demo"

MODEL = "skresnext50_32x4d"
METHODS = "xrelevance_cam,relevance_cam,grad_cam"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--out", type=Path, default=Path("xrcam_demo"), metavar="DIR", help="(xrcam_demo)")


def run(options: argparse.Namespace) -> int:
    prepare_folder("--out", options.out)

    from flax import nnx

    import xrcam_jax as xr
    from weights_convert.save import save_timm
    from xrcam_jax.demo_pictures import draw
    from xrcam_jax.plot import save_picture

    pictures, weights = options.out / "pictures", options.out / f"{MODEL}_random.safetensors"
    for seed in range(4):
        save_picture(pictures / f"drawn_{seed}.png", draw(seed))
    save_timm(xr.create_model(MODEL, num_classes=2, rngs=nnx.Rngs(0)), weights)
    print(f"Drew 4 pictures and made a {MODEL} with random weights. Explaining; compiling comes first ...")

    parser = argparse.ArgumentParser()
    explain.add_arguments(parser)
    arguments = f"--model {MODEL} --method {METHODS} --batch-size 4".split()
    status = explain.run(
        parser.parse_args([*arguments, "--weights", str(weights), "--out", str(options.out), str(pictures)])
    )
    print(
        "The pictures are drawn and the weights random: the maps show that all works, and no diagnosis.\n"
        f"With your own: xrcam explain PICTURES --model {MODEL} --weights WEIGHTS"
    )
    return status
