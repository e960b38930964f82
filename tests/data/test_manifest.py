"""What is written comes back; what was edited wrongly is named with its line."""

import dataclasses
import shutil

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from xrcam_jax.data.manifest import (
    Frame,
    Statistics,
    read_manifest,
    read_prepared,
    read_split,
    read_statistics,
    write_manifest,
    write_split,
    write_statistics,
)
from xrcam_jax.pictures.crop import Crop

FRAME = Frame("frames/a/p/a_p_clip_000004.png", "a", "p", "a/p/clip.avi", 4, Crop(12, 7, 50, 90, 80))

HEADER, LINE = "file,label,patient,video,number,left,top,size,width,height\n", "f,a,p,v,1,2,3,4,9,9\n"

names = st.text(st.characters(codec="utf-8", exclude_characters="\x00/"), min_size=1)


def write(folder, *, frames=(FRAME,), parts=None, statistics=Statistics(0.25, 0.5)):  # noqa: B008
    write_manifest(folder, frames)
    write_split(folder, {"p": "train"} if parts is None else parts)
    write_statistics(folder, statistics)
    return folder


@example(label="a\rb", patient="\r", video='c\n\r"d', numbers=[1])
@given(
    label=names,
    patient=names,
    video=names,
    numbers=st.lists(st.integers(0, 10**7), min_size=1, max_size=3, unique=True),
)
def test_all_comes_back_with_any_names(tmp_path_factory, label, patient, video, numbers):
    folder = tmp_path_factory.mktemp("prepared")
    frames = [Frame(f"frames/{label}/{n}.png", label, patient, video, n, Crop(1, 2, 3, 4, 5)) for n in numbers]
    write(folder, frames=frames, parts={patient: "test", "other": "train"})
    prepared = read_prepared(folder)
    assert prepared.frames == tuple(frames)
    assert prepared.parts == {patient: "test", "other": "train"}
    assert prepared.statistics == Statistics(0.25, 0.5)
    assert prepared.classes == [label]


