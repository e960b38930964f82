"""The command line of the scripts beside: files written anew, or compared with those that are stored.

A script gives ``main`` a function per file, which computes its arrays.
"""

import argparse
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np

from tests import oracle

Arrays = dict[str, np.ndarray]
#: What rounding leaves of a sum that is zero, where no share of the largest value can be asked for.
ROUNDING = 1e-14


def main(
    description: str, makers: Mapping[str, Callable[[], Arrays]], tolerance: float, up_to_sign: tuple[str, ...] = ()
) -> None:
    """Writes ``NAME.npz`` for each name of ``makers``; with ``--check`` compares, and fails if anything differs.

    Args:
      description: text for ``--help``, a script's docstring.
      makers: computes the arrays of a file, by its name.
      tolerance: largest difference between two values of an array, as a share of the array's largest value.
      up_to_sign: beginnings of the keys of maps whose signs are arbitrary, image by image.
    """
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=oracle.DATA, metavar="FOLDER", help="default: beside the script")
    parser.add_argument("--check", action="store_true", help="write nothing, compare with the files in FOLDER")
    arguments = parser.parse_args()
    bad = []
    for name, make in makers.items():
        path = arguments.out / f"{name}.npz"
        arrays = make()
        if arguments.check:
            with np.load(path) as stored:
                bad += compare(name, arrays, dict(stored), tolerance, up_to_sign)
        else:
            arguments.out.mkdir(parents=True, exist_ok=True)
            np.savez_compressed(path, **arrays)
            print(f"{path}: {len(arrays)} arrays")
    if bad:
        raise SystemExit("\n".join(bad))


def compare(name: str, found: Arrays, stored: Arrays, tolerance: float, up_to_sign: tuple[str, ...]) -> list[str]:
    """Prints the largest difference per key, absolute and as a share of the largest value; returns what is wrong."""
    bad = [f"{name}: {key} is not in both" for key in found.keys() ^ stored.keys()]
    largest = 0.0
    for key in (key for key in stored if key in found):
        one, other = found[key], stored[key]
        if (one.shape, one.dtype) != (other.shape, other.dtype):
            bad.append(f"{name}: {key} is {one.dtype}{one.shape}, stored is {other.dtype}{other.shape}")
            continue
        if (np.isnan(one) != np.isnan(other)).any():
            bad.append(f"{name}: {key} has NaN in other places")
        one, other = np.nan_to_num(one), np.nan_to_num(other)
        difference, scale = distance(one, other, key.startswith(up_to_sign)), float(np.abs(other).max())
        share = difference / scale if scale else difference
        print(f"{key:50} {difference:9.1e} {share:9.1e}")
        if difference > ROUNDING:
            largest = max(largest, share)
        if not difference <= max(tolerance * scale, ROUNDING):
            bad.append(f"{name}: {key} differs by {difference:.1e}, {share:.1e} of its largest value")
    print(f"{name}: {len(stored)} keys, largest difference {largest:.1e} of an array's largest value")
    return bad


def distance(found: np.ndarray, stored: np.ndarray, up_to_sign: bool) -> float:
    """Largest absolute difference; with ``up_to_sign`` each image has the sign that is nearer."""
    a, b = (x.astype(np.float64).reshape(len(x), -1) for x in (found, stored))
    apart = np.abs(a - b).max(1)
    return float(np.minimum(apart, np.abs(a + b).max(1)).max() if up_to_sign else apart.max())
