"""Clusters are drawn with their names and numbers of points, whatever the names have in them."""

import numpy as np

from xrcam_jax.figures.save import save
from xrcam_jax.figures.scatter import clustered


def test_every_cluster_is_drawn(tmp_path):
    labels = np.arange(24) % 12
    names = [f"$cluster_{i}" for i in range(12)]
    points = np.random.default_rng(0).standard_normal((24, 2))
    figure = clustered(points, labels, names, np.linspace(0, 1, 14))
    plane, steps = figure.axes
    assert [len(each.get_offsets()) for each in plane.collections] == [2] * 12
    np.testing.assert_array_equal(plane.collections[3].get_offsets(), points[labels == 3])
    assert [text.get_text() for text in plane.get_legend().get_texts()] == names
    assert steps.get_lines()[0].get_ydata().tolist() == np.linspace(0, 1, 14).tolist()
    # The first ten differ by colour, and the others from them by shape.
    assert len({(*each.get_facecolor()[0], each.get_paths()[0].vertices.shape) for each in plane.collections}) == 12
    save(figure, tmp_path / "clusters.png")
    assert (tmp_path / "clusters.png").stat().st_size > 1000
