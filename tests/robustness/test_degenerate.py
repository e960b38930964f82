"""The short form of the degenerate images."""

from types import SimpleNamespace

import numpy as np
import pytest

from tests.robustness import degenerate


@pytest.mark.parametrize("method", ["xrelevance_cam", "grad_cam_pp"])
def test_degenerate_images_give_maps(method, mixed):
    assert degenerate.faults(method, 8) == []


def test_there_are_200_different_images():
    images = [(name, image) for by_name in degenerate.images(200).values() for name, image in by_name.items()]
    assert len(images) == len(dict(images)) == 200
    assert all(image.dtype == "float32" and np.isfinite(image).all() for _, image in images)


@pytest.mark.long
def test_what_is_unsound_is_found():
    maps = np.zeros((3, 4, 4))
    maps[0, 1, 2], maps[2, 0, 0] = np.nan, 1.5
    found = SimpleNamespace(maps={"m": {"layer": maps}}, raw={"m": {"layer": maps}}, attributions={})
    names = ["one", "two", "three"]
    assert degenerate._unsound(found, "m", names, raw=False) == ["m, maps at layer: one, three (2)"]
    assert len(degenerate._unsound(found, "m", names, raw=True)) == 2
