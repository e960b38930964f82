"""Holds the figures that the thesis reports of its own recordings.

Nobody else has these recordings, so the figures serve to compare rankings and are never expected values.
"""

from collections.abc import Mapping
from dataclasses import dataclass

METHODS = ("grad_cam", "grad_cam_pp", "x_grad_cam", "hires_cam", "layer_cam", "relevance_cam", "xrelevance_cam")
PER_LAYER = ("layer1", "layer2", "layer3", "layer4", "average")
AGGREGATED = ("layer4", "layer4+3", "layer4+3+2", "layer4+3+2+1")
WITH_ALL = ("layer1", "layer2", "layer3", "layer4", "layer4+3+2+1")


@dataclass(frozen=True)
class Figures:
    """Holds a table of the thesis.

    Attributes:
      columns: their names.
      rows: by method, a figure for each column.
      best: whether the largest (``"max"``) or the smallest (``"min"``) of a column is the best one.
    """

    columns: tuple[str, ...]
    rows: Mapping[str, tuple[float, ...]]
    best: str = "max"


#: Table 5.1, the rows without Selective Kernel: pooled IoU of ResNeXt in percent.
WITHOUT_SK = Figures(
    PER_LAYER,
    {
        "grad_cam": (6.18, 14.49, 21.04, 21.07, 15.70),
        "grad_cam_pp": (3.72, 6.32, 17.71, 21.49, 12.31),
        "x_grad_cam": (7.52, 16.21, 25.16, 21.07, 17.49),
        "hires_cam": (12.50, 15.45, 16.47, 23.18, 16.9),
        "layer_cam": (13.1, 16.80, 23.40, 21.32, 18.66),
        "relevance_cam": (15.38, 14.64, 21.32, 20.80, 18.04),
    },
)
#: Table 5.2: pooled IoU of SK-ResNeXt in percent.
WITH_SK = Figures(
    PER_LAYER,
    {
        "grad_cam": (16.38, 18.46, 33.14, 31.82, 24.95),
        "grad_cam_pp": (8.44, 20.23, 35.01, 32.15, 23.96),
        "x_grad_cam": (14.40, 24.77, 36.20, 31.82, 26.80),
        "hires_cam": (15.06, 21.93, 30.56, 31.82, 24.84),
        "layer_cam": (22.19, 27.50, 32.0, 31.70, 28.34),
        "relevance_cam": (18.0, 30.37, 33.42, 31.0, 28.19),
        "xrelevance_cam": (28.07, 31.83, 35.11, 32.31, 31.83),
    },
)
#: Table 5.3: the same of aggregated maps.
AGGREGATED_SK = Figures(
    AGGREGATED,
    {
        "grad_cam": (31.82, 33.86, 32.73, 31.74),
        "grad_cam_pp": (32.15, 34.87, 35.32, 33.79),
        "x_grad_cam": (31.82, 34.99, 35.51, 34.95),
        "hires_cam": (31.82, 32.77, 33.33, 32.61),
        "layer_cam": (31.70, 33.16, 34.70, 34.38),
        "relevance_cam": (31.0, 33.13, 35.79, 35.93),
        "xrelevance_cam": (32.31, 34.45, 37.04, 38.20),
    },
)
#: Table 5.4: the same of ResNet50.
AGGREGATED_OTHER = Figures(
    AGGREGATED,
    {
        "grad_cam": (23.18, 25.11, 23.98, 21.48),
        "grad_cam_pp": (24.47, 24.60, 19.63, 16.73),
        "x_grad_cam": (23.18, 27.24, 25.92, 24.78),
        "hires_cam": (23.18, 23.38, 22.66, 22.32),
        "layer_cam": (23.15, 24.01, 22.54, 21.64),
        "relevance_cam": (24.02, 27.25, 24.20, 23.30),
        "xrelevance_cam": (23.68, 29.20, 27.66, 26.10),
    },
)
#: Table 5.5: pooled IoU of SK-ResNeXt in percent with dropout on, the mean of ten passes.
STOCHASTIC = Figures(
    WITH_ALL,
    {
        "grad_cam": (10.19, 16.52, 23.99, 25.88, 24.52),
        "grad_cam_pp": (9.97, 11.11, 26.42, 26.09, 25.59),
        "x_grad_cam": (12.15, 17.55, 24.81, 25.87, 26.58),
        "hires_cam": (9.14, 15.12, 21.68, 25.87, 25.57),
        "layer_cam": (9.22, 14.85, 22.41, 25.99, 24.49),
        "relevance_cam": (17.87, 22.08, 28.08, 25.98, 28.57),
        "xrelevance_cam": (20.26, 24.53, 29.02, 25.96, 29.62),
    },
)
#: Table 5.6: the same network without dropout.
DETERMINISTIC = Figures(
    WITH_ALL,
    {
        "grad_cam": (9.57, 17.06, 24.79, 25.03, 23.89),
        "grad_cam_pp": (9.23, 12.14, 27.03, 25.29, 25.54),
        "x_grad_cam": (11.57, 18.73, 25.05, 25.03, 25.82),
        "hires_cam": (9.51, 15.28, 22.41, 26.00, 25.21),
        "layer_cam": (9.72, 16.05, 22.86, 25.13, 24.51),
        "relevance_cam": (12.69, 26.71, 35.37, 31.90, 35.20),
        "xrelevance_cam": (18.67, 28.39, 36.06, 32.38, 35.40),
    },
)
#: Table 5.7: confidence drop in percent. The thesis does not say whether softly or by the mask.
CONFIDENCE_DROP = Figures(
    WITH_ALL,
    {
        "grad_cam": (3.25, 29.25, 48.98, 27.32, 40.81),
        "grad_cam_pp": (19.38, 45.03, 44.58, 30.08, 51.19),
        "x_grad_cam": (25.68, 49.46, 40.03, 27.33, 48.35),
        "hires_cam": (25.38, 28.66, 28.40, 27.33, 39.28),
        "layer_cam": (18.24, 25.34, 30.35, 27.46, 38.28),
        "relevance_cam": (42.49, 44.48, 40.15, 29.71, 48.83),
        "xrelevance_cam": (36.23, 40.31, 34.38, 25.53, 46.02),
    },
)
#: Table 5.8: error of the sensitivity axiom.
SENSITIVITY = Figures(
    PER_LAYER,
    {
        "grad_cam": (1.000, 0.999, 0.999, 0.999, 0.999),
        "grad_cam_pp": (2.912, 2.09, 0.925, 0.994, 1.73),
        "x_grad_cam": (0.998, 0.994, 0.994, 0.999, 0.996),
        "hires_cam": (0.998, 0.994, 0.994, 0.999, 0.995),
        "layer_cam": (0.904, 0.977, 0.992, 0.998, 0.968),
        "relevance_cam": (1.01, 0.93, 0.82, 2.40, 1.29),
        "xrelevance_cam": (0.98, 0.91, 0.79, 1.41, 1.02),
    },
    "min",
)
#: Table 5.9: error of the conservation axiom.
CONSERVATION = Figures(
    PER_LAYER,
    {
        "grad_cam": (1.261, 0.884, 0.6078, 0.00179, 0.689),
        "grad_cam_pp": (460.11, 628.16, 105.31, 5.484, 299.77),
        "x_grad_cam": (0.981, 0.937, 1.873, 0.0018, 0.948),
        "hires_cam": (0.981, 0.938, 1.872, 0.0018, 0.948),
        "layer_cam": (15.136, 5.619, 3.434, 0.143, 6.083),
        "relevance_cam": (0.56, 0.12, 0.13, 1.30, 0.528),
        "xrelevance_cam": (0.02, 0.01, 0.0089, 1.575e-7, 0.0097),
    },
    "min",
)
