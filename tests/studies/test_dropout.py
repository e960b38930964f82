"""Each pass with dropout is what the network gives that is run stage by stage with the same noise."""

import csv

import cv2
import jax
import numpy as np
import pytest
from flax import nnx

import xrcam_jax as xr
from xrcam_jax.cli import main
from xrcam_jax.data.manifest import read_prepared
from xrcam_jax.models.resnet import STAGES
from xrcam_jax.studies import dropout, segmentation
from xrcam_jax.studies.study import Study

RATE, PASSES, BATCH, SEED = 0.5, 2, 2, 4
OPTIONS = ("--methods", "grad_cam", "--layers", "layer4", "--batch-size", BATCH, *("--passes", PASSES, "--rate", RATE))


def rows(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def results(drawn, weights, tmp_path_factory):
    out = tmp_path_factory.mktemp("results")
    arguments = ["--data", drawn.folder, "--annotations", drawn.annotations, "--weights", weights("plain")]
    arguments += ["--out", out, "--part", "all", "--seed", SEED, *OPTIONS]
    assert main(["evaluate", "dropout", *map(str, arguments)]) == 0
    return out / "dropout"


def maps_by_hand(model, images, key, noisy):
    """Returns Grad-CAM of class 0 at layer 4, whose gradient is the head's weight everywhere: ReLU(sum_k v_k A_k)."""
    model.dropout.deterministic = not noisy
    rngs = nnx.Rngs(dropout=key)
    x = model.conv1(images)
    x = jax.lax.reduce_window(x, -np.inf, jax.lax.max, (1, 3, 3, 1), (1, 2, 2, 1), [(0, 0), (1, 1), (1, 1), (0, 0)])
    for stage in STAGES:
        for block in getattr(model, stage):
            x = model.dropout(block(x), rngs=rngs)
    return x @ model.fc.kernel[...][:, 0]


def enlarged(raw):
    positive = np.maximum(raw, 0)
    spread = positive.max() - positive.min()
    large = cv2.resize((positive - positive.min()) / (spread or 1), (40, 40), interpolation=cv2.INTER_LINEAR)
    return ((large - large.min()) / (np.ptp(large) or 1)).astype(np.float64)


@pytest.fixture(scope="module")
def by_hand(drawn, weights):
    """Returns (both, found, truth) by file and column, of each pass and without dropout."""
    model = xr.load_model("tiny", weights("plain") / "best.safetensors", dropout_rate=RATE)
    definition, state = nnx.split(model)
    run = jax.jit(lambda *arguments: maps_by_hand(nnx.merge(definition, state), *arguments), static_argnums=2)
    found = {}
    for number, key in enumerate(jax.random.split(jax.random.key(SEED), PASSES)):
        for start in range(0, len(drawn.annotated), BATCH):
            files = [drawn.annotated[min(start + i, len(drawn.annotated) - 1)] for i in range(BATCH)]
            for noisy in (True, False):
                raws = np.asarray(run(drawn.images(files), jax.random.fold_in(key, start), noisy))
                for file, raw in zip(files, raws, strict=True):
                    one, truth = enlarged(raw), drawn.masks[file]
                    mask = one > one.mean() + one.std()
                    column = f"layer4 pass {number + 1}" if noisy else "layer4"
                    # The copies that fill the last batch have other noise, and do not count.
                    found.setdefault((file, column), [int(m.sum()) for m in (mask & truth, mask, truth)])
    return found


def test_each_pass_is_the_network_with_that_noise(results, by_hand):
    found = rows(results / "images.csv")
    assert {row["column"] for row in found} == {"layer4", "layer4 pass 1", "layer4 pass 2"}
    assert len(found) == len(by_hand) == 5 * 3
    for row in found:
        counts = [int(row[name]) for name in ("both", "found", "truth")]
        # But for a pixel or two at the threshold.
        np.testing.assert_allclose(counts, by_hand[row["file"], row["column"]], atol=2)
    passes = [
        [row["found"] for row in found if row["column"] == f"layer4{name}"] for name in ("", " pass 1", " pass 2")
    ]
    assert passes[0] != passes[1] != passes[2] != passes[0]


def test_tables(results):
    """They have the mean and deviation of the passes' pooled IoU, over the frames that are right without dropout."""
    pooled = {}
    for row in rows(results / "images.csv"):
        if row["predicted"] == "ill":
            both, found, truth = (int(row[name]) for name in ("both", "found", "truth"))
            total = pooled.setdefault(row["column"], [0, 0])
            total[0], total[1] = total[0] + both, total[1] + found + truth - both
    iou = {column: 100 * both / either for column, (both, either) in pooled.items()}
    with (results / "stochastic.csv").open(newline="") as file:
        header, line = list(csv.reader(file))
    mean, low, high = map(float, line[header.index("layer4") :][:3])
    passes = np.array([iou["layer4 pass 1"], iou["layer4 pass 2"]])
    assert mean == pytest.approx(passes.mean())
    assert (low, high) == pytest.approx((passes.mean() - passes.std(), passes.mean() + passes.std()))
    (row,) = rows(results / "deterministic.csv")
    assert float(row["layer4"]) == pytest.approx(iou["layer4"])
    assert passes.std() > 0


def test_columns_of_one_layer_are_named_once(results):
    """With one layer there is nothing to aggregate."""
    with (results / "stochastic.csv").open(newline="") as file:
        header = next(csv.reader(file))
    assert header == ["method", "network", "layer4", "layer4 low", "layer4 high"]


def test_the_same_frames_count_as_in_segmentation(drawn, tmp_path):
    """Frames whose outlines a network's crop leaves out do not count, so that the tables can be compared."""
    prepared = read_prepared(drawn.folder)
    frames = tuple(prepared.frames[:3])
    settings = {"passes": 1, "rate": RATE, "aggregate": "mean", "data": {"patients": 1}}
    both, found, truth = np.array([30, 20, 0]), np.array([50, 40, 60]), np.array([45, 70, 0])
    pixels = np.full(3, 1600)
    counts = {
        f"{name}/m/layer4{end}": values
        for end in ("", " pass 1")
        for name, values in (("both", both), ("found", found), ("truth", truth), ("pixels", pixels))
    }
    arrays = {"net": {"logits": np.tile([1.0, 0.0], (3, 1)), **counts}}
    for experiment in (segmentation, dropout):
        folder = tmp_path / experiment.NAME
        experiment.write(
            Study(experiment.NAME, folder, (), prepared, frames, None, ("m",), ("layer4",), 3, 0, settings), arrays
        )
    alike = rows(tmp_path / "segmentation" / "per_layer.csv")[0], rows(tmp_path / "dropout" / "deterministic.csv")[0]
    assert [float(row["layer4"]) for row in alike] == pytest.approx([100 * 50 / (65 + 90)] * 2)


@pytest.mark.parametrize(
    ("option", "value", "line"),
    [
        ("--rate", 0, "--rate: 0.0 is not between 0 and 1"),
        ("--rate", 1, "--rate: 1.0 is not between 0 and 1"),
        ("--passes", 0, "--passes: 0 is less than 1"),
    ],
)
def test_wrong_arguments(evaluate, weights, capsys, option, value, line):
    assert evaluate("dropout", option, value, runs=[weights("plain")]) == 2
    assert capsys.readouterr().err == f"xrcam evaluate: error: {line}\n"
