"""Writes ``quantus.npz``: scores of Quantus's metrics, picture by picture, with everything drawn stored beside them.

    PYTHONPATH=. python tests/references/make_quantus.py [--check] [--out FOLDER]

torch 2.13.0 on CPU, quantus 0.6.0, in float32 as Quantus hands arrays to PyTorch. Takes some seconds.

Keys of what is judged:
  ``conv1_w``, ``conv1_b``, ``conv2_w``, ``conv2_b``, ``fc_w``, ``fc_b``: the network, kernels OIHW. Convolution
  (3 x 3, no padding), ReLU, mean pooling by 2, convolution (the same), ReLU, flattened channels first, dense.
  ``images`` (b, 3, 12, 12), ``labels`` (b,), ``masks`` (b, 12, 12) bool, ``mosaics`` (b, 4): where a class is.
  ``maps`` (4, b, 12, 12): gradient x input, drawn from a normal distribution, and the absolute values of both.
Keys of what was drawn, the same for each picture unless there is a b:
  ``noise`` (9, 3, 12, 12), ``smooth_noise`` (3, 3, 12, 12), ``values`` (4, 3, 12, 12), ``subsets`` (20, 40) of pixels,
  ``segments`` (b, 12, 12), ``off_labels`` (b,), and ``random_conv1_w``, ... as MPRT draws them.
``settings`` is JSON in UTF-8, as bytes: for each other key Quantus's class, its arguments, the call's, and a note.
Scores are (4, b), of each map and picture; curves have an axis more; metrics that explain again are of gradient x input
alone, (b,).

A map is one value per pixel. Quantus takes each channel of a pixel for a feature, and copies the map for each: where
steps have a multiple of 3 features, whole pixels change.
"""

import json
from collections import OrderedDict
from collections.abc import Callable, Iterator
from itertools import cycle
from typing import Any
from unittest.mock import patch

import numpy as np
import quantus
import torch
from quantus.functions.perturb_func import noisy_linear_imputation
from quantus.functions.similarity_func import correlation_spearman
from skimage.segmentation import slic
from torch import nn
from writing import Arrays, main

SIDE, PIXELS, BATCH, LAYERS = 12, 144, 4, ("conv1", "conv2", "fc")
#: Of maps without ties, classes that differ, and one picture that the noise takes to another class.
SEED = 26
EVERY = {"abs": False, "normalise": False, "return_aggregate": False, "disable_warnings": True}
if not hasattr(np, "trapz"):
    # Quantus 0.6 calls it by the name that NumPy 2.4 no longer has.
    setattr(np, "trapz", np.trapezoid)  # noqa: B010


def draw(*shape: int, seed: int, scale: float = 1.0) -> np.ndarray:
    return (scale * np.random.default_rng([SEED, seed]).standard_normal(shape)).astype(np.float32)


def network() -> nn.Sequential:
    convolutions = [("conv1", nn.Conv2d(3, 6, 3)), ("relu1", nn.ReLU()), ("pool", nn.AvgPool2d(2))]
    convolutions += [("conv2", nn.Conv2d(6, 6, 3)), ("relu2", nn.ReLU())]
    model = nn.Sequential(OrderedDict([*convolutions, ("flatten", nn.Flatten()), ("fc", nn.Linear(54, 3))]))
    with torch.no_grad():
        for seed, weights in enumerate(model.parameters()):
            fans = weights[0].numel() if weights.ndim > 1 else 100
            weights.copy_(torch.from_numpy(draw(*weights.shape, seed=seed, scale=(2 / fans) ** 0.5)))
    return model.eval()


def weights(model: nn.Module, prefix: str = "") -> Arrays:
    short = {"weight": "w", "bias": "b"}
    return {
        f"{prefix}{layer}_{short[name]}": value.detach().numpy().copy()
        for layer in LAYERS
        for name, value in getattr(model, layer).named_parameters()
    }


def pictures() -> np.ndarray:
    coarse = draw(BATCH, 3, 3, 3, seed=20).repeat(4, axis=2).repeat(4, axis=3)
    return (coarse + 0.3 * draw(BATCH, 3, SIDE, SIDE, seed=21)).astype(np.float32)


