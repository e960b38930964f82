"""What stands in the parameters of studies and suites, so that help loads no JAX, is what the modules say."""

from xrcam_jax.benchmark import parameters as suites
from xrcam_jax.checkpoints.packaged import MODEL
from xrcam_jax.commands.benchmark import SUITES, TABLE
from xrcam_jax.commands.evaluate import STUDIES
from xrcam_jax.data.datasets import PLANTED
from xrcam_jax.data.manifest import PARTS
from xrcam_jax.models.resnet import STAGES
from xrcam_jax.studies import parameters


def test_names_are_those_of_the_modules():
    assert parameters.PARTS == PARTS
    assert parameters.STAGES == suites.STAGES == STAGES
    assert tuple(PLANTED) == parameters.SETS
    (models,) = (param for param in suites.PARAMETERS["precision"] if param.name == "models")
    assert models.default == (MODEL,)


def test_each_has_parameters():
    assert parameters.PARAMETERS.keys() == STUDIES.keys()
    assert suites.PARAMETERS.keys() == SUITES.keys() - {TABLE}
