"""``xr.evaluate`` gives what the metrics' functions give of each map, and runs the passes once that they share."""

import csv
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import xrcam_jax as xr
from xrcam_jax.attribution.case import Case
from xrcam_jax.evaluation.evaluate import stacked
from xrcam_jax.evaluation.evaluation import Evaluation
from xrcam_jax.evaluation.measure import Given, measured
from xrcam_jax.evaluation.metric import MAPS, NEEDED, Metric, arguments, chosen, metric_title
from xrcam_jax.evaluation.metrics import USUAL
from xrcam_jax.metrics import both, faithfulness, localisation, mass, overlap
from xrcam_jax.metrics.faithfulness import Hidden, Kept
from xrcam_jax.metrics.sensitivity import uniform_noise
from xrcam_jax.metrics.uncertainty import mean

COUNT, SIDE = 3, 8
METHODS = ("grad_cam", "gradient")
PLACES = [("grad_cam", "low"), ("grad_cam", "high"), ("grad_cam", "aggregate"), ("gradient", "input")]


@pytest.fixture(scope="module")
def explainer():
    random = np.random.default_rng(0)
    kernel, head = (jnp.asarray(random.standard_normal(shape), jnp.float32) for shape in ((2, 4), (4, 3)))

    def model(images):
        x = xr.mark(jax.nn.relu(images @ kernel), "low")
        return xr.mark(x.reshape(-1, 4, 2, 4, 2, 4).mean((2, 4)), "high").mean((1, 2)) @ head

    return xr.Explainer(model, METHODS)


@pytest.fixture(scope="module")
def explanation(explainer):
    images = np.random.default_rng(1).standard_normal((COUNT, SIDE, SIDE, 2)).astype(np.float32)
    return explainer(images, targets=[0, 2, 1])


@pytest.fixture(scope="module")
def masks():
    """Outlines of the first two pictures; in the third, nothing is outlined."""
    found = np.zeros((COUNT, SIDE, SIDE), bool)
    found[0, 2:5, 1:4] = found[1, :, 3:] = True
    return found


@pytest.fixture(scope="module")
def judged(explanation, explainer, masks):
    return xr.evaluate(explanation, masks=masks, explainer=explainer, aggregate="mean")


def directly(e, explainer, masks):
    """The figures of all maps, each by the function of its own."""
    maps = jnp.stack([e["grad_cam", "low"], e["grad_cam", "high"], e.aggregate("grad_cam"), e["gradient", "input"]])
    case = case_of(e, explainer)
    intact = faithfulness.intact_scores(case)
    hidden, kept = (faithfulness.scores_when(change, case, maps) for change in (Hidden(), Kept()))
    curves = [faithfulness.ordered_scores(case, maps, order, steps=10) for order in ("deletion", "insertion")]
    opposed = both.scores_left(case, maps), curves[1]
    found = {
        "deletion": faithfulness.area_under(curves[0]),
        "insertion": faithfulness.area_under(curves[1]),
        "contrast": both.contrast(*opposed),
        "confidence_drop": faithfulness.confidence_drop(intact, hidden),
        "average_drop": faithfulness.average_drop(intact, kept),
        "increase": faithfulness.increase(intact, kept),
    }
    of_outlines = {
        "relevance_mass_accuracy": mass.mass_accuracy(maps, masks),
        "relevance_rank_accuracy": mass.rank_accuracy(maps, masks),
        "pointing_game": localisation.points_at(maps, masks).astype(np.float32),
        "iou": overlap.iou(overlap.overlap(overlap.salient(maps), masks)),
        "joint_faithfulness": both.joint_faithfulness(*opposed, maps, masks),
    }
    undefined = np.where(masks.any((1, 2)), 0, np.nan)
    return found | {name: np.asarray(values) + undefined for name, values in of_outlines.items()}


def case_of(e, explainer):
    return Case(explainer.function, explainer.parameters, jnp.asarray(e.images), e.targets[:, None])


