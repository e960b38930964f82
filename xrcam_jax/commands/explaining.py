"""Does the work of ``xrcam explain`` once its arguments are in order."""

import sys
import time
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jax
import numpy as np
from tqdm import tqdm

import xrcam_jax as xr
from xrcam_jax.arguments.config import write_settings
from xrcam_jax.arguments.parser import Options
from xrcam_jax.cam.saliency import AGGREGATE, Aggregation
from xrcam_jax.checkpoints.labels import SETTINGS
from xrcam_jax.classes import class_count
from xrcam_jax.commands import onnx_files, repeating, risk
from xrcam_jax.commands.drawing import drawing
from xrcam_jax.commands.pace import Pace
from xrcam_jax.commands.results import Result, Results
from xrcam_jax.errors import CommandError, weights_error
from xrcam_jax.explain.batch_size import largest_batch_size
from xrcam_jax.explain.explanation import Explanation
from xrcam_jax.explain.functional import as_function
from xrcam_jax.explain.outline import layers_of
from xrcam_jax.explain.repeated import RepeatedExplanation, with_aggregate
from xrcam_jax.explain.signed import is_signed, signed_maps
from xrcam_jax.models import Classifier
from xrcam_jax.pictures.preprocessing import Preprocessing, preprocess
from xrcam_jax.pictures.read import Picture, count, is_video, stream
from xrcam_jax.runtime.devices import is_first, summed_over_processes
from xrcam_jax.runtime.names import printable
from xrcam_jax.runtime.prefetch import import_ahead, map_ahead, read_ahead

if TYPE_CHECKING:
    from xrcam_jax.commands.overlay_video import OverlayVideo
    from xrcam_jax.onnx.load import OnnxModel

#: Pixels of the pictures in one batch, which stay in memory until their overlays are written; half a dozen batches are
#: under way at a time. Eight pictures of 20 megapixels fit.
MOST_BYTES = 2**29
#: How the Explainer warns that it has chosen layers. Which an ONNX file has maps at shows in what is written.
_UNMARKED = "the model has no marked layers"


@dataclass(frozen=True)
class Job:
    """Describes what is explained, and by what.

    Attributes:
      options: of the command.
      explain: gives the maps of a batch, or how they spread over passes.
      config: what pictures the network wants.
      batch_size: pictures at a time.
      pace: counts what is done.
    """

    options: Options
    explain: xr.Explainer | xr.Repeated
    config: Preprocessing
    batch_size: int
    pace: Pace


def explain_all(options: Options, labels: list[str] | None) -> int:
    """Explains all pictures, a process its share of them, and writes what is found; returns the exit status."""
    pace = Pace()
    job = _job(options, labels, pace)
    # Sheets are drawn last; until then this thread waits for XLA, which reads its program and runs it.
    import_ahead("matplotlib.figure", "matplotlib.backends.backend_agg")
    if is_first():
        print(printable("\n".join(about(options, job, labels)), lines=True), flush=True)
    unread, unwritten = _Lines(), _Lines()
    process, together = jax.process_index(), jax.process_count()
    pictures = stream(
        options.inputs,
        every=options.every,
        report=unread.add,
        share=(process, together),
        field_of_view=options.field_of_view or job.config.field_of_view,
        notice=lambda line: tqdm.write(printable(line)),
    )
    total = len(range(process, count(options.inputs, every=options.every), together))
    bar = tqdm(total=total, unit=" frames", disable=None if is_first() else True)
    found = _finite(explained(job, pictures), unwritten.add)
    with bar, _sink(job, labels, unwritten.add) as sink, closing(map_ahead(sink.write, found, 1)) as done:
        for number in done:
            pace.frames += number
            bar.update(number)
    pace.frames, failures, left_out = summed_over_processes(pace.frames, unread.count, unwritten.count)
    if is_first():
        if pace.frames:
            write_settings(options.out, options.repeat)
        written = f", {left_out} not be written" if left_out else ""
        print(f"{pace.frames} explained, {failures} could not be read{written}. {_where(options, pace)}")
    return 1 if failures or left_out or not pace.frames else 0


