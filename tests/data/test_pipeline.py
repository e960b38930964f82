"""Batches of prepared frames have the right order, shares and pixels, and resume where they stopped."""

import json
import threading
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from xrcam_jax.data import pipeline
from xrcam_jax.data.manifest import Frame, Prepared, Statistics
from xrcam_jax.data.pipeline import common_size, evaluation_batches, steps_per_epoch, training_batches
from xrcam_jax.pictures.crop import Crop

MOST, SIDE = 40, 6
counts = st.integers(1, MOST)
small = st.integers(1, 5)


def frame(number: int, *, size: int = SIDE, patient: str = "p", label: str | None = None) -> Frame:
    label = label or ("sick", "healthy")[number % 2]
    file = f"{label}/{label}_{patient}_v_{number:06d}.png"
    return Frame(file, label, patient, f"{label}/{patient}/v.mp4", number, Crop(0, 0, size, size, size))


def written(folder: Path, frame: Frame, pixels: np.ndarray) -> Frame:
    path = folder / frame.file
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)
    return frame


def prepared(folder: Path, frames: list[Frame], parts: dict[str, str] | None = None) -> Prepared:
    return Prepared(folder, tuple(frames), parts or {frame.patient: "train" for frame in frames}, Statistics(0.5, 0.2))


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """Writes frames in which every pixel is their number."""
    folder = tmp_path_factory.mktemp("prepared")
    for number in range(MOST):
        written(folder, frame(number), np.full((SIDE, SIDE), number, np.uint8))
    return folder


def numbered(folder: Path, count: int) -> Prepared:
    return prepared(folder, [frame(number) for number in range(count)])


def seen(batch: dict) -> list[int]:
    return batch["image"][:, 0, 0, 0].tolist()


def taken(batches, steps: int) -> list[int]:
    return [number for _ in range(steps) for number in seen(next(batches))]


def epochs(order: list[int], count: int) -> list[list[int]]:
    return [order[start : start + count] for start in range(0, len(order) - count + 1, count)]


def test_batches_are_what_a_step_takes(folder):
    batch = next(training_batches(numbered(folder, 10), batch_size=4, seed=0))
    assert {name: (value.shape, value.dtype) for name, value in batch.items()} == {
        "image": ((4, SIDE, SIDE, 1), np.uint8),
        "label": ((4,), np.int32),
    }
    # Classes are sorted: healthy is 0, and the odd frames are healthy.
    assert batch["label"].tolist() == [1 - number % 2 for number in seen(batch)]


@settings(max_examples=8)
@given(count=counts, batch_size=small, processes=small, seed=st.integers(0, 2**40))
def test_processes_together_see_every_frame_once_an_epoch(folder, count, batch_size, processes, seed):
    steps = steps_per_epoch(numbered(folder, count), batch_size=batch_size, processes=processes)
    shards = [
        training_batches(numbered(folder, count), batch_size=batch_size, seed=seed, process=p, processes=processes)
        for p in range(processes)
    ]
    order = []
    for _ in range(3 * steps):
        step = [seen(next(shard)) for shard in shards]
        assert all(len(batch) == batch_size for batch in step)
        order += [number for row in zip(*step, strict=True) for number in row]
    assert len(epochs(order, count)) >= 3
    assert all(sorted(epoch) == list(range(count)) for epoch in epochs(order, count))
    alone = training_batches(numbered(folder, count), batch_size=batch_size * processes, seed=seed)
    assert order == taken(alone, 3 * steps)


@given(count=counts, batch_size=small, processes=small)
def test_an_epoch_has_the_least_steps_that_see_all(folder, count, batch_size, processes):
    steps = steps_per_epoch(numbered(folder, count), batch_size=batch_size, processes=processes)
    assert (steps - 1) * batch_size * processes < count <= steps * batch_size * processes


@settings(max_examples=8)
@given(count=counts, batch_size=small, before=st.integers(0, 12), wasted=st.integers(0, 4), seed=st.integers(0, 9))
def test_a_resumed_run_sees_what_the_undisturbed_one_does(folder, count, batch_size, before, wasted, seed):
    def batches():
        return training_batches(numbered(folder, count), batch_size=batch_size, seed=seed)

    undisturbed = taken(batches(), before + 9)
    stopped = batches()
    head = taken(stopped, before)
    state = json.loads(json.dumps(stopped.get_state()))
    resumed = batches()
    # A state also fits into an iterator that has already read something else ahead.
    taken(resumed, wasted)
    resumed.set_state(state)
    assert head + taken(resumed, 9) == undisturbed
    stopped.set_state(state)
    assert taken(stopped, 9) == undisturbed[before * batch_size :]


