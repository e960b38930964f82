"""The page as text says what it should, and contains nothing that it must not."""

import base64
import hashlib
import json
import re
from html.parser import HTMLParser

import pytest

from tests.report.results import HOSTILE, viewer, write_json, write_results
from xrcam_jax.arguments.parser import run_inside
from xrcam_jax.commands import report
from xrcam_jax.errors import CommandError


def run(*arguments):
    return run_inside(report, [str(argument) for argument in arguments])


def made(folder):
    assert run(folder) == 0
    return (folder / "report.html").read_text(encoding="utf-8")


@pytest.fixture
def results(tmp_path):
    return write_results(tmp_path / "results")


class Elements(HTMLParser):
    """Collects all elements with their attributes, and the text in each script and outside of any."""

    def __init__(self, text):
        super().__init__()
        self.elements, self.scripts, self.text = [], [], ""
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if tag == "script":
            self.scripts.append("")

    def handle_data(self, data):
        if self.cdata_elem == "script":
            self.scripts[-1] += data
        elif self.cdata_elem is None:
            self.text += data


def change(path, **entries):
    content = json.loads(path.read_text(encoding="utf-8"))
    write_json(path, {**content, **entries})


def test_the_page_is_written_beside_the_results_and_its_size_is_said(results, capsys):
    text = made(results)
    assert capsys.readouterr().out == f"{results / 'report.html'}: {len(text.encode()) / 1e6:.1f} MB\n"


def test_the_page_is_written_where_asked(results, tmp_path):
    assert run(results, "--out", tmp_path / "deep" / "page.html") == 0
    assert (tmp_path / "deep" / "page.html").stat().st_size > 0
    assert not (results / "report.html").exists()


def test_the_same_results_give_the_same_bytes(results):
    assert made(results) == made(results)


def test_nothing_comes_from_elsewhere(results):
    text = made(results)
    assert not re.search(r"https?:|@import|url\(", text)
    for _, attributes in Elements(text).elements:
        for name in ("src", "href", "action", "data", "poster", "srcset"):
            assert attributes.get(name) is None or attributes[name].startswith(("data:", "#"))


def test_the_policy_lets_the_browser_run_these_scripts_and_styles_alone(results):
    text = made(results)
    page = Elements(text)
    policy = next(one["content"] for tag, one in page.elements if one.get("http-equiv") == "Content-Security-Policy")
    digest = base64.b64encode(hashlib.sha256(page.scripts[-1].encode()).digest()).decode()
    assert f"script-src 'sha256-{digest}'" in policy
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert not any(name.startswith("on") or name == "style" for _, one in page.elements for name in one)


def test_texts_cannot_turn_their_direction_or_reach_a_terminal(results):
    write_json(
        results / "segmentation" / "contents.json",
        {"title": "\u202egpj.exe \x1b[2J", "text": "one\n\ntwo", "order": 1},
    )
    text = made(results)
    assert "\\u202egpj.exe \\x1b[2J" in Elements(text).text
    assert not set(text) & set("\u202e\x1b")
    assert "<p>one</p>\n<p>two</p>" in text


def test_texts_cannot_break_out(results):
    page = Elements(made(results))
    kinds = [attributes.get("type") for tag, attributes in page.elements if tag == "script"]
    assert kinds == ["application/json", "application/json", None]
    assert page.text.count(f"Segmentation {HOSTILE}") == 3
    assert f"First paragraph {HOSTILE}" in page.text
    assert f"model / {HOSTILE}" in page.text
    assert "SK <b>50</b>" in page.text
    assert not any(tag in ("b", "i") for tag, _ in page.elements)


def test_the_frames_arrive_as_they_were(results):
    page = Elements(made(results))
    assert json.loads(page.scripts[1]) == viewer()
    assert json.loads(page.scripts[0])["experiments"] == [
        {"element": "frames-1", "title": f"Segmentation {HOSTILE}", "data": "Synthetic data"},
    ]


def test_experiments_come_in_the_order_they_ask_for(results):
    text = made(results)
    assert text.index("First paragraph") < text.index('id="title-2">Robustness')
    change(results / "segmentation" / "contents.json", order=3)
    text = made(results)
    assert text.index('id="title-1">Robustness') < text.index("First paragraph")


