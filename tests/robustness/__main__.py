"""The long form: ``python -m tests.robustness --mutations 10000 --kills 1000 --seed 0 --out FOLDER``.

Started again with the same folder and seed, it goes on where it was stopped. The exit status is 1 if anything failed.
"""

import argparse
import sys
import time
from pathlib import Path

from tests.robustness import suites
from tests.robustness.scenarios import BY_NAME


def main() -> int:
    """Runs what is asked for; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m tests.robustness", description=__doc__)
    parser.add_argument("--mutations", type=int, default=0, metavar="N", help="mutated inputs, for example 10000")
    parser.add_argument("--kills", type=int, default=0, metavar="N", help="SIGKILLs of commands, for example 1000")
    parser.add_argument("--signals", type=int, default=0, metavar="N", help="SIGINTs and SIGTERMs")
    parser.add_argument(
        "--disturbances",
        type=int,
        default=0,
        metavar="N",
        help="of full disks, read-only folders, pairs, bits: each",
    )
    parser.add_argument("--images", type=int, default=0, metavar="N", help="degenerate images for every method")
    parser.add_argument("--memory", action="store_true", help="peak memory of short and of long inputs")
    parser.add_argument("--commands", type=_names, metavar="C[,C]", help=f"only these of {', '.join(BY_NAME)}")
    parser.add_argument("--only", type=int, metavar="NUMBER", help="only this mutation or chain, again")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="of everything that is drawn (0)")
    parser.add_argument("--out", type=Path, default=Path("robustness"), metavar="FOLDER", help="(robustness)")
    options = parser.parse_args()
    options.out = options.out.absolute()
    options.out.mkdir(parents=True, exist_ok=True)
    faults = 0
    for name, wanted, suite in suites.SUITES:
        if not getattr(options, name):
            continue
        print(f"{name}: {wanted}", flush=True)
        started = time.monotonic()
        found = suite(options)
        print(f"{name}: {found} faults, {time.monotonic() - started:.0f} s\n", flush=True)
        faults += found
    print("nothing failed" if not faults else f"{faults} failed")
    return 1 if faults else 0


def _names(text: str) -> tuple[str, ...]:
    names = tuple(text.split(","))
    if not set(names) <= set(BY_NAME):
        raise argparse.ArgumentTypeError(f"expected some of {', '.join(BY_NAME)}")
    return names


if __name__ == "__main__":
    sys.exit(main())