def test_a_run_resumes_on_another_number_of_processes(folder):
    undisturbed = taken(training_batches(numbered(folder, 11), batch_size=6, seed=3), 8)
    alone = training_batches(numbered(folder, 11), batch_size=6, seed=3)
    taken(alone, 4)
    pair = [training_batches(numbered(folder, 11), batch_size=3, seed=3, process=p, processes=2) for p in range(2)]
    for shard in pair:
        shard.set_state(alone.get_state())
    rest = [number for _ in range(4) for row in zip(*(seen(next(s)) for s in pair), strict=True) for number in row]
    assert rest == undisturbed[24:]


@pytest.mark.parametrize(
    ("other", "change", "message"),
    [
        ({"seed": 1}, {}, "state: expected seed 1, found 0"),
        ({"count": 9}, {}, "state: expected frames 9, found 10"),
        ({}, {"files": 7}, "state: expected files"),
        ({"batch_size": 4}, {}, "multiple of 4 frames, found 2"),
        ({}, {"seen": -2}, "found -2"),
    ],
)
def test_a_state_of_another_order_is_refused(folder, other, change, message):
    batches = training_batches(numbered(folder, 10), batch_size=2, seed=0)
    next(batches)
    arguments = {"seed": 0, "batch_size": 2, **other}
    others = training_batches(numbered(folder, arguments.pop("count", 10)), **arguments)
    with pytest.raises(ValueError, match=message):
        others.set_state({**batches.get_state(), **change})


def test_epochs_and_seeds_have_orders_of_their_own(folder):
    orders = set()
    for seed in range(4):
        order = taken(training_batches(numbered(folder, MOST), batch_size=MOST, seed=seed), 4)
        orders |= {tuple(epoch) for epoch in epochs(order, MOST)}
    assert len(orders) == 16
    # How many keep their place in a random order is nearly Poisson of mean 1: more than 7 in one of 10^5.
    assert max(sum(place == number for place, number in enumerate(order)) for order in orders) <= 7


def test_the_first_place_is_any_frames(folder):
    """Over many seeds each of 8 frames comes first about as often: 0.1 % of chi-square of 7 degrees is above 24.3."""
    data = numbered(folder, 8)
    firsts = [taken(training_batches(data, batch_size=1, seed=seed), 1)[0] for seed in range(120)]
    observed = np.bincount(firsts, minlength=8)
    assert ((observed - 15) ** 2 / 15).sum() < 24.3


@given(count=counts, batch_size=small, processes=small)
def test_evaluation_is_every_frame_once_in_order(folder, count, batch_size, processes):
    data = numbered(folder, count)
    shards = [
        evaluation_batches(data, "train", batch_size=batch_size, process=p, processes=processes)
        for p in range(processes)
    ]
    assert len({len(shard) for shard in shards}) == 1
    rows = [
        row
        for step in zip(*shards, strict=True)
        for batch in step
        for row in zip(batch["index"].tolist(), seen(batch), batch["label"], batch["weight"], strict=True)
    ]
    labels = [data.classes.index(one.label) for one in data.frames]
    padding = len(rows) - count
    assert 0 <= padding < batch_size * processes
    assert rows == [(n, n, labels[n], 1) for n in range(count)] + [(-1, 0, 0, 0)] * padding


def test_evaluation_can_be_iterated_again(folder):
    batches = evaluation_batches(numbered(folder, 5), "train", batch_size=2)
    once, again = list(batches), list(batches)
    assert len(once) == len(again) == len(batches) == 3
    for first, second in zip(once, again, strict=True):
        assert {name: value.dtype for name, value in first.items()} == {
            "image": np.uint8,
            "label": np.int32,
            "weight": np.float32,
            "index": np.int32,
        }
        for name in first:
            np.testing.assert_array_equal(first[name], second[name])


def test_index_is_the_place_in_the_part(folder, tmp_path):
    frames = [frame(number, patient=("a", "b", "c")[number % 3]) for number in range(9)]
    for number, one in enumerate(frames):
        written(tmp_path, one, np.full((SIDE, SIDE), number, np.uint8))
    data = prepared(tmp_path, frames, {"a": "train", "b": "test", "c": "validation"})
    (batch,) = evaluation_batches(data, "test", batch_size=3)
    assert [data.part("test")[index].number for index in batch["index"]] == seen(batch) == [1, 4, 7]
    assert set(taken(training_batches(data, batch_size=3, seed=0), 5)) == {0, 3, 6}


