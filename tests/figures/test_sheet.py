"""Sheets name what they show, cut no text off, leave no cell blank, and are written in every format."""

import gc
import tracemalloc
import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from PIL import Image

from xrcam_jax.figures.comparison import comparison
from xrcam_jax.figures.overlay import overlay
from xrcam_jax.figures.sheet import save, sheet
from xrcam_jax.figures.style import Style

LAYERS = ("layer1", "layer2", "layer3", "layer4", "aggregate")
CAMS = ("xrelevance_cam", "relevance_cam", "grad_cam", "grad_cam_pp", "layer_cam")
AT_INPUT = ("lrp", "gradient_x_input", "prediction_difference", "guided_backprop", "integrated_gradients", "occlusion")
SIGNED = ("lrp", "gradient_x_input", "integrated_gradients")


def pictures(*sizes):
    return [np.full((height, width, 3), 40 * number + 40, np.uint8) for number, (height, width) in enumerate(sizes)]


def maps(cams, at_input=(), count=1):
    flat = np.full((count, 8, 8), 0.5, np.float32)
    return {m: dict.fromkeys(LAYERS, flat) for m in cams} | {m: {"input": flat} for m in at_input}


def texts(figure):
    return [text.get_text() for text in figure.texts]


def boxes(figure):
    """Where pictures and texts are, in pixels."""
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    shown = [axes.get_window_extent() for axes in figure.axes]
    written = [text.get_window_extent(canvas.get_renderer()) for text in figure.texts]
    return shown, written


CASES = {
    "one method": ([(40, 60)], maps(CAMS[:1])),
    "beside": ([(60, 40)], maps(CAMS[:3])),
    "above": ([(40, 40)], maps(CAMS)),
    "both": ([(40, 40)], maps(CAMS, AT_INPUT)),
    "one of both": ([(40, 40)], maps(CAMS[:1], AT_INPUT)),
    "input": ([(40, 40)], maps((), AT_INPUT)),
    "one map": ([(400, 20)], {"grad_cam": {"layer4": np.ones((1, 4, 4))}}),
    "pictures": ([(40, 60), (60, 40), (40, 40)], maps(CAMS[:1], count=3)),
    "pictures and methods": ([(40, 60), (60, 40)], maps(CAMS[:2], AT_INPUT, count=2)),
}


@pytest.mark.long(one_in=3)
@pytest.mark.parametrize("columns", ["layers", "methods"])
@pytest.mark.parametrize("case", CASES)
def test_nothing_is_cut_off_or_covered_and_no_cell_is_blank(case, columns):
    sizes, found = CASES[case]
    names = [
        f"picture {n}, of a patient with a very long name, class meningioma, score 0.97" for n in range(len(sizes))
    ]
    signed = set(found) & set(SIGNED)
    figure = sheet(pictures(*sizes), found, titles=names, signed=signed, columns=columns)
    shown, written = boxes(figure)
    for each in (*shown, *written):
        assert min(each.x0, each.y0) >= 0
        assert (each.x1, each.y1) <= (figure.bbox.x1, figure.bbox.y1)
    for number, box in enumerate(written):
        assert not any(box.overlaps(other) for other in (*written[:number], *shown)), texts(figure)[number]
    for number, box in enumerate(shown):
        assert not any(box.overlaps(other) for other in shown[:number])
    # Each picture once, each map once, and a bar for each of the scales.
    cells = sum(map(len, found.values())) + 1
    bars = bool(signed) + (len(signed) < len(found))
    assert len(figure.axes) == len(sizes) * cells + bars
    assert all(len(axes.images) == 1 for axes in figure.axes)


def test_titles_are_as_people_write_them():
    figure = sheet(
        pictures((40, 40)), maps(("xrelevance_cam+axiom=sensitivity", "grad_cam_pp"), ("integrated_gradients",))
    )
    written = " ".join(texts(figure))
    for text in ("axiom=sensitivity", "XRelevance-CAM,", "Grad-CAM++", "Integrated Gradients", "layer 3", "all layers"):
        assert text in written


def test_every_map_is_at_its_place():
    """Maps of different values, found again by row and column."""
    (picture,) = pictures((40, 40))
    values = {
        method: {layer: np.full((1, 5, 5), (i * 5 + j + 1) / 30, np.float32) for j, layer in enumerate(LAYERS)}
        for i, method in enumerate(CAMS)
    }
    for columns in ("layers", "methods"):
        figure = sheet([picture], values, columns=columns)
        shown = [axes for axes in figure.axes if axes.images[0].get_array().shape == (40, 40, 3)]
        place = {tuple(axes.images[0].get_array()[0, 0]): axes.get_position() for axes in shown}
        at = {
            (method, layer): place[tuple(overlay(picture, values[method][layer][0])[0, 0])]
            for method in CAMS
            for layer in LAYERS
        }
        across = {round(at[method, layer].x0, 4): method if columns == "methods" else layer for method, layer in at}
        assert [across[x] for x in sorted(across)] == list(CAMS if columns == "methods" else LAYERS)
        down = {-round(at[method, layer].y0, 4): layer if columns == "methods" else method for method, layer in at}
        assert [down[y] for y in sorted(down)] == list(LAYERS if columns == "methods" else CAMS)


