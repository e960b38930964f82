"""``xrcam benchmark``: measures what explanations cost on this machine, in time and memory, and how exact they are.

    xrcam benchmark [SUITE] [options]     # or python -m xrcam_jax.commands.benchmark; explain by default
    xrcam benchmark table                 # the newest figures of each suite in benchmarks/, as Markdown

Each suite is a file in ``xrcam_jax/benchmark/``. Runs that are compared take turns in one process, and medians are
reported: bare times depend on the machine, ratios much less. Compilation is measured without the persistent cache.
"""

import argparse
from collections.abc import Mapping, Sequence
from datetime import datetime
from importlib import import_module
from pathlib import Path
from types import MappingProxyType, ModuleType
from typing import Any

import xrcam_jax as xr
from xrcam_jax.arguments.checks import batch_size, check_at_least_one, check_names, prepare_folder
from xrcam_jax.arguments.parser import Parser, names
from xrcam_jax.benchmark import report
from xrcam_jax.benchmark.machine import machine, peak_memory_mb
from xrcam_jax.benchmark.runs import Peer
from xrcam_jax.errors import CommandError

SUITES = {
    "explain": "forward pass, gradient at four layers, XRelevance-CAM, all CAMs of a single pass",
    "train": "one step of training",
    "evaluate": "maps and figures of seven methods, per picture",
    "channels": "Score-CAM and Ablation-CAM of a layer with many channels",
    "scaling": "XRelevance-CAM with the batch laid over 1, 2, 4, 8 devices",
    "latency": "one picture: steady state, and time to the first result of a fresh process",
    "memory": "peak of the gradient and of XRelevance-CAM by batch and picture size",
    "precision": "maps in float32, TF32 and bfloat16 against float64",
}
FOLDER = Path("benchmarks")
USAGE = """usage: {program} [SUITE] [options]
       {program} table [--folder DIR]

{suites}
{beside}
{program} SUITE --help says more of each; without a name it is explain. Reports go to benchmarks/, and table
makes Markdown of the newest ones."""


def main(argv: Sequence[str], peers: Mapping[str, Mapping[str, Peer]] = MappingProxyType({})) -> int:
    """Measures, writes the report and prints its table; returns the exit status.

    Args:
      argv: what follows the command's name.
      peers: by suite and name, other libraries that can be measured beside; ``experiments.benchmark`` has some.

    Raises:
      CommandError: an argument is wrong.
    """
    argv = list(argv)
    if argv[:1] in (["-h"], ["--help"]):
        print(_usage(peers))
        return 0
    name, rest = (argv[0], argv[1:]) if argv and not argv[0].startswith("-") else ("explain", argv)
    if name == "table" or "--table" in argv:
        return _table([argument for argument in rest if argument != "--table"])
    check_names("SUITE", [name], SUITES)
    suite = import_module(f"xrcam_jax.benchmark.{name}")
    known = peers.get(name, {})
    parser = _parser(f"{_program(peers)} {name}", name, suite, known)
    options = _checked(name, parser.parse_args(rest), known)
    return _run(name, suite, options, {peer: known[peer] for peer in options.peers})


def _program(peers: Mapping[str, Any]) -> str:
    return "python -m experiments.benchmark" if peers else "xrcam benchmark"


def _usage(peers: Mapping[str, Mapping[str, Peer]]) -> str:
    suites = "\n".join(f"  {name:10} {what}" for name, what in SUITES.items())
    beside = "".join(f"  {name:10} --peers {','.join(known)}\n" for name, known in peers.items())
    beside = f"\nOther libraries are measured beside, where they are installed:\n{beside}" if beside else ""
    return USAGE.format(program=_program(peers), suites=suites, beside=beside)


def _run(name: str, suite: ModuleType, options: argparse.Namespace, peers: Mapping[str, Peer]) -> int:
    """Measures; writes after each row, so that what was measured stays if the rest fails or is interrupted."""
    date, path, rows = datetime.now().isoformat(timespec="seconds"), options.out, []
    settings = {key: value for key, value in vars(options).items() if key != "out" and value not in (None, [])}
    for row in suite.measure(options, peers):
        rows.append(row)
        path = path or report.free_path(FOLDER, name, date, machine())
        report.write(path, report.Report(name, date, machine(), settings, peak_memory_mb(), rows))
    print(report.table(rows))
    print(f"\npeak memory {peak_memory_mb():.0f} MB; figures in {path}")
    return 0


def _table(argv: Sequence[str]) -> int:
    options = Parser(prog="xrcam benchmark table", description="Markdown of the newest report of each suite.")
    options.add_argument("--folder", type=Path, default=FOLDER, metavar="DIR", help=f"of reports ({FOLDER})")
    print(report.document(report.newest(options.parse_args(argv).folder, tuple(SUITES))))
    return 0


def _parser(program: str, name: str, suite: ModuleType, peers: Mapping[str, Peer]) -> argparse.ArgumentParser:
    """Returns a parser of the suite's options: the shared ones that it has defaults for, and its own."""
    parser = Parser(
        prog=program,
        description=suite.__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    shared: dict[str, dict[str, Any]] = {
        "models": {"type": names, "metavar": "M[,M]", "help": "networks, see xrcam models"},
        "batch_size": {"type": batch_size, "metavar": "N", "help": "pictures at a time"},
        "size": {"type": int, "metavar": "N", "help": "height and width of the pictures"},
        "dtype": {"choices": ("float32", "bfloat16"), "help": "what networks compute in"},
        "repeats": {"type": int, "metavar": "N", "help": "of each run"},
    }
    for key, default in suite.DEFAULTS.items():
        given = shared[key]
        text = ",".join(default) if isinstance(default, list) else default
        help_ = f"{given['help']} ({text})"
        parser.add_argument(f"--{key.replace('_', '-')}", **{**given, "default": default, "help": help_})
    among = f"what to measure beside, if installed: {', '.join(peers)}" if peers else argparse.SUPPRESS
    parser.add_argument("--peers", type=names, default=[], metavar="P[,P]", help=among)
    suite.add_arguments(parser)
    parser.add_argument("--out", type=Path, metavar="FILE", help=f"the report ({FOLDER}/DATE_DEVICE_{name}.json)")
    return parser


def _checked(name: str, options: argparse.Namespace, peers: Mapping[str, Peer]) -> argparse.Namespace:
    """Refuses what can be refused before anything is compiled; returns the options."""
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
    for key in ("batch_size", "repeats", "chunk_size"):
        if isinstance(given.get(key), int):
            check_at_least_one(f"--{key.replace('_', '-')}", given[key])
    if given.get("batch_size") == "auto" and name != "explain":
        raise CommandError("--batch-size: auto is for the suite explain")
    if given.get("size", 32) < 32:
        raise CommandError(f"--size: {options.size} is less than 32")
    prepare_folder("--out", options.out.parent if options.out else FOLDER)
    return options
