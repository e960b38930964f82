"""Models of other libraries, with random weights: run by pip install -e ".[adapters]", and skipped without it."""

import os

# Keras reads it when it is imported.
os.environ.setdefault("KERAS_BACKEND", "jax")

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import xrcam_jax as xr
from xrcam_jax.explain.adapters import Adapted

#: The libraries warn of what they deprecate in each other, and mix dtypes.
pytestmark = pytest.mark.filterwarnings("ignore")
SIDE, CLASSES = 16, 5


@pytest.fixture(autouse=True)
def as_they_are():
    with jax.numpy_dtype_promotion("standard"):
        yield


def images(batch=2):
    return jax.random.normal(jax.random.key(0), (batch, SIDE, SIDE, 3))


@dataclass
class Example:
    """A network that ends with a mean over all places and a linear layer.

    Attributes:
      model: the network, adapted.
      own: the logits as the library itself gives them.
      scopes: names that are among those of its layers.
      last: the layer before the mean.
      activation: what the library itself computes there, (b, h, w, k).
      kernel: of the linear layer, (k, n).
    """

    model: Adapted
    own: Any
    scopes: tuple[str, ...]
    last: str
    activation: Any
    kernel: Any


def equinox():
    eqx = pytest.importorskip("equinox")

    class Block(eqx.Module):
        conv: Any
        norm: Any

        def __init__(self, into, out, key):
            self.conv = eqx.nn.Conv2d(into, out, 3, padding=1, key=key)
            self.norm = eqx.nn.BatchNorm(out, "batch", mode="ema")

        def __call__(self, x, state):
            x, state = self.norm(self.conv(x), state)
            return jax.nn.relu(x), state

    class Network(eqx.Module):
        blocks: list
        pool: Any
        dropout: Any
        head: Any

        def __init__(self, key):
            self.blocks = [Block(3, 4, key), Block(4, 6, key)]
            self.pool = eqx.nn.MaxPool2d(2, 2)
            self.dropout = eqx.nn.Dropout(0.5)
            self.head = eqx.nn.Linear(6, CLASSES, key=key)

        def __call__(self, x, state):
            x, state = self.blocks[0](x, state)
            x, state = self.blocks[1](self.pool(x), state)
            return self.head(self.dropout(x.mean((1, 2)))), state

    model, state = eqx.nn.make_with_state(Network)(jax.random.key(1))
    alone = eqx.nn.inference_mode(model)

    def first(x):
        return alone.blocks[1](alone.pool(alone.blocks[0](x, state)[0]), state)[0]

    pictures = images().transpose(0, 3, 1, 2)
    return Example(
        xr.adapters.equinox(model, state),
        jax.vmap(lambda x: alone(x, state)[0])(pictures),
        ("blocks/0", "blocks/0/conv", "blocks/1/norm", "pool", "head"),
        "blocks/1",
        jax.vmap(first)(pictures).transpose(0, 2, 3, 1),
        model.head.weight.T,
    )


def equinox_without_state():
    eqx = pytest.importorskip("equinox")
    keys = jax.random.split(jax.random.key(1), 3)
    model = eqx.nn.Sequential(
        [
            eqx.nn.Conv2d(3, 4, 3, stride=2, key=keys[0]),
            eqx.nn.Lambda(jax.nn.relu),
            eqx.nn.GroupNorm(2, 4),
            eqx.nn.Conv2d(4, 6, 3, key=keys[1]),
            eqx.nn.Lambda(jax.nn.relu),
            eqx.nn.Lambda(lambda x: x.mean((1, 2))),
            eqx.nn.Linear(6, CLASSES, key=keys[2]),
        ]
    )
    pictures = images().transpose(0, 3, 1, 2)
    return Example(
        xr.adapters.equinox(model),
        jax.vmap(model)(pictures),
        tuple(f"eqx.nn.Sequential/layers/{i}" for i in range(7)),
        "layers/4",
        jax.vmap(model[:5])(pictures).transpose(0, 2, 3, 1),
        model[6].weight.T,
    )


