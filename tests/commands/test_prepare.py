"""``xrcam prepare`` ends with the right status and says what it did."""

import pytest

from tests.recordings import cut, textured, write_pictures, write_video
from xrcam_jax.cli import main
from xrcam_jax.data import frames
from xrcam_jax.data.folds import draw_folds, read_folds, write_folds
from xrcam_jax.data.manifest import read_prepared

PATIENTS = [("lung", name) for name in ("p1", "p2", "p3", "p4")] + [("oral", name) for name in ("q1", "q2", "q3")]


@pytest.fixture
def cohort(tmp_path):
    folder = tmp_path / "recordings"
    for seed, (label, patient) in enumerate(PATIENTS):
        write_video(folder / label / patient / "a.avi", textured(4, seed))
    return folder


def prepare(*arguments):
    return main(["prepare", *map(str, arguments)])


def test_prepare_and_again(tmp_path, cohort, capsys):
    out = tmp_path / "out"
    write_pictures(cohort / "lung/p1/seq", [textured(1)[0]] * 3)
    assert prepare(cohort, out) == 0
    prepared = read_prepared(out)
    assert prepared.classes == ["lung", "oral"]
    printed, complaints = capsys.readouterr()
    assert "train: 3 patients, " in printed
    assert "1 duplicate frames left out; intensities of the training part: mean 0." in printed
    assert f"8 recordings prepared, 0 could not be. Look into {out}\n" in printed
    assert "xrcam prepare" not in complaints
    before = {path: path.stat().st_mtime_ns for path in out.rglob("*.png")}
    assert prepare(cohort, out) == 0
    assert {path: path.stat().st_mtime_ns for path in out.rglob("*.png")} == before
    assert f"{out / 'split.csv'} is there and is kept; --split and --seed are without effect" in capsys.readouterr().out


def test_every_split_and_seed(tmp_path, cohort):
    parts = []
    for seed in range(4):
        out = tmp_path / str(seed)
        assert prepare(cohort, out, "--every", 3, "--split", "1/1/0", "--seed", seed) == 0
        prepared = read_prepared(out)
        assert {frame.number for frame in prepared.frames} == {0, 3}
        assert sorted(prepared.parts.values()).count("test") == 0
        parts.append(tuple(prepared.parts.items()))
    assert len(set(parts)) > 1


def test_folds(tmp_path, cohort, capsys):
    """They are drawn at once or later, are the same either way, and stay when the command is run without them."""
    out = tmp_path / "out"
    assert prepare(cohort, out, "--every", 3) == 0
    assert prepare(cohort, out, "--every", 3, "--folds", 3, "--seed", 2) == 0
    printed = capsys.readouterr().out
    folds = read_folds(out)
    assert folds == draw_folds({"lung": ["p1", "p2", "p3", "p4"], "oral": ["q1", "q2", "q3"]}, 3, 2)
    for number in range(3):
        patients = [patient for patient, fold in folds.items() if fold == number]
        of_class = [2 * sum(patient.startswith(letter) for patient in patients) for letter in "pq"]
        line = (
            f"fold {number}: {len(patients)} patients, {sum(of_class)} frames (lung {of_class[0]}, oral {of_class[1]})"
        )
        assert line in printed
    edited = dict(zip(folds, (0, 1, 2, 2, 0, 0, 1), strict=True))
    write_folds(out, edited)
    assert prepare(cohort, out, "--every", 3, "--folds", 4) == 0
    assert read_folds(out) == edited
    printed, complaints = capsys.readouterr()
    assert f"{out / 'folds.csv'} is there and is kept; --folds and --seed are without effect" in printed
    assert "folds.csv: no patient of class 'oral' is in fold 2" in complaints


def test_damaged_recordings_are_skipped(tmp_path, cohort, capsys):
    out = tmp_path / "out"
    damaged = cut(cohort / "lung/p1/a.avi", 0.3)
    write_video(cohort / "oral/stray.avi", textured(2))
    (cohort / "notes.txt").write_text("notes")
    assert prepare(cohort, out) == 1
    printed, complaints = capsys.readouterr()
    lines = [line for line in complaints.splitlines() if line.startswith("xrcam prepare: ")]
    assert lines[0] == f"xrcam prepare: {cohort / 'oral/stray.avi'}: not in the folder of a class and a patient"
    assert lines[1] == "xrcam prepare: left out, since neither videos nor pictures: 1 files (notes.txt)"
    assert lines[2].startswith(f"xrcam prepare: {damaged}: damaged")
    assert len(lines) == 3
    assert "6 recordings prepared, 2 could not be" in printed
    assert {frame.patient for frame in read_prepared(out).frames} == {"p2", "p3", "p4", "q1", "q2", "q3"}


