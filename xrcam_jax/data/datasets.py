"""Pictures and a network of which it is known which pixels the decision depends on; a seed decides what is drawn.

The pictures show drawn tissue, whose pixels lie in [1/4, 3/4]. Planted into it are shapes of black and white patches,
and only these can the network see (:mod:`xrcam_jax.data.detector`). So its logits are the same whatever the tissue is,
and do not depend on shapes for which its classifier has no weight.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float32, Int, Int32

from xrcam_jax.data.detector import HIGHLIGHT, LOGO, MOTIFS, PATCH, STRUCTURE, Detector, Reads
from xrcam_jax.data.synthetic import draw_look, draw_tissue
from xrcam_jax.errors import unknown
from xrcam_jax.runtime.brief import Brief


@dataclass(frozen=True)
class Plan:
    """Says what is drawn into the pictures of a set, and what its network reads.

    Attributes:
      about: one line on what the set asks of a method.
      reads: what the network reads.
      logo: whether a logo in a corner tells the class, too.
      decoys: what small blobs are drawn besides, of which the network depends on none.
      cancelled: whether the network reads the highlights twice, with opposite weights.
      saturated: whether the logits stay what they are for small changes of any pixel.
    """

    about: str
    reads: Reads = "structure"
    logo: bool = False
    decoys: tuple[str, ...] = ()
    cancelled: bool = False
    saturated: bool = False


#: The sets by name.
PLANTED: Mapping[str, Plan] = {
    "pattern": Plan("the network reads the structure, and nothing else is there"),
    "distractors": Plan("bright spots are seen by the network, and have no weight", decoys=("highlight",) * 4),
    "cancelled": Plan("bright spots enter twice, with opposite weights", decoys=("highlight",) * 4, cancelled=True),
    "saturated": Plan(
        "so much speaks for the class that no small change of a pixel matters",
        decoys=("highlight",) * 4,
        saturated=True,
    ),
    "rival": Plan("spots of the other class's structure speak for that class alone", decoys=("rival",) * 2),
    "shortcut": Plan("the network reads the logo in a corner, and ignores the structure", reads="logo", logo=True),
    "mirror": Plan("the network reads the structure, and ignores the logo", logo=True),
}
#: Tissue lies in [DULL, 1 - DULL], at a distance of 1 from every motif.
DULL = 0.25
# Planted pixels are this much less than black or white at most, lest all patches of a shape be alike.
_UNEVEN = 0.05
# Radii of a structure and of the small blobs, as shares of the picture's side.
_LARGE, _SMALL = (0.11, 0.16), (0.06, 0.09)
_LEAST_SIDE = 48
#: The logos of the two classes, in patches.
_LOGOS = (
    ("######", "######", "##..##", "##..##", "######", "######"),
    ("##..##", "######", ".####.", ".####.", "######", "##..##"),
)

Patches = Int[np.ndarray, "rows columns"]
Random = np.random.Generator


@dataclass(frozen=True, eq=False, repr=False)
class Planted(Brief):
    """Holds pictures, the network that decides of them, and which pixels it reads.

    Attributes:
      images: grey pictures in [0, 1], as three equal colours.
      labels: the classes, 0 or 1; the network gets all of them right.
      truth: the pixels that the logit of the label depends on.
      decoy: the other planted pixels, on which it does not depend; there are none in some sets.
      network: from pictures to logits, with the layers ``layer1``, ``layer2`` and ``layer3``.
    """

    images: Float32[np.ndarray, "n h w 3"]
    labels: Int32[np.ndarray, " n"]
    truth: Bool[np.ndarray, "n h w"]
    decoy: Bool[np.ndarray, "n h w"]
    network: Detector


def planted(name: str, count: int = 32, *, size: int = 64, seed: int = 0) -> Planted:
    """Draws a set of pictures, and sets the weights of the network that reads known pixels of them.

    Args:
      name: of the set, a key of :data:`PLANTED`.
      count: number of pictures, at least 1. A picture does not depend on how many follow.
      size: side of the pictures in pixels, a multiple of 8 from 48 on.
      seed: of the drawing, from 0 on.

    Returns:
      The set.

    Raises:
      ValueError: naming the argument that is wrong.

    Example:
      >>> import numpy as np
      >>> import xrcam_jax as xr
      >>> drawn = xr.datasets.planted("shortcut", 2, size=48)
      >>> drawn.images.shape, drawn.labels.tolist(), drawn.truth.sum((1, 2)).tolist()
      ((2, 48, 48, 3), [0, 1], [128, 112])
      >>> logo_alone = np.where(drawn.truth[..., None], drawn.images, np.float32(0.5))
      >>> bool(np.allclose(drawn.network(logo_alone), drawn.network(drawn.images), atol=1e-5))
      True
    """
    if name not in PLANTED:
        raise unknown("planted set", name, PLANTED)
    if count < 1:
        raise ValueError(f"count must be at least 1; got {count}")
    if size < _LEAST_SIDE or size % 8:
        raise ValueError(f"size must be a multiple of 8 from {_LEAST_SIDE} on; got {size}")
    if seed < 0:
        raise ValueError(f"seed must not be negative; got {seed}")
    plan, labels = PLANTED[name], np.arange(count, dtype=np.int32) % 2
    patches = np.empty((count, size // PATCH, size // PATCH), int)
    images = np.empty((count, size, size), np.float32)
    for i, label in enumerate(labels.tolist()):
        # Each picture has a source of its own.
        random = np.random.default_rng([seed, i])
        patches[i] = _arrange(random, plan, label, size // PATCH)
        images[i] = _drawn(random, patches[i])
    read = np.array(STRUCTURE if plan.reads == "structure" else LOGO)[labels][:, None, None]
    truth, decoy = patches == read, (patches >= 0) & (patches != read)
    pixels = np.repeat(images[..., None], 3, axis=-1)
    network = Detector(plan.reads, cancelled=plan.cancelled, saturated=plan.saturated)
    return Planted(pixels, labels, _enlarged(truth), _enlarged(decoy), network)


def _arrange(random: Random, plan: Plan, label: int, side: int) -> Patches:
    """Returns which motif is planted at each patch, -1 where there is tissue; no shape touches another."""
    patches = np.full((side, side), -1)
    if plan.logo:
        glyph = np.array([list(row) for row in _LOGOS[label]]) == "#"
        corner = patches[:: random.choice((-1, 1)), :: random.choice((-1, 1))]
        corner[1 : len(glyph) + 1, 1 : len(glyph) + 1][glyph] = LOGO[label]
    motifs = {"structure": STRUCTURE[label], "rival": STRUCTURE[1 - label], "highlight": HIGHLIGHT[0]}
    for what in ("structure", *plan.decoys):
        free = False
        while not free:
            radii = side * random.uniform(*(_LARGE if what == "structure" else _SMALL), 2)
            centre = random.uniform(radii, side - 1 - radii)
            free = (patches[_ellipse(side, centre, radii + 1)] < 0).all()
        patches[_ellipse(side, centre, radii)] = motifs[what]
    return patches


def _ellipse(side: int, centre: np.ndarray, radii: np.ndarray) -> Bool[np.ndarray, "{side} {side}"]:
    rows, across = np.ogrid[:side, :side]
    return ((rows - centre[0]) / radii[0]) ** 2 + ((across - centre[1]) / radii[1]) ** 2 <= 1


def _drawn(random: Random, patches: Patches) -> Float32[np.ndarray, "h w"]:
    """Draws tissue, and the motifs onto it."""
    side = PATCH * len(patches)
    tissue = draw_tissue(random, "GBM", side, draw_look(random)).intensity[:side, :side]
    tissue = (tissue - tissue.min()) / (tissue.max() - tissue.min()) + 0.05 * random.standard_normal(tissue.shape)
    dull = np.clip(DULL + (1 - 2 * DULL) * tissue, DULL, 1 - DULL)
    # Each motif is a patch: (rows, columns) of patches become rows and columns of pixels.
    motifs = MOTIFS[patches].transpose(0, 2, 1, 3).reshape(side, side)
    uneven = np.abs(motifs - random.uniform(0, _UNEVEN, motifs.shape))
    return np.where(_enlarged(patches >= 0), uneven, dull).astype(np.float32)


def _enlarged(patches: Bool[np.ndarray, "*n rows columns"]) -> Bool[np.ndarray, "*n h w"]:
    """Returns as pixels what is known of patches."""
    return patches.repeat(PATCH, -2).repeat(PATCH, -1)
