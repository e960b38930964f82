"""What stands in the parameters of studies and suites, so that help loads no JAX, is what the modules say."""

from xrcam_jax.benchmark import parameters as suites
from xrcam_jax.checkpoints.packaged import MODEL
from xrcam_jax.commands import evaluate, explain
from xrcam_jax.commands.benchmark import SUITES, TABLE
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
    assert parameters.PARAMETERS.keys() == evaluate.STUDIES.keys()
    assert suites.PARAMETERS.keys() == SUITES.keys() - {TABLE}


def shown(name):
    """The names that the help of a study shows, each with what stands for its value."""
    command = evaluate.load(name)
    with command.make_context(name, [], resilient_parsing=True) as context:
        options = [param for param in command.params if param.get_help_record(context)]
    return {word: option.metavar for option in options for word in (*option.opts, *option.secondary_opts)}


def test_what_a_study_refuses_is_not_in_its_help():
    everything = shown("segmentation").keys()
    assert everything >= {"--folds", "--no-folds", "--annotations", "--weights", "--methods", "--layers"}
    assert everything - shown("ensemble").keys() == {"--folds", "--no-folds"}
    assert everything - shown("cohort").keys() == {"--folds", "--no-folds", "--annotations", "--aggregate"}


def test_the_help_says_where_several_are_refused():
    names = "--weights", "--model", "--method", "--layer"
    assert [shown("segmentation")[name] for name in names] == ["PATH ...", "NAME ...", "M[,M]", "L[,L]"]
    assert [shown("cohort")[name] for name in names] == ["PATH", "NAME", "M", "L"]
    concepts = {word: param.metavar for param in parameters.CONCEPTS for word in param.opts}
    assert (concepts["--weights"], concepts["--model"]) == ("PATH", "NAME")


def test_the_help_of_methods_says_where_their_options_are_listed():
    some = {**parameters.PARAMETERS, "concepts": parameters.CONCEPTS, "explain": explain.PARAMETERS}
    helps = {name: param.help for name, params in some.items() for param in params if "--method" in param.opts}
    assert helps.keys() >= {"segmentation", "cohort", "planted", "concepts", "explain"}
    assert [name for name, text in helps.items() if "; xrcam methods --options lists them" not in text] == []


def test_methods_have_the_name_of_the_documentation_first():
    """It is the one in ``settings.toml``, and the one by which errors name it."""
    some = {**parameters.PARAMETERS, "concepts": parameters.CONCEPTS, "explain": explain.PARAMETERS}
    firsts = {param.opts[0] for params in some.values() for param in params if "--methods" in param.opts}
    assert firsts == {"--method"}