def test_a_new_patient_needs_a_part(tmp_path, cohort, capsys):
    out = tmp_path / "out"
    assert prepare(cohort, out) == 0
    write_video(cohort / "oral/q4/a.avi", textured(4, 9))
    assert prepare(cohort, out) == 1
    assert f"xrcam prepare: {out / 'split.csv'}: not listed: q4; add a line 'PATIENT,PART'" in capsys.readouterr().err
    with (out / "split.csv").open("a") as split:
        split.write("q4,test\n")
    assert prepare(cohort, out) == 0
    assert "q4" in {frame.patient for frame in read_prepared(out).part("test")}


def test_an_edited_split_without_a_class_is_remarked(tmp_path, cohort, capsys):
    out = tmp_path / "out"
    out.mkdir()
    parts = ["train", "test", "validation", "train", "train", "train", "validation"]
    lines = [f"{patient},{part}" for (_, patient), part in zip(PATIENTS, parts, strict=True)]
    (out / "split.csv").write_text("\n".join(["patient,part", *lines]))
    assert prepare(cohort, out) == 0
    assert "split.csv: no patient of class 'oral' is in the part test" in capsys.readouterr().err


def test_one_recording_under_two_patients_is_remarked(tmp_path, cohort, capsys):
    (cohort / "oral/q3/a.avi").write_bytes((cohort / "lung/p1/a.avi").read_bytes())
    assert prepare(cohort, tmp_path / "out") == 0
    assert "lung/p1/a.avi and oral/q3/a.avi have the same frames: are they two patients?" in capsys.readouterr().err


def test_interrupted(tmp_path, cohort, monkeypatch, capsys):
    def interrupt(frames):
        raise KeyboardInterrupt

    monkeypatch.setattr(frames, "find_view", interrupt)
    assert prepare(cohort, tmp_path / "out") == 130
    assert "interrupted" in capsys.readouterr().err


def test_damage_that_leaves_too_few_patients(tmp_path, cohort, capsys):
    cut(cohort / "oral/q1/a.avi", 0.3)
    assert prepare(cohort, tmp_path / "out") == 1
    assert "xrcam prepare: class 'oral' has 2 patients (q2, q3), but" in capsys.readouterr().err
    for path in cohort.rglob("*.avi"):
        path.write_text("damaged")
    assert prepare(cohort, tmp_path / "out") == 1
    assert "xrcam prepare: no recording could be read\n" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["{cohort}", "{out}", "--every", "0"], "--every: 0 is less than 1"),
        (["{cohort}", "{out}", "--seed", "-1"], "--seed: -1 is less than 0"),
        (["{cohort}", "{out}", "--split", "80/20"], "--split: expected three numbers such as 80/10/10"),
        (["{cohort}", "{out}", "--split", "0/1/1"], "the share of train is 0"),
        (["{cohort}", "{cohort}/out"], "OUT: {cohort}/out is in {cohort}"),
        (["{cohort}/gone", "{out}"], "RECORDINGS: there is no folder {cohort}/gone"),
        (
            ["{cohort}/lung", "{out}"],
            "RECORDINGS: expected CLASS/PATIENT/VIDEO in {cohort}/lung, found no such recording, but "
            "{cohort}/lung/p1/a.avi: name the folder of all classes",
        ),
        (["{cohort}/lung/p1/a.avi", "{out}"], "RECORDINGS: {cohort}/lung/p1/a.avi is a file, expected a folder"),
        (
            ["{cohort}", "{out}", "--folds", "2"],
            "--folds: expected 3 or more, for training, validation and test; found 2",
        ),
        (
            ["{cohort}", "{out}", "--folds", "4"],
            "--folds: expected at most 3, since each needs a patient of its own of class 'oral', which has q1, q2, q3",
        ),
        (["{few}", "{out}"], "class 'a' has 1 patients (p), but train, validation, test each need one"),
    ],
)
def test_wrong_arguments_do_nothing(tmp_path, cohort, capsys, arguments, message):
    places = {"cohort": cohort, "out": tmp_path / "out", "few": tmp_path / "few"}
    write_pictures(tmp_path / "few/a/p", textured(1))
    assert prepare(*(argument.format(**places) for argument in arguments)) == 2
    complaint = capsys.readouterr().err
    assert complaint.startswith(f"xrcam prepare: error: {message.format(**places)}")
    assert complaint.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_the_folder_above_that_of_classes_is_noticed(tmp_path, cohort, capsys):
    assert prepare(cohort.parent, tmp_path.parent / f"{tmp_path.name}_out") == 2
    said = "; of recordings/lung/p1/a.avi, the first folder counts as class, the second as patient\n"
    assert capsys.readouterr().err.endswith(said)


def test_an_unreadable_split_is_an_error_before_anything_is_done(tmp_path, cohort, capsys):
    out = tmp_path / "out"
    out.mkdir()
    (out / "split.csv").write_text("patient,part\np1,trian\n")
    assert prepare(cohort, out) == 2
    assert "split.csv, line 2: part 'trian' is none of" in capsys.readouterr().err
    assert not (out / "frames").exists()
