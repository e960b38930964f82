"""``xrcam explain``: pictures in, overlays out."""

import argparse
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import closing
from importlib.util import find_spec
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from xrcam_jax.arguments import processes
from xrcam_jax.arguments.checks import (
    batch_size,
    check_at_least_one,
    check_inputs,
    check_names,
    check_video,
    prepare_folder,
    read_labels,
)
from xrcam_jax.arguments.parser import names
from xrcam_jax.errors import CommandError

if TYPE_CHECKING:
    from xrcam_jax import Explanation
    from xrcam_jax.commands.overlay_video import OverlayVideo
    from xrcam_jax.commands.pace import Pace
    from xrcam_jax.commands.results import Result, Results
    from xrcam_jax.pictures.preprocessing import Preprocessing
    from xrcam_jax.pictures.read import Picture

NAME = "explain"
SUMMARY = "Show where a network looks: overlays, maps and contact sheets of pictures and videos"
EXAMPLE = """example:
  xrcam explain scan.png recordings/ clip.mp4 --model skresnext50_32x4d --weights skresnext50.safetensors \\
      --method xrelevance_cam,grad_cam --labels classes.txt --out explained
  xrcam explain scan.png --model resnet50 --weights timm/resnet50.a1_in1k --method fast    # sheets to compare"""

LAYERS = ("layer1", "layer2", "layer3", "layer4")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's options."""
    parser.add_argument("inputs", nargs="+", type=Path, metavar="INPUT", help="picture, video, or folder of both")
    parser.add_argument("--model", required=True, help="network, see xrcam models")
    parser.add_argument(
        "--weights",
        help="timm .safetensors or .pth, Orbax directory, or hub name such as timm/resnet50.a1_in1k",
    )
    parser.add_argument("--num-classes", type=int, metavar="N", help="refuse weights of another number")
    parser.add_argument(
        "--method",
        type=names,
        default=["xrelevance_cam"],
        metavar="M[,M]",
        help="see xrcam methods; also fast (all that one pass forth and back gives), activation, propagation, "
        "perturbation, or all: with some of these a picture takes thousands of passes",
    )
    parser.add_argument(
        "--layers",
        type=names,
        metavar="L[,L]",
        help=f"of {', '.join(LAYERS)}, input; by default the four, and the input for methods that work there",
    )
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="of noise and random masks (0)")
    parser.add_argument(
        "--chunk-size",
        type=int,
        metavar="N",
        help="changed versions of a batch to run at a time, in methods that make some; as many as fit into 1 GiB",
    )
    parser.add_argument(
        "--target", type=_target, metavar="CLASS", help="number of the class to explain; predicted by default"
    )
    parser.add_argument("--labels", type=Path, metavar="FILE", help="class names: .txt, one a line, or .json")
    parser.add_argument("--every", type=int, default=1, metavar="N", help="of a video, take every Nth frame")
    parser.add_argument(
        "--batch-size", type=batch_size, default=8, metavar="N", help="pictures at a time (8), or auto: what fits"
    )
    parser.add_argument(
        "--out",
        type=Path,
        default=Path("xrcam_out"),
        help="folder; or a video, if it ends in .avi, .mp4, .mov or .mkv: each picture beside one overlay per method, "
        "the aggregate over the layers (xrcam_out)",
    )
    processes.add_arguments(parser)


