"""Results come back as they lie in the folder; what is broken or missing is named."""

import json
import re
from pathlib import Path

import pytest

from tests.report.results import HOSTILE, SETTINGS, viewer, write_json, write_results
from xrcam_jax.cli import main
from xrcam_jax.report.read import EncodedPicture, Figure, Row, read_experiments, unfinished


@pytest.fixture
def results(tmp_path):
    return write_results(tmp_path / "results")


def test_all_of_an_experiment_comes_back(results):
    first, second = read_experiments(results)
    assert (first.folder, first.title, first.order) == ("segmentation", f"Segmentation {HOSTILE}", 1)
    assert first.text == f"First paragraph {HOSTILE}\n\nSecond paragraph."
    assert first.settings == SETTINGS
    assert first.frames == viewer()
    assert first.synthetic is True
    assert (second.folder, second.tables, second.pictures, second.frames) == ("a_late_one", (), (), None)
    assert second.synthetic is False


def test_figures_come_back_with_their_intervals(results):
    (table,) = read_experiments(results)[0].tables
    assert (table.title, table.unit, table.best, table.decimals) == ("Overlap & more", "%", "max", 2)
    assert (table.labels, table.columns) == (("method", "network"), ("IoU", "Dice"))
    assert table.interval == "95 % confidence interval"
    assert table.rows[0] == Row(
        ("xrelevance_cam", "SK <b>50</b>"), (Figure(40.12, 38.0, 42.5), Figure(51.0, None, None))
    )
    assert table.rows[2].figures == (Figure(None, None, None), Figure(-3.25, -4.0, -2.0))


def test_pictures_come_back_as_they_are(results):
    png, jpeg = read_experiments(results)[0].pictures
    content = (results / "segmentation" / "iou.png").read_bytes()
    assert png == EncodedPicture("Overlap by layer <i>", "image/png", 90, 60, content)
    assert (jpeg.mime, jpeg.caption) == ("image/jpeg", "")


def test_experiments_of_equal_order_are_sorted_by_folder(results):
    path = results / "a_late_one" / "contents.json"
    write_json(path, {**json.loads(path.read_text(encoding="utf-8")), "order": 1})
    assert [one.folder for one in read_experiments(results)] == ["a_late_one", "segmentation"]


def test_a_folder_without_experiments_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"each with a contents\.json, found none"):
        read_experiments(tmp_path)
    with pytest.raises(ValueError, match=r"nowhere: expected a folder with results of experiments, found no folder"):
        read_experiments(tmp_path / "nowhere")


def test_a_folder_of_a_wrong_depth_is_answered_with_the_right_one(results, monkeypatch):
    with pytest.raises(ValueError, match=rf"segmentation: .* found none; did you mean {re.escape(str(results))}\?$"):
        read_experiments(results / "segmentation")
    with pytest.raises(ValueError, match=rf"found none; did you mean {re.escape(str(results))}\?$"):
        read_experiments(results.parent)
    monkeypatch.chdir(results / "segmentation")
    with pytest.raises(ValueError, match=r"^\.: .* found none; did you mean \.\.\?$"):
        read_experiments(Path())


@pytest.fixture
def begun(tmp_path):
    """A folder in which are two experiments that were begun, and the settings of other things."""
    settings = {"experiment": "x", "data": {"synthetic": True}}
    for name in ("concepts", "segmentation"):
        write_json(tmp_path / name / "settings.json", settings)
    for name, content in (("run", {"epochs": 3}), ("list", ["experiment"])):
        write_json(tmp_path / name / "settings.json", content)
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "settings.json").write_bytes(b"{")
    return tmp_path


def test_what_is_begun_and_not_finished_is_named(begun):
    with pytest.raises(ValueError, match=r"found none; concepts is not finished; segmentation is not finished$"):
        read_experiments(begun)
    write_json(begun / "segmentation" / "contents.json", {"title": "", "text": "", "order": 1})
    assert unfinished(begun) == ("concepts",)
    assert [one.folder for one in read_experiments(begun)] == ["segmentation"]