class _Lines:
    """Tells, as they come, which files cannot be read or written, and counts them."""

    def __init__(self) -> None:
        self.count = 0

    def add(self, line: str) -> None:
        """Prints a line that names a file."""
        self.count += 1
        tqdm.write(printable(f"xrcam explain: {line}"), file=sys.stderr)


def about(options: Options, job: Job, labels: list[str] | None) -> list[str]:
    """Says what is done with the pictures, where names of classes come from, and what is explained where."""
    if labels is None:
        named = "classes have numbers: no --labels are given, and no run says their names"
    elif options.labels is None:
        named = f"names of {len(labels)} classes: {Path(options.weights).with_name(SETTINGS)}"
    else:
        named = f"names of {len(labels)} classes: {options.labels}"
    lines = [_field_of_view(options, job.config), _resized(job.config), named, f"layers: {_layers(options)}"]
    if not sys.stdout.isatty():
        lines.append(f"compiling for batches of {job.batch_size} comes first, and may take minutes ...")
    return lines


def _layers(options: Options) -> str:
    if options.layers is not None:
        return ", ".join(options.layers)
    return "those that the network marks" if onnx_files.is_onnx(options.model) else "those of each method by default"


def _resized(config: Preprocessing) -> str:
    """Says what becomes of a picture before the network sees it."""
    height, width = config.input_size
    kept = {
        "center": "its proportions kept, the middle of the longer side",
        "squash": "each side by itself",
        "border": "its proportions kept, in a border",
    }[config.crop_mode]
    cropped = "" if config.crop_pct == 1 else f", of which the middle {config.crop_pct:.1%} of each side are kept"
    grey = "; colours are turned into grey" if config.grey or config.channels == 1 else ""
    return f"network input: {height} x {width} pixels, resized ({config.interpolation}; {kept}){cropped}{grey}"


def _field_of_view(options: Options, config: Preprocessing) -> str:
    """Says what part of the pictures the network is shown, and who says so."""
    given = options.field_of_view
    if given is None:
        found = config.field_of_view == "auto"
        return f"field of view: {'found, as in training' if found else 'none, as the weights say nothing of one'}"
    described = {"auto": "found", "none": "none"}.get(given) if isinstance(given, str) else "{},{},{}".format(*given)
    return f"field of view: {described}, as given"


def writes_video(out: Path) -> bool:
    """Returns whether ``--out`` names a video and not a folder.

    An animated GIF counts as one, although it cannot be written: that is then said, instead of making such a folder.
    """
    return is_video(out) or out.suffix.lower() == ".gif"


def _job(options: Options, labels: list[str] | None, pace: Pace) -> Job:
    model = _load(options)
    _check_classes(options, model.num_outputs, labels)
    config, automatic = model.preprocessing, options.batch_size == "auto"
    devices = jax.local_devices()[: None if automatic else options.batch_size]
    _leave_out(model, options)
    explain = _explainer(model, options, devices)
    batch_size = options.batch_size
    if automatic:
        with _of_the_methods():
            batch_size = largest_batch_size(explain, config.input_size, len(devices), config.channels)
        if is_first():
            print(f"batch size {batch_size}")
    if not repeating.are_asked(options):
        return Job(options, explain, config, batch_size, pace)
    by = repeating.disturbance(options, model, [_loaded(options, file) for file in options.others])
    return Job(options, xr.Repeated(explain, by, options.passes, how=options.aggregate), config, batch_size, pace)


def _load(options: Options) -> "Classifier | OnnxModel":
    model: Classifier | OnnxModel
    model = onnx_files.load(options) if onnx_files.is_onnx(options.model) else _loaded(options, options.weights)
    # Not load_model's num_classes, which would put a fresh head on: there is nothing in it to explain.
    if options.num_classes not in (None, model.num_classes):
        raise CommandError(f"--num-classes: {options.num_classes}, but the weights are for {model.num_classes} classes")
    return model


def _loaded(options: Options, weights: str) -> Classifier:
    try:
        return xr.load_model(options.model, weights, img_size=options.img_size)
    except (OSError, ValueError, ImportError) as error:
        raise weights_error(error) from error