def test_the_files_can_be_read_and_edited(tmp_path):
    write(tmp_path, parts={"q": "test", "p": "train"})
    assert (tmp_path / "split.csv").read_text() == "patient,part\np,train\nq,test\n"
    assert (tmp_path / "manifest.csv").read_text().splitlines() == [
        "file,label,patient,video,number,left,top,size,width,height",
        "frames/a/p/a_p_clip_000004.png,a,p,a/p/clip.avi,4,12,7,50,90,80",
    ]
    (tmp_path / "split.csv").write_text("part,patient\r\ntest,p\r\n")
    assert read_prepared(tmp_path).part("test") == [FRAME]
    assert read_prepared(tmp_path).part("train") == []


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("manifest.csv", None, "manifest.csv: there is no such file; 'xrcam prepare' makes it"),
        ("split.csv", None, "split.csv: there is no such file"),
        ("statistics.json", None, "statistics.json: there is no such file"),
        ("manifest.csv", "file,label\n", "manifest.csv: the columns patient, video, .* are missing"),
        ("manifest.csv", "file,label,patient,video,number,left,top,size,width,height\n", "lists no frames"),
        ("manifest.csv", "file,label,patient,video,number,left,top,size,width,height\nf,a,p,v,1,2\n", "csv, line 2"),
        ("manifest.csv", "file,label,patient,video,number,left,top,size,width,height\nf,a,p,v,x,2,3,4,5,6\n", "line 2"),
        ("split.csv", "patient,part\np,trian\n", "split.csv, line 2: part 'trian' is none of train, validation, test"),
        ("split.csv", "patient,part\np,train\np,test\n", "split.csv, line 3: patient 'p' is listed twice"),
        ("split.csv", "patient,part\nq,train\n", "split.csv: the patients p of manifest.csv are not listed"),
        ("statistics.json", "{", "statistics.json: expected JSON, found something else"),
        ("statistics.json", "[" * 200_000, "statistics.json: expected JSON, found it nested too deep"),
        ("statistics.json", f'{{"mean": 1{"0" * 400}, "std": 1}}', "statistics.json: expected numbers under 'mean'"),
        ("statistics.json", '{"mean": 0.5, "std": Infinity}', "std inf cannot normalise"),
        ("statistics.json", '{"mean": NaN, "std": 0.5}', "mean nan and"),
        ("statistics.json", "caf\xe9".encode("latin-1"), "statistics.json: expected text in UTF-8, found byte 0xe9"),
        ("split.csv", b"patient,part\np\xe9,train\n", "split.csv: expected text in UTF-8, found byte 0xe9 in line 2"),
        ("split.csv", b"p\x00a\x00", "split.csv: expected text, found zero bytes"),
        ("split.csv", "", "split.csv: the columns patient, part are missing; the file is empty"),
        ("split.csv", "patient,part\np,train,more\n", "split.csv, line 2: expected 2 fields, found 3"),
        ("manifest.csv", HEADER + LINE.replace("v", "v" * 140_000), "line 2: not as a table has it .*field larger"),
        (
            "manifest.csv",
            HEADER + LINE.replace(",9", ",70000"),
            "line 2: expected a square in a picture of at most 65536",
        ),
        ("manifest.csv", HEADER + LINE.replace("2,3,4", "2,3,40"), "line 2: expected a square in a picture"),
        ("manifest.csv", HEADER + LINE.replace("2,3,4", "-2,3,4"), "line 2: expected a square in a picture"),
        ("manifest.csv", HEADER + LINE + LINE, "manifest.csv, line 3: 'f' is listed twice"),
        ("manifest.csv", HEADER + LINE + LINE.replace("f,", "other/f,"), "manifest.csv, line 3: 'f' is listed twice"),
        ("statistics.json", '{"mean": 0.5}', "statistics.json: expected numbers"),
        ("statistics.json", '{"mean": 0.5, "std": 0}', "std 0.0 cannot normalise"),
        ("statistics.json", '{"mean": 0.5, "std": 1e-320}', "cannot normalise"),
    ],
)
def test_what_is_wrong_is_named(tmp_path, name, content, message):
    write(tmp_path)
    (tmp_path / name).unlink()
    if content is not None:
        (tmp_path / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(ValueError, match=rf"^{tmp_path}/.*{message}"):
        read_prepared(tmp_path)


@pytest.mark.parametrize(
    "file",
    [
        "../other/a.png",
        "frames/../../other/a.png",
        "/etc/passwd",
        "",
        "frames/",
        "1" * 300,
        "C:\\..\\a",
    ],
)
def test_files_elsewhere_are_refused(tmp_path, file):
    write(tmp_path / "prepared")
    write_manifest(tmp_path / "prepared", [dataclasses.replace(FRAME, file=file)])
    with pytest.raises(ValueError, match=r"manifest.csv, line 2: expected a file in .*prepared, found "):
        read_prepared(tmp_path / "prepared")


@pytest.mark.parametrize("link", ["frames", "frames/a", "frames/a/p", FRAME.file])
def test_files_reached_by_a_link_are_refused(tmp_path, link):
    prepared, other = write(tmp_path / "prepared"), tmp_path / "other"
    other.mkdir()
    (prepared / FRAME.file).parent.mkdir(parents=True)
    assert read_prepared(prepared).frames == (FRAME,)
    if (prepared / link).is_dir():
        shutil.rmtree(prepared / link)
    (prepared / link).symlink_to(other)
    with pytest.raises(ValueError, match=r"manifest.csv, line 2: expected a file in .*prepared, found "):
        read_prepared(prepared)
    # The folder itself may be reached by a link.
    (prepared / link).unlink()
    (tmp_path / "link").symlink_to(prepared)
    assert read_prepared(tmp_path / "link").frames == (FRAME,)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_files_from_any_editor(tmp_path, encoding):
    """Spreadsheets mark the encoding, and end lines in their own way."""
    write(tmp_path, frames=[dataclasses.replace(FRAME, patient="p\u00e4")], parts={"p\u00e4": "train"})
    before = read_prepared(tmp_path)
    for name in ("split.csv", "manifest.csv", "statistics.json"):
        text = (tmp_path / name).read_text(encoding="utf-8").replace("\n", "\r\n")
        (tmp_path / name).write_bytes(text.encode(encoding))
    assert read_prepared(tmp_path) == before


def test_each_file_by_itself(tmp_path):
    write(tmp_path)
    assert read_manifest(tmp_path) == [FRAME]
    assert read_split(str(tmp_path)) == {"p": "train"}
    assert read_statistics(tmp_path) == Statistics(0.25, 0.5)


def test_a_wrong_folder_is_answered_with_the_right_one(tmp_path):
    write(tmp_path)
    (tmp_path / "frames").mkdir()
    with pytest.raises(ValueError, match=rf"frames/manifest.csv: there is no .* did you mean {tmp_path}\?$"):
        read_prepared(tmp_path / "frames")
    with pytest.raises(ValueError, match=r"manifest.csv is a file; expected the folder that 'xrcam prepare' makes$"):
        read_prepared(tmp_path / "manifest.csv")