def test_frames_are_resized_to_the_most_common_size(tmp_path):
    rng = np.random.default_rng(0)
    large, right, tiny = (rng.integers(0, 256, (side, side), dtype=np.uint8) for side in (16, 8, 4))
    frames = [
        written(tmp_path, frame(number, size=len(pixels)), pixels)
        for number, pixels in enumerate([large, right, right, tiny])
    ]
    data = prepared(tmp_path, frames)
    assert common_size(data) == 8
    (batch,) = evaluation_batches(data, "train", batch_size=4)
    means = large.reshape(8, 2, 8, 2).astype(float).mean((1, 3))
    assert np.abs(batch["image"][0, ..., 0] - means).max() <= 0.5
    np.testing.assert_array_equal(batch["image"][1, ..., 0], right)
    grown = np.asarray(Image.fromarray(tiny).resize((8, 8), Image.Resampling.BILINEAR), float)
    assert np.abs(batch["image"][3, ..., 0] - grown).max() <= 1
    (other,) = evaluation_batches(data, "train", batch_size=4, size=5)
    assert other["image"].shape == next(training_batches(data, batch_size=4, size=5, seed=0))["image"].shape
    assert other["image"].shape == (4, 5, 5, 1)


def test_equally_common_sizes_are_settled_by_the_largest(tmp_path):
    assert common_size(prepared(tmp_path, [frame(0, size=8), frame(1, size=9), frame(2, size=7)])) == 9


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "no such file.*manifest.csv lists it"),
        (b"", "expected a PNG picture, found 0 bytes"),
        (b"no picture", "expected a PNG picture, found 10 bytes"),
        ("half", "expected a PNG picture, found"),
        (cv2.imencode(".png", np.zeros((5, 6), np.uint8))[1].tobytes(), r"expected 6 x 6 .* found \(5, 6\)"),
    ],
)
def test_a_picture_that_cannot_be_read_is_named(tmp_path, content, message):
    one = written(tmp_path, frame(0), np.random.default_rng(0).integers(0, 256, (SIDE, SIDE), dtype=np.uint8))
    path = tmp_path / one.file
    if content == "half":
        content = path.read_bytes()[:60]
    path.unlink() if content is None else path.write_bytes(content)
    with pytest.raises(ValueError, match=f"^{path}: {message}"):
        next(training_batches(prepared(tmp_path, [one]), batch_size=2, seed=0))
    with pytest.raises(ValueError, match=f"^{path}: {message}"):
        list(evaluation_batches(prepared(tmp_path, [one]), "train", batch_size=2))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"batch_size": 0}, "batch_size: expected 1 or more, got 0"),
        ({"size": 0}, "size: expected 1 or more pixels"),
        ({"process": 2, "processes": 2}, "process: expected 0 up to 1 of 2 processes, got 2"),
        ({"process": -1}, "process"),
        ({"part": "all"}, "part: 'all' is none of train, validation, test"),
        ({"part": "test"}, "no frames are in the part 'test'"),
    ],
)
def test_wrong_arguments_are_named(folder, change, message):
    data = numbered(folder, 3)
    arguments = {"batch_size": 1, "part": "train", **change}
    with pytest.raises(ValueError, match=message):
        training_batches(data, seed=0, **arguments)
    with pytest.raises(ValueError, match=message):
        evaluation_batches(data, **arguments)
    with pytest.raises(ValueError, match="seed"):
        training_batches(data, batch_size=1, seed=-1)


def test_batches_are_read_while_a_step_computes(folder):
    """After one batch is taken, the next ones are decoded without anyone asking, and no further than allowed."""
    read, enough = [], threading.Event()
    original = pipeline.read_picture

    def counted(path, one, size):
        # Threads of another test's batches may still be at work.
        if path == folder:
            read.append(one.number)
        if len(read) == 2 * (1 + pipeline.BATCHES_AHEAD):
            enough.set()
        return original(path, one, size)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pipeline, "read_picture", counted)
        batches = training_batches(numbered(folder, MOST), batch_size=2, seed=0)
        next(batches)
        assert enough.wait(20)
        batches.close()
    assert len(read) == 2 * (1 + pipeline.BATCHES_AHEAD)
