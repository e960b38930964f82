"""``xrcam explain``: takes pictures and shows where a network looks."""

import sys
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import click

from xrcam_jax.arguments import processes
from xrcam_jax.arguments.aggregation import AGGREGATE
from xrcam_jax.arguments.checks import (
    batch_size,
    check_at_least_one,
    check_inputs,
    check_methods,
    check_seed,
    check_video,
    folders_without_files,
    prepare_folder,
)
from xrcam_jax.arguments.outputs import alone_at, alone_in
from xrcam_jax.arguments.parser import NAMES, PATH, Argument, Options, Text
from xrcam_jax.checkpoints.labels import best_of
from xrcam_jax.commands import drawing, layers, onnx_files, repeating
from xrcam_jax.commands.labels import target_of
from xrcam_jax.commands.network import LABELS, MODEL, WEIGHTS_HELP, find_network
from xrcam_jax.errors import CommandError
from xrcam_jax.runtime.names import printable

if TYPE_CHECKING:
    from xrcam_jax.pictures.views import FieldOfView

NAME = "explain"
EXAMPLE = """Example:
  xrcam explain scan.png recordings/ clip.mp4 --model skresnext50_32x4d --weights skresnext50.safetensors \\
      --method xrelevance_cam,grad_cam --labels classes.txt --out explained
  xrcam explain scan.png --model resnet50 --weights timm/resnet50.a1_in1k --method fast    # sheets to compare
  xrcam explain scan.png --model net.onnx --mean 0.5 --std 0.5
  xrcam explain scan.png --weights xrcam_run --target Meningioma    # a run of xrcam train: it says its network
  xrcam explain scan.png --model resnet50 --weights a.safetensors --passes 10 --dropout 0.1    # how sure a map is
  xrcam explain --config xrcam_out/settings.toml --out again    # as before"""

_SCIKIT_IMAGE = {"skimage": "scikit-image"}
#: What methods need that not all have, modules and the libraries that they are in.
_NEEDS = {
    "lime": {**_SCIKIT_IMAGE, "sklearn": "scikit-learn"},
    "kernel_shap": _SCIKIT_IMAGE,
    "xrai": _SCIKIT_IMAGE,
}


def field_of_view(text: str) -> "FieldOfView":
    """Returns what ``--field-of-view`` says: auto, none, or column, row and side."""
    from xrcam_jax.pictures.views import checked

    try:
        return checked(text if text in ("auto", "none") else tuple(int(number) for number in text.split(",")))
    except ValueError:
        raise ValueError(f"expected auto, none or x,y,size in pixels, found {text!r}") from None


def _target(text: str) -> int | str | None:
    """Returns the number or the name of a class; None for the one that is predicted."""
    if text == "predicted":
        return None
    try:
        return int(text)
    except ValueError:
        return text


PARAMETERS = (
    Argument("inputs", nargs=-1, metavar="INPUT", help="pictures, videos, or folders of both"),
    MODEL,
    click.Option(
        ["--weights"],
        metavar="PATH[,PATH]",
        help=f"{WEIGHTS_HELP}; several with commas between are an ensemble, whose first network says which class is "
        "explained",
    ),
    *onnx_files.PARAMETERS,
    click.Option(["--num-classes"], type=int, metavar="N", help="refuse weights of another number"),
    click.Option(
        ["--img-size", "--size"],
        type=int,
        metavar="N",
        help="side of the pictures in pixels, of a network that knows positions by heart: they are interpolated",
    ),
    click.Option(
        ["--target"],
        type=Text(_target),
        metavar="CLASS",
        help="the class to explain, its number or, where labels are known, its name; the predicted one by default",
    ),
    LABELS,
    click.Option(
        ["--method", "--methods"],
        type=NAMES,
        default=("xrelevance_cam",),
        metavar="M[,M]",
        help="see xrcam methods; also fast (all that one pass forth and back gives), activation, propagation, "
        "perturbation, or all: with some of these a picture takes thousands of passes. Options stand behind a "
        "method, such as xrelevance_cam+axiom=sensitivity; xrcam methods --options lists them",
    ),
    click.Option(
        ["--layers", "--layer"],
        type=NAMES,
        metavar="L[,L]",
        help="of layer1, layer2, layer3, layer4, input; by default the four, and the input for methods that work "
        "there; of an ONNX file the last of each size. Or others, see xrcam layers, and globs such as 'layer3/*'",
    ),
    AGGREGATE,
    *drawing.PARAMETERS,
    click.Option(["--seed"], type=int, default=0, metavar="N", help="of noise and random masks"),
    click.Option(
        ["--chunk-size"],
        type=int,
        metavar="N",
        help="changed versions of a batch to run at a time, in methods that make some; as many as fit into 1 GiB",
    ),
    *repeating.PARAMETERS,
    click.Option(
        ["--field-of-view"],
        type=Text(field_of_view),
        metavar="auto|none|X,Y,SIZE",
        help="square of each picture that the network is shown: found, as xrcam prepare does; none, the whole picture; "
        "or its first column, first row and side in pixels; by default what the weights say of the training",
    ),
    click.Option(
        ["--every"],
        type=int,
        default=1,
        metavar="N",
        help="of a video or a file of several pictures, take every Nth frame",
    ),
    click.Option(
        ["--batch-size"], type=Text(batch_size), default=8, metavar="N", help="pictures at a time, or auto: what fits"
    ),
    click.Option(
        ["--out"],
        type=PATH,
        default=Path("xrcam_out"),
        metavar="DIR",
        help="folder; or a video, if it ends in .avi, .mp4, .mov or .mkv: each picture beside one overlay per method, "
        "the aggregate over the layers",
    ),
    *processes.PARAMETERS,
)


