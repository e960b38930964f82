"""What is wrong in a COCO file is named by file, field and place."""

import copy
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.data.labels import FRAME, SIZE, content, image, marked
from xrcam_jax.data.coco import read_annotations

MALFORMED = {
    "images": ({"images": None}, "images: expected list"),
    "no annotations": ({"annotations": ...}, "annotations: is missing"),
    "categories": ({"categories": {"id": 1}}, "categories: expected list"),
    "entry": ({"annotations": [3]}, r"annotations\[0\]: expected an object, found int"),
    "same image id": ({"images": [image(), image("b.png")]}, r"images\[1\].id: 1 is also the id of another image"),
    "same category id": (
        {"categories": [{"id": 1, "name": "a"}, {"id": 1, "name": "b"}]},
        r"categories\[1\].id: 1 is also the id of another category",
    ),
    "width": ({"images": [image(width="20")]}, r"images\[0\].width: expected int, found '20'"),
    "file name": ({"images": [{"id": 1, "width": 1, "height": 1}]}, r"images\[0\].file_name: is missing"),
    "id": (marked(id=True), r"annotations\[0\].id: expected int, found True"),
    "image id": (marked(image_id=[1]), r"annotations\[0\].image_id: expected int, found \[1\]"),
    "half an id": (marked(image_id=1.5), r"annotations\[0\].image_id: expected int, found 1.5"),
    "odd": (marked(segmentation=[[1, 2, 3]]), r"segmentation\[0\]: expected x and y in turn, found 3 numbers"),
    "letters": (marked(segmentation=[["a", 2]]), r"segmentation\[0\]: expected a list of finite numbers"),
    "mixed": (marked(segmentation=[2, [3, 9]]), r"segmentation\[0\]: expected a list of finite numbers, found 2"),
    "nan": (marked(segmentation=[[float("nan"), 2]]), r"segmentation\[0\]: expected a list of finite"),
    "huge": (marked(segmentation=[[1, 2, 10**400, 3, 4, 5]]), r"segmentation\[0\]: expected a list of finite"),
    "far": (marked(segmentation=[[0, 0, 1e9, 0, 1e9, 1e9]]), r"annotations\[0\]: expected coordinates of at most 200"),
    "string": (marked(segmentation="poly"), r"segmentation.counts: expected runs in COCO's letters, found 'poly' at 0"),
    "number": (marked(segmentation=3), r"segmentation: expected polygons or an RLE, found int"),
    "endless number": (marked(segmentation="P" * 2000), r"counts: expected runs in COCO's letters, found 'PPP.* at 13"),
    "long": (marked(segmentation=[[0, 0, 190, 1, 0, 1] * 6000]), r"\[0\]: expected outlines of at most 2000000 pixels"),
    "no box": (marked(segmentation=[], bbox=[1, 2, 3]), r"bbox: expected 4 finite numbers"),
    "crowd": (marked(iscrowd="no"), r"iscrowd: expected 0 or 1, found 'no'"),
    "no size": (marked(segmentation={"counts": [400]}), r"segmentation.size: is missing"),
    "no counts": (marked(segmentation={"size": [20, 20]}), r"segmentation.counts: expected a list"),
    "short": (
        marked(segmentation={"size": [20, 20], "counts": [5, 5]}),
        "expected runs of 400 pixels .*, found 10",
    ),
    "negative": (marked(segmentation={"size": [20, 20], "counts": [500, -100]}), "segmentation.counts"),
    "fraction": (marked(segmentation={"size": [20, 20], "counts": [1.5, 398.5]}), "segmentation.counts"),
    "cut string": (marked(segmentation={"size": [20, 20], "counts": "g0340"}), "expected runs of 400"),
    "empty string": (marked(segmentation={"size": [20, 20], "counts": ""}), "expected runs of 400 .* found 0"),
    "other size": (marked(segmentation={"size": [40, 10], "counts": [400]}), r"size: expected the image's height"),
}


@pytest.mark.parametrize("case", MALFORMED)
def test_what_is_malformed_is_named(tmp_path, case):
    change, message = MALFORMED[case]
    written = content([marked()])
    written.update({"annotations": [change]} if "category_id" in change else copy.deepcopy(change))
    written = {key: value for key, value in written.items() if value is not ...}
    path = tmp_path / "labels.json"
    path.write_text(json.dumps(written))
    with pytest.raises(ValueError, match=f"^{path}: .*{message}"):
        read_annotations(path, [FRAME])


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (b"", "Expecting value"),
        (b"{'a': 1}", "Expecting property name"),
        (b"[1]", "expected a COCO object, found list"),
        (b"\xff\xfe\x00", "expected text in UTF-16, found byte 0x00"),
        (b'{"images": "caf\xe9"}', "expected text in UTF-8, found byte 0xe9 in line 1"),
        (b"[" * 200_000, "nested too deep"),
        (None, "No such file"),
    ],
)
def test_what_is_no_json_is_named(tmp_path, raw, message):
    path = tmp_path / "labels.json"
    if raw is not None:
        path.write_bytes(raw)
    with pytest.raises(ValueError, match=f"^{path}: .*{message}"):
        read_annotations(path, [FRAME])


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 50) | st.floats() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(["size", "counts", "id"]), inner),
    max_leaves=6,
)


@settings(max_examples=150)
@given(
    key=st.sampled_from(sorted({"images", "annotations", "categories", *marked(), *image(), "name"})), value=json_values
)
def test_nothing_but_a_value_error_comes_of_any_value(tmp_path_factory, key, value):
    written = content([marked()])
    for fields in (written, written["images"][0], written["annotations"][0], written["categories"][0]):
        if key in fields:
            fields[key] = value
            break
    path = tmp_path_factory.getbasetemp() / "any.json"
    path.write_text(json.dumps(written))
    message = f"{path}: "
    try:
        assert read_annotations(path, [FRAME]).masks(FRAME.file).shape == (SIZE, SIZE)
    except ValueError as error:
        message = str(error)
    assert message.startswith(f"{path}: ")
