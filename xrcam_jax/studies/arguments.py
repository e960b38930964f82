"""All studies have these options; what is wrong with them is refused before anything is read."""

import argparse
from collections.abc import Sequence
from pathlib import Path

import xrcam_jax as xr
from xrcam_jax.arguments import processes
from xrcam_jax.arguments.checks import check_at_least_one, check_methods, check_names, check_seed
from xrcam_jax.arguments.parser import Parser, names
from xrcam_jax.data.manifest import PARTS
from xrcam_jax.errors import CommandError
from xrcam_jax.explain.methods import configure
from xrcam_jax.models.resnet import STAGES

#: The thesis's seven methods, in the order of its tables.
SEVEN = ("grad_cam", "grad_cam_pp", "x_grad_cam", "hires_cam", "layer_cam", "relevance_cam", "xrelevance_cam")
#: How a method with options is written.
OPTIONS_HELP = "options of a method stand behind it, such as xrelevance_cam+axiom=sensitivity"


def parser(doc: str | None, name: str) -> argparse.ArgumentParser:
    """Returns a parser for the study ``name``, whose module has the docstring ``doc``."""
    return Parser(prog=f"xrcam evaluate {name}", description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)


def add_arguments(parser: argparse.ArgumentParser, *, methods: Sequence[str] = SEVEN, part: str = "test") -> None:
    """Adds the options that all studies have.

    Args:
      parser: gets the options.
      methods: that are compared by default; with none, the study is about no maps, and methods and layers cannot be
        chosen.
      part: of the data, by default.
    """
    parser.add_argument("--data", type=Path, required=True, metavar="PREPARED", help="folder made by xrcam prepare")
    parser.add_argument(
        "--weights", type=Path, nargs="+", required=True, metavar="PATH", help="of one network or several; runs too"
    )
    parser.add_argument(
        "--model", nargs="+", metavar="NAME", help="of each of the weights, where these do not say it themselves"
    )
    parser.add_argument(
        "--folds",
        action="store_true",
        help="the weights are runs of xrcam train --fold, one of each fold for one network after another; each frame "
        "is judged by the run that has not seen its patient, and all frames count together",
    )
    parser.add_argument("--annotations", type=Path, metavar="COCO", help="JSON file with outlines (MakeSense.ai)")
    parser.add_argument("--part", choices=(*PARTS, "all"), default=part, help=f"of the data ({part})")
    parser.add_argument("--limit", type=int, metavar="N", help="look at N frames only, spread over the part")
    if methods:
        parser.add_argument(
            "--methods",
            type=names,
            default=tuple(methods),
            metavar="M[,M]",
            help=f"{','.join(methods)}; {OPTIONS_HELP}",
        )
        parser.add_argument("--layers", type=names, default=STAGES, metavar="L[,L]", help=",".join(STAGES))
    else:
        parser.set_defaults(methods=None, layers=())
    parser.add_argument("--batch-size", type=int, default=8, metavar="N", help="pictures at a time (8)")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="of all that is random (0)")
    parser.add_argument("--out", type=Path, default=Path("xrcam_results"), metavar="DIR", help="(xrcam_results)")
    processes.add_arguments(parser)


def check_arguments(options: argparse.Namespace) -> None:
    """Refuses what can be refused before anything is read.

    Raises:
      CommandError: an option is wrong.
    """
    check_at_least_one("--batch-size", options.batch_size)
    check_seed("--seed", options.seed)
    if options.limit is not None:
        check_at_least_one("--limit", options.limit)
    if options.folds and options.part != "test":
        raise CommandError(
            "--part: with --folds all frames are judged, each as one of the test part of its fold, so leave it out; "
            f"got {options.part!r}"
        )
    if options.methods is not None:
        check_methods("--methods", options.methods, xr.METHODS)
        check_names("--layers", options.layers, STAGES)
        without_layers = [method for method in options.methods if configure(method, {}).where == "input"]
        if without_layers:
            raise CommandError(f"--methods: no maps of layers are to be had from {', '.join(without_layers)}")
    processes.check(options)
