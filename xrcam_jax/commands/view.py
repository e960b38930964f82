"""``xrcam view``: a page of maps that are computed while one looks through pictures."""

import argparse
import os
import sys
import webbrowser
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from xrcam_jax.arguments.checks import check_inputs, check_methods, read_labels
from xrcam_jax.arguments.parser import names
from xrcam_jax.checkpoints.packaged import IMAGENET
from xrcam_jax.commands import layers, onnx_files
from xrcam_jax.commands.explain import _field_of_view
from xrcam_jax.commands.labels import run_labels
from xrcam_jax.errors import CommandError, weights_error
from xrcam_jax.runtime.names import printable

if TYPE_CHECKING:
    from xrcam_jax.view.session import Session

NAME = "view"
SUMMARY = "Look through pictures in a browser: maps are made as one pages, and a region says what speaks for it"
EXAMPLE = """example:
  xrcam view recordings/ --model skresnext50_32x4d --weights skresnext50.safetensors --labels classes.txt
  xrcam view clip.mp4 --model resnet50 --weights timm/resnet50.a1_in1k --method grad_cam --no-browser
The page is for this machine alone, and for who has its address."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the command's options."""
    parser.add_argument("input", type=Path, metavar="INPUT", help="picture, video, or folder of both")
    parser.add_argument("--model", required=True, help="network, see xrcam models; or an ONNX file")
    parser.add_argument(
        "--weights", help="timm .safetensors or .pth, .ckpt, Orbax directory, or hub name such as timm/resnet50.a1_in1k"
    )
    onnx_files.add_arguments(parser)
    parser.add_argument(
        "--labels",
        type=Path,
        metavar="FILE",
        help="class names: .txt, one a line, or .json; or imagenet (what the run says that wrote best.safetensors)",
    )
    parser.add_argument(
        "--method",
        type=names,
        default=["xrelevance_cam"],
        metavar="M[,M]",
        help="what is shown first, see xrcam methods; the page offers the others as well",
    )
    parser.add_argument(
        "--layers", type=names, metavar="L[,L]", help="see xrcam layers, and globs (the network's marks, and the input)"
    )
    parser.add_argument(
        "--field-of-view",
        type=_field_of_view,
        metavar="auto|none|X,Y,SIZE",
        help="square that the network is shown of each picture, see xrcam explain (what the weights say)",
    )
    parser.add_argument("--port", type=int, default=0, metavar="N", help="of the page's address (any that is free)")
    parser.add_argument("--no-browser", action="store_true", help="print the address, and open no browser")


def run(options: argparse.Namespace) -> int:
    """Serves the page until it is stopped; returns the exit status."""
    labels = _check(options)

    from xrcam_jax.runtime.signals import Stopped
    from xrcam_jax.view.server import Server, listening

    try:
        at = listening(options.port)
    except (OSError, OverflowError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise CommandError(f"--port: cannot listen on {options.port} ({reason}); 0 takes one that is free") from error
    with at:
        session = _session(options, labels)
        try:
            Server(session, at, lambda address: _ready(address, not options.no_browser)).serve_page()
        except Stopped as stopped:
            print("stopped", flush=True)
            return stopped.status
    return 0


def _check(options: argparse.Namespace) -> list[str] | None:
    """Refuses what can be refused before the weights are read; returns the labels."""
    missing = [name for name in ("starlette", "uvicorn") if find_spec(name) is None]
    if missing:
        raise CommandError(f"the viewer needs {' and '.join(missing)}: pip install 'xrcam-jax[view]'")
    check_inputs([options.input])
    if not 0 <= options.port < 2**16:
        raise CommandError(f"--port: {options.port} is not in 0 to {2**16 - 1}")
    if options.labels == Path("imagenet") and not options.labels.exists():
        options.labels = IMAGENET
    labels = read_labels("--labels", options.labels) if options.labels else None
    onnx_files.check(options)
    if options.weights is None and not onnx_files.is_onnx(options.model):
        raise CommandError(
            "--weights: give a timm .safetensors or .pth file, an Orbax directory or a hub name such as "
            "timm/resnet50.a1_in1k"
        )
    if labels is None and options.weights is not None:
        labels = run_labels(options.weights)

    import xrcam_jax as xr

    if options.layers is not None:
        options.layers = layers.expanded(options.layers, options.model, *onnx_files.described(options))
    check_methods("--method", options.method, tuple(xr.METHODS))
    return labels


def _session(options: argparse.Namespace, labels: list[str] | None) -> "Session":
    """Reads the weights, and looks which pictures there are."""
    from xrcam_jax.classes import class_count
    from xrcam_jax.pictures.by_number import PicturesByNumber
    from xrcam_jax.view.session import Session

    model = _load(options)
    classes = class_count(model.num_outputs)
    if labels is not None and len(labels) != classes:
        raise CommandError(f"--labels: {len(labels)} classes have names, the network has {classes}")
    field_of_view = options.field_of_view or model.preprocessing.field_of_view
    pictures = PicturesByNumber(options.input, field_of_view=field_of_view, notice=_say)
    name = options.input.name or str(options.input.absolute())
    try:
        return Session(
            model,
            pictures,
            options.method,
            options.layers,
            labels,
            others=_others(options.method),
            described=f"{Path(options.model).name} · {name}",
        )
    except (ValueError, NotImplementedError) as error:
        raise CommandError(f"--method, --layers: {error}") from error


def _others(named: list[str]) -> list[str]:
    """Returns the methods that the page offers besides; what needs attention has to be asked for by its own name."""
    import xrcam_jax as xr

    return [name for name, at in xr.METHODS.items() if name not in named and not at.kind.needs_attention]


def _load(options: argparse.Namespace) -> Any:
    import xrcam_jax as xr

    if onnx_files.is_onnx(options.model):
        options.batch_size = 1
        return onnx_files.load(options)
    try:
        return xr.load_model(options.model, options.weights)
    except (OSError, ValueError, ImportError) as error:
        raise weights_error(error) from error


def _say(line: str) -> None:
    print(printable(line), flush=True)


def _ready(address: str, opens: bool) -> None:
    print(f"Look at {address}\nIt is for this machine alone; Ctrl-C ends it.", flush=True)
    # A browser without a screen would write over the terminal, or wait for ever.
    has_screen = sys.platform in ("darwin", "win32") or {"DISPLAY", "WAYLAND_DISPLAY"} & os.environ.keys()
    if opens and has_screen:
        webbrowser.open(address)
