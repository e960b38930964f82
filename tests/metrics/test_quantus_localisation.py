"""Localisation, complexity, IROF, ROAD and sufficiency are those of Quantus 0.6, where they mean the same."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.metrics.test_quantus_faithfulness import case, maps, references, same  # noqa: F401
from xrcam_jax.metrics.attribution_localisation import attribution_localisation
from xrcam_jax.metrics.complexity import complexity, effective_complexity, sparseness
from xrcam_jax.metrics.focus import focus, quadrants
from xrcam_jax.metrics.imputation import imputed
from xrcam_jax.metrics.irof import segment_scores
from xrcam_jax.metrics.localisation import pointing_game
from xrcam_jax.metrics.mass import relevance_mass_accuracy, relevance_rank_accuracy
from xrcam_jax.metrics.road import road_scores
from xrcam_jax.metrics.roc import auc
from xrcam_jax.metrics.sufficiency import sufficiency
from xrcam_jax.metrics.top_k import top_k_intersection


@pytest.mark.parametrize(
    ("name", "metric"),
    [
        ("relevance_rank_accuracy", relevance_rank_accuracy),
        ("top_k_intersection", partial(top_k_intersection, k=20)),
        ("top_k_intersection_concept", partial(top_k_intersection, k=20, concept_influence=True)),
        ("auc", auc),
        ("pointing_game", pointing_game),
    ],
)
def test_of_the_order_of_pixels(references, maps, name, metric):  # noqa: F811
    same(metric(maps, references["masks"]), references[name])


def test_of_sums_of_relevance(references, maps):  # noqa: F811
    """Quantus takes absolute values for the one, and signed ones, which may cancel, for the other."""
    masks = references["masks"]
    same(attribution_localisation(np.abs(maps), masks), references["attribution_localisation"])
    same(relevance_mass_accuracy(maps[2:], masks), references["relevance_mass_accuracy"][2:])
    same(focus(maps, quadrants(references["mosaics"].astype(bool), maps.shape[2:])), references["focus"])


def test_complexity(references, maps):  # noqa: F811
    same(sparseness(maps), references["sparseness"])
    same(complexity(maps), references["complexity"])
    # Its threshold is absolute.
    for m, b in np.ndindex(maps.shape[:2]):
        one = maps[m : m + 1, b : b + 1]
        found = effective_complexity(one, threshold=0.05 / float(np.abs(one).max()))
        assert found == references["effective_complexity"][m, b]


def test_irof(references, case, maps):  # noqa: F811
    """Quantus's area is that from the first superpixel on, not divided by how many there are.

    It fills the curves of pictures with fewer superpixels up with zeros, so that half the last score is in the area.
    """
    segments = references["segments"].astype(np.int32)
    scores = np.asarray(segment_scores(case, maps, segments, fill=case.images.mean((1, 2))))
    for b, each in enumerate(segments):
        shares = scores[:, 1 : each.max() + 2, b] / scores[:, :1, b]
        filled = shares[:, -1] / 2 if each.max() < segments.max() else 0
        same(each.max() + 1 - np.trapezoid(shares, axis=1) - filled, references["irof"][:, b])
    assert len({each.max() for each in segments}) > 1


def test_road(references, case, maps):  # noqa: F811
    found = road_scores(case, maps, shares=(0.25, 0.5, 0.75), noise=0.0)
    same(np.moveaxis(found, 1, 2), references["road"])
    order = np.argsort(-maps[0].reshape(len(case.images), -1), axis=1)
    fill = jax.jit(partial(imputed, tolerance=1e-7))
    pictures = np.moveaxis(references["road_imputed"], 2, -1)
    for i, count in enumerate((36, 72, 108)):
        missing = np.zeros((len(case.images), 144), bool)
        np.put_along_axis(missing, order[:, :count], True, axis=1)
        filled = fill(case.images, jnp.asarray(missing.reshape(maps.shape[1:])))
        same(filled, pictures[:, i])


def test_sufficiency(references, case, maps):  # noqa: F811
    """Where no other picture is explained alike, Quantus gives 0."""
    found = sufficiency(case, np.abs(maps), threshold=0.9)
    same(np.nan_to_num(found), references["sufficiency"])
