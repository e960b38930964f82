"""PBM, PGM and PPM have any range that their header states."""

import numpy as np
import pytest

from xrcam_jax.pictures.decode import opened, read_rgb
from xrcam_jax.pictures.read import load_images

RANDOM = np.random.default_rng(0)


def binary(samples, highest, comment=""):
    kind = 6 if samples.ndim == 3 else 5
    start = f"P{kind}\n{comment}{samples.shape[1]} {samples.shape[0]}\n{highest}\n"
    return start.encode() + samples.astype(">u2" if highest > 255 else "u1").tobytes()


def plain(samples, highest):
    kind = 3 if samples.ndim == 3 else 2
    text = (
        f"P{kind} # a comment\n{samples.shape[1]}\n{samples.shape[0]} {highest}\n{' '.join(map(str, samples.ravel()))}"
    )
    return text.encode()


@pytest.mark.parametrize("encoded", [binary, plain])
@pytest.mark.parametrize("highest", [1, 15, 100, 255, 256, 1023, 4095, 65535])
@pytest.mark.parametrize("shape", [(5, 7), (5, 7, 3)])
def test_samples_are_scaled_from_what_the_header_states(tmp_path, encoded, highest, shape):
    samples = RANDOM.integers(0, highest + 1, shape)
    samples.flat[:2] = 0, highest
    (tmp_path / "a.pnm").write_bytes(encoded(samples, highest))
    expected = np.rint(samples * 255 / highest)
    expected = expected if samples.ndim == 3 else np.repeat(expected[..., None], 3, axis=2)
    np.testing.assert_array_equal(read_rgb(tmp_path / "a.pnm"), expected)
    with opened(tmp_path / "a.pnm") as pages:
        assert pages.read(0).depth == len(f"{highest:b}")


def test_bitmaps(tmp_path):
    black = RANDOM.integers(0, 2, (5, 13))
    expected = np.repeat(255 * (1 - black)[..., None], 3, axis=2)
    rows = np.packbits(black.astype(np.uint8), axis=1).tobytes()
    text = "\n".join("".join(map(str, row)) for row in black)
    for content in (b"P4\n13 5\n" + rows, f"P1\n13 5\n{text}\n".encode(), f"P1 13 5\n{' '.join(text)}".encode()):
        (tmp_path / "a.pbm").write_bytes(content)
        np.testing.assert_array_equal(read_rgb(tmp_path / "a.pbm"), expected)


def test_several_pictures_one_after_the_other(tmp_path):
    first, second = RANDOM.integers(0, 4096, (4, 6)), RANDOM.integers(0, 256, (3, 2, 3))
    (tmp_path / "a.pnm").write_bytes(binary(first, 4095, "# made by hand\n") + binary(second, 255) + b"\n")
    one, other = load_images(tmp_path / "a.pnm")
    np.testing.assert_array_equal(one[..., 2], np.rint(first * 255 / 4095))
    np.testing.assert_array_equal(other, second)


WRONG = {
    b"P5\n4 4\n255\n123": "ends after 3 of 16 bytes",
    b"P2 2 2 255 1 2 3": "ends after 3 of 4 samples",
    b"P2 2 1 255 1 x": "damaged or truncated picture",
    b"P5\n4\n": "no header of a picture",
    b"P5 4 4 0\n": "a largest sample of 0",
    b"P5 4 4 65536\n": "a largest sample of 65536",
    b"P5 0 4 255\n": "an empty picture",
    b"P2 1 1 9 10": "has intensities from 10 to 10, but states 0 to 9",
}


@pytest.mark.parametrize("content", WRONG, ids=WRONG.values())
def test_damage(tmp_path, content):
    (tmp_path / "a.pgm").write_bytes(content)
    with pytest.raises(ValueError, match=rf"a\.pgm: .*{WRONG[content]}"):
        read_rgb(tmp_path / "a.pgm")
