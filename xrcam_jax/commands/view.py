"""``xrcam view``: a page of maps that are computed while one looks through pictures."""

import os
import sys
import webbrowser
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from xrcam_jax.arguments.checks import check_inputs, check_methods
from xrcam_jax.arguments.parser import NAMES, Argument, Options, Text, flag
from xrcam_jax.checkpoints.labels import best_of
from xrcam_jax.commands import layers, onnx_files
from xrcam_jax.commands.explain import field_of_view
from xrcam_jax.commands.network import LABELS, MODEL, WEIGHTS_HELP, find_network
from xrcam_jax.errors import CommandError, weights_error
from xrcam_jax.runtime.names import printable

if TYPE_CHECKING:
    from xrcam_jax.view.session import Session

NAME = "view"
EXAMPLE = """Example:
  xrcam view recordings/ --model skresnext50_32x4d --weights skresnext50.safetensors --labels classes.txt
  xrcam view clip.mp4 --model resnet50 --weights timm/resnet50.a1_in1k --method grad_cam --no-browser
The page is for this machine alone, and for who has its address."""


PARAMETERS = (
    Argument("input", option="--input", help="picture, video, or folder of both"),
    MODEL,
    click.Option(["--weights"], metavar="PATH", help=WEIGHTS_HELP),
    *onnx_files.PARAMETERS,
    LABELS,
    click.Option(
        ["--method", "--methods"],
        type=NAMES,
        default=("xrelevance_cam",),
        metavar="M[,M]",
        help="what is shown first, see xrcam methods; the page offers the others as well",
    ),
    click.Option(
        ["--layers", "--layer"],
        type=NAMES,
        metavar="L[,L]",
        help="see xrcam layers, and globs; by default the network's marks, and the input",
    ),
    click.Option(
        ["--field-of-view"],
        type=Text(field_of_view),
        metavar="auto|none|X,Y,SIZE",
        help="square that the network is shown of each picture, see xrcam explain; by default what the weights say",
    ),
    click.Option(["--port"], type=int, default=0, metavar="N", help="of the page's address; 0 takes any that is free"),
    flag("--browser", default=True, help="open the address in a browser"),
)


def run(options: Options) -> int:
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
            Server(session, at, lambda address: _ready(address, options.browser)).serve_page()
        except Stopped as stopped:
            print("stopped", flush=True)
            return stopped.status
    return 0


def _check(options: Options) -> list[str] | None:
    """Refuses what can be refused before the weights are read; returns the labels."""
    missing = [name for name in ("starlette", "uvicorn") if find_spec(name) is None]
    if missing:
        raise CommandError(f"the viewer needs {' and '.join(missing)}: pip install 'xrcam-jax[view]'")
    check_inputs([options.input])
    if not 0 <= options.port < 2**16:
        raise CommandError(f"--port: {options.port} is not in 0 to {2**16 - 1}")
    options.weights = None if options.weights is None else best_of(options.weights)
    labels = find_network(options)

    import xrcam_jax as xr

    if options.layers is not None:
        options.layers = layers.expanded(options.layers, options.model, *onnx_files.described(options))
    check_methods("--method", options.method, tuple(xr.METHODS))
    return labels


def _session(options: Options, labels: list[str] | None) -> "Session":
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


def _load(options: Options) -> Any:
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
