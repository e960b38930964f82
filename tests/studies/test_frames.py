"""How many frames each patient had and has is counted, drawn, and put at the head of the report."""

import csv
import json

from matplotlib.figure import Figure
from PIL import Image

from xrcam_jax.cli import main
from xrcam_jax.data.counts import Counts
from xrcam_jax.figures.curves import bars
from xrcam_jax.figures.save import save
from xrcam_jax.studies.frames import by_patient


def rows(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_the_recordings_of_a_patient_count_together():
    counts = [
        Counts(f"{label}/{patient}/{video}", label, patient, *numbers, 0, 0, 0)
        for label, patient, video, numbers in [
            ("well", "p2", "a", (9, 5, 3)),
            ("sick", "p1", "a", (100, 50, 49)),
            ("sick", "p1", "b", (7, 4, 4)),
            ("sick", "p2", "a", (1, 1, 1)),
        ]
    ]
    wanted = {"sick": {"p1": (107, 54, 53), "p2": (1, 1, 1)}, "well": {"p2": (9, 5, 3)}}
    assert by_patient(counts) == wanted
    assert json.dumps(by_patient(counts[::-1])) == json.dumps(wanted)


def test_table_bars_and_report(drawn, tmp_path, monkeypatch):
    figures, savefig = [], Figure.savefig
    monkeypatch.setattr(Figure, "savefig", lambda self, *to, **how: figures.append(self) or savefig(self, *to, **how))
    assert main(["evaluate", "frames", "--data", str(drawn.folder), "--out", str(tmp_path)]) == 0
    found = {
        (row["class"], row["patient"]): [float(row[name]) for name in ("before", "looked at", "after")]
        for row in rows(tmp_path / "frames" / "frames.csv")
    }
    assert list(found.items()) == [
        (("ill", "p1"), [7, 4, 3]),
        (("ill", "p2"), [7, 3, 2]),
        (("ill", "p3"), [7, 2, 1]),
        (("ill", "(all)"), [21, 9, 6]),
        (("well", "q1"), [7, 3, 2]),
        (("well", "q2"), [7, 2, 1]),
        (("well", "(all)"), [14, 5, 3]),
    ]

    (figure,) = figures
    ill, well = figure.axes
    assert (ill.get_title(), well.get_title()) == ("ill", "well")
    assert [bar.get_height() for bar in ill.patches] == [7, 7, 7, 3, 2, 1]
    assert [bar.get_height() for bar in well.patches] == [7, 7, 2, 1]
    assert [label.get_text() for label in ill.get_xticklabels()] == ["p1", "p2", "p3"]

    # Of 5 recordings of 7 frames, 9 are kept and 14 looked at; the crops are 40 x 40 of 60 x 50.
    text = json.loads((tmp_path / "frames" / "contents.json").read_text())["text"]
    assert "Of 35 frames in 5 recordings, 9 were kept (25.7 %; ill 6; well 3). 14 were looked at" in text
    assert "; 5 of these repeat an earlier frame" in text
    assert "on average 53.3 % of the picture" in text
    assert main(["report", str(tmp_path)]) == 0
    page = (tmp_path / "report.html").read_text()
    assert "Frames before and after preparation" in page
    assert "data:image/png;base64," in page


def test_bars_of_any_names(tmp_path):
    """Dollars are no formulas; other scripts, controls and long names do no harm."""
    names = ("$\\frac$", "患者 1", "a\x1bb\u202e", 200 * "n", "")
    figure = bars({"$": dict.fromkeys(names, (2, 1)), "b": {"c": (0, 0)}}, ("all", "kept"), "frames")
    save(figure, tmp_path / "bars.png")
    with Image.open(tmp_path / "bars.png") as picture:
        assert min(picture.size) > 400


def test_a_folder_of_before_says_what_to_do(drawn, tmp_path, capsys):
    for name in ("manifest.csv", "split.csv", "statistics.json"):
        (tmp_path / name).write_bytes((drawn.folder / name).read_bytes())
    assert main(["evaluate", "frames", "--data", str(tmp_path), "--out", str(tmp_path / "out")]) == 2
    line = f"xrcam evaluate: error: {tmp_path / 'recordings.csv'}: there is no such file; 'xrcam prepare' makes it\n"
    assert capsys.readouterr().err == line
    assert not (tmp_path / "out").exists()
