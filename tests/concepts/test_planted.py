"""Channels that are known to detect textures: their maps show where these are."""

import numpy as np

import xrcam_jax as xr
from xrcam_jax.data.detector import MOTIFS, Detector


def test_channels_that_look_for_a_texture_show_where_it_is():
    """Two textures are drawn into known quarters of a grey picture, for channels that detect them."""
    picture = np.full((1, 16, 16, 3), 0.5, np.float32)
    picture[0, :8, :8] = np.tile(MOTIFS[0], (4, 4))[..., None]
    picture[0, 8:, 8:] = np.tile(MOTIFS[1], (4, 4))[..., None]
    found = xr.concepts.attribute(Detector(), picture, "layer1", seed=xr.seeds.unit, targets=0)
    mass = np.abs(found.maps[:, 0])
    first = mass[0, :8, :8].sum()
    assert first > 0
    np.testing.assert_allclose(mass[0].sum(), first, rtol=1e-6)
    # Nothing of the class comes through any other channel, not even that which has found its own texture.
    assert mass[1:].max() == 0
    # Of the class that reads the other texture it is that channel.
    other = xr.concepts.most_relevant(Detector(), picture, "layer1", 1, targets=1)
    assert other.concepts.tolist() == [[1]]
    np.testing.assert_allclose(other.share, 1, rtol=1e-6)