def test_signed_maps_have_a_scale_of_their_own():
    figure = sheet(pictures((40, 40)), maps((), ("lrp", "rise")), signed=["lrp"])
    assert {"saliency 0", "1", "against −1", "+1 for the class"} <= set(texts(figure))
    assert "saliency 0" not in texts(sheet(pictures((40, 40)), maps((), ("lrp",)), signed=["lrp"]))
    assert "saliency 0" not in texts(sheet(pictures((40, 40)), maps((), ("rise",)), style=Style(look="mask")))


def test_names_of_files_are_shown_without_harm():
    figure = sheet(pictures((40, 40)), maps(CAMS[:1]), titles=["$\\frac{a$ \x1b[2J \U00012000 größer"])
    assert texts(figure)[0] == "$\\frac{a$ \\x1b[2J � größer"
    boxes(figure)


def test_formats(tmp_path):
    figure = sheet(pictures((40, 60)), maps(CAMS[:2], ("lrp",)), signed=["lrp"], titles=["a picture"])
    for suffix in ("png", "jpg", "svg", "pdf"):
        save(figure, tmp_path / "deep" / f"sheet.{suffix}")
    with Image.open(tmp_path / "deep" / "sheet.png") as png, Image.open(tmp_path / "deep" / "sheet.jpg") as jpg:
        assert png.size == jpg.size == tuple(map(int, figure.get_size_inches() * figure.dpi))
    tree = ElementTree.parse(tmp_path / "deep" / "sheet.svg").getroot()
    written = ["".join(each.itertext()).strip() for each in tree.iter("{http://www.w3.org/2000/svg}text")]
    assert written == texts(figure)
    pdf = (tmp_path / "deep" / "sheet.pdf").read_bytes()
    # TrueType outlines, embedded.
    assert b"/FontFile2" in pdf
    assert b"/Type3" not in pdf
    content = (tmp_path / "deep" / "sheet.svg").read_bytes()
    save(figure, tmp_path / "again.svg")
    assert (tmp_path / "again.svg").read_bytes() == content
    with pytest.raises(ValueError, match=r"path: .*sheet.gif ends in none of .png, .jpg"):
        save(figure, tmp_path / "sheet.gif")


def test_saved_whole_or_not_at_all(tmp_path, monkeypatch):
    path = tmp_path / "a.png"
    save(comparison([pictures((40, 40))]), path)
    before = path.read_bytes()

    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("pathlib.Path.replace", interrupted)
    with pytest.raises(KeyboardInterrupt):
        save(comparison([pictures((40, 80))]), path)
    assert [each.name for each in tmp_path.iterdir()] == ["a.png"]
    assert path.read_bytes() == before


@pytest.mark.long
def test_figures_are_let_go(tmp_path):
    """After the first ones, more figures leave no memory behind: matplotlib's pyplot would keep each."""

    def draw():
        save(sheet(pictures((40, 40)), maps(CAMS[:1])), tmp_path / "a.png")
        gc.collect()

    draw()
    tracemalloc.start()
    draw()
    first = tracemalloc.get_traced_memory()[0]
    for _ in range(3):
        draw()
    grown = tracemalloc.get_traced_memory()[0] - first
    tracemalloc.stop()
    # One figure of six pictures holds megabytes.
    assert grown < 500_000


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"pictures": []}, "pictures: expected one or more, found none"),
        ({"maps": {}}, "maps: expected those of one method or more, found none"),
        ({"maps": {"cam": {"layer4": np.ones((2, 4, 4))}}}, "maps: 2 of cam at layer4 for 1 pictures"),
        ({"titles": ["a", "b"]}, "titles: 2 for 1 pictures"),
        ({"signed": ["lrp"]}, "signed: expected names among grad_cam, found"),
        ({"signed": "grad_cam"}, "signed: expected names among grad_cam, found"),
    ],
)
def test_wrong_arguments_are_named(arguments, message):
    given = {"pictures": pictures((40, 40)), "maps": maps(["grad_cam"]), **arguments}
    with pytest.raises(ValueError, match=message):
        sheet(given.pop("pictures"), given.pop("maps"), **given)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"rows": []}, "rows: expected rows of equal length"),
        (
            {"rows": [pictures((4, 4)), pictures((4, 4), (4, 4))]},
            r"rows: expected rows of equal length, got .* \[1, 2\]",
        ),
        ({"rows": [[None]]}, "rows: expected pictures in the first row"),
        ({"columns": ["a"]}, "columns: 1 labels for 2 columns"),
        ({"row_labels": ["a", "b"]}, "row_labels: 2 labels for 1 rows"),
    ],
)
def test_wrong_comparisons_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        comparison(**{"rows": [pictures((4, 4), (4, 4))], **arguments})
