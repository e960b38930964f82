"""What was there and what was kept of each recording is written down, with sums that give any part's statistics."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.recordings import textured, write_pictures
from xrcam_jax.data.counts import Counts, read_counts, statistics_of, write_counts
from xrcam_jax.data.frames import collate, extract_all
from xrcam_jax.data.manifest import Frame
from xrcam_jax.data.recordings import Recording
from xrcam_jax.pictures.crop import Crop

pictures = st.lists(st.lists(st.integers(0, 255), min_size=4, max_size=4), min_size=1, max_size=4)


def counts_of(name, frames):
    """Returns the counts of a recording of 2 x 2 pixels, all of whose frames are kept."""
    pixels = np.array(frames, np.int64)
    n = len(frames)
    return Counts(f"sick/{name}/a", "sick", name, n, n, n, 4 * n, int(pixels.sum()), int((pixels**2).sum()))


def frames_of(name, count):
    file = f"{name}_{{}}.png"
    return [Frame(file.format(i), "sick", name, f"sick/{name}/a", i, Crop(0, 0, 2, 8, 8)) for i in range(count)]


@given(st.lists(pictures, min_size=1, max_size=4))
def test_statistics_are_numpys_of_all_pixels(recordings):
    pixels = np.concatenate([np.ravel(frames) for frames in recordings]) / 255
    counts = [counts_of(f"p{number}", frames) for number, frames in enumerate(recordings)]
    if len(set(pixels)) == 1:
        with pytest.raises(ValueError, match="all pixels of the part train are equal"):
            statistics_of(counts)
        return
    found = statistics_of(counts)
    assert found.mean == pytest.approx(pixels.mean(), abs=1e-12)
    assert found.std == pytest.approx(pixels.std(), abs=1e-12)
    assert statistics_of(counts[::-1]) == found


def test_no_recordings_have_no_statistics():
    with pytest.raises(ValueError, match="the part train has no frames"):
        statistics_of([])


@pytest.mark.parametrize("every", [1, 2, 3])
def test_frames_before_and_after(tmp_path, every):
    """Of nine frames every second or third is taken, and what repeats one that was taken is not kept."""
    a, b, c, d = textured(4)
    drawn = [a, b, a, c, c, a, b, d, a]
    folder = write_pictures(tmp_path / "a", drawn)
    extracted = extract_all([Recording("sick", "p", folder, "sick/p/a")], tmp_path / "out", every=every)
    prepared = collate(tmp_path / "out", extracted, (1, 0, 0))
    (counts,) = read_counts(tmp_path / "out", prepared.frames)
    taken = drawn[::every]
    crop = prepared.frames[0].crop
    kept = list({picture.tobytes(): picture for picture in taken}.values())
    pixels = np.stack(kept)[:, *crop.box.slices].astype(np.int64)
    assert (counts.frames, counts.taken, counts.kept) == (9, len(taken), len(kept))
    assert (counts.pixels, counts.total, counts.squares) == (pixels.size, pixels.sum(), (pixels**2).sum())


def test_what_is_written_is_read(tmp_path):
    counts = [replace(counts_of("p,1", [[1, 2, 3, 4]] * 3), frames=9, taken=5), counts_of("p2", [[0, 0, 0, 9]])]
    write_counts(tmp_path, counts)
    assert read_counts(tmp_path, frames_of("p,1", 3) + frames_of("p2", 1)) == counts


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"frames": 1}, "recordings.csv, line 2: expected counts and sums of pixels that go together"),
        ({"total": 2041}, "recordings.csv, line 2: expected counts and sums"),
        ({"squares": 20}, "recordings.csv, line 2: expected counts and sums"),
        ({"kept": 1}, "recordings.csv: not of the frames that manifest.csv lists of 'sick/p1/a'"),
        ({"patient": "p3"}, "recordings.csv: not of the frames that manifest.csv lists of 'sick/p1/a'"),
    ],
)
def test_counts_that_cannot_be_are_refused(tmp_path, change, message):
    write_counts(tmp_path, [replace(counts_of("p1", [[1, 2, 3, 4]] * 2), **change)])
    with pytest.raises(ValueError, match=message):
        read_counts(tmp_path, frames_of("p1", 2))


def test_counts_that_are_no_numbers_are_refused(tmp_path):
    write_counts(tmp_path, [counts_of("p1", [[1, 2, 3, 4]])])
    path = tmp_path / "recordings.csv"
    path.write_text(path.read_text().replace(",10,", ",ten,"))
    with pytest.raises(ValueError, match=r"recordings.csv, line 2: invalid literal for int"):
        read_counts(tmp_path, frames_of("p1", 1))


def test_counts_of_too_few_or_too_many_recordings_are_refused(tmp_path):
    one = counts_of("p1", [[1, 2, 3, 4]])
    write_counts(tmp_path, [one])
    with pytest.raises(ValueError, match="lists of 'sick/p2/a'; 'xrcam prepare' makes both anew"):
        read_counts(tmp_path, frames_of("p1", 1) + frames_of("p2", 1))
    with pytest.raises(ValueError, match="lists of 'sick/p1/a'"):
        read_counts(tmp_path, [])
    write_counts(tmp_path, [one, one])
    with pytest.raises(ValueError, match="line 3: 'sick/p1/a' is listed twice"):
        read_counts(tmp_path, frames_of("p1", 1))