def run(options: Options) -> int:
    """Explains what is given; returns the exit status."""
    labels = _check(options)
    processes.join(options)

    from xrcam_jax.commands.explaining import explain_all, writes_video
    from xrcam_jax.runtime.compiling import keep_compiled

    keep_compiled()
    if writes_video(options.out):
        with alone_at("--out", options.out):
            return explain_all(options, labels)
    with alone_in("--out", options.out, shared=True):
        return explain_all(options, labels)


def _check(options: Options) -> list[str] | None:
    """Refuses what can be refused before the weights are read; returns the labels."""
    if options.batch_size != "auto":
        check_at_least_one("--batch-size", options.batch_size)
    check_at_least_one("--every", options.every)
    check_seed("--seed", options.seed)
    if options.img_size is not None:
        check_at_least_one("--img-size", options.img_size)
    if options.chunk_size is not None:
        check_at_least_one("--chunk-size", options.chunk_size)
    drawing.drawing(options)
    processes.check(options)
    check_inputs(options.inputs)
    for folder in folders_without_files(options.inputs):
        line = f"xrcam explain: {folder}: no files in it; folders inside of a folder are not searched"
        print(printable(line), file=sys.stderr)
    files = [best_of(path) for path in repeating.files(options.weights)]
    options.weights, options.others = (files[0] if files else None), files[1:]
    labels = find_network(options)
    repeating.check(options)
    options.target = target_of(options.target, labels)
    _check_methods(options)
    _check_out(options)
    return labels


def _check_methods(options: Options) -> None:
    """Refuses unknown names; puts methods in the place of groups."""
    import xrcam_jax as xr
    from xrcam_jax.explain.variants import base

    if options.layers is not None:
        options.layers = layers.expanded(options.layers, options.model, *onnx_files.described(options))
    named, options.method = options.method, _expanded(options.method)
    options.of_groups = [name for name in options.method if name not in named]
    check_methods("--method", options.method, tuple(xr.METHODS))
    for name in filter(_NEEDS.get, map(base, options.method)):
        if not all(map(find_spec, _NEEDS[name])):
            libraries = " and ".join(_NEEDS[name].values())
            raise CommandError(
                f"--method: {name} needs {libraries}: pip install 'xrcam-jax[perturbation]', or leave it out"
            )


def _check_out(options: Options) -> None:
    """Refuses what cannot be written; makes the folder."""
    from xrcam_jax.commands.explaining import writes_video

    if not writes_video(options.out):
        prepare_folder("--out", options.out)
        return
    if processes.several(options):
        raise CommandError(
            f"--out: {options.out} is a video, which one process writes; name a folder, or leave out --distributed "
            "and --coordinator"
        )
    check_video("--out", options.out, options.inputs)


def _expanded(names: list[str]) -> list[str]:
    """Returns methods in the place of groups; each method once if a group is named."""
    import xrcam_jax as xr

    groups = {"all": list(xr.METHODS), "fast": [n for n, m in xr.METHODS.items() if m.kind.single_pass]}
    for name, method in xr.METHODS.items():
        groups.setdefault(method.family, []).append(name)

    def of_group(name: str) -> list[str]:
        # Groups are for any model. What needs attention has to be asked for by its own name.
        return [method for method in groups[name] if not xr.METHODS[method].kind.needs_attention]

    if not any(name in groups for name in names):
        return names
    return list(dict.fromkeys(method for name in names for method in (of_group(name) if name in groups else [name])))