def haiku():
    hk = pytest.importorskip("haiku")

    class Block(hk.Module):
        def __init__(self, channels, stride, name=None):
            super().__init__(name)
            self.conv = hk.Conv2D(channels, 3, stride, name="conv")
            self.norm = hk.BatchNorm(True, True, 0.9, name="norm")

        def __call__(self, x, is_training):
            return jax.nn.relu(self.norm(self.conv(x), is_training))

    def features(x, is_training):
        return Block(6, 2, "second")(Block(4, 1, "first")(x, is_training), is_training)

    def network(x, is_training):
        return hk.Linear(CLASSES, name="head")(features(x, is_training).mean((1, 2)))

    transformed, cut = hk.transform_with_state(network), hk.transform_with_state(features)
    params, state = transformed.init(jax.random.key(1), images(), True)
    return Example(
        xr.adapters.haiku(hk.without_apply_rng(transformed), params, state, is_training=False),
        transformed.apply(params, state, None, images(), False)[0],
        ("first", "first/conv", "second/norm", "head"),
        "second",
        cut.apply(params, state, None, images(), False)[0],
        params["head"]["w"],
    )


def haiku_without_state():
    hk = pytest.importorskip("haiku")
    transformed = hk.transform(lambda x: hk.Linear(CLASSES)(jax.nn.relu(hk.Conv2D(4, 3, name="conv")(x)).mean((1, 2))))
    params = transformed.init(jax.random.key(1), images())
    conv = hk.transform(lambda x: jax.nn.relu(hk.Conv2D(4, 3, name="conv")(x)))
    return Example(
        xr.adapters.haiku(transformed, params),
        transformed.apply(params, None, images()),
        ("conv", "linear"),
        "max",
        conv.apply(params, None, images()),
        params["linear"]["w"],
    )


def keras():
    keras = pytest.importorskip("keras")
    if keras.backend.backend() != "jax":
        pytest.skip("Keras was imported with another backend")
    keras.utils.set_random_seed(0)
    layers = keras.layers
    given = keras.Input((SIDE, SIDE, 3))
    x = layers.ReLU(name="relu1")(layers.BatchNormalization(name="norm")(layers.Conv2D(4, 3, name="conv1")(given)))
    y = layers.Conv2D(4, 3, padding="same", name="conv2")(layers.DepthwiseConv2D(3, padding="same", name="depth")(x))
    last = layers.ReLU(name="relu2")(layers.Add(name="add")([x, y]))
    logits = layers.Dense(CLASSES, name="head")(layers.GlobalAveragePooling2D(name="mean")(last))
    model = keras.Model(given, logits)
    return Example(
        xr.adapters.keras(model),
        model(images(), training=False),
        ("conv1", "norm", "relu1", "conv2", "add", "relu2", "head"),
        "relu2",
        keras.Model(given, last)(images(), training=False),
        model.get_layer("head").kernel.value,
    )


def hugging_face():
    transformers = pytest.importorskip("transformers")
    if not hasattr(transformers, "FlaxResNetForImageClassification"):
        pytest.skip("transformers has left Flax behind")
    config = transformers.ResNetConfig(
        embedding_size=4, hidden_sizes=[4, 6], depths=[1, 1], layer_type="basic", num_labels=CLASSES
    )
    model = transformers.FlaxResNetForImageClassification(config, input_shape=(1, SIDE, SIDE, 3))
    found = model(images().transpose(0, 3, 1, 2), output_hidden_states=True)
    head = model.params["params"]["classifier"]["1"]["kernel"]
    return Example(
        xr.adapters.hugging_face(model),
        found.logits,
        tuple(
            f"FlaxResNetForImageClassificationModule/{name}"
            for name in ("resnet/embedder", "resnet/encoder/stages/0/layers/0", "classifier")
        ),
        "resnet/encoder",
        found.hidden_states[-1].transpose(0, 2, 3, 1),
        head,
    )


EXAMPLES = [equinox, equinox_without_state, haiku, haiku_without_state, keras, hugging_face]


@pytest.fixture(params=EXAMPLES, ids=lambda make: make.__name__)
def example(request):
    return request.param()


def close(a, b, tolerance=1e-5):
    assert a.shape == b.shape
    np.testing.assert_allclose(a, b, rtol=0, atol=tolerance * float(jnp.abs(jnp.asarray(b)).max()))


def test_it_computes_what_the_library_does(example):
    close(example.model(images()), example.own)
    close(jax.jit(example.model.function)(images(), example.model.parameters), example.own)


