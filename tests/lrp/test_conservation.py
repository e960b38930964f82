"""The account of relevance: it adds up, names what took relevance away, and holds on the largest network."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import xrcam_jax as xr
from tests import oracle
from tests.lrp import networks
from xrcam_jax.checkpoints.convert import from_timm
from xrcam_jax.explain.functional import as_function


def seed_of(out):
    return xr.seeds.one_hot(out, jnp.argmax(out, -1))


@pytest.mark.long
def test_stages_of_skresnext50_conserve_in_float32():
    """Nothing is lost for α = 1, β = 0 but what is dropped where z = 0."""
    f, parameters = as_function(from_timm("skresnext50_32x4d", oracle.seeded_state("skresnext50_32x4d")))
    images = jnp.asarray(oracle.images()[:1])
    report = xr.conservation(f, xr.composites.relevance_cam(), images, parameters, seed=seed_of)
    assert list(report.stages) == ["output", "layer4", "layer3", "layer2", "layer1"]
    for stage, balance in report.stages.items():
        assert balance.relative_rest < 1e-5, (stage, balance)
    np.testing.assert_allclose(report.stages["output"].arrived, report.seed, rtol=1e-6)
    assert {site.stage for site, _ in report.operations} == set(report.stages)


@pytest.mark.long(but=["relevance_cam", "flat", "gamma"])
@pytest.mark.parametrize(
    "name", ["relevance_cam", "epsilon_plus", "epsilon_plus_flat", "epsilon_alpha2_beta1", "epsilon_gamma_box"]
)
def test_the_account_adds_up(name, float64):
    f, args, x = networks.functions(jnp.float64)["nnx"]
    report = xr.conservation(f, getattr(xr.composites, name)(), x, *args, seed=seed_of)
    for site, balance in report.operations:
        assert balance.relative_rest < 1e-12, (site, balance)
    for stage, balance in report.stages.items():
        assert balance.relative_rest < 1e-12, (stage, balance)
    lost = sum(balance.lost for balance in report.stages.values())
    np.testing.assert_allclose(report.seed - report.reached, lost, atol=1e-12)
    takes_bias = name != "relevance_cam"
    assert any(balance.bias != 0 for _, balance in report.operations) is takes_bias


def test_causes_worked_out_by_hand(float64):
    def f(x, w, b):
        return x @ w + b

    w, b = jnp.array([[1.0, 2.0], [1.0, -2.0]]), jnp.array([2.0, 0.0])
    x = jnp.array([[1.0, 1.0]])  # z = 2 + 2 and 0
    own = xr.composites.epsilon_plus(eps=0.5)
    (site, balance), *rest = xr.conservation(f, own, x, w, b, seed=jnp.array([[9.0, 7.0]])).operations
    assert (site.kind, rest) == ("dense", [])
    # s = 9 / 4.5 = 2: the bias takes 4, the stabiliser 1, the inputs 2 each; the second output is zero
    assert (balance.arrived, balance.passed_on, balance.bias) == (16, 4, 4)
    assert (balance.stabiliser, balance.zero) == (1, 7)
    assert balance.lost == 12
    assert balance.rest == 0


def test_the_published_gate_makes_relevance_up_and_the_account_says_where(float64):
    f, args, x = networks.functions(jnp.float64)["nnx"]
    report = xr.conservation(f, xr.composites.relevance_cam(gate="published"), x, *args, seed=seed_of)
    makers = {site.kind for site, balance in report.operations if balance.relative_rest > 1e-9}
    assert makers == {"gate"}
    gates = [balance for site, balance in report.operations if site.kind == "gate"]
    assert all(np.isclose(balance.passed_on, 2 * balance.arrived) for balance in gates)


@pytest.mark.long
def test_it_reads_as_a_table():
    f, args, x = networks.functions()["nnx"]
    report = xr.conservation(f, xr.composites.relevance_cam(), x, *args, seed=seed_of)
    head, *rows, _ = str(report).splitlines()
    assert head.split()[:4] == ["stage", "arrived", "passed_on", "lost"]
    assert [row.split()[0] for row in rows] == ["output", "second", "first"]
    assert len(report.table().splitlines()) == 1 + len(report.operations)


def test_the_account_of_a_model_that_is_rematerialised(float64):
    """What is computed twice is accounted for once, mark by mark."""
    f, args, x = networks.functions(jnp.float64)["nnx"]
    plain = xr.conservation(f, xr.composites.relevance_cam(), x, *args, seed=seed_of)
    remat = xr.conservation(jax.checkpoint(f), xr.composites.relevance_cam(), x, *args, seed=seed_of)
    assert list(remat.stages) == list(plain.stages) == ["output", "second", "first"]
    for stage, balance in plain.stages.items():
        np.testing.assert_allclose(remat.stages[stage].arrived, balance.arrived, rtol=1e-12)
    for (site, found), (_, wanted) in zip(remat.operations, plain.operations, strict=True):
        np.testing.assert_allclose(found.passed_on, wanted.passed_on, rtol=1e-9, atol=1e-12, err_msg=str(site))
