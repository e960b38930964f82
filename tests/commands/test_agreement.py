"""``xrcam read`` and ``xrcam agreement``: what they write and say, and what they refuse."""

import csv
import json

import pytest

from tests.report.results import METHODS, write_results
from xrcam_jax.cli import main
from xrcam_jax.report.ratings import COLUMNS
from xrcam_jax.titles import method_title

#: Pairs by number: patient and the methods of the left and of the right map.
PAIRS = {1: ("P1", "cam", "lrp"), 2: ("P2", "cam", "lrp"), 3: ("P3", "lrp", "cam"), 4: ("P4", "cam", "lrp")}
ANSWERS = {
    "Ada": {1: ("left", 5), 2: ("left", 4), 3: ("equal", 3), 4: ("right", 1)},
    # Another page order: whose map is on the left differs from reader to reader.
    "Bo": {1: ("left", 4), 2: ("equal", 4), 3: ("equal", 3), 4: ("right", 2)},
    "Cy": {1: ("left", 5), 2: ("left", 3), 4: ("right", 1)},
}


def exported(folder, reader, *, swapped=False):
    path = folder / f"ratings_{reader}.csv"
    with path.open("w", newline="", encoding="utf-8") as file:
        rows = csv.writer(file)
        rows.writerow(COLUMNS)
        for pair, (preference, rating) in ANSWERS[reader].items():
            patient, *sides = PAIRS[pair]
            if swapped:
                sides, preference = sides[::-1], {"left": "right", "right": "left"}.get(preference, preference)
            rows.writerow([reader, pair, f"{patient}/f", patient, *sides, preference, rating, 2.5, "[]"])
    return str(path)