def test_figures_are_those_of_the_functions(judged, explanation, explainer, masks):
    assert tuple(judged.values) == USUAL
    assert [(m, layer) for m, by_layer in judged["deletion"].items() for layer in by_layer] == PLACES
    wanted = directly(explanation, explainer, masks)
    assert set(wanted) == set(USUAL)
    for name, values in wanted.items():
        found = [judged[name, method, layer] for method, layer in PLACES]
        np.testing.assert_allclose(found, values, rtol=1e-5, atol=1e-6, err_msg=name)


def test_metrics_that_explain_again(explanation, explainer):
    names = ["max_sensitivity+nr_samples=2", "avg_sensitivity+nr_samples=2", "input_invariance"]
    found = xr.evaluate(explanation, names, explainer=explainer, aggregate="mean")
    changes = {place: [] for place in PLACES}
    for i in range(2):
        noisy = uniform_noise(jnp.asarray(explanation.images), jnp.int32(i), (jax.random.key(0), jnp.float32(0.2)))
        e = explainer(noisy, targets=explanation.targets)
        for method, layer in PLACES:
            before, after = (
                np.asarray(x.aggregate(method) if layer == "aggregate" else x[method, layer]).reshape(COUNT, -1)
                for x in (explanation, e)
            )
            lengths = np.linalg.norm(before, axis=1)
            # A map that is zero and stays so has not changed.
            changes[method, layer].append(np.linalg.norm(after - before, axis=1) / np.where(lengths, lengths, 1))
    assert min(np.max(each) for each in changes.values()) > 0.01
    for place, each in changes.items():
        np.testing.assert_allclose(found[names[0], *place], np.max(each, 0), rtol=1e-4)
        np.testing.assert_allclose(found[names[1], *place], np.mean(each, 0), rtol=1e-4)
    # What is signed has no aggregates. Without the shift, other ReLUs would be on, and the gradient another.
    assert list(found["input_invariance"]["grad_cam"]) == ["low", "high"]
    np.testing.assert_allclose(found["input_invariance", "gradient", "input"], 0, atol=1e-4)
    assert "| Grad-CAM | all layers |" in found.table()
    assert found.table().splitlines()[4].endswith("| – |")
    assert np.isnan(found.rows()[2 * COUNT]["input_invariance"])


def test_variants_of_a_metric_stand_side_by_side(explanation, explainer, judged):
    names = ["deletion", "deletion+steps=4+score=logit"]
    found = xr.evaluate(explanation, names, explainer=explainer)
    assert list(found.values) == names
    np.testing.assert_array_equal(found["deletion", "gradient", "input"], judged["deletion", "gradient", "input"])
    case, maps = case_of(explanation, explainer), explanation["gradient", "input"][None]
    wanted = faithfulness.area_under(faithfulness.ordered_scores(case, maps, "deletion", steps=4, score="logit"))
    np.testing.assert_allclose(found[names[1], "gradient", "input"], wanted[0], rtol=1e-4, atol=1e-6)
    given = xr.evaluate(
        explanation, "deletion", explainer=explainer, options={"deletion": {"steps": 4, "score": "logit"}}
    )
    np.testing.assert_array_equal(given["deletion", "grad_cam", "low"], found[names[1], "grad_cam", "low"])


