"""What callers give: arrays of any library, classes by number and name, and pictures that lie another way."""

import re

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import xrcam_jax as xr
from tests.explain import small

LABELS = ("glioma", "Meningioma", "pituitary")


class Foreign:
    """A tensor of another library, which knows nothing of NumPy but hands its memory on."""

    def __init__(self, array, shape=None):
        self.array, self.shape = array, array.shape

    def __dlpack__(self, **options):
        return self.array.__dlpack__(**options)

    def __dlpack_device__(self):
        return self.array.__dlpack_device__()


@pytest.fixture(scope="module")
def explain():
    return xr.Explainer(small.Network(small.weights()), "grad_cam", "last", labels=LABELS)


def test_images_come_from_any_library_and_are_not_copied(explain):
    images = small.images(3)
    plain = explain(images)
    assert plain.images is images
    tensor = explain(Foreign(images))
    assert np.shares_memory(tensor.images, images)
    for e in (tensor, explain(list(images)), explain([jnp.asarray(each) for each in images]), explain(images.tolist())):
        np.testing.assert_array_equal(e["grad_cam", "last"], plain["grad_cam", "last"])


def test_classes_are_named_once_for_all_or_for_each(explain):
    images = small.images(2)
    for given, found in (
        ({"targets": 1}, [1, 1]),
        ({"targets": np.int64(2)}, [2, 2]),
        ({"targets": jnp.array(2)}, [2, 2]),
        ({"targets": "pituitary"}, [2, 2]),
        ({"targets": "meningioma"}, [1, 1]),
        ({"targets": ["pituitary", "glioma"]}, [2, 0]),
        ({"targets": [["pituitary", "glioma"]] * 2}, [[2, 0], [2, 0]]),
        ({"targets": Foreign(np.array([1, 2]))}, [1, 2]),
        ({"target": 1}, [1, 1]),
        ({"target": "glioma"}, [0, 0]),
    ):
        assert explain(images, **given).targets.tolist() == found, given
    named = xr.Explainer(small.Network(small.weights()), "grad_cam", "last", target="pituitary", labels=LABELS)
    assert named(images).targets.tolist() == [2, 2]
    assert named(images, 0).targets.tolist() == [0, 0]
    assert named.explain(named.parameters, images).targets.tolist() == [2, 2]


def test_unknown_names_are_refused(explain):
    images = small.images(2)
    unnamed = xr.Explainer(small.Network(small.weights()), "grad_cam", "last")
    for call, line in (
        (lambda: explain(images, "gliona"), "targets: unknown class 'gliona'; did you mean 'glioma'?"),
        (lambda: explain(images, ["glioma", "x"]), "targets: unknown class 'x'"),
        (lambda: unnamed(images, "glioma"), "targets: 'glioma', but the classes have no names"),
        (lambda: explain(images, 1, target=2), "give a target function, or classes by targets or top_k, not both"),
        (lambda: explain(images, 3), "targets must be classes 0 to 2, found 3"),
        (lambda: explain(images, 1.0), "targets must be integers of shape"),
        (lambda: explain([images[0], images[1, :8]]), "images must be of one size; images[1] is (8, 16, 3)"),
    ):
        with pytest.raises(ValueError, match=re.escape(line)):
            call()
    two = xr.Explainer(small.Network(small.weights()), "grad_cam", "last", labels=["ill", "well"])
    with pytest.raises(ValueError, match="labels must be names of the 3 classes of the model; got 2"):
        two(images)
    with pytest.raises(TypeError, match="labels must be names of the classes"):
        xr.Explainer(lambda images: images.mean((1, 2)), labels="imagenet")


@pytest.mark.parametrize("turned", ["channels first", "one picture", "one, channels first", "one grey", "bytes"])
def test_what_lies_another_way_is_refused_with_the_line_that_cures_it(explain, turned):
    images = small.images(2)
    given = {
        "channels first": images.transpose(0, 3, 1, 2),
        "one picture": images[0],
        "one, channels first": images[0].transpose(2, 0, 1),
        "one grey": images[0, ..., 0],
        "bytes": images.astype(np.uint8),
    }[turned]
    with pytest.raises(ValueError, match=r"images\b.*shape") as caught:
        explain(given)
    line = str(caught.value)
    if turned == "bytes":
        assert "xr.preprocess(images, model.preprocessing)" in line
        return
    start = line.rindex("images[") if turned == "one grey" else line.index("but images") + 4
    cured = eval(line[start:].split(";")[0], {"images": given})
    wanted = {"channels first": images, "one grey": images[:1, ..., :1]}.get(turned, images[:1])
    np.testing.assert_array_equal(cured, wanted)


class OneNumber(nn.Module):
    """A regression head, whose layers take more axes than it is given."""

    @nn.compact
    def __call__(self, images):
        return nn.Dense(1)(nn.relu(nn.Conv(4, (3, 3))(images)).mean((-3, -2)))[..., 0]


def test_a_model_that_takes_the_images_is_told_what_its_output_lacks():
    images = small.images(2)
    model = OneNumber().bind(OneNumber().init(jax.random.key(0), images))
    volumes = np.zeros((2, 4, 8, 8, 3), np.float32)
    for f, given in ((model, images), (lambda x: model(x).mean(1), volumes)):
        with pytest.raises(ValueError, match=r"^the model must return logits \(b, n\).*; got \(2,\): give target="):
            xr.attribute(f, given, "gradient")
    for dtype in (jnp.int32, bool):
        with pytest.raises(ValueError, match=r"^the model must return logits of floating point; got (int32|bool)"):
            xr.attribute(lambda x, dtype=dtype: x.mean((1, 2)).astype(dtype), images, "gradient")


def test_a_model_that_takes_channels_first_is_warned_of():
    model = xr.Explainer(lambda images: images.mean((2, 3)) @ jnp.ones((3, 2)), "gradient")
    with pytest.warns(UserWarning, match=r"are taken as 3 rows of 16 places with 16 channels; if the model takes"):
        model(small.images(2).transpose(0, 3, 1, 2))