def run(options: argparse.Namespace) -> int:
    """Explains what is given; returns the exit status."""
    labels = _check(options)
    processes.join(options)

    import jax
    from tqdm import tqdm

    import xrcam_jax as xr
    from xrcam_jax.commands.pace import Pace
    from xrcam_jax.explain.batch_size import largest_batch_size
    from xrcam_jax.pictures.read import count, stream
    from xrcam_jax.runtime.devices import is_first, summed_over_processes
    from xrcam_jax.runtime.prefetch import map_ahead

    pace = Pace()
    model = _load(options)
    _check_classes(options, model.num_classes, labels)
    automatic = options.batch_size == "auto"
    devices = jax.local_devices()[: None if automatic else options.batch_size]
    explain = xr.Explainer(
        model,
        methods=tuple(options.method),
        layers=options.layers,
        # Bytes are finite, and looking at them would mean waiting for the batch before.
        check_finite=False,
        chunk_size=options.chunk_size,
        random_seed=options.seed,
        progress=_bar,
        devices=devices,
    )

    if automatic:
        options.batch_size = largest_batch_size(explain, model.preprocessing.input_size, len(devices))
        if is_first():
            print(f"batch size {options.batch_size}")

    unread, process, together = 0, jax.process_index(), jax.process_count()

    def report(line: str) -> None:
        nonlocal unread
        unread += 1
        tqdm.write(f"xrcam explain: {line}", file=sys.stderr)

    pictures = stream(options.inputs, every=options.every, report=report, share=(process, together))
    explained = _explained(pictures, explain, model.preprocessing, options, pace)
    total = len(range(process, count(options.inputs, every=options.every), together))
    bar = tqdm(total=total, unit=" frames", disable=None if is_first() else True)
    with bar, _sink(options, model.preprocessing, labels) as sink, closing(map_ahead(sink.write, explained, 1)) as done:
        for number in done:
            pace.frames += number
            bar.update(number)
    pace.frames, unread = summed_over_processes(pace.frames, unread)
    if is_first():
        print(f"{pace.frames} explained, {unread} could not be read. {_where(options.out, pace)}")
    return 1 if unread or not pace.frames else 0


def _sink(options: argparse.Namespace, config: "Preprocessing", labels: list[str] | None) -> "Results | OverlayVideo":
    from xrcam_jax.commands.overlay_video import OverlayVideo
    from xrcam_jax.commands.results import Results

    if _is_video(options.out):
        return OverlayVideo(options.out, config, labels, options.every)
    return Results(options.out, config, labels)


def _where(out: Path, pace: "Pace") -> str:
    if not _is_video(out):
        return f"Look into {out / 'sheets'}"
    return f"Look at {out}\n{pace.describe(time.perf_counter())}" if pace.frames else "There is nothing to show"


def _check(options: argparse.Namespace) -> list[str] | None:
    """Refuses what can be refused before the weights are read; returns the labels."""
    if options.batch_size != "auto":
        check_at_least_one("--batch-size", options.batch_size)
    check_at_least_one("--every", options.every)
    processes.check(options)
    if _is_video(options.out) and processes.several(options):
        raise CommandError(
            f"--out: {options.out} is a video, which one process writes; name a folder, or leave out --distributed "
            "and --coordinator"
        )
    check_inputs(options.inputs)
    if options.layers is not None:
        check_names("--layers", options.layers, (*LAYERS, "input"))
    if options.chunk_size is not None:
        check_at_least_one("--chunk-size", options.chunk_size)
    labels = read_labels("--labels", options.labels) if options.labels else None
    if options.weights is None:
        raise CommandError(
            "--weights: give a timm .safetensors or .pth file, an Orbax directory or a hub name such as "
            "timm/resnet50.a1_in1k (to try without, run xrcam demo)"
        )

    import xrcam_jax as xr

    check_names("--model", [options.model], xr.list_models())
    options.method = _expanded(options.method)
    check_names("--method", options.method, tuple(xr.METHODS))
    _check_libraries(options.method)
    if _is_video(options.out):
        check_video("--out", options.out, options.inputs)
    else:
        prepare_folder("--out", options.out)
    return labels


def _is_video(out: Path) -> bool:
    from xrcam_jax.pictures.read import VIDEO_SUFFIXES

    return out.suffix.lower() in (*VIDEO_SUFFIXES, ".gif")


def _load(options: argparse.Namespace):
    import xrcam_jax as xr

    try:
        model = xr.load_model(options.model, options.weights)
    except (OSError, ValueError, ImportError) as error:
        # Weights of another network differ in hundreds of tensors: the first one will do here.
        lines = [line.strip() for line in str(error).splitlines()]
        raise CommandError(f"--weights: {'; '.join(lines[:2])}") from error
    # Not load_model's num_classes, which would put a fresh head on: there is nothing in it to explain.
    if options.num_classes not in (None, model.num_classes):
        raise CommandError(f"--num-classes: {options.num_classes}, but the weights are for {model.num_classes} classes")
    return model


def _check_classes(options: argparse.Namespace, num_classes: int, labels: list[str] | None) -> None:
    if options.target is not None and not 0 <= options.target < num_classes:
        raise CommandError(f"--target: {options.target} is not a class; there are 0 to {num_classes - 1}")
    if labels is not None and len(labels) != num_classes:
        raise CommandError(f"--labels: {options.labels} names {len(labels)} classes, the network has {num_classes}")


