"""Writes small files of PyTorch in both of its formats, which the tests read without it.

    python tests/references/make_torch_files.py

Their values follow from ``KINDS`` and are written down anew in tests/checkpoints/test_torch_pickle.py.
"""

import argparse
import collections
import datetime
import pathlib
import warnings

import numpy as np
import torch

FOLDER = pathlib.Path(__file__).with_name("torch_files")
PAIR = torch.tensor([0.5, -1.75])
TABLE = torch.arange(6.0).reshape(2, 3)
KINDS = {
    "float32": TABLE,
    "float64": TABLE.double(),
    "float16": PAIR.half(),
    "bfloat16": PAIR.bfloat16(),
    "float8_e4m3fn": PAIR.to(torch.float8_e4m3fn),
    "int64": torch.tensor([-(2**40), 3]),
    "uint16": torch.tensor([1, 60000], dtype=torch.uint16),
    "bool": torch.tensor([True, False]),
    "complex64": torch.tensor([1 + 2j]),
    "scalar": torch.tensor(3.0),
    "empty": torch.zeros(0, 2),
    "transposed": TABLE.T,
    "slice": torch.arange(10)[2:5],
    "repeated": torch.tensor(7.0).expand(3),
    "parameter": torch.nn.Parameter(PAIR),
}
NETWORK = {"conv1.weight": TABLE, "layer1.0.bn1.bias": PAIR}
BESIDE = {
    "args": argparse.Namespace(lr=0.1, out=pathlib.PurePosixPath("runs")),
    "best": np.float64(0.9),
    "labels": np.array(["a", "b"]),
    "when": datetime.datetime(2026, 1, 2),
    "counts": collections.Counter("abc"),
    "sizes": [torch.Size([1, 2]), torch.float16, {1, 2}, 3 + 4j, b"bytes", torch.device("cpu")],
    "optimizer": {"state": {0: {"exp_avg": torch.zeros(1)}}, "step": collections.defaultdict(list)},
}
#: What is stored as something else than it is, and a class of its own.
LAZY = {
    "conjugate": torch.tensor([1 + 2j]).conj(),
    "negative": torch.tensor([1 + 2j]).conj().imag,
    "buffer": torch.nn.Buffer(PAIR),
}
# PyTorch warns that it will give up quantised tensors, which are in files none the less.
warnings.simplefilter("ignore")
ODD = {
    "sparse": TABLE.to_sparse(),
    "quantised": torch.quantize_per_tensor(torch.ones(2), 0.1, 0, torch.qint8),
    "meta": torch.zeros(2, device="meta"),
}


def main() -> None:
    """Writes the files."""
    FOLDER.mkdir(exist_ok=True)
    for name, zipped in (("archive", True), ("pickles", False)):
        options = {"_use_new_zipfile_serialization": zipped}
        torch.save(collections.OrderedDict(KINDS), FOLDER / f"kinds_{name}.pth", **options)
        torch.save(
            {"state_dict": NETWORK, **BESIDE},
            FOLDER / f"beside_{name}.pth",
            **options,
        )
    torch.save(LAZY, FOLDER / "lazy.pth")
    # The older format would hold the source of PyTorch's module too.
    torch.save({"model": torch.nn.Linear(2, 2)}, FOLDER / "module.pth")
    for name, tensor in ODD.items():
        torch.save({"a": PAIR, "b": tensor}, FOLDER / f"{name}.pth")


if __name__ == "__main__":
    main()
