"""Each annotation has its outcome, and masks are those of a rasteriser that shares nothing with pycocotools."""

import itertools
import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pycocotools import mask as pycoco

from tests.data.labels import FRAME, HEIGHT, LEFT, NAME, OTHER, SIZE, SQUARE, TOP, WIDTH, content, image, marked
from xrcam_jax.data import coco
from xrcam_jax.data.coco import OUTCOMES, REMARKS, read_annotations
from xrcam_jax.data.manifest import Frame
from xrcam_jax.pictures.crop import Crop


@pytest.fixture(scope="module")
def read(tmp_path_factory):
    path = tmp_path_factory.mktemp("coco") / "labels.json"

    def read(annotations: list[dict], images: list[dict] | None = None, frames=(FRAME, OTHER)):
        path.write_text(json.dumps(content(annotations, images)))
        return read_annotations(path, frames)

    return read


def counted(annotations) -> dict[str, int]:
    return {
        name: count for name, count in {**annotations.report.outcomes, **annotations.report.remarks}.items() if count
    }


def inside(points: list[float], height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns which pixel centres a polygon encircles an odd number of times, and how far each is from its outline."""
    y, x = np.mgrid[:height, :width] + 0.5
    starts = np.asarray(points, float).reshape(-1, 2)
    odd, distance = np.zeros((height, width), bool), np.full((height, width), np.inf)
    for (x0, y0), (x1, y1) in zip(starts, np.roll(starts, -1, axis=0), strict=True):
        if y0 != y1:
            odd ^= ((y0 > y) != (y1 > y)) & (x < x0 + (y - y0) * (x1 - x0) / (y1 - y0))
        length = (x1 - x0) ** 2 + (y1 - y0) ** 2
        along = np.clip(((x - x0) * (x1 - x0) + (y - y0) * (y1 - y0)) / (length or 1), 0, 1)
        distance = np.minimum(distance, np.hypot(x - x0 - along * (x1 - x0), y - y0 - along * (y1 - y0)))
    return odd, distance


def rle(mask: np.ndarray, compressed: bool) -> dict:
    """Returns the runs of a mask, made by pycocotools or by counting."""
    if compressed:
        encoded = pycoco.encode(np.asfortranarray(mask, np.uint8))
        return {"size": list(mask.shape), "counts": encoded["counts"].decode()}
    flat = np.concatenate([[0], mask.ravel(order="F").astype(int), [2]])
    borders = np.flatnonzero(np.diff(flat))
    return {"size": list(mask.shape), "counts": np.diff(np.concatenate([[0], borders])).tolist()}


def test_a_square_covers_its_pixels(read):
    annotations = read([marked()])
    expected = np.zeros((SIZE, SIZE), bool)
    expected[3:8, 2:9] = True
    result = annotations.masks(FRAME.file)
    assert result.dtype == bool
    np.testing.assert_array_equal(result, expected)
    (instance,) = annotations.instances[FRAME.file]
    assert (instance.number, instance.category, instance.crowd, instance.box) == (0, "lesion", False, (3, 2, 8, 9))
    assert instance.inside.all()
    assert annotations.annotated == [FRAME.file]
    assert counted(annotations) == {"used": 1, "polygon": 1}
    assert not annotations.masks(OTHER.file).any()
    assert annotations.instances[OTHER.file] == ()


@settings(max_examples=100)
@given(st.data(), st.booleans())
def test_polygons_are_those_of_another_rasteriser(read, data, whole):
    """They are in either coordinates, wherever a polygon lies, but for pixels that its outline passes through."""
    corner = st.tuples(st.integers(-150, 10 * WIDTH + 150), st.integers(-150, 10 * HEIGHT + 150))
    points = [value / 10 for point in data.draw(st.lists(corner, min_size=3, max_size=7)) for value in point]
    images = [image(width=WIDTH, height=HEIGHT) if whole else image()]
    annotations = read([marked(segmentation=[points])], images)
    odd, distance = inside(points, HEIGHT, WIDTH)
    crop = np.s_[TOP : TOP + SIZE, LEFT : LEFT + SIZE] if whole else np.s_[:SIZE, :SIZE]
    clear = distance[crop] > 0.75
    np.testing.assert_array_equal(annotations.masks(FRAME.file)[clear], odd[crop][clear])


@given(seed=st.integers(0, 2**32 - 1), compressed=st.booleans(), whole=st.booleans(), share=st.floats(0, 1))
def test_runs_are_decoded_and_cropped(read, seed, compressed, whole, share):
    shape = (HEIGHT, WIDTH) if whole else (SIZE, SIZE)
    full = np.random.default_rng(seed).random(shape) < share
    annotations = read(
        [marked(segmentation=rle(full, compressed), iscrowd=1)], [image(width=shape[1], height=shape[0])]
    )
    crop = full[TOP : TOP + SIZE, LEFT : LEFT + SIZE] if whole else full
    np.testing.assert_array_equal(annotations.masks(FRAME.file), crop)
    assert annotations.report.remarks["clipped to the crop"] == (crop.any() and crop.sum() < full.sum())
    if crop.any():
        (instance,) = annotations.instances[FRAME.file]
        rows, columns = np.nonzero(crop)
        assert instance.box == (rows.min(), columns.min(), rows.max() + 1, columns.max() + 1)
        assert instance.crowd


def test_a_box_marks_where_there_is_no_segmentation(read):
    for without in (None, [], [[]]):
        annotations = read([marked(segmentation=without, bbox=[2, 3, 7, 5])])
        assert counted(annotations) == {"used": 1, "box": 1}
        np.testing.assert_array_equal(annotations.masks(FRAME.file), read([marked()]).masks(FRAME.file))
    fields = marked()
    del fields["segmentation"]
    assert counted(read([fields])) == {"used": 1, "box": 1}


def test_names_that_fit_no_frame_are_said_with_an_example(read):
    strangers = [image("folder/scan_1.png"), image("scan_2.png", id=2)]
    marks = [marked(), marked(), marked(id=1, image_id=2), marked(id=2, image_id=9)]
    found = read(marks, strangers)
    assert counted(found) == {"unknown image": 3, "duplicate": 1}
    assert found.mismatch == f"no image has the name of a frame: expected names such as {NAME!r}, found 'scan_1.png'"
    # One that fits is enough, also where its frame was dropped or it marks nothing; and no annotations fit all.
    assert read(marks, [image("scan_1.png"), image(id=2)]).mismatch is None
    assert read(marks, [image("scan_1.png"), image("sick_p1_clip_a_000013.png", id=2)]).mismatch is None
    assert read(marks, [image("scan_1.png"), image(id=2, width=3)]).mismatch is None
    assert read([], strangers).mismatch is None
    assert read([marked(image_id=9)]).mismatch is None


def test_several_per_image_are_one_mask_and_instances_in_order(read):
    annotations = read(
        [
            marked(id=5, category_id=2),
            marked(id=3, segmentation=[[12, 12, 15, 12, 15, 15, 12, 15], [0, 18, 4, 18, 4, 20, 0, 20]]),
            marked(id=4, image_id=2),
        ],
        [image(), image("folder/" + OTHER.file, id=2)],
    )
    assert [(one.number, one.category) for one in annotations.instances[FRAME.file]] == [(5, "line"), (3, "lesion")]
    expected = np.zeros((SIZE, SIZE), bool)
    expected[3:8, 2:9] = expected[12:15, 12:15] = expected[18:, :4] = True
    np.testing.assert_array_equal(annotations.masks(FRAME.file), expected)
    assert annotations.annotated == [FRAME.file, OTHER.file]


def test_overlapping_instances_do_not_erase_each_other(read):
    lower, upper = [2, 2, 12, 12, 2, 12], [2, 2, 12, 2, 12, 12]
    both = read([marked(segmentation=[lower]), marked(id=1, segmentation=[upper])]).masks(FRAME.file)
    alone = [read([marked(segmentation=[one])]).masks(FRAME.file) for one in (lower, upper)]
    np.testing.assert_array_equal(both, alone[0] | alone[1])
    assert both[2:12, 2:12].all()


@pytest.mark.parametrize("name", [f"some/folder/{NAME}", f"C:\\pictures\\{NAME}", NAME])
def test_folders_of_the_file_name_do_not_matter(read, name):
    assert counted(read([marked()], [image(name)])) == {"used": 1, "polygon": 1}


def test_a_crop_that_is_the_whole_frame_is_the_same_either_way(read):
    whole = Frame(FRAME.file, "sick", "p1", FRAME.video, 12, Crop(0, 0, SIZE, SIZE, SIZE))
    np.testing.assert_array_equal(
        read([marked()], frames=[whole]).masks(FRAME.file), read([marked()]).masks(FRAME.file)
    )


POLYGON = {"used": 1, "polygon": 1}
WHOLE = [image(width=WIDTH, height=HEIGHT)]
FAR = [30, 3, 38, 3, 38, 8]
RUNS = pycoco.encode(np.asfortranarray(np.eye(SIZE), np.uint8))["counts"].decode()
OUTCOME_CASES = {
    "dropped": ([marked()], [image("sick_p1_clip_a_000013.png")], {"dropped frame": 1}),
    "of another recording": ([marked()], [image("sick_p1_clip_b_000012.png")], {"unknown image": 1}),
    "of another kind": ([marked()], [image("sick_p1_clip_a_000012.jpg")], {"unknown image": 1}),
    "not listed": ([marked(image_id=7)], None, {"unknown image": 1}),
    "scaled": ([marked()], [image(width=2 * SIZE, height=2 * SIZE)], {"size mismatch": 1}),
    "turned": ([marked()], [image(width=HEIGHT, height=WIDTH)], {"size mismatch": 1}),
    "two points": ([marked(segmentation=[[1, 1, 5, 5]])], None, {"empty": 1}),
    "on a line": ([marked(segmentation=[[1, 1, 5, 5, 9, 9]])], None, {"empty": 1}),
    "flat box": ([marked(segmentation=[], bbox=[1, 1, 0, 5])], None, {"empty": 1}),
    "inverted box": ([marked(segmentation=[], bbox=[9, 9, -5, -5])], None, {"empty": 1}),
    "no runs inside": ([marked(segmentation={"size": [20, 20], "counts": [400]})], None, {"empty": 1}),
    "thin": ([marked(segmentation=[[3.1, 3.1, 3.2, 3.1, 3.2, 9]])], None, {"empty": 1}),
    "outside the image": ([marked(segmentation=[FAR])], None, {"outside the crop": 1}),
    "outside the crop": ([marked(segmentation=[FAR])], WHOLE, {"outside the crop": 1}),
    "above and left": ([marked(segmentation=[[-9, -9, -2, -9, -2, -3]])], None, {"outside the crop": 1}),
    "box outside": ([marked(segmentation=[], bbox=[-9, 3, 5, 5])], None, {"outside the crop": 1}),
    "clipped": ([marked(segmentation=[[-5, 3, 9, 3, 9, 8, -5, 8]])], None, {**POLYGON, "clipped to the crop": 1}),
    "clipped in its image": ([marked()], WHOLE, {**POLYGON, "clipped to the crop": 1}),
    "bow tie": ([marked(segmentation=[[2, 2, 12, 12, 12, 2, 2, 12]])], None, {**POLYGON, "self-crossing": 1}),
    "touching": ([marked(segmentation=[[2, 2, 8, 2, 8, 8, 5, 2, 2, 8]])], None, POLYGON),
    "one of two flat": ([marked(segmentation=[[1, 1, 5, 5], SQUARE])], None, POLYGON),
    "twice": ([marked(), marked()], None, {"used": 1, "duplicate": 1, "polygon": 1}),
    "same id": ([marked(), marked(category_id=2)], None, {"used": 2, "renumbered": 1, "polygon": 2}),
    "crowd": ([marked(iscrowd=True)], None, {**POLYGON, "crowd": 1}),
    "crowd as text": ([marked(iscrowd="1")], None, {**POLYGON, "crowd": 1}),
    "no word of crowds": ([marked(iscrowd=None)], None, POLYGON),
    "of no image": ([marked(image_id=None)], None, {"unknown image": 1}),
    "of no category": ([marked(category_id=None)], None, {"unknown category": 1}),
    "of an unlisted category": ([marked(category_id=8)], None, {"unknown category": 1}),
    "no geometry": ([marked(segmentation=[], bbox=None)], None, {"no geometry": 1}),
    "empty geometry": ([marked(segmentation={}, bbox=[])], None, {"no geometry": 1}),
    "flat list": ([marked(segmentation=SQUARE)], None, POLYGON),
    "bare runs": ([marked(segmentation=RUNS)], None, {"used": 1, "RLE": 1}),
}


@pytest.mark.parametrize("case", OUTCOME_CASES)
def test_every_annotation_has_its_outcome(read, case):
    given_annotations, images, expected = OUTCOME_CASES[case]
    annotations = read(given_annotations, images)
    assert counted(annotations) == expected
    assert annotations.annotated == ([FRAME.file] if expected.get("used") else [])
    assert annotations.masks(FRAME.file).any() == bool(expected.get("used"))


def test_what_is_encircled_twice_is_outside(read):
    angles = np.pi * (0.5 + 0.8 * np.arange(5))
    star = np.stack([10 + 9 * np.cos(angles), 10 + 9 * np.sin(angles)], axis=1).ravel().tolist()
    annotations = read([marked(segmentation=[star])])
    mask = annotations.masks(FRAME.file)
    odd, distance = inside(star, SIZE, SIZE)
    np.testing.assert_array_equal(mask[distance > 0.75], odd[distance > 0.75])
    assert not mask[8:12, 8:12].any()
    assert mask[15, 10]
    assert annotations.report.remarks["self-crossing"] == 1


def test_a_shared_id_is_replaced_by_the_next_free_one(read):
    annotations = read([marked(id=4), marked(id=9), marked(id=4, category_id=2), marked(id=4), marked(id=9, area=1)])
    assert [one.number for one in annotations.instances[FRAME.file]] == [4, 9, 10, 11]
    assert counted(annotations) == {"used": 4, "duplicate": 1, "renumbered": 2, "polygon": 4}


@settings(max_examples=10)
@given(st.lists(st.sampled_from(sorted(OUTCOME_CASES)), max_size=6))
def test_the_report_counts_every_annotation_once(read, names):
    pairs = []
    for name in names:
        given_annotations, images, _ = OUTCOME_CASES[name]
        for one in given_annotations:
            pairs.append((one, (images or [image()])[0]))
    annotations = [one | {"id": 10 + n, "image_id": 1 + n} for n, (one, _) in enumerate(pairs)]
    result = read(annotations, [one | {"id": 1 + n} for n, (_, one) in enumerate(pairs)])
    assert sum(result.report.outcomes.values()) == len(pairs)
    assert result.report.outcomes["used"] == len(result.instances[FRAME.file])
    assert sum(result.report.remarks[kind] for kind in ("polygon", "RLE", "box")) == result.report.outcomes["used"]


def test_the_report_prints_a_table(read):
    report = read([marked(), marked(id=1, image_id=9), marked(id=2, iscrowd=1)]).report
    lines = [line.rsplit(maxsplit=1) for line in str(report).splitlines()]
    assert [(name.strip(), int(count)) for name, count in lines] == [
        ("annotations", 3),
        ("used", 2),
        ("polygon", 2),
        ("crowd", 1),
        *[(name, int(name == "unknown image")) for name in OUTCOMES[1:]],
    ]
    assert set(report.remarks) == set(REMARKS)


def test_masks_follow_a_resize(read):
    block, pixel = [2, 4, 10, 4, 10, 8, 2, 8], [13, 13, 14, 13, 14, 14, 13, 14]
    annotations = read([marked(segmentation=[block]), marked(id=1, segmentation=[pixel])])
    half = np.zeros((10, 10), bool)
    half[2:4, 1:5] = True
    # The single pixel at 13 is a quarter of one of the coarse pixels.
    np.testing.assert_array_equal(annotations.masks(FRAME.file, 10), half)
    double = annotations.masks(FRAME.file, 40)
    assert double[8:16, 4:20].all()
    assert double[26:28, 26:28].all()
    assert double.sum() == 8 * 16 + 4
    np.testing.assert_array_equal(annotations.masks(FRAME.file, SIZE), annotations.masks(FRAME.file))
    with pytest.raises(ValueError, match="size: expected 1 or more"):
        annotations.masks(FRAME.file, 0)
    with pytest.raises(ValueError, match="file: 'nothing' is none of the prepared frames"):
        annotations.masks("nothing")


def test_ids_as_other_tools_write_them(read):
    """One image and its annotations, whose ids are written in other ways each time, mark the same."""
    for image_id, category in ((1.0, "1"), ("1", 1.0), (" 1 ", 1)):
        annotations = read([marked(id="7", image_id=image_id, category_id=category)], [image(id=1.0)])
        assert counted(annotations) == POLYGON
        np.testing.assert_array_equal(annotations.masks(FRAME.file), read([marked()]).masks(FRAME.file))
        assert annotations.instances[FRAME.file][0].number == 7
    annotations = read([marked(id="a", image_id="x-1"), marked(id=None, image_id="x-1", area=1)], [image(id="x-1")])
    assert [one.number for one in annotations.instances[FRAME.file]] == [1, 2]
    assert counted(annotations) == {"used": 2, "polygon": 2, "renumbered": 2}


def test_bare_runs_are_of_the_image(read):
    np.testing.assert_array_equal(read([marked(segmentation=RUNS)]).masks(FRAME.file), np.eye(SIZE, dtype=bool))


@given(st.lists(st.tuples(st.integers(0, 6), st.integers(0, 6)), min_size=3, max_size=12))
def test_crossings_are_those_of_all_pairs_of_edges(points):
    """Two edges cross if each has its ends strictly on both sides of the other; whole numbers make that exact."""
    ends = points[1:] + points[:1]

    def side(a, b, c):
        return (b[0] - a[0]) * (c[1] - a[1]) - (b[1] - a[1]) * (c[0] - a[0])

    expected = any(
        side(a, b, c) * side(a, b, d) < 0 and side(c, d, a) * side(c, d, b) < 0
        for (a, b), (c, d) in itertools.combinations(zip(points, ends, strict=True), 2)
    )
    assert coco._crosses_itself("", np.array(points, float)) == expected


def test_an_outline_of_many_points_is_looked_at_where_it_may_cross():
    """A circle of 20,000 points has 200 million pairs of edges, of which next to none are near each other."""
    angles = np.linspace(0, 2 * np.pi, 20_000, endpoint=False)
    circle = np.stack([200 + 150 * np.cos(angles), 200 + 150 * np.sin(angles)], axis=1)
    starts, ends = circle, np.roll(circle, -1, axis=0)
    assert sum(len(one) for one, _ in coco._near("", starts, ends)) < 10 * len(circle)
    assert not coco._crosses_itself("", circle)
    crossed = circle.copy()
    crossed[[100, 9000]] = circle[[9000, 100]]
    assert coco._crosses_itself("", crossed)
    long = np.tile([[0.0, 0.0], [300.0, 300.0]], (5000, 1))
    with pytest.raises(ValueError, match=r"^here: expected a polygon of simpler shape, found 10000 edges"):
        coco._crosses_itself("here", long)


def test_a_file_without_annotations_marks_nothing(read):
    annotations = read([], [])
    assert annotations.annotated == []
    assert counted(annotations) == {}