def test_the_command_names_what_is_not_finished_and_makes_the_page(begun, capsys):
    write_json(begun / "segmentation" / "contents.json", {"title": "", "text": "", "order": 1})
    assert main(["report", str(begun)]) == 0
    said = "xrcam report: concepts is not finished; start it again, unless it is running\n"
    assert capsys.readouterr().err == said
    write_json(begun / "concepts" / "contents.json", {"title": "", "text": "", "order": 1})
    assert main(["report", str(begun)]) == 0
    assert capsys.readouterr().err == ""


BROKEN = {
    "contents.json": [
        (b"{", ["expected", "broken JSON"]),
        (b"[]", ["expected what an experiment found", "found []"]),
        (b'{"title": 3}', ["title", "expected text", "found 3"]),
        (b'{"title": "", "text": "", "order": true}', ["order", "expected a number", "found True"]),
        (b'{"title": "", "text": "", "order": NaN}', ["broken JSON (NaN is no JSON)"]),
        (b'{"title": "", "text": "", "order": 1, "viewer": 1}', ["viewer", "the name of a file, or null"]),
        (b'{"title": "", "text": "", "order": 1, "tables": [{}]}', ["tables: file", "found None"]),
        (b'{"title": "", "text": "", "order": 1, "viewer": "../viewer.json"}', ["expected files in", "../viewer"]),
        (b'{"title": "", "text": "", "order": 1, "viewer": "a\\u0000b"}', ["expected names of files", "contents.json"]),
        (b'{"title": "", "text": "", "order": 1, "alarms": "ALARM"}', ["alarms", "expected a list of text"]),
        (b'{"title": "", "text": "", "order": 1, "alarms": [1]}', ["alarms", "expected a list of text"]),
        (b"{\xe9", ["expected text in UTF-8", "found byte 0xe9 in line 1"]),
    ],
    "settings.json": [
        (b"{}", ["data", "expected an object", "found None"]),
        (b'{"data": {"synthetic": "no"}}', ["data: synthetic", "true, false or null", "'no'"]),
        (None, ["expected the experiment's settings", "found none"]),
    ],
    "table.csv": [
        (b"", ["expected a header row, found an empty file"]),
        (b"method,network,IoU\nx,y,1\n", ["header", "NAME low"]),
        (b"method,network,IoU,IoU low,IoU high\nx,y,1,0\n", ["row 2", "expected 5 columns, found 4"]),
        (b"method,network,IoU,IoU low,IoU high\nx,y,one,0,2\n", ["row 2", "expected a number or nothing, found 'one'"]),
        (b"method,network,IoU,IoU low,IoU high\nx,y,1,,2\n", ["row 2", "both ends"]),
        (b'method,network,IoU,IoU low,IoU high\n"x,y,1,,2\n', ["expected a table in CSV"]),
        (None, ["expected a table in CSV", "found none"]),
    ],
    "iou.png": [
        (b"GIF89a", ["expected a PNG or JPEG picture", "found something else"]),
        (b"\x89PNG\r\n\x1a\n", ["expected a PNG or JPEG picture", "found something else"]),
        (None, ["expected a PNG or JPEG picture", "found none"]),
    ],
    "viewer.json": [(b"{}", ["classes", "found None"]), (None, ["expected the frames", "found none"])],
}


@pytest.mark.parametrize(
    ("name", "content", "said"), [(name, *case) for name, cases in BROKEN.items() for case in cases]
)
def test_a_broken_or_missing_file_is_named(results, name, content, said):
    path = results / "segmentation" / name
    path.unlink()
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ValueError, match=re.escape(str(path))) as caught:
        read_experiments(results)
    message = str(caught.value)
    assert "\n" not in message
    for words in said:
        assert words in message
