"""The short form of the degenerate images."""

import pytest

from tests.robustness import degenerate


@pytest.mark.parametrize("method", ["xrelevance_cam", "grad_cam_pp"])
def test_degenerate_images_give_maps(method, mixed):
    assert degenerate.faults(method, 8) == []


def test_there_are_200_different_images():
    names, images = degenerate.images(200)
    assert len(set(names)) == len(images) == 200
    assert images.dtype == "float32"