def _check_classes(options: Options, outputs: int, labels: list[str] | None) -> None:
    num_classes = class_count(outputs)
    if options.target is not None and not 0 <= options.target < num_classes:
        raise CommandError(f"--target: {options.target} is not a class; there are 0 to {num_classes - 1}")
    if labels is not None and options.labels is None and len(labels) != num_classes:
        raise CommandError(
            f"--weights: {SETTINGS} beside {options.weights} names {len(labels)} classes, the network has "
            f"{num_classes}; give their names by --labels"
        )
    if labels is not None and len(labels) != num_classes:
        raise CommandError(f"--labels: {options.labels} names {len(labels)} classes, the network has {num_classes}")


def _leave_out(model: "Classifier | OnnxModel", options: Options) -> None:
    """Leaves out what a group of methods has that cannot be had at these layers, with a word; one has to remain."""
    if not options.of_groups:
        return
    function, parameters = as_function(model)
    config = model.preprocessing
    pictures = jax.ShapeDtypeStruct((1, *config.input_size, config.channels), np.float32)
    kept, lines = list(options.method), list[str]()
    with _of_the_methods(), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=_UNMARKED)
        for name in options.of_groups:
            try:
                layers_of(name, xr.METHODS[name].kind, options.layers, function, pictures, parameters)
            except ValueError as error:
                kept.remove(name)
                lines.append(f"--method: {name} is left out: {error}")
    if not kept:
        raise CommandError(lines[0])
    for line in lines if is_first() else ():
        tqdm.write(printable(line), file=sys.stderr)
    options.method = kept


def _explainer(model: "Classifier | OnnxModel", options: Options, devices: Sequence[jax.Device]) -> xr.Explainer:
    return xr.Explainer(
        model,
        methods=tuple(options.method),
        layers=options.layers,
        # Pictures of uint8 are always finite, and the check would wait for the batch before.
        check_finite=False,
        chunk_size=options.chunk_size,
        random_seed=options.seed,
        progress=_bar,
        devices=devices,
    )


@contextmanager
def _of_the_methods() -> Iterator[None]:
    """Names the arguments where a method cannot be had at a layer, which shows when the network is traced."""
    try:
        yield
    except (ValueError, NotImplementedError) as error:
        raise CommandError(f"--method, --layers: {error}") from error


def _bar(items: Iterable, total: int, name: str) -> Iterable:
    return tqdm(items, total=total, desc=name, unit="chunk", leave=False, disable=None)


def _sink(job: Job, labels: list[str] | None, report: Callable[[str], None]) -> "Results | OverlayVideo":
    options = job.options
    if writes_video(options.out):
        from xrcam_jax.commands.overlay_video import OverlayVideo

        return OverlayVideo(options.out, job.config, labels, options.every, drawing(options).style)
    also = risk.columns(options.method) if repeating.are_asked(options) else ()
    return Results(options.out, job.config, labels, report, also, drawing(options))


def _where(options: Options, pace: Pace) -> str:
    if not pace.frames:
        return "There is nothing to show"
    if writes_video(options.out):
        return f"Look at {options.out}\n{pace.describe(time.perf_counter())}"
    return drawing(options).where(options.out, pace.frames)


def explained(job: Job, pictures: Iterable[Picture]) -> Iterator[list[tuple[Picture, Result]]]:
    """Explains batch by batch, one batch ahead: the device works on while the last one is written."""
    for batch, order, arrays in _one_ahead(_dispatched(job, pictures)):
        logits, targets, maps, spread, signed = jax.device_get(arrays)
        found = []
        for i, picture in enumerate(batch):
            sure = None if spread is None else risk.of_one(spread, i)
            of_sign = _in_order({method: order[method] for method in signed}, i, signed)
            found.append((picture, Result(logits[i], int(targets[i]), _in_order(order, i, maps), sure, of_sign)))
        yield found