def channel_gradient(model: nn.Module, inputs: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """Of the target's logit: (b, 3, h, w)."""
    x = torch.tensor(np.asarray(inputs, np.float32), requires_grad=True)
    scores = model(x)[torch.arange(len(x)), torch.as_tensor(targets)]
    return torch.autograd.grad(scores.sum(), x)[0].numpy()


def gradient(model: nn.Module, inputs: np.ndarray, targets: np.ndarray, **_: Any) -> np.ndarray:
    return channel_gradient(model, inputs, targets).sum(1)


def gradient_x_input(model: nn.Module, inputs: np.ndarray, targets: np.ndarray, **_: Any) -> np.ndarray:
    """Of the target's logit, summed over channels: (b, h, w)."""
    return (channel_gradient(model, inputs, targets) * np.asarray(inputs, np.float32)).sum(1)


def rectangles() -> np.ndarray:
    masks = np.zeros((BATCH, SIDE, SIDE), bool)
    for mask, (top, left, height, width) in zip(
        masks, [(0, 0, 5, 6), (3, 4, 6, 5), (7, 2, 4, 9), (2, 6, 9, 5)], strict=True
    ):
        mask[top : top + height, left : left + width] = True
    return masks


def whole_pixels(indices: np.ndarray) -> np.ndarray:
    """The same pixels in all three channels, as features."""
    return np.concatenate([indices + channel * PIXELS for channel in range(3)], axis=-1)


class Judged:
    """What all metrics are asked of, and their scores."""

    def __init__(self) -> None:
        self.model, self.images = network(), pictures()
        with torch.no_grad():
            self.labels = self.model(torch.from_numpy(self.images)).numpy().argmax(1)
        # One picture is explained for a class that is not predicted.
        self.labels[3] = (self.labels[3] + 1) % 3
        found = gradient_x_input(self.model, self.images, self.labels)
        signed = np.stack([found, draw(BATCH, SIDE, SIDE, seed=22)])
        self.maps, self.masks = np.concatenate([signed, abs(signed)]), rectangles()
        assert all(len(np.unique(each)) == PIXELS for each in self.maps.reshape(-1, PIXELS)), "maps with ties"
        self.mosaics = np.array([[1, 0, 0, 1], [0, 1, 1, 0], [1, 1, 0, 0], [0, 0, 0, 1]])
        self.segments = np.stack(
            [slic(np.moveaxis(x, 0, -1).astype("double"), n_segments=9, start_label=0) for x in self.images]
        )
        rng = np.random.default_rng([SEED, 30])
        self.noise = rng.uniform(-0.05, 0.05, (9, 3, SIDE, SIDE)).astype(np.float32)
        self.values = rng.uniform(0, 1, (4, 3, SIDE, SIDE)).astype(np.float32)
        self.smooth_noise = draw(3, 3, SIDE, SIDE, seed=31)
        self.subsets = np.stack([rng.choice(PIXELS, 40, replace=False) for _ in range(20)])
        self.arrays: Arrays = {}
        self.settings: dict[str, dict] = {}

    def ask(self, name: str, metric: str, note: str = "", *, maps: np.ndarray | None, **options: Any) -> Any:
        """Scores of a list of maps, or with ``None`` of maps that the metric makes itself."""
        call = {name: options.pop(name) for name in ("softmax", "custom_batch", "explain_func") if name in options}
        init = EVERY | options
        asked = [self.one(metric, init, call, given) for given in ([None] if maps is None else maps)]
        self.arrays[name] = asked[0] if maps is None else np.stack(asked)
        self.settings[name] = {
            "class": metric,
            "init": {key: value for key, value in init.items() if key not in EVERY} | {"abs": init["abs"]},
            "call": {key: value for key, value in call.items() if key == "softmax"},
            "note": note,
        }
        # Of functions and arrays the names say enough.
        for group in ("init", "call"):
            for key, value in self.settings[name][group].items():
                if callable(value):
                    self.settings[name][group][key] = getattr(value, "__name__", "own")
        return asked

    def one(self, metric: str, init: dict, call: dict, given: np.ndarray | None) -> np.ndarray:
        scores = getattr(quantus, metric)(**init)(
            model=self.model,
            x_batch=self.images.copy(),
            y_batch=self.labels.copy(),
            # Some metrics write into the maps that they are given.
            a_batch=None if given is None else given.copy(),
            s_batch=self.masks[:, None].copy(),
            channel_first=True,
            **{"explain_func": gradient_x_input} | call,
        )
        if isinstance(scores, dict):
            return np.array(list(scores.values()), float)
        return np.array(scores, float)


def ordered(j: Judged) -> None:
    """Pixels, or regions of them, change in the order of the map."""
    softmax: dict = {"maps": j.maps, "softmax": True}
    for name, baseline in (("black", "black"), ("zero", 0.0)):
        flip = {"features_in_step": 12, "perturb_baseline": baseline}
        j.ask(f"pixel_flipping_{name}", "PixelFlipping", "curve, 4 pixels a step", **flip, **softmax)
    for order in ("morf", "lerf"):
        regions = {"patch_size": 4, "regions_evaluation": 9, "order": order}
        j.ask(f"region_perturbation_{order}", "RegionPerturbation", "falls of the score", **regions, **softmax)
    j.ask("selectivity", "Selectivity", "scores", patch_size=4, **softmax)
    logit: dict = {"maps": j.maps, "softmax": False}
    j.ask("faithfulness_estimate", "FaithfulnessEstimate", "4 pixels a step", features_in_step=12, **logit)
    note = "per step (4, 9), correlated over the pictures"
    j.ask("sensitivity_n", "SensitivityN", note, features_in_step=12, n_max_percentage=0.8, **logit)
    j.ask(
        "monotonicity_native",
        "Monotonicity",
        "always true: baseline on baseline",
        features_in_step=12,
        **softmax,
    )

    def shown(arr: np.ndarray, indices: np.ndarray, **_: Any) -> np.ndarray:
        arr = arr.copy()
        rows = np.arange(BATCH)[:, None]
        arr[rows, indices] = j.images.reshape(BATCH, -1)[rows, indices]
        return arr

    note = "pixels appear on black, the least relevant first, 48 a step"
    j.ask("monotonicity_arya", "Monotonicity", note, features_in_step=144, perturb_func=shown, **softmax)
    place = cycle(range(4))

    def other_values(arr: np.ndarray, indices: np.ndarray, **_: Any) -> np.ndarray:
        arr, drawn = arr.copy(), j.values[next(place)].reshape(-1)
        arr[np.arange(BATCH)[:, None], indices] = drawn[indices]
        return arr

    note = "the pixels of a step take those of each picture of values in turn"
    step = {"features_in_step": 12, "nr_samples": 4, "perturb_func": other_values}
    j.ask("monotonicity_nguyen", "MonotonicityCorrelation", note, **step, **softmax)


def in_subsets(j: Judged) -> None:
    """Pixels change in stored subsets, segments or shares."""
    drawn = cycle([whole_pixels(subset) for subset in j.subsets for _ in range(BATCH)])
    with patch("numpy.random.choice", lambda *_, **__: next(drawn)):
        note = "the pixels of subsets, one after the other"
        correlated = {"nr_runs": 20, "subset_size": 120}
        logit: dict = {"maps": j.maps, "softmax": False}
        j.ask("faithfulness_correlation", "FaithfulnessCorrelation", note, **correlated, **logit)
    blocks = {"perturb_patch_sizes": [4], "n_perturb_samples": 1}
    j.ask("infidelity_native", "Infidelity", "one block after the other turns black and stays", **blocks, **logit)
    place = cycle(range(9))

    def without_noise(arr: np.ndarray, indices: np.ndarray, **_: Any) -> np.ndarray:
        return (j.images - j.noise[next(place)]).reshape(BATCH, -1)

    j.ask("infidelity", "Infidelity", "I is each of noise", perturb_func=without_noise, **blocks, **logit)
    means = j.images.mean((2, 3), keepdims=True)

    def mean_in_segment(arr: np.ndarray, mask: np.ndarray, **_: Any) -> np.ndarray:
        return np.where(mask, means, arr)

    segments = iter_forever(j.segments)
    with patch("quantus.helpers.utils.get_superpixel_segments", lambda **_: next(segments)):
        note = "segments take their picture's mean, channel by channel"
        j.ask("irof", "IROF", note, perturb_func=mean_in_segment, maps=j.maps, softmax=True)
    road(j)
    j.ask("sufficiency", "Sufficiency", "", maps=j.maps, abs=True, threshold=0.9, softmax=False)


def iter_forever(arrays: np.ndarray) -> Iterator[np.ndarray]:
    return cycle(list(arrays))


def road(j: Judged) -> None:
    """Quantus counts channels in the percentage, and knows no pixel of the second: here 25, 50 and 75 % of pixels."""

    def imputed(arr: np.ndarray, indices: np.ndarray, **_: Any) -> np.ndarray:
        return noisy_linear_imputation(arr, np.unique(indices % PIXELS), noise=0.0)

    metric = {"percentages": [75, 150, 225], "perturb_func": imputed}
    batch, labels = j.images, j.labels
    # It gives means over the pictures, so each is asked for alone.
    each, versions = [], []
    for i in range(BATCH):
        j.images, j.labels = batch[i : i + 1], labels[i : i + 1]
        masks, j.masks = j.masks, j.masks[i : i + 1]
        each.append(np.stack(j.ask("road", "ROAD", "", maps=j.maps[:, i : i + 1], softmax=False, **metric)))
        j.masks = masks
        order = np.argsort(-j.maps[0, i].reshape(-1))
        versions.append([imputed(batch[i], order[: PIXELS * share // 4]) for share in (1, 2, 3)])
    j.images, j.labels = batch, labels
    j.arrays["road"], j.arrays["road_imputed"] = np.stack(each, 1), np.array(versions, np.float32)
    j.settings["road"]["note"] = "(4, b, 3): is the label predicted with 25, 50, 75 % of the pixels imputed, noise 0"
    note = "(b, 3, 3, 12, 12): the pictures of road, of gradient x input, by noisy_linear_imputation"
    j.settings["road_imputed"] = {"note": note}


def explained_again(j: Judged) -> None:
    """The maps of changed pictures."""

    def noisy(arr: np.ndarray, indices: np.ndarray, **_: Any) -> np.ndarray:
        return arr + j.noise[next(place)].reshape(1, -1)

    names = {
        "local_lipschitz": "LocalLipschitzEstimate",
        "max_sensitivity": "MaxSensitivity",
        "avg_sensitivity": "AvgSensitivity",
        "relative_input_stability": "RelativeInputStability",
        "relative_output_stability": "RelativeOutputStability",
        "relative_representation_stability": "RelativeRepresentationStability",
    }
    for name, metric in names.items():
        place = cycle(range(9))
        layer = {"layer_names": ["conv2"]} if "representation" in name else {}
        options: dict = {"maps": None, "perturb_func": noisy, "nr_samples": 9, "softmax": False, **layer}
        j.ask(name, metric, "images + noise", **options)
    j.ask("continuity", "Continuity", "moved right by -8, -4, 0, 4, 8, 12 pixels", maps=None, nr_steps=6, softmax=False)


def of_the_map(j: Judged) -> None:
    """The map alone, or with an outline."""
    maps: dict = {"maps": j.maps}
    positive: dict = {"maps": j.maps, "abs": True}
    j.ask("attribution_localisation", "AttributionLocalisation", **positive)
    j.ask("relevance_mass_accuracy", "RelevanceMassAccuracy", **maps)
    j.ask("relevance_rank_accuracy", "RelevanceRankAccuracy", **maps)
    j.ask("top_k_intersection", "TopKIntersection", k=20, **maps)
    j.ask("top_k_intersection_concept", "TopKIntersection", k=20, concept_influence=True, **maps)
    j.ask("auc", "AUC", **maps)
    j.ask("focus", "Focus", custom_batch=j.mosaics, **maps)
    j.ask("pointing_game", "PointingGame", **maps)
    j.ask("sparseness", "Sparseness", **positive)
    j.ask("complexity", "Complexity", **positive)
    j.ask("effective_complexity", "EffectiveComplexity", eps=0.05, **positive)


def randomised(j: Judged) -> None:
    """Weights, and the class, drawn anew."""
    fresh = network()
    for layer in LAYERS:
        torch.manual_seed(43)
        getattr(fresh, layer).reset_parameters()
    j.arrays |= weights(fresh, "random_")
    orders = {"top_down": LAYERS[::-1], "bottom_up": LAYERS, "independent": LAYERS}
    for order, layers in orders.items():
        note = f"(4, b), rank correlation: original, then {', '.join(layers)}"
        j.ask(f"mprt_{order}", "MPRT", note, maps=None, layer_order=order, softmax=False)
    drawn = cycle([*j.smooth_noise])

    def one_for_all(*shape: int) -> np.ndarray:
        return np.broadcast_to(next(drawn), shape)

    # Smooth MPRT explains by quantus.explain, whatever explain_func it is given.
    with patch("quantus.explain", gradient_x_input), patch("numpy.random.randn", one_for_all):
        note = "(4, b): original, then conv1, conv2, fc; the noise of smooth_noise, the fourth sample without"
        smooth = {"nr_samples": 4, "noise_magnitude": 0.1, "layer_order": "bottom_up"}
        j.ask("smooth_mprt", "SmoothMPRT", note, maps=None, softmax=False, **smooth)
    note = "relative rise of the entropy of the map's histogram, all layers drawn anew"
    bins = {"layer_order": "bottom_up", "complexity_func_kwargs": {"n_bins": 20}}
    j.ask("efficient_mprt", "EfficientMPRT", note, maps=j.maps[:1], softmax=True, **bins)
    j.arrays["efficient_mprt"] = j.arrays["efficient_mprt"][0]
    asked: list[np.ndarray] = []

    def remembered(model: nn.Module, inputs: np.ndarray, targets: np.ndarray, **_: Any) -> np.ndarray:
        asked.append(targets)
        return gradient_x_input(model, inputs, targets)

    similar: dict[str, Callable | None] = {"ssim": None, "spearman": correlation_spearman}
    for name, function in similar.items():
        logit: dict = {"maps": j.maps[:1], "explain_func": remembered, "num_classes": 3, "similarity_func": function}
        j.ask(f"random_logit_{name}", "RandomLogit", "the class is that of off_labels", softmax=False, **logit)
        j.arrays[f"random_logit_{name}"] = j.arrays[f"random_logit_{name}"][0]
    j.arrays["off_labels"] = asked[-1]


def axioms(j: Judged) -> None:
    """What must hold whatever the model is."""
    with torch.no_grad():
        black = np.broadcast_to(j.images.min((1, 2, 3), keepdims=True), j.images.shape)
        both = [self_scores(j, x) for x in (j.images, black)]
    exact = np.zeros_like(j.images)
    exact[:, 0, 5, 5] = both[0] - both[1]
    exact[2:, 1, 3, 3] = 0.01
    j.arrays["completeness_maps"] = exact
    j.settings["completeness_maps"] = {"note": "(b, 3, 12, 12): the first two sum to the difference to black"}
    j.ask("completeness", "Completeness", "of completeness_maps, (b,)", maps=exact[None], softmax=False)
    j.arrays["completeness"] = j.arrays["completeness"][0]
    sensitive: dict = {"maps": j.maps, "abs": True, "eps": 0.01, "softmax": False}
    j.ask("non_sensitivity_channels", "NonSensitivity", "of 432 channels of pixels", **sensitive)

    def black_pixel(arr: np.ndarray, indices: np.ndarray, **_: Any) -> np.ndarray:
        arr, least = arr.copy(), arr.min(1, keepdims=True)
        np.put_along_axis(arr, whole_pixels(indices % PIXELS), least, axis=1)
        return arr

    note = "whole pixels turn black: three times the number of pixels"
    j.ask("non_sensitivity", "NonSensitivity", note, perturb_func=black_pixel, **sensitive)
    j.ask("input_invariance", "InputInvariance", "", maps=j.maps[:1], input_shift=-1, softmax=False)
    j.arrays["input_invariance"] = j.arrays["input_invariance"][0]
    note = "of the gradient, summed over channels"
    j.ask("input_invariance_gradient", "InputInvariance", note, explain_func=gradient, maps=None, input_shift=-1)


def self_scores(j: Judged, images: np.ndarray) -> np.ndarray:
    return j.model(torch.from_numpy(images.copy())).numpy()[np.arange(BATCH), j.labels]


def judged() -> Arrays:
    j = Judged()
    for ask in (ordered, in_subsets, explained_again, of_the_map, randomised, axioms):
        ask(j)
    given = {name: getattr(j, name) for name in ("images", "labels", "masks", "mosaics", "maps")}
    drawn = {name: getattr(j, name) for name in ("noise", "smooth_noise", "values", "subsets", "segments")}
    settings = np.frombuffer(json.dumps(j.settings).encode(), np.uint8)
    return weights(j.model) | given | drawn | j.arrays | {"settings": settings}


if __name__ == "__main__":
    main(__doc__, {"quantus": judged}, tolerance=1e-4)
