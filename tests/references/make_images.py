"""Draws ``images.npz``, the pictures of all networks but the small one: noise, as if preprocessed.

    PYTHONPATH=. python tests/references/make_images.py [--check] [--out FOLDER]

Needs numpy alone (2.4.6 made the stored file). Takes a second.

Keys: ``images`` (2, 3, 64, 64) float32.
"""

from writing import Arrays, main

from tests import oracle


def drawn() -> Arrays:
    return {"images": oracle.seeded_images(0, 2, 64).transpose(0, 3, 1, 2)}


if __name__ == "__main__":
    main(__doc__, {"images": drawn}, tolerance=0)