def table(path):
    with path.open(encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_tables_of_three_readers(tmp_path, capsys):
    files = [exported(tmp_path, "Ada"), exported(tmp_path, "Bo", swapped=True), exported(tmp_path, "Cy")]
    assert main(["agreement", *files, "--out", str(tmp_path / "out")]) == 0
    shown = capsys.readouterr().out
    assert "3 readers; all of them have rated 3 pairs." in shown
    found = {(row["question"], row["readers"]): row for row in table(tmp_path / "out" / "agreement.csv")}
    assert list(found)[:4] == [("preference", who) for who in ("(all)", "Ada, Bo", "Ada, Cy", "Bo, Cy")]
    # Ada and Bo: 3 of 4 alike; of cam, equal and lrp Ada has 2, 1, 1, and Bo 1, 2, 1.
    by_chance = (2 * 1 + 1 * 2 + 1 * 1) / 16
    kappa = (3 / 4 - by_chance) / (1 - by_chance)
    assert float(found["preference", "Ada, Bo"]["Cohen's kappa"]) == pytest.approx(kappa)
    assert float(found["preference", "Ada, Cy"]["Cohen's kappa"]) == 1
    # Pairs 1, 2 and 4: agreed by 3, 1 and 3 of 3 pairs of readers; of nine ratings five are cam, one equal, three lrp.
    by_chance = (25 + 1 + 9) / 81
    fleiss = (7 / 9 - by_chance) / (1 - by_chance)
    assert float(found["preference", "(all)"]["Fleiss's kappa"]) == pytest.approx(fleiss)
    assert found["preference", "(all)"]["ICC(2,1)"] == found["preference", "(all)"]["Cohen's kappa"] == ""
    # Ratings 5 4 5, 4 4 3, 1 2 1: rows 14/3, 11/3, 4/3; columns 10/3, 10/3, 3.
    mean, rows, columns = 29 / 9, (14 / 3, 11 / 3, 4 / 3), (10 / 3, 10 / 3, 3)
    total = sum((value - mean) ** 2 for value in (5, 4, 5, 4, 4, 3, 1, 2, 1))
    between = 3 * sum((row - mean) ** 2 for row in rows)
    readers = 3 * sum((column - mean) ** 2 for column in columns)
    msr, mse = between / 2, (total - between - readers) / 4
    assert float(found["rating", "(all)"]["ICC(3,1)"]) == pytest.approx((msr - mse) / (msr + 2 * mse))
    assert float(found["rating", "(all)"]["ICC(3,1) low"]) < float(found["rating", "(all)"]["ICC(3,1)"])
    won = {(row["method"], row["readers"]): row for row in table(tmp_path / "out" / "preference.csv")}
    assert len(won) == 2 * 4
    cam = {end: float(won["cam", "(all)"][f"comparisons won{end}"]) for end in ("", " low", " high")}
    # cam: Ada 2.5 of 4, Bo 2 of 4, Cy 2 of 3.
    assert cam[""] == pytest.approx(100 * 6.5 / 11)
    assert float(won["lrp", "Bo"]["comparisons won"]) == 50
    assert cam[" low"] < cam[""] < cam[" high"]
    assert (tmp_path / "out" / "agreement.md").read_text().startswith("**Agreement of 3 readers")


def rated(folder, name, *rows):
    """Writes ratings of cam and lrp: reader, pair, frame, preference."""
    path = folder / f"{name}.csv"
    lines = [f"{reader},{pair},{frame},{frame[:2]},cam,lrp,{which},3,2.5,[]" for reader, pair, frame, which in rows]
    path.write_text("\n".join([",".join(COLUMNS), *lines, ""]), encoding="utf-8")
    return str(path)


def test_readers_of_the_same_pairs_need_no_word(tmp_path, capsys):
    files = [exported(tmp_path, "Ada"), exported(tmp_path, "Bo")]
    assert main(["agreement", *files, "--out", str(tmp_path / "out")]) == 0
    assert capsys.readouterr().err == ""


def test_a_stray_reader_is_named(tmp_path, capsys):
    pairs = [(pair, f"P{pair}/f") for pair in range(1, 8)]
    ada = rated(tmp_path, "a", *(("Zed" if pair == 3 else "Ada", pair, frame, "left") for pair, frame in pairs))
    bo = rated(tmp_path, "b", *(("Bo", pair, frame, "right") for pair, frame in pairs))
    assert main(["agreement", ada, bo, "--out", str(tmp_path / "out")]) == 0
    out, err = capsys.readouterr()
    assert "on the 0 pairs that all have rated" in out
    assert err.splitlines() == [
        "xrcam agreement: there are no figures of all readers together: of 7 pairs none is rated by all; Ada has rated "
        "6, Zed has rated 1, Bo has rated 7",
        "xrcam agreement: Zed has rated 1 pair, others up to 7: is the name right?",
        "xrcam agreement: no pair is rated by both Ada and Zed",
    ]


def test_pairs_that_not_all_have_rated_are_counted(tmp_path, capsys):
    files = [exported(tmp_path, reader) for reader in ("Ada", "Bo", "Cy")]
    assert main(["agreement", *files, "--out", str(tmp_path / "out")]) == 0
    assert capsys.readouterr().err == (
        "xrcam agreement: figures of all readers are on the 3 pairs that all have rated, of 4: Ada has rated 4, "
        "Bo has rated 4, Cy has rated 3\n"
    )


def test_one_frame_has_no_interval(tmp_path, capsys):
    files = [rated(tmp_path, reader, (reader, 1, "P1/f", "left")) for reader in ("Ada", "Bo")]
    assert main(["agreement", *files, "--out", str(tmp_path / "out")]) == 0
    out = capsys.readouterr().out
    assert "on the 1 pair that all have rated" in out
    assert "all of them have rated 1 pair. See" in out
    for row in table(tmp_path / "out" / "preference.csv"):
        assert row["comparisons won"] == ("100.0" if row["method"] == "cam" else "0.0")
        assert row["comparisons won low"] == row["comparisons won high"] == ""


def test_frames_of_one_patient_have_an_interval(tmp_path):
    files = [
        rated(tmp_path, reader, (reader, 1, "P1/f", "left"), (reader, 2, "P1/g", "right")) for reader in ("Ada", "Bo")
    ]
    assert main(["agreement", *files, "--out", str(tmp_path / "out")]) == 0
    assert all(row["comparisons won low"] == "0.0" for row in table(tmp_path / "out" / "preference.csv"))


def test_the_usage_says_that_there_are_several_files(capsys):
    assert main(["agreement", "--help"]) == 0
    assert capsys.readouterr().out.startswith("Usage: xrcam agreement [OPTIONS] FILE...\n")
    assert main(["agreement"]) == 2
    assert "FILE: is missing" in capsys.readouterr().err


def test_kappa_can_be_weighted(tmp_path):
    files = [exported(tmp_path, "Ada"), exported(tmp_path, "Bo")]
    assert main(["agreement", *files, "--weighting", "linear", "--out", str(tmp_path / "out")]) == 0
    found = {(row["question"], row["readers"]): row for row in table(tmp_path / "out" / "agreement.csv")}
    a, b = ([rating for _, rating in ANSWERS[reader].values()] for reader in ("Ada", "Bo"))
    apart = sum(abs(i - j) for i, j in zip(a, b, strict=True)) / 4
    by_chance = sum(abs(i - j) for i in a for j in b) / 16
    found = found["rating", "Ada, Bo"]["Cohen's kappa, linear weights"]
    assert float(found) == pytest.approx(1 - apart / by_chance)


def test_one_reader_agrees_with_nobody(tmp_path, capsys):
    assert main(["agreement", exported(tmp_path, "Ada"), "--out", str(tmp_path / "out")]) == 2
    expected = "xrcam agreement: error: FILE: expected ratings of two or more readers, found those of Ada alone\n"
    assert capsys.readouterr().err == expected
    assert not (tmp_path / "out").exists()


def test_a_broken_file_is_one_line(tmp_path, capsys):
    (tmp_path / "bad.csv").write_text(",".join(COLUMNS) + "\nAda,1\n")
    assert main(["agreement", exported(tmp_path, "Bo"), str(tmp_path / "bad.csv")]) == 2
    expected = f"xrcam agreement: error: {tmp_path / 'bad.csv'}: line 2: expected 10 cells, found 2\n"
    assert capsys.readouterr().err == expected


def study(path):
    text = path.read_text(encoding="utf-8")
    return json.loads(text.partition('id="study">')[2].partition("</script>")[0])


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    return write_results(tmp_path_factory.mktemp("results"))


def test_the_page_has_all_pairs_and_says_no_method(results, tmp_path, capsys):
    path = tmp_path / "page.html"
    assert main(["read", str(results), "--out", str(path)]) == 0
    assert capsys.readouterr().out.startswith(f"{path}: 0.")
    text = path.read_text(encoding="utf-8")
    assert not [name for name in METHODS if name in text or method_title(name) in text]
    assert text.count("</script>") == text.count("<script") == 2
    assert len(study(path)["pairs"]) == 12 * 3
    again = tmp_path / "again.html"
    assert main(["read", str(results), "--out", str(again)]) == 0
    assert again.read_bytes() == path.read_bytes()


def test_few_pairs_are_of_all_methods_alike(results, tmp_path):
    path = tmp_path / "page.html"
    found = set()
    for seed in ("0", "1"):
        assert main(["read", str(results), "--pairs", "7", "--seed", seed, "--out", str(path)]) == 0
        content = study(path)
        sides = [tuple(pair[1:]) for pair in content["pairs"]]
        assert sorted(sides.count(each) for each in ((0, 1), (0, 2), (1, 2))) == [2, 2, 3]
        assert {pair[0] for pair in content["pairs"]} == set(range(len(content["frames"])))
        found.add(tuple(frame["name"] for frame in content["frames"]))
    assert len(found) == 2


def test_maps_of_one_layer_of_two_methods(results, tmp_path):
    path = tmp_path / "page.html"
    assert main(["read", str(results), "--layer", "layer4", "--method", "my_cam,grad_cam_pp", "--out", str(path)]) == 0
    content = study(path)
    assert len(content["pairs"]) == 12
    assert {len(maps) for frame in content["frames"] for maps in frame["maps"]} == {1}


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (["--method", "grad_cam_pp"], "expected two or more different methods to compare, found grad_cam_pp"),
        (["--method", "grad_cam_p"], "--method: unknown name 'grad_cam_p'; did you mean 'grad_cam_pp'?"),
        (["--layer", "layer3"], "--layer: unknown name 'layer3'; did you mean 'layer"),
        (["--experiment", "a_late_one"], "--experiment: unknown name 'a_late_one'"),
        (["--pairs", "0"], "--pairs: 0 is less than 1"),
        (["--seed", "-1"], "--seed: -1 is not in 0 to 4294967295"),
    ],
)
def test_what_cannot_be_is_refused_in_one_line(results, tmp_path, capsys, words, complaint):
    assert main(["read", str(results), "--out", str(tmp_path / "page.html"), *words]) == 2
    error = capsys.readouterr().err
    assert error.startswith(f"xrcam read: error: {complaint}")
    assert error.count("\n") == 1
    assert not (tmp_path / "page.html").exists()
