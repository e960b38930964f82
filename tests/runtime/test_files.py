"""Files are whole or not there, whatever happens while they are written."""

import csv
import os
from pathlib import Path

import pytest

from xrcam_jax.runtime.files import write_rows, write_whole


def test_a_file_is_written_or_replaced_and_its_folders_made(tmp_path):
    path = tmp_path / "new" / "deep" / "file.bin"
    for content in (b"first", b"", b"\x00\xff\n" * 1000):
        write_whole(path, content)
        assert path.read_bytes() == content
    assert [file.name for file in path.parent.iterdir()] == ["file.bin"]


@pytest.mark.parametrize("step", ["write_bytes", "replace"])
@pytest.mark.parametrize("old", [b"old", None])
def test_an_interrupted_write_leaves_what_was_there(tmp_path, monkeypatch, step, old):
    path = tmp_path / "file.txt"
    if old is not None:
        path.write_bytes(old)
    real = getattr(Path, step)

    def interrupted(self, *arguments):
        if step == "write_bytes":
            real(self, b"ha")
        raise KeyboardInterrupt

    monkeypatch.setattr(Path, step, interrupted)
    with pytest.raises(KeyboardInterrupt):
        write_whole(path, b"half a file")
    monkeypatch.undo()
    assert [file.read_bytes() for file in tmp_path.iterdir()] == ([] if old is None else [old])


def test_a_reader_never_sees_half_of_it(tmp_path, monkeypatch):
    """At the moment of the renaming, the new file is whole under another name and the old one still there."""
    path, seen = tmp_path / "file.txt", []
    path.write_bytes(b"old")
    replace = Path.replace

    def looked_at(self, target):
        seen.append((path.read_bytes(), self.read_bytes(), self.parent == path.parent))
        return replace(self, target)

    monkeypatch.setattr(Path, "replace", looked_at)
    write_whole(str(path), b"new")
    assert seen == [(b"old", b"new", True)]
    assert path.read_bytes() == b"new"


def test_a_folder_that_cannot_be_made_is_an_os_error(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match="file"):
        write_whole(tmp_path / "file" / "inside", b"")


def test_rows_come_back_as_written(tmp_path):
    rows = [{"name": 'a "quoted", one', "value": 0.1 + 0.2}, {"value": 1e-300, "name": "ü\nsecond line"}]
    write_rows(tmp_path / "m.csv", rows)
    with open(tmp_path / "m.csv", newline="", encoding="utf-8") as file:
        found = list(csv.DictReader(file))
    assert list(found[0]) == ["name", "value"]
    assert [{**row, "value": float(row["value"])} for row in found] == rows


def test_of_no_rows_the_file_is_empty(tmp_path):
    write_rows(tmp_path / "m.csv", [])
    assert (tmp_path / "m.csv").read_text().strip() == ""


def test_a_column_that_the_first_row_lacks_is_refused_and_nothing_written(tmp_path):
    with pytest.raises(ValueError, match="'b'"):
        write_rows(tmp_path / "m.csv", [{"a": 1}, {"a": 1, "b": 2}])
    assert os.listdir(tmp_path) == []
