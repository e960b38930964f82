"""Over all folds each patient is tested once, and no network is trained on a patient that it is tested on."""

import shutil
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.recordings import textured, write_pictures
from xrcam_jax.data.counts import COUNTS
from xrcam_jax.data.folds import draw_folds, fold_of_patients, of_fold, parts_of_fold, read_folds, write_folds
from xrcam_jax.data.frames import collate, extract_all
from xrcam_jax.data.manifest import PARTS, Frame, Prepared, Statistics, read_prepared
from xrcam_jax.data.recordings import find_recordings
from xrcam_jax.pictures.crop import Crop
from xrcam_jax.pictures.decode import read_grey

LUNG, ORAL = [f"lung{number}" for number in range(18)], [f"oral{number}" for number in range(16)]


def of_sizes(sizes):
    return {f"c{label}": [f"{label}-{number}" for number in range(size)] for label, size in enumerate(sizes)}


@given(st.lists(st.integers(3, 40), min_size=1, max_size=4), st.integers(3, 12), st.integers(0, 2**32))
def test_folds_are_as_even_as_can_be(sizes, count, seed):
    """Of n patients each fold has floor(n / K) or one more: of all together, and of each class."""
    count = min(count, *sizes)
    patients = of_sizes(sizes)
    folds = draw_folds(patients, count, seed)
    assert set(folds) == set().union(*patients.values())
    for members in (list(folds), *patients.values()):
        quotient, rest = divmod(len(members), count)
        wanted = [quotient] * (count - rest) + [quotient + 1] * rest
        assert sorted(Counter(folds[patient] for patient in members).values()) == wanted
    shuffled = {label: patients[label][::-1] for label in reversed(patients)}
    assert draw_folds(shuffled, count, seed) == folds


@given(st.lists(st.sets(st.integers(0, 9).map("p{}".format), min_size=3), min_size=1, max_size=2), st.integers(0, 99))
def test_a_patient_of_two_classes_is_in_one_fold(members, seed):
    """Of two classes there always are such folds, however many patients they share."""
    patients = {f"c{number}": each for number, each in enumerate(members)}
    folds = draw_folds(patients, 3, seed)
    assert set(folds) == set().union(*members)
    for each in members:
        assert {folds[patient] for patient in each} == {0, 1, 2}
    sizes = Counter(folds.values())
    assert max(sizes.values()) - min(sizes.values()) <= 1


@given(st.integers(3, 8), st.integers(0, 2**32), st.data())
def test_no_patient_is_in_two_parts_and_each_is_tested_once(count, seed, data):
    patients = of_sizes(data.draw(st.lists(st.integers(count, 20), min_size=1, max_size=3)))
    folds = draw_folds(patients, count, seed)
    parts = [parts_of_fold(folds, number) for number in range(count)]
    tested = Counter(patient for each in parts for patient, part in each.items() if part == "test")
    assert tested == dict.fromkeys(folds, 1)
    validated = Counter(patient for each in parts for patient, part in each.items() if part == "validation")
    assert validated == dict.fromkeys(folds, 1)
    for each in parts:
        assert set(each) == set(folds)
        for members in patients.values():
            assert {each[patient] for patient in members} == set(PARTS)


def test_seeds_differ_and_one_seed_does_not():
    patients = {"lung": LUNG, "oral": ORAL}
    drawn = [draw_folds(patients, 5, seed) for seed in range(10)]
    assert len({tuple(folds.items()) for folds in drawn}) == 10
    assert draw_folds(patients, 5, 3) == drawn[3]