def _finite(
    batches: Iterable[list[tuple[Picture, Result]]], report: Callable[[str], None]
) -> Iterator[list[tuple[Picture, Result]]]:
    """Leaves pictures out, with a word, of which the network or a method says something else than numbers."""
    for batch in batches:
        kept = []
        for picture, result in batch:
            wrong = [
                method for method, maps in result.maps.items() if not all(np.isfinite(m).all() for m in maps.values())
            ]
            if not np.isfinite(result.logits).all():
                report(f"{picture.source}: the network's output has NaN or infinity; {picture.name} is left out")
            elif wrong:
                report(f"{picture.source}: maps of {', '.join(wrong)} have NaN or infinity; {picture.name} is left out")
            else:
                kept.append((picture, result))
        if kept:
            yield kept


def _in_order(order: dict[str, list[str]], index: int, maps: dict) -> dict:
    """Returns the maps of one picture by method, then layer, in an order that JAX changes: it sorts dictionaries."""
    return {method: {layer: maps[method][layer][index] for layer in layers} for method, layers in order.items()}


def _as_asked(layers: list[str], maps: Iterable[str]) -> list[str]:
    """Returns the names of maps in the order in which layers were asked for, and others after them as they come."""
    return sorted(maps, key=lambda name: layers.index(name) if name in layers else len(layers))


def _dispatched(job: Job, pictures: Iterable[Picture]) -> Iterator[tuple[list[Picture], dict[str, list[str]], tuple]]:
    """Yields batches, the order of their maps, and their explanations, still on the device and perhaps not computed."""
    options = job.options
    maps = partial(_aggregate if writes_video(options.out) else _with_aggregate, how=options.aggregate)
    size = 0
    for batch, images in _prepared(job, pictures):
        # All batches are padded to the size of those before: each new size would be compiled anew.
        size = max(size, len(batch))
        images = np.pad(images, ((0, size - len(batch)), (0, 0), (0, 0), (0, 0)), mode="edge")
        targets = None if options.target is None else np.full(size, options.target, np.int32)
        with _of_the_methods(), warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=_UNMARKED)
            e = job.explain(images, targets)
        found = {method: maps(e, method) for method in options.method}
        order = {method: _as_asked(options.layers or [], each) for method, each in found.items()}
        spread, signed = None, dict[str, Any]()
        if isinstance(e, RepeatedExplanation):
            found, spread = risk.parts(e, found)
        elif options.aggregate == "mean":
            shown = [method for method in options.method if is_signed(method)]
            signed = {method: signed_maps(e.raw[method], images.shape[1:3]) for method in shown}
        arrays = e.logits, e.targets, found, spread, signed
        if not job.pace.first:
            jax.block_until_ready(arrays)
            job.pace.explained_first(len(batch))
        yield batch, order, arrays


def _aggregate(e: Explanation | RepeatedExplanation, method: str, how: Aggregation) -> dict[str, Any]:
    maps = e.maps[method]
    if isinstance(e, RepeatedExplanation):
        return {AGGREGATE: maps[AGGREGATE]} if AGGREGATE in maps else maps
    return maps if list(maps) == ["input"] else {AGGREGATE: e.aggregate(method, how=how)}


def _with_aggregate(e: Explanation | RepeatedExplanation, method: str, how: Aggregation) -> dict[str, Any]:
    return e.maps[method] if isinstance(e, RepeatedExplanation) else with_aggregate(e, method, how)


def _prepared(job: Job, pictures: Iterable[Picture]) -> Iterator[tuple[list[Picture], np.ndarray]]:
    """Yields batches and what the network is fed of them; files are read two batches ahead."""
    batches = _batches(pictures, job.batch_size)
    return read_ahead(((batch, preprocess([picture.shown for picture in batch], job.config)) for batch in batches), 2)


def _batches(items: Iterable[Picture], size: int) -> Iterator[list[Picture]]:
    """Yields lists of so many pictures, or of fewer where they are so large that many would not fit into memory."""
    batch: list[Picture] = []
    for item in items:
        if batch and (len(batch) == size or sum(p.pixels.nbytes for p in (*batch, item)) > MOST_BYTES):
            yield batch
            batch = []
        batch.append(item)
    if batch:
        yield batch


def _one_ahead(items: Iterable[Any]) -> Iterator[Any]:
    """Yields the same items, each only after the next one has been asked for."""
    iterator = iter(items)
    for held in islice(iterator, 1):
        for following in iterator:
            yield held
            held = following
        yield held
