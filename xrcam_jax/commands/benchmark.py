"""``xrcam benchmark``: measures what explanations cost on this machine, in time and memory, and how exact they are.

    xrcam benchmark [SUITE] [options]     # or python -m xrcam_jax.commands.benchmark; explain by default
    xrcam benchmark table                 # the newest figures of each suite in benchmarks/, as Markdown

Each suite is a file in ``xrcam_jax/benchmark/``. Runs that are compared take turns in one process, and medians are
reported: bare times depend on the machine, ratios much less. Compilation is measured without the persistent cache.
"""

import ast
from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import partial
from importlib import import_module
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import click

import xrcam_jax.benchmark
from xrcam_jax.arguments.checks import check_at_least_one, check_names, prepare_folder
from xrcam_jax.arguments.config import write_settings
from xrcam_jax.arguments.group import Group
from xrcam_jax.arguments.parser import NAMES, PATH, Command, Options, run_words
from xrcam_jax.arguments.screen import show_markdown
from xrcam_jax.benchmark.parameters import PARAMETERS
from xrcam_jax.errors import CommandError

if TYPE_CHECKING:
    from xrcam_jax.benchmark.runs import Peer

NAME = "benchmark"

TABLE = "table"
SUITES = {
    "explain": "forward pass, gradient at four layers, XRelevance-CAM, all CAMs of a single pass",
    "train": "one step of training",
    "evaluate": "maps and figures of seven methods, per picture",
    "channels": "Score-CAM and Ablation-CAM of a layer with many channels",
    "scaling": "XRelevance-CAM with the batch laid over 1, 2, 4, 8 devices",
    "latency": "one picture: steady state, and time to the first result of a fresh process",
    "start": "xrcam explain of one picture as a command, with nothing kept and with traces and programs kept",
    "memory": "peak of the gradient and of XRelevance-CAM by batch and picture size",
    "accelerator": "all of a card: rates by precision and batch, errors, a live overlay, concepts",
    "precision": "maps in float32, TF32 and bfloat16 against float64",
    TABLE: "the newest figures of each suite, as Markdown",
}
FOLDER = Path("benchmarks")
EXAMPLE = """Example:
  {program} explain --models resnet50 --batch-size 1
  {program} table

Without a name it is explain; {program} SUITE --help says more of each. Reports go to benchmarks/, and table makes
Markdown of the newest ones."""


def main(argv: Sequence[str], peers: Mapping[str, Mapping[str, "Peer"]] = MappingProxyType({})) -> int:
    """Measures, writes the report and prints its table; returns the exit status.

    Args:
      argv: what follows the command's name.
      peers: by suite and name, other libraries that can be measured beside; ``experiments.benchmark`` has some.

    Raises:
      CommandError: an argument is wrong.
    """
    return run_words(group(peers), _program(peers), argv)


def group(peers: Mapping[str, Mapping[str, "Peer"]] = MappingProxyType({})) -> Group:
    """Returns the command, a group of suites.

    Args:
      peers: as :func:`main` takes them.
    """
    beside = "".join(f"  {name:10} --peers {','.join(known)}\n" for name, known in peers.items())
    beside = f"\n\nOther libraries are measured beside, where they are installed:\n{beside}" if beside else ""
    return Group(
        NAME,
        SUITES,
        lambda name: load(name, peers.get(name, {})),
        what="suite",
        default="explain",
        help="Measure what explanations cost on this machine, in time and memory, and how exact they are.",
        epilog=EXAMPLE.format(program=_program(peers)) + beside,
    )


def load(name: str, peers: Mapping[str, "Peer"]) -> click.Command:
    """Returns the command of a suite, whose file is read for its help, and loaded when it measures."""
    if name == TABLE:
        folder = click.Option(["--folder"], type=PATH, default=FOLDER, metavar="DIR", help="of reports")
        newest = "Print Markdown of the newest report of each suite."
        return Command(f"{NAME} {name}", [folder], _table, help=newest, epilog="Example:\n  xrcam benchmark table")
    source = Path(xrcam_jax.benchmark.__path__[0], f"{name}.py").read_text(encoding="utf-8")
    among = f"what to measure beside, if installed: {', '.join(peers)}"
    own = (
        click.Option(["--peers"], type=NAMES, default=(), metavar="P[,P]", help=among, hidden=not peers),
        click.Option(["--out"], type=PATH, metavar="FILE", help=f"the report ({FOLDER}/DATE_DEVICE_{name}.json)"),
    )
    example = f"Example:\n  xrcam benchmark {name} --models resnet18"
    return Command(
        f"{NAME} {name}",
        [*PARAMETERS[name], *own],
        partial(_run, name, peers),
        help=ast.get_docstring(ast.parse(source)),
        epilog=example,
    )


def _program(peers: Mapping[str, Any]) -> str:
    return "python -m experiments.benchmark" if peers else "xrcam benchmark"


def _run(name: str, peers: Mapping[str, "Peer"], options: Options) -> int:
    """Measures; writes after each row, so that what was measured stays if the rest fails or is interrupted."""
    from xrcam_jax.benchmark import report
    from xrcam_jax.benchmark.machine import machine, peak_memory_mb

    _check(name, options, peers)
    suite = import_module(f"xrcam_jax.benchmark.{name}")
    date, path, rows = datetime.now().isoformat(timespec="seconds"), options.out, []
    left_out = ("out", "repeat")
    settings = {key: value for key, value in vars(options).items() if key not in left_out and value not in (None, [])}
    for row in suite.measure(options, {peer: peers[peer] for peer in options.peers}):
        rows.append(row)
        path = path or report.free_path(FOLDER, name, date, machine())
        report.write(path, report.Report(name, date, machine(), settings, peak_memory_mb(), rows))
        write_settings(path, options.repeat)
    show_markdown(report.table(rows))
    print(f"\npeak memory {peak_memory_mb():.0f} MB; figures in {path}")
    return 0


def _table(options: Options) -> int:
    from xrcam_jax.benchmark import report

    print(report.document(report.newest(options.folder, tuple(name for name in SUITES if name != TABLE))))
    return 0


def _check(name: str, options: Options, peers: Mapping[str, "Peer"]) -> None:
    """Refuses what can be refused before anything is compiled."""
    import xrcam_jax as xr

    given = vars(options)
    if "models" in given:
        check_names("--models", options.models, xr.list_models())
    if options.peers and not peers:
        raise CommandError(
            f"--peers: the suite {name} has none here; python -m experiments.benchmark, "
            "in a clone of the repository, measures other libraries beside"
        )
    if options.peers:
        check_names("--peers", options.peers, peers)
    for key in ("batch_size", "repeats", "chunk_size", "concepts"):
        if isinstance(given.get(key), int):
            check_at_least_one(f"--{key.replace('_', '-')}", given[key])
    if given.get("batch_size") == "auto" and name != "explain":
        raise CommandError("--batch-size: auto is for the suite explain")
    for key in ("rate", "seconds"):
        if not given.get(key, 1) > 0:
            raise CommandError(f"--{key}: {given[key]:g} is not above 0")
    if given.get("size", 32) < 32:
        raise CommandError(f"--size: {options.size} is less than 32")
    prepare_folder("--out", options.out.parent if options.out else FOLDER)