def _explained(
    pictures: Iterable["Picture"], explain, config: "Preprocessing", options: argparse.Namespace, pace: "Pace"
) -> Iterator[list[tuple["Picture", "Result"]]]:
    """Explains batch by batch, one batch ahead: the device works on while the last one is written."""
    import jax

    from xrcam_jax.commands.results import Result

    for batch, arrays in _one_ahead(_dispatched(pictures, explain, config, options, pace)):
        logits, targets, maps = jax.device_get(arrays)
        yield [
            (picture, Result(logits[i], int(targets[i]), _in_order(options, i, maps)))
            for i, picture in enumerate(batch)
        ]


def _in_order(options: argparse.Namespace, index: int, maps: dict) -> dict:
    """The maps of one picture, by method and layer as they were asked for: JAX sorts dictionaries."""
    layers = [*(options.layers or (*LAYERS, "input")), "input", "aggregate"]
    return {
        method: {layer: maps[method][layer][index] for layer in dict.fromkeys(layers) if layer in maps[method]}
        for method in options.method
    }


def _dispatched(
    pictures: Iterable["Picture"], explain, config: "Preprocessing", options: argparse.Namespace, pace: "Pace"
) -> Iterator[tuple]:
    """Batches with their explanations, which are still on the device and perhaps not yet computed."""
    import jax
    import numpy as np

    maps = _aggregate if _is_video(options.out) else _with_aggregate
    size = None
    for batch, images in _prepared(pictures, config, options.batch_size):
        # All batches are padded to the first one's size: each new size would be compiled anew.
        size = size or len(batch)
        images = np.pad(images, ((0, size - len(batch)), (0, 0), (0, 0), (0, 0)), mode="edge")
        targets = None if options.target is None else np.full(size, options.target, np.int32)
        e = explain(images, targets)
        arrays = e.logits, e.targets, {method: maps(e, method) for method in options.method}
        if not pace.first:
            jax.block_until_ready(arrays)
            pace.explained_first(len(batch))
        yield batch, arrays


def _aggregate(e: "Explanation", method: str) -> dict:
    maps = e.maps[method]
    return maps if list(maps) == ["input"] else {"aggregate": e.aggregate(method)}


def _with_aggregate(e: "Explanation", method: str) -> dict:
    return {**e.maps[method], **_aggregate(e, method)}


def _prepared(pictures: Iterable["Picture"], config: "Preprocessing", size: int) -> Iterator[tuple]:
    """Batches and what the network is fed of them; files are read two batches ahead."""
    from xrcam_jax.pictures.preprocessing import preprocess
    from xrcam_jax.runtime.prefetch import read_ahead

    batches = _batches(pictures, size)
    return read_ahead(((batch, preprocess([picture.pixels for picture in batch], config)) for batch in batches), 2)


def _batches(items: Iterable, size: int) -> Iterator[list]:
    iterator = iter(items)
    while batch := list(islice(iterator, size)):
        yield batch


def _one_ahead(items: Iterable) -> Iterator:
    """The same items, each only after the next one has been asked for."""
    iterator = iter(items)
    for held in islice(iterator, 1):
        for following in iterator:
            yield held
            held = following
        yield held


def _expanded(names: list[str]) -> list[str]:
    """Groups of methods in place of their names; each method once if a group is named."""
    import xrcam_jax as xr

    groups = {"all": list(xr.METHODS), "fast": [n for n, m in xr.METHODS.items() if m.kind.single_pass]}
    for name, method in xr.METHODS.items():
        groups.setdefault(method.family, []).append(name)
    expanded = [method for name in names for method in groups.get(name, [name])]
    return list(dict.fromkeys(expanded)) if any(name in groups for name in names) else expanded


def _check_libraries(methods: list[str]) -> None:
    if "lime" in methods and not (find_spec("skimage") and find_spec("sklearn")):
        raise CommandError(
            "--method: lime needs scikit-image and scikit-learn: pip install 'xrcam-jax[perturbation]', or leave it out"
        )


def _bar(items: Iterable, total: int, name: str) -> Iterable:
    from tqdm import tqdm

    return tqdm(items, total=total, desc=name, unit="chunk", leave=False, disable=None)


def _target(text: str) -> int | None:
    if text == "predicted":
        return None
    try:
        return int(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is neither a class number nor 'predicted'") from None