def origins(text):
    return re.findall(r'<p class="origin (\w+)"><strong>(.*?)</strong>(.*?)</p>', text)


def test_the_page_begins_with_what_the_data_were(results):
    text = made(results)
    (first, statement, whose), (second, other, _) = origins(text)
    assert (first, statement) == ("synthetic", "Synthetic data: drawn, they stand for no patient")
    assert "Segmentation" in whose
    assert (second, other) == ("recordings", "Recordings")
    body = Elements(text[text.index("<body>") :]).text.strip()
    assert body.startswith("Synthetic data: drawn")
    assert "Synthetic data · drawn by xrcam synth · part: test · 12 frames · 8 patients" in body


@pytest.mark.parametrize(
    ("synthetic", "statement"),
    [
        (True, "Synthetic data: drawn, they stand for no patient"),
        (False, "Recordings"),
        (None, "Origin not recorded"),
    ],
)
def test_one_origin_of_all_is_said_once(results, synthetic, statement):
    for name in ("segmentation", "a_late_one"):
        change(results / name / "settings.json", data={"synthetic": synthetic})
    ((_, said, whose),) = origins(made(results))
    assert (said, whose) == (statement, "")


def test_alarms_are_what_is_said_first_of_a_network(results):
    change(results / "segmentation" / "settings.json", networks={"net": ""})
    change(results / "segmentation" / "contents.json", alarms=[f"ALARM: p1 {HOSTILE}."])
    page = made(results)
    text = Elements(page[page.index('id="in-short-title"') :]).text
    assert text.count(f"ALARM: p1 {HOSTILE}. See “Segmentation {HOSTILE}”.") == 1
    assert text.index("ALARM") < text.index("No overlap with outlines") < text.index("Experiments")


def test_an_origin_that_nobody_wrote_down_is_not_recorded(results):
    change(results / "a_late_one" / "settings.json", data={})
    assert [said for _, said, _ in origins(made(results))][1] == "Origin not recorded"


def cells(text):
    return re.findall(r'<td class="figure">(.*?)</td>', text)


def test_figures_have_their_intervals(results):
    assert cells(made(results)) == [
        # The next one lies in its interval, so it may not be the best.
        "<span>40.12</span> <small>38.00 to 42.50</small>",
        # Nobody knows how far it varies.
        "<span>51.00</span>",
        "<span>40.12</span> <small>−1.50 to 44.00</small>",
        "<span>–</span>",
        "<span>–</span>",
        "<span>−3.25</span> <small>−4.00 to −2.00</small>",
    ]


def test_what_is_there_to_compare_with_is_not_bold(results):
    """Also not where it prints like the best."""
    header = "method,IoU,IoU low,IoU high,Dice,Dice low,Dice high"
    rows = "(disc),90,,,51,,", "my_cam,40,40,40,51,51,51", "other,30,,,50,,"
    (results / "segmentation" / "table.csv").write_text("\n".join([header, *rows, ""]))
    table = {"file": "table.csv", "title": "T", "unit": "%", "best": "max", "labels": 1, "decimals": 0}
    change(results / "segmentation" / "contents.json", tables=[table])
    tags = "span", "span", "strong", "strong", "span", "span"
    expected = [f"<{tag}>{number}</{tag}>" for tag, number in zip(tags, (90, 51, 40, 51, 30, 50), strict=True)]
    assert [re.sub(" <small>.*", "", cell) for cell in cells(made(results))] == expected


def test_nothing_is_bold_where_there_are_too_few_patients(results):
    header = "method,IoU,IoU low,IoU high"
    (results / "segmentation" / "table.csv").write_text(f"{header}\na,40,39,41\nb,30,29,31\n")
    table = {"file": "table.csv", "title": "T", "unit": "%", "best": "max", "labels": 1, "decimals": 0}
    change(results / "segmentation" / "contents.json", tables=[table])
    for patients, bold in ((5, 0), (6, 1)):
        change(results / "segmentation" / "settings.json", data={"frames": 99, "patients": patients})
        text = made(results)
        assert "".join(cells(text)).count("<strong>") == bold
        assert ("too few patients" in text) == (not bold)
    # The frames of a single patient are what was drawn again.
    for frames, bold in ((5, 0), (6, 1)):
        change(results / "segmentation" / "settings.json", data={"frames": frames, "patients": 1})
        assert "".join(cells(made(results))).count("<strong>") == bold


