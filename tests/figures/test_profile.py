"""Parallel axes run from the worst figure to the best, whichever of them is larger."""

import math

from xrcam_jax.figures.profile import Axis, profile
from xrcam_jax.figures.save import save


def test_up_is_better_on_every_axis(tmp_path):
    axes = [Axis("Deletion", "min"), Axis("IoU", "max"), Axis("$Pixels$", None), Axis("Same", "max"), Axis("No", "max")]
    series = {
        "Grad-CAM": [0.1, 0.2, 50.0, 3.0, math.nan],
        "LRP": [0.3, 0.8, 10.0, 3.0, math.inf],
        "(noise)": [0.2, math.nan, 20.0, 3.0, math.nan],
    }
    figure = profile(series, axes)
    (shown,) = figure.axes
    heights = [line.get_ydata().tolist() for line in shown.get_lines()[:3]]
    expected = [[1, 0, 1, 0.5, math.nan], [0, 1, 0, 0.5, math.nan], [0.5, math.nan, 0.25, 0.5, math.nan]]
    assert all(
        math.isclose(one, other) or (math.isnan(one) and math.isnan(other))
        for found, wanted in zip(heights, expected, strict=True)
        for one, other in zip(found, wanted, strict=True)
    )
    assert [text.get_text() for text in shown.texts] == ["0.3", "0.1", "0.2", "0.8", "10", "50", "3", "3"]
    assert [label.get_text() for label in shown.get_xticklabels()] == [axis.title for axis in axes]
    assert [text.get_text() for text in shown.get_legend().get_texts()] == list(series)
    save(figure, tmp_path / "profile.png")
    assert (tmp_path / "profile.png").stat().st_size > 1000