def test_a_target_function_is_judged_by_its_value(explanation, explainer):
    def difference(logits):
        return logits[:, 0] - logits[:, 1]

    explain = xr.Explainer(explainer.function.function, "gradient", target=difference)
    e = explain(explanation.images)
    found = xr.evaluate(e, "deletion+steps=2", explainer=explain)
    whole = np.asarray(difference(explanation.logits))
    images, maps = np.asarray(explanation.images), np.asarray(e["gradient", "input"])
    rest = images.copy()
    for picture, one in zip(rest, maps, strict=True):
        order = sorted(np.ndindex(one.shape), key=lambda place, one=one: (-one[place], place))
        for place in order[: one.size // 2]:
            picture[place] = 0
    half, nothing = (np.asarray(difference(explain.function(x, ()))) for x in (rest, 0 * images))
    wanted = (whole + 2 * half + nothing) / 4
    np.testing.assert_allclose(found["deletion+steps=2", "gradient", "input"], wanted, rtol=1e-4, atol=1e-5)


def test_passes_are_shared_by_metrics_with_the_same_options():
    calls = []

    def scores(case, maps, *, steps: int = 2, fill=None):
        calls.append((steps, fill))
        return maps.sum((2, 3)) * steps

    def ratio(found, *, power: int = 1):
        return found**power

    table = {name: Metric(name, "", "complexity", "", None, ratio, (scores,)) for name in ("one", "other")} | {
        "alone": Metric("alone", "", "complexity", "", None, lambda maps: maps.max((2, 3)))
    }
    given = Given(jnp.ones((1, 2, 4, 4)), case=Case(lambda x, p: x, (), jnp.ones((2, 4, 4, 1)), jnp.zeros((2, 1), int)))
    names = ("one", "other", "one+power=2", "one+steps=3", "alone")
    found = measured({name: chosen(name, table, {}) for name in names}, given)
    assert calls == [(2, None), (3, None)]
    assert [float(found[name][0, 0]) for name in names] == [32, 32, 32**2, 48, 1]
    arrays = [np.zeros(1), np.zeros(1)]
    measured({str(i): chosen("one", table, {"fill": arrays[i // 2]}) for i in range(3)}, given)
    assert [fill is arrays[i] for i, (_, fill) in enumerate(calls[2:])] == [True, True]


def test_what_is_undefined_is_left_out_and_counted(judged):
    values = judged["iou", "grad_cam", "low"]
    assert np.isnan(values).tolist() == [False, False, True]
    assert judged.undefined("iou", "grad_cam", "low") == 1
    assert judged.mean("iou", "grad_cam", "low").value == pytest.approx(np.mean(values[:2]))
    head, _, first, *_ = judged.table().splitlines()
    assert head.startswith("| method | layer | Deletion ↓ | Insertion ↑ |")
    assert first.startswith("| Grad-CAM | low | ")
    cells = dict(zip(head.split(" | "), first.split(" | "), strict=True))
    assert re.fullmatch(r"[\d.]+ \[[\d.]+, [\d.]+\] \(2 of 3\)", cells["IoU ↑"])
    assert "of 3" not in cells["Deletion ↓"]


def test_intervals_are_over_patients_where_these_are_known(judged):
    values = judged["deletion", "gradient", "input"]
    wanted = mean(values, np.array([1, 0, 1]), seed=3)
    assert judged.mean("deletion", "gradient", "input", patients=["b", "a", "b"], seed=3) == wanted
    with pytest.raises(ValueError, match="patients must be one for each of the 3 pictures; got 2"):
        judged.mean("deletion", "gradient", "input", patients=["a", "b"])


def test_it_says_what_it_holds(judged):
    lines = repr(judged).splitlines()
    assert lines[:3] == [
        "Evaluation of 3 pictures, 4 maps each",
        "  grad_cam: low, high, aggregate",
        "  gradient: input",
    ]
    means = [judged.mean("insertion", "grad_cam", layer).value for layer in ("low", "high", "aggregate")]
    means.append(judged.mean("insertion", "gradient", "input").value)
    assert f"  insertion: {min(means):.3g} to {max(means):.3g}" in lines
    assert len(judged) == 3


def test_the_file_has_all_figures(judged, tmp_path):
    judged.to_csv(tmp_path / "figures.csv", names=["a", "b", "c"])
    with (tmp_path / "figures.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 4 * COUNT
    for row in rows:
        i = "abc".index(row["picture"])
        for name in USUAL:
            value = judged[name, row["method"], row["layer"]][i]
            assert (row[name] == "") == np.isnan(value)
            assert row[name] == "" or float(row[name]) == value
    with pytest.raises(ValueError, match="names must be one for each of the 3 pictures; got 1"):
        judged.rows(["a"])


def test_a_table_without_a_figure(explanation):
    found = xr.evaluate(explanation, "iou", masks=np.zeros((COUNT, SIDE, SIDE), bool))
    assert "| – (0 of 3) |" in found.table()
    assert "iou: undefined" in repr(found)


def test_what_rounds_to_zero_has_no_sign():
    found = Evaluation({"iou": {"grad_cam": {"layer4": np.array([-0.0001, -0.0002])}}})
    assert found.table().splitlines()[-1].endswith("| 0.000 [0.000, 0.000] |")


def three_means(images):
    return images.mean((1, 2))[:, [0, 1, 0]]


@pytest.mark.parametrize(
    ("metrics", "given", "line"),
    [
        ("deletoin", {}, "unknown metric 'deletoin'; did you mean 'deletion'?"),
        ("deletion+step=2", {}, "unknown option of deletion 'step'; did you mean 'steps'?"),
        ("deletion+steps=few", {}, "value of steps of deletion must be a whole number; got 'few'"),
        ("iou+steps=2", {}, "unknown option of iou 'steps'; known: none"),
        ([], {}, "metrics: expected at least one name, got none"),
        ("deletion", {}, "deletion: needs the model; give model= or explainer="),
        (
            "max_sensitivity",
            {"model": lambda x: x.mean((1, 2))[:, [0, 1, 0]]},
            "max_sensitivity: explains again; give expl",
        ),
        (
            "relative_representation_stability",
            {},
            "the option layer has no default; give relative_representation_stability+layer=...",
        ),
        (["iou", "precision"], {}, "iou, precision: needs outlines; give masks=, one for each picture"),
        ("iou", {"masks": np.ones((1, 8, 8), bool)}, "masks must be one of True and False for each picture, (3, 8, 8)"),
        ("iou", {"masks": np.ones((3, 8, 8))}, "; got float64 of shape (3, 8, 8)"),
        ("deletion", {"model": len, "explainer": True}, "give model or explainer, not both"),
        ("deletion", {"model": lambda x: x.mean((1, 2)), "chunk_size": 0}, "chunk_size must be at least 1; got 0"),
        ("deletion", {"model": lambda x: x.mean((1, 2))}, "expected an explanation of 2 logits, as the model gives"),
        ("iou", {"options": {"dice": {}}}, "unknown metric in options 'dice'; known: iou"),
        ("deletion+steps=2", {"options": {"deletion+steps=2": {"steps": 3}}}, "the option steps is given twice"),
        (None, {}, "metrics: none of the usual ones can be measured of maps alone; give masks=, model= or explainer="),
        ("iou", {"aggregate": "sum"}, "unknown aggregation 'sum'; known: mean, maximum, weighted, product"),
        (["iou", 3], {}, "metrics: expected names, found 3"),
        ("deletion", {"explainer": len}, "explainer must be an xrcam_jax.Explainer; got builtin_function_or_method"),
        ("deletion", {"model": xr.Explainer(len, "gradient")}, "model is an Explainer; give it as explainer="),
        ("deletion", {"options": {"deletion": {"steps": 2.5}}}, "steps of deletion must be a whole number; got 2.5"),
        ("deletion", {"options": {"deletion": {"fill": "0"}}}, "value of fill of deletion must be a number; got '0'"),
        (3, {}, "metrics: expected a name or a list of names, found 3"),
        (["iou", "dice", "iou"], {}, "metrics: the same name twice in iou, dice, iou"),
        ("deletion", {"options": "steps=2"}, "options must be given by metric, such as"),
        ("deletion", {"options": {"deletion": ["steps"]}}, "options of deletion must be given by name, such as"),
        ("deletion", {"options": {0: {}}}, "unknown metric in options '0'; known: deletion"),
        ("deletion", {"options": {"deletion": {"fill": np.nan}}}, "fill of deletion must be a number; got nan"),
        ("sensitivity_n", {"options": {"sensitivity_n": {"sizes": 3}}}, "must be whole numbers in a sequence or none;"),
        ("pixel_flipping", {"options": {"pixel_flipping": {"fill": "0"}}}, "must be a number or uniform; got '0'"),
        ("deletion", {"chunk_size": "3"}, "chunk_size must be a whole number or none; got '3'"),
        ("deletion", {"random_seed": None}, "random_seed must be a whole number; got None"),
        ("deletion", {"model": lambda x: x.mean()}, "model must give logits of shape (b, n); it gives ()"),
        ("irof+superpixels=0", {"model": three_means}, "superpixels must be at least 2; got 0"),
        ("road+noise=-1", {"model": three_means}, "noise must be a number from 0; got -1.0"),
        ("road", {"options": {"road": {"order": "most"}}}, "value of order of road must be morf or lerf; got 'most'"),
    ],
)
def test_what_is_wrong_is_said_before_anything_runs(explanation, metrics, given, line):
    with pytest.raises(ValueError, match=re.escape(line)):
        xr.evaluate(explanation, metrics, **given)


@pytest.mark.parametrize(
    "chosen", [0, None, ("iou", 0, "low"), (), ("iou", "grad_cam"), ("iou", "grad_cam", "low", "x")]
)
def test_what_is_no_place(judged, chosen):
    with pytest.raises(ValueError, match="expected a metric, or a metric, a method and a layer, by name; got"):
        judged[chosen]


@pytest.mark.parametrize(
    ("given", "line"),
    [
        ({"decimals": -1}, "decimals must be at least 0; got -1"),
        ({"decimals": 2.5}, "decimals must be a whole number; got 2.5"),
        ({"seed": "a"}, "seed must be a whole number; got 'a'"),
        ({"patients": "abc"}, "patients must be one for each of the 3 pictures; got 'abc'"),
        ({"patients": 3}, "patients must be one for each of the 3 pictures; got 3"),
        ({"patients": ["a", None, "b"]}, "patients must be known of each picture; got None"),
    ],
)
def test_what_is_wrong_of_a_table(judged, given, line):
    with pytest.raises(ValueError, match=line):
        judged.table(**given)


def test_explanations_that_cannot_be_judged(explainer, explanation):
    with pytest.raises(ValueError, match=r"explanation must be an xrcam_jax.Explanation; got ndarray"):
        xr.evaluate(np.ones((3, 8, 8)), "iou")
    several = explainer(explanation.images, targets=[[0, 1]] * COUNT)
    with pytest.raises(ValueError, match="expected one target for each picture, found 2"):
        stacked(several)
    inside = jax.jit(lambda x: explainer.explain((), x))(explanation.images)
    with pytest.raises(ValueError, match="refers to no pictures"):
        xr.evaluate(inside, "deletion", explainer=explainer)


def test_maps_of_other_layers_or_methods_are_not_compared(explainer, explanation):
    model = explainer.function.function
    for methods, layers, line in (
        (METHODS, ["high", "low", "input"], "explains grad_cam at high, low, and the explanation is of low, high"),
        ("grad_cam", None, "unknown method of explainer 'gradient'"),
    ):
        other = xr.Explainer(model, methods, layers)
        with pytest.raises(ValueError, match=line):
            xr.evaluate(explanation, "max_sensitivity+nr_samples=2", explainer=other)


def test_one_share_of_road_is_as_a_sequence_of_one(explanation, explainer):
    found = xr.evaluate(
        explanation, ["road+shares=0.25", "road"], explainer=explainer, options={"road": {"shares": [0.25]}}
    )
    for place in PLACES[:2]:
        np.testing.assert_array_equal(found["road+shares=0.25", *place], found["road", *place])


@pytest.mark.parametrize("name", xr.METRICS)
def test_each_metric_says_how_it_is_called_and_read(name):
    metric = xr.METRICS[name]
    assert metric.best in ("max", "min", None)
    assert all((metric.title, metric.summary, metric.source))
    known = (MAPS, *NEEDED)
    for function in metric.passes:
        assert set(arguments(function)) <= set(known)
    others = [argument for argument in arguments(metric.figure) if argument not in known]
    assert len(others) == len(metric.passes)
    assert metric_title(name, xr.METRICS) == metric.title


def test_names_in_tables_are_told_apart():
    titles = [metric.title for metric in xr.METRICS.values()]
    assert len(set(titles)) == len(titles)
    assert metric_title("deletion+steps=4", xr.METRICS) == "Deletion, steps=4"