def test_the_lowest_is_bold_where_less_is_better_and_none_where_nothing_is(results):
    contents = results / "segmentation" / "contents.json"
    table = {"file": "table.csv", "title": "T", "unit": None, "labels": 2, "decimals": 1}
    change(contents, tables=[{**table, "best": "min"}])
    text = made(results)
    bold = [cell for cell in cells(text) if "strong" in cell]
    assert bold == [
        "<strong>−3.2</strong> <small>−4.0 to −2.0</small>",
    ]
    assert "Bold: the lowest" in text
    assert "the lowest of its column" in text
    change(contents, tables=[{**table, "best": None}])
    text = made(results)
    assert not any("strong" in cell for cell in cells(text))
    assert "of its column" not in text


@pytest.mark.parametrize(
    ("value", "unit", "shown"),
    [
        ("0.00012", "", "1.2e−04"),
        ("-0.004", "", "−4.0e−03"),
        ("-0.004", "%", "0.00"),
        ("-0.006", "%", "−0.01"),
        ("0", "", "0.00"),
        ("inf", "%", "∞"),
        ("1e6", "%", "1000000.00"),
    ],
)
def test_small_figures_do_not_look_like_nothing_but_percentages(results, value, unit, shown):
    contents = results / "segmentation" / "contents.json"
    (table,) = json.loads(contents.read_text(encoding="utf-8"))["tables"]
    change(contents, tables=[{**table, "unit": unit}])
    header = "method,network,IoU,IoU low,IoU high"
    (results / "segmentation" / "table.csv").write_text(f"{header}\na,b,{value},,\n", encoding="utf-8")
    assert re.sub("</?(strong|span)>", "", cells(made(results))[0]) == shown


def test_methods_have_readable_names(results):
    labels = re.findall(r'<th scope="row">(.*?)</th>', made(results))
    assert labels == ["XRelevance-CAM", "Grad-CAM++", "my_cam"]


def test_what_all_rows_share_is_said_once(results):
    text = made(results)
    assert text.count("SK &lt;b&gt;50&lt;/b&gt;") == 1
    assert "All rows: network: SK &lt;b&gt;50" in text


def test_settings_are_a_list_of_names_and_values(results):
    pairs = re.findall(r"<dt>(.*?)</dt><dd>(.*?)</dd>", made(results))
    assert ("data / synthetic", "yes") in pairs
    assert ("model / options / 1 / rate", "0.1") in pairs
    assert ("model / options / 2 / rate", "–") in pairs
    assert ("layers", "layer1, layer2, layer4") in pairs


def test_pictures_lie_in_the_page(results):
    page = Elements(made(results))
    png, jpeg = [one for tag, one in page.elements if tag == "img" and "decoding" in one]
    content = base64.b64decode(png["src"].removeprefix("data:image/png;base64,"))
    assert content == (results / "segmentation" / "iou.png").read_bytes()
    assert (png["alt"], png["width"], png["height"]) == ("Overlap by layer <i>", "90", "60")
    assert jpeg["src"].startswith("data:image/jpeg;base64,")


def test_without_frames_there_is_no_viewer_and_the_page_says_so(results):
    change(results / "segmentation" / "contents.json", viewer=None)
    page = Elements(made(results))
    assert [text[:12] for text in page.scripts] == ['"use strict"']
    assert not any(attributes.get("id") == "viewer" for _, attributes in page.elements)
    assert "no single frames" in page.text


def refused(results, *, names, out="report.html"):
    with pytest.raises(CommandError) as caught:
        run(results)
    message = str(caught.value)
    assert "\n" not in message
    for name in names:
        assert name in message
    assert not (results / out).exists()


def test_a_folder_without_experiments_is_refused(tmp_path):
    refused(tmp_path, names=[str(tmp_path), "contents.json", "found none"])
    refused(tmp_path / "nowhere", names=["nowhere", "found no folder"])


def test_a_folder_in_the_place_of_the_page_is_refused(results):
    (results / "report.html").mkdir()
    with pytest.raises(CommandError, match=r"--out.*is a folder"):
        run(results)