@pytest.mark.parametrize(
    ("patients", "count", "message"),
    [
        ({"a": LUNG}, 2, "folds: expected 3 or more, for training, validation and test; found 2"),
        ({"a": LUNG}, -1, "folds: expected 3 or more"),
        (
            {"a": LUNG, "b": ["3", "1", "2", "2"]},
            4,
            "folds: expected at most 3, since each needs a patient of its own of class 'b', which has 1, 2, 3; found 4",
        ),
        ({"a": list("123"), "b": list("124"), "c": list("345")}, 3, "found no way to have each of the classes a, b, c"),
    ],
)
def test_errors_explain_themselves(patients, count, message):
    with pytest.raises(ValueError, match=message):
        draw_folds(patients, count)


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ("p0,0\np1,1\np2,2\np0,1", "folds.csv, line 5: patient 'p0' is listed twice"),
        ("p0,0\np1,one\np2,2", "folds.csv, line 3: expected the number of a fold, from 0, found 'one'"),
        ("p0,0\np1,-1\np2,2", "folds.csv, line 3: expected the number of a fold, from 0, found '-1'"),
        ("p0,0\np1,1\np2,1", "expected patients in each of the folds 0 to 2, found none in fold 2"),
        ("p0,0\np1,3\np2,2", "expected patients in each of the folds 0 to 3, found none in fold 1"),
        ("", "expected patients in each of the folds 0 to 2, found none in fold 0"),
        ("p0,0\np1,1\ngone,2", "folds.csv: the patients p2 of manifest.csv are not listed"),
        ("p0,0\np1,1\np2,2\ngone,3", "expected patients in each of the folds 0 to 3, found none in fold 3"),
    ],
)
def test_folds_that_cannot_be_are_refused(tmp_path, lines, message):
    frames = tuple(Frame(f"{n}.png", "sick", f"p{n}", f"{n}.avi", 0, Crop(0, 0, 2, 8, 8)) for n in range(3))
    (tmp_path / "folds.csv").write_text(f"patient,fold\n{lines}\n")
    with pytest.raises(ValueError, match=message):
        fold_of_patients(Prepared(tmp_path, frames, {}, Statistics(0.5, 0.25)))


@pytest.fixture(scope="module")
def extracted(tmp_path_factory):
    """Writes a recording of two frames for each of four patients of two classes; of one there are two recordings."""
    recordings, out = tmp_path_factory.mktemp("recordings"), tmp_path_factory.mktemp("prepared")
    for seed, place in enumerate(["a/p0", "a/p1", "a/p2/1", "a/p2/2", "a/p3", "b/q0", "b/q1", "b/q2", "b/q3"]):
        write_pictures(recordings / place, [picture // (1 + seed % 3) for picture in textured(2, seed)])
    return out, extract_all(find_recordings(recordings).found, out, every=1)


@pytest.fixture(scope="module")
def prepared(extracted):
    out, entries = extracted
    return collate(out, entries, seed=1, folds=3)


def test_statistics_are_those_of_the_patients_that_are_trained_on(prepared):
    folds, found = read_folds(prepared.folder), []
    for number in range(3):
        fold = of_fold(prepared, number)
        trained = {patient for patient, n in folds.items() if n not in (number, (number + 1) % 3)}
        frames = [frame for frame in prepared.frames if frame.patient in trained]
        assert fold.part("train") == frames
        assert fold.frames == prepared.frames
        pixels = np.concatenate([read_grey(prepared.folder / frame.file).ravel() for frame in frames]) / 255
        assert fold.statistics.mean == pytest.approx(pixels.mean(), abs=1e-12)
        assert fold.statistics.std == pytest.approx(pixels.std(), abs=1e-12)
        found.append(fold.statistics)
    assert len(set(found)) == 3


def test_a_fold_that_is_not_there_is_refused(prepared):
    for number in (-1, 3):
        with pytest.raises(ValueError, match=rf"fold: expected 0 to 2, as in .*folds.csv; found {number}"):
            of_fold(prepared, number)


def test_folds_that_are_there_are_kept(extracted, prepared, tmp_path):
    """They are kept whatever is asked for; without them and unasked there are none."""
    _, entries = extracted
    shutil.copytree(prepared.folder, tmp_path, dirs_exist_ok=True)
    path = tmp_path / "folds.csv"
    path.unlink()
    collate(tmp_path, entries)
    assert not path.exists()
    with pytest.raises(ValueError, match=r"folds.csv: there is no such file; 'xrcam prepare --folds K' makes it"):
        of_fold(read_prepared(tmp_path), 0)
    edited = {"p0": 0, "p1": 1, "p2": 2, "p3": 0, "q0": 1, "q1": 2, "q2": 0, "q3": 1, "gone": 2}
    write_folds(tmp_path, edited)
    collate(tmp_path, entries, folds=4)
    assert read_folds(tmp_path) == edited
    write_folds(tmp_path, {patient: fold for patient, fold in edited.items() if patient != "q3"})
    with pytest.raises(ValueError, match=r"folds.csv: not listed: q3; add a line 'PATIENT,FOLD'"):
        collate(tmp_path, entries)
    write_folds(tmp_path, edited | {"gone": 3})
    with pytest.raises(ValueError, match="found none in fold 3"):
        collate(tmp_path, entries)


def test_an_older_folder_without_counts_says_what_to_do(prepared, tmp_path):
    (tmp_path / "folds.csv").write_bytes((prepared.folder / "folds.csv").read_bytes())
    old = replace(prepared, folder=tmp_path)
    with pytest.raises(ValueError, match=f"{COUNTS}: there is no such file; 'xrcam prepare' makes it"):
        of_fold(old, 0)
