"""The session computes what the Explainer does, keeps a bounded part of it, and ends at no picture."""

import cv2
import numpy as np
import pytest

import xrcam_jax as xr
from tests.view.small import LABELS, METHODS, NETWORK, OCCLUSION, pixels, session, write_pictures
from xrcam_jax.pictures.by_number import PicturesByNumber
from xrcam_jax.pictures.preprocessing import preprocess
from xrcam_jax.view.regions import ranked, rasterised
from xrcam_jax.view.session import Session, Superseded


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_pictures(tmp_path_factory.mktemp("pictures"))


@pytest.fixture(scope="module")
def shared(folder):
    return session(folder)


def images(number):
    return preprocess([pixels(number)], NETWORK.preprocessing)


@pytest.fixture(scope="module")
def expected():
    return xr.Explainer(NETWORK, METHODS, ("layer1", "layer2", "input"))(images(1), np.int32([2]))


@pytest.mark.parametrize("method", METHODS)
def test_maps_are_the_explainers(shared, method, expected):
    found = shared.explained(1, method, 2)
    assert list(found.maps) == list(expected.maps[method])
    for layer, values in found.maps.items():
        np.testing.assert_allclose(values, expected.maps[method][layer][0], atol=1e-4)
        raw = np.maximum(expected.raw[method][layer][0], 0)
        scaled = (raw - raw.min()) / np.ptp(raw)
        assert abs(found.levels[layer] - 255 * scaled).max() <= 0.501


@pytest.mark.parametrize("method", METHODS)
def test_methods_that_tell_for_from_against_have_maps_of_both(shared, method, expected):
    found = shared.explained(1, method, 2)
    assert bool(found.signed) == (method in ("gradient_x_input", OCCLUSION))
    for layer, values in found.signed.items():
        raw = cv2.resize(np.asarray(expected.raw[method][layer][0]), values.shape[::-1])
        # The largest two pixels in a hundred have the strongest colours, and zero is the middle one.
        most = np.sort(abs(raw), axis=None)[int(0.98 * (raw.size - 1))]
        np.testing.assert_allclose(values, np.clip(raw / most, -1, 1), atol=1e-4)
        assert values.min() < 0 < values.max()
        assert abs(found.signed_levels[layer] - 127.0 * (1 + values)).max() <= 0.501


def test_a_picture_comes_with_what_the_network_says(shared):
    seen, logits = shared.seen(2), np.asarray(NETWORK(images(2)))[0]
    np.testing.assert_array_equal(seen.pixels, pixels(2))
    np.testing.assert_allclose(seen.logits, logits, rtol=1e-4)
    assert seen.predicted == logits.argmax()
    np.testing.assert_allclose(seen.probabilities, np.exp(logits) / np.exp(logits).sum(), rtol=1e-4)


def test_a_region_is_answered_from_the_maps(shared):
    region = rasterised([(0.1, 0.2), (0.6, 0.2), (0.4, 0.9)], (24, 32))
    answer, found = shared.region(0, "grad_cam", 1, "layer2", region), shared.explained(0, "grad_cam", 1)
    assert answer.area == region.mean()
    assert answer.mass == pytest.approx({layer: m[region].sum() / m.sum() for layer, m in found.maps.items()}, rel=1e-4)
    assert answer.channels == ranked(found.contributions["layer2"], region)
    first = answer.channels[0]
    activation = found.activations["layer2"][..., first.number]
    expected = 255 * (activation - activation.min()) / np.ptp(activation)
    assert abs(answer.levels(first) - expected).max() <= 0.501


def test_a_method_without_channels_tells_the_layers_alone(shared):
    answer = shared.region(0, OCCLUSION, 1, "input", np.ones((24, 32), bool))
    assert (answer.mass, answer.channels, answer.activation) == ({"input": 1.0}, [], None)


def test_a_region_between_pixels_is_refused(shared):
    with pytest.raises(ValueError, match="too small"):
        shared.region(0, "grad_cam", 1, "layer2", np.zeros((24, 32), bool))


def test_a_picture_that_cannot_be_read_is_named_and_the_next_one_is_shown(shared):
    with pytest.raises(ValueError, match=r"zz_damaged\.png"):
        shared.explained(3, "grad_cam", 0)
    assert shared.seen(0).name == "frame_0"


def test_what_is_kept_is_bounded(folder, monkeypatch):
    bounded = session(folder, most_bytes=40_000)
    reads: list[int] = []
    read = bounded.pictures.read
    monkeypatch.setattr(bounded.pictures, "read", lambda number: reads.append(number) or read(number))
    size = bounded.seen(0).nbytes
    assert 20_000 > size > 10_000
    for number in (1, 2, 0, 2, 0):
        bounded.seen(number)
    assert reads == [0, 1, 2] if 3 * size <= 40_000 else [0, 1, 2, 0]
    assert bounded._seen.nbytes <= 40_000
    for target in (0, 1, 2, 0):
        bounded.explained(0, "grad_cam", target)
    assert 0 < bounded._explained.nbytes <= 40_000


def test_what_nobody_waits_for_is_given_up(shared):
    asked = iter([True, False])
    with pytest.raises(Superseded):
        shared.explained(2, OCCLUSION, 0, lambda: next(asked))
    assert shared.progress == ("", 0, 0)
    assert shared.explained(2, OCCLUSION, 0).maps["input"].max() == 1


def test_methods_that_the_network_cannot_have_are_left_out_unless_they_were_asked_for(folder):
    pictures = PicturesByNumber(folder)
    found = Session(NETWORK, pictures, ["occlusion"], ["input"], LABELS, others=["grad_cam", "gradient"])
    assert found.methods == {"occlusion": ("input",), "gradient": ("input",)}
    with pytest.raises(ValueError, match="needs a layer of activations"):
        Session(NETWORK, pictures, ["grad_cam"], ["input"], LABELS)
