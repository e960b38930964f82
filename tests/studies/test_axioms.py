"""At layer 4, behind which are only pooling and a linear layer, the axioms can be worked out by hand."""

import csv

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import xrcam_jax as xr
from tests.explain import small
from tests.rounding import assert_same_but_for_rounding
from xrcam_jax.explain.functional import as_function
from xrcam_jax.models.resnet import STAGES
from xrcam_jax.studies.axioms import claimed

METHODS = ("grad_cam", "hires_cam", "xrelevance_cam")
OPTIONS = ("--methods", ",".join(METHODS), "--layers", "layer4", "--batch-size", 2, "--limit", 4)


def rows(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def run(weights):
    return weights("axioms", seed=2)


def features(model, images):
    """Returns layer 4, pooled, computed stage by stage."""

    @jax.jit
    def pooled(x):
        x = model.conv1(x)
        x = jax.lax.reduce_window(x, -np.inf, jax.lax.max, (1, 3, 3, 1), (1, 2, 2, 1), [(0, 0), (1, 1), (1, 1), (0, 0)])
        for stage in STAGES:
            for block in getattr(model, stage):
                x = block(x)
        return x.mean((1, 2))

    return np.asarray(pooled(images), np.float64)


def test_both_axioms_by_hand(drawn, evaluate, run, tmp_path):
    """With p the pooled activations, v and c the head's weights and bias, S = v_t p + c_t loses v_kt p_k without k.

    Grad-CAM and HiResCAM claim exactly that, and miss c_t. XRelevance-CAM claims what the positive part of the head
    hands down of S at the target and -S / N elsewhere; together that is S / N, its own score.
    """
    assert evaluate("axioms", *OPTIONS, runs=[run]) == 0
    found = {(row["file"], row["method"]): row for row in rows(tmp_path / "axioms" / "images.csv")}
    files = list(dict.fromkeys(file for file, _ in found))
    model = xr.load_model("tiny", run / "best.safetensors")
    head, bias = (np.asarray(a[...], np.float64) for a in (model.fc.kernel, model.fc.bias))
    sensitivity = {method: [] for method in METHODS}
    for file, p in zip(files, features(model, drawn.images(files)), strict=True):
        t = ("ill", "well").index(drawn.frames[file].label)
        score = p @ head[:, t] + bias[t]
        for method in METHODS[:2]:
            row = found[file, method]
            sensitivity[method].append(float(row["sensitivity"]))
            assert float(row["sensitivity"]) == pytest.approx(0, abs=1e-4)
            assert float(row["conservation"]) == pytest.approx(abs(bias[t] / score), rel=1e-3, abs=1e-5)
        positive = np.maximum(head, 0) * p[:, None]
        seed = np.where(np.arange(2) == t, score, -score / 2)
        claimed = (positive / positive.sum(0) * seed).sum(1)
        drops = head[:, t] * p / 2
        row = found[file, "xrelevance_cam"]
        sensitivity["xrelevance_cam"].append(np.abs(drops - claimed).sum() / np.abs(drops).sum())
        assert float(row["sensitivity"]) == pytest.approx(sensitivity["xrelevance_cam"][-1], rel=1e-3)
        assert float(row["conservation"]) == pytest.approx(0, abs=1e-4)
    table = {row["method"]: row for row in rows(tmp_path / "axioms" / "sensitivity.csv")}
    for method, values in sensitivity.items():
        assert float(table[method]["layer4"]) == pytest.approx(np.mean(values), rel=1e-3, abs=1e-4)
        assert float(table[method]["average"]) == float(table[method]["layer4"])


def test_conservation_alone(evaluate, run, tmp_path):
    """Sensitivity is left out, and conservation is the same to rounding."""
    assert evaluate("axioms", *OPTIONS, "--conservation", runs=[run], out=tmp_path / "alone") == 0
    assert evaluate("axioms", *OPTIONS, runs=[run], out=tmp_path / "both") == 0
    alone, both = (tmp_path / name / "axioms" for name in ("alone", "both"))
    assert not (alone / "sensitivity.csv").exists()
    assert "sensitivity" not in rows(alone / "images.csv")[0]
    tables = [(folder / "conservation.csv").read_text() for folder in (alone, both)]
    assert_same_but_for_rounding(*tables, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("method", ["score_cam", "cam", "gradient"])
def test_methods_without_weights_of_channels(evaluate, run, capsys, method):
    assert evaluate("axioms", "--methods", f"grad_cam,{method}", runs=[run]) == 2
    err = capsys.readouterr().err
    assert err.startswith(f"xrcam evaluate: error: --method: {method} has no weights of channels at every layer")
    assert err.count("\n") == 1


def test_claims_of_a_network_of_one_output_are_those_of_two():
    """The two have the logits -z and z, and are built by hand."""
    one, two, head = small.weights(classes=1)
    networks = (small.Network([one, two, head]), small.Network([one, two, jnp.concatenate([-head, head], axis=1)]))
    methods, layers, found = ("grad_cam", "xrelevance_cam"), ("first", "last"), []
    for network in networks:
        function, parameters = as_function(network)
        given = jnp.asarray(small.images()), parameters, jnp.array([0, 1])
        found.append(claimed(*given, function=function, methods=methods, layers=layers))
    (z, claims), (logits, wanted) = found
    np.testing.assert_allclose(z, logits[:, 1:], rtol=1e-5)
    for name, claim in wanted.items():
        np.testing.assert_allclose(claims[name], claim, atol=1e-5 * np.abs(claim).max())
