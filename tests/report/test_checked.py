"""Complaints name the file, what was expected and what was found, in one line."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xrcam_jax.report.checked import expect, is_index, is_names, is_number, read_bytes, read_object, read_text


def test_what_fits_is_let_through():
    expect(True, "a.json", "a number", 1)


def test_a_long_finding_is_shortened():
    with pytest.raises(ValueError, match=r"^a\.json: expected a number, found 'x{76}\.\.\.$"):
        expect(False, "a.json", "a number", "x" * 100)
    with pytest.raises(ValueError, match=f"^a: expected b, found '{'x' * 78}'$"):
        expect(False, "a", "b", "x" * 78)
    with pytest.raises(ValueError, match=r"^a: expected b, found nothing at all$"):
        expect(False, "a", "b", "nothing at all", quoted=False)


def test_files_that_cannot_be_read_are_named(tmp_path):
    with pytest.raises(ValueError, match=r"gone\.bin: expected pictures, found none that can be read \(No such file"):
        read_bytes(tmp_path / "gone.bin", "pictures")
    with pytest.raises(ValueError, match=r"expected pictures, found none that can be read \(Is a directory"):
        read_bytes(tmp_path, "pictures")


@given(st.binary(max_size=40))
def test_bytes_come_back_and_text_where_they_are_any(tmp_path_factory, content):
    path = tmp_path_factory.getbasetemp() / "any.txt"
    path.write_bytes(content)
    assert read_bytes(path, "anything") == content
    marked = content.startswith((b"\xff\xfe", b"\xfe\xff", b"\0\0\xfe\xff"))
    try:
        expected = content.decode("utf-8").removeprefix("\ufeff")
    except UnicodeDecodeError:
        expected = None
    if marked:
        return
    if expected is None or "\0" in expected:
        with pytest.raises(ValueError, match=f"^{path}: expected text"):
            read_text(path, "text")
    else:
        assert read_text(path, "text") == expected


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("[1]", r"expected an object, found \[1\]"),
        ("{", "found broken JSON"),
        ('{"a": NaN}', "broken JSON \\(NaN is no JSON"),
        ('{"a": -Infinity}', "broken JSON \\(-Infinity is no JSON"),
        ("[" * 100_000, "found broken JSON"),
    ],
)
def test_what_is_no_object_is_named(tmp_path, content, message):
    path = tmp_path / "a.json"
    path.write_text(content)
    with pytest.raises(ValueError, match=f"^{path}: .*{message}"):
        read_object(path, "an object")


@given(st.dictionaries(st.text(), st.none() | st.integers() | st.floats(allow_nan=False, allow_infinity=False)))
def test_objects_come_back(tmp_path_factory, content):
    path = tmp_path_factory.getbasetemp() / "object.json"
    path.write_text(json.dumps(content))
    assert read_object(path, "an object") == content


@pytest.mark.parametrize(
    ("value", "number", "index", "names"),
    [
        (0, True, True, False),
        (2, True, False, False),
        (-1, True, False, False),
        (1.0, True, False, False),
        (True, False, False, False),
        (None, False, False, False),
        ("1", False, False, False),
        (["a", "b"], False, False, True),
        (["a", "a"], False, False, False),
        (["a", 1], False, False, False),
        ([], False, False, False),
        (("a",), False, False, False),
    ],
)
def test_what_a_value_is(value, number, index, names):
    assert (is_number(value), is_index(value, 2), is_names(value)) == (number, index, names)
