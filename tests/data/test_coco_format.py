"""What a COCO file says comes out of it, whatever frames there are."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from pycocotools import mask as pycoco

from xrcam_jax.data.coco_format import parsed

IMAGE = {"id": 7, "width": 6, "height": 5, "file_name": "folder/a.png", "license": 1}


def marked(**fields):
    return {"id": 1, "image_id": 7, "category_id": 2, "bbox": [1, 2, 3, 1], **fields}


def content(*annotations, images=(IMAGE,)):
    return {
        "images": list(images),
        "categories": [{"id": 2, "name": "lesion", "supercategory": "x"}, {"id": 0, "name": "line"}],
        "annotations": list(annotations),
    }


def only(**fields):
    _, _, (annotation,) = parsed(content(marked(**fields)))
    return annotation


def test_images_and_categories_come_by_their_ids():
    images, categories, annotations = parsed(content(images=[IMAGE, {**IMAGE, "id": 3}, IMAGE]))
    kept = {"file_name": "folder/a.png", "width": 6, "height": 5}
    assert images == {7: kept, 3: kept}
    assert categories == {2: "lesion", 0: "line"}
    assert annotations == []


def test_an_annotation_says_where_it_is_and_what_it_is_of():
    annotation = only(iscrowd=1)
    assert (annotation.where, annotation.number) == ("annotations[0]", 1)
    assert (annotation.image, annotation.category, annotation.crowd) == (7, 2, True)
    assert not annotation.duplicate
    assert not annotation.renumbered
    assert [only(**fields).crowd for fields in ({}, {"iscrowd": 0}, {"iscrowd": True})] == [False, False, True]


def test_a_box_has_its_corners():
    regions = only().regions
    assert (regions.kind, regions.rle) == ("box", None)
    assert regions.polygons[0].tolist() == [[1, 2], [4, 2], [4, 3], [1, 3]]
    assert only(bbox=[1, 2, 3, 0]).regions.polygons == []


def test_polygons_without_area_are_left_out():
    regions = only(segmentation=[[0, 0, 4, 0, 4, 3], [0, 0, 1, 1], [0, 0, 1, 1, 3, 3], [2, 2, 2, 2, 2, 2]]).regions
    assert regions.kind == "polygon"
    assert [polygon.tolist() for polygon in regions.polygons] == [[[0, 0], [4, 0], [4, 3]]]


def test_a_polygon_may_be_written_as_pairs_or_without_a_list_around_it():
    corners = [[0, 0], [4, 0], [4, 3]]
    flat = [0, 0, 4, 0, 4, 3]
    for segmentation in ([flat], flat, corners):
        (polygon,) = only(segmentation=segmentation).regions.polygons
        assert polygon.tolist() == corners


@pytest.mark.parametrize("nothing", [None, [], [[]], {}, ""])
def test_what_marks_nothing_is_no_geometry(nothing):
    assert only(segmentation=nothing, bbox=None).regions.kind == "nothing"
    assert only(segmentation=nothing).regions.kind == "box"


def test_ids_are_the_same_as_numbers_and_as_text():
    assert [only(image_id=id).image for id in (7, 7.0, "7", "7.0", " 7 ", "7.5", "a7")] == [7] * 5 + ["7.5", "a7"]


@given(arrays(bool, array_shapes(min_dims=2, max_dims=2, max_side=12)))
def test_compressed_runs_are_those_of_pycocotools(mask):
    """The runs in the string that pycocotools makes of a mask give that mask again."""
    text = pycoco.encode(np.asfortranarray(mask, np.uint8))["counts"].decode()
    regions = only(segmentation={"size": list(mask.shape), "counts": text}).regions
    assert regions.kind == "RLE"
    flat = np.concatenate([np.full(run, place % 2, bool) for place, run in enumerate(regions.rle["counts"])])
    np.testing.assert_array_equal(flat.reshape(mask.shape, order="F"), mask)


@given(st.lists(st.sampled_from([(4, 1), (4, 2), (9, 1)]), max_size=8))
def test_numbers_are_unique_and_duplicates_are_told(drawn):
    """The first annotation keeps an id; what is the same in every respect is a duplicate; others get free ids."""
    _, _, annotations = parsed(content(*(marked(id=id, area=area) for id, area in drawn)))
    first, seen = {}, set()
    for annotation, (id, area) in zip(annotations, drawn, strict=True):
        assert annotation.duplicate == ((id, area) in seen)
        assert annotation.renumbered == (id in first and (id, area) not in seen)
        if not annotation.renumbered:
            assert annotation.number == id
        first.setdefault(id, area)
        seen.add((id, area))
    numbers = [annotation.number for annotation in annotations if not annotation.duplicate]
    assert len(set(numbers)) == len(numbers)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ([], "expected a COCO object, found list"),
        ({"images": []}, "categories: is missing"),
        (content(images=[{**IMAGE, "width": 6.5}]), r"images\[0\].width: expected int, found 6.5"),
        (content(images=[IMAGE, {**IMAGE, "width": 5}]), r"images\[1\].id: 7 is also the id of another image"),
        (content(marked(), 3), r"annotations\[1\]: expected an object, found int"),
        (content(marked(bbox=[1, 2, 3])), r"annotations\[0\].bbox: expected 4 finite numbers, found \[1, 2, 3\]"),
        (content(marked(segmentation=[[1, 2, 3]])), r"segmentation\[0\]: expected x and y in turn, found 3 numbers"),
    ],
)
def test_what_is_wrong_is_named_by_its_key(wrong, message):
    with pytest.raises(ValueError, match=f"^.*{message}"):
        parsed(wrong)