def test_its_layers_have_the_librarys_names(example):
    found = xr.layers(example.model, images())
    assert set(example.scopes) <= set(found), str(found)
    assert found.select(example.last).popitem()[1].layer.shape == example.activation.shape


def test_activations_and_maps_at_a_named_layer(example):
    explain = xr.Explainer(example.model, ("grad_cam", "xrelevance_cam", "lrp"), [example.last, "input"])
    e = explain(images())
    activation, kernel = example.activation, jnp.asarray(example.kernel)
    # Behind the mean over all places, the gradient at each of them is the weight of the class.
    weights = kernel.T[e.targets] / (activation.shape[1] * activation.shape[2])
    close(e.raw["grad_cam"][example.last], jnp.einsum("bhwk,bk->bhw", activation, weights))
    for method in ("grad_cam", "xrelevance_cam"):
        assert e.maps[method][example.last].shape == (2, SIDE, SIDE)
    assert e.attributions["lrp"]["input"].shape == (2, SIDE, SIDE, 3)
    # The seed is 1 for the target and -1/n for the others. What is conserved is that of classes with a positive weight.
    seed = jnp.where(jnp.arange(CLASSES) == e.targets[:, None], 1.0, -1 / CLASSES)
    arrives = (activation.mean((1, 2)) @ jnp.maximum(kernel, 0)) > 0
    np.testing.assert_allclose(e.raw["xrelevance_cam"][example.last].sum((1, 2)), (seed * arrives).sum(1), rtol=1e-4)


def test_all_relevance_is_accounted_for(example):
    def seed(out):
        return xr.seeds.one_hot(out, out.argmax(-1))

    report = xr.conservation(
        example.model.function,
        xr.composites.epsilon_plus(),
        images(),
        example.model.parameters,
        seed=seed,
        marks=[example.last],
    )
    assert len(report.stages) == 2
    for site, balance in report.operations:
        assert balance.relative_rest < 1e-4, (site, balance)
    lost = sum(balance.lost for balance in report.stages.values())
    np.testing.assert_allclose(report.seed - report.reached, lost, rtol=1e-4, atol=1e-5)
    for balance in report.stages.values():
        assert balance.relative_rest < 1e-4


@pytest.mark.filterwarnings("default::UserWarning")
def test_without_a_choice_the_last_of_each_size_is_taken(example):
    with pytest.warns(UserWarning, match="the model has no marked layers, so the last one of each size is taken"):
        e = xr.Explainer(example.model, "grad_cam")(images())
    *_, last = e.maps["grad_cam"]
    found = xr.layers(example.model, images())
    assert found[last].place == found.select(example.last).popitem()[1].layer.place
    sizes = [raw.shape[1:] for raw in e.raw["grad_cam"].values()]
    assert len(set(sizes)) == len(sizes)


def test_what_haiku_does_not_return_is_refused():
    with pytest.raises(TypeError, match=r"transformed must be what hk\.transform returns"):
        xr.adapters.haiku(lambda x: x, {})
    transformed = type("Transformed", (), {"apply": staticmethod(lambda params, rng, x: x)})()
    with pytest.raises(TypeError, match="state is not None, but apply takes params, rng, x"):
        xr.adapters.haiku(transformed, {}, {})


class Backbone:
    """What transformers' models without a head are, as far as the adapter sees: outputs are dictionaries."""

    params = None

    def __call__(self, pixel_values, params=None):
        return {"last_hidden_state": pixel_values, "pooler_output": pixel_values.mean((2, 3))}


class TextAndPictures:
    params = None

    def __call__(self, input_ids, pixel_values, params=None):
        raise AssertionError("pictures were taken for token ids")


def test_models_of_transformers_that_do_not_classify_pictures_are_refused_by_name():
    with pytest.raises(TypeError, match="Backbone returns last_hidden_state, pooler_output: give a function"):
        xr.Explainer(xr.adapters.hugging_face(Backbone()), "gradient")(images())
    with pytest.raises(TypeError, match="got TextAndPictures, which takes input_ids, pixel_values, params: give"):
        xr.adapters.hugging_face(TextAndPictures())
    with pytest.raises(TypeError, match="got dict, which takes nothing"):
        xr.adapters.hugging_face({})
