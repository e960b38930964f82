"""A glossary that is broken is named with the entry that is wrong, and what others have written stays text."""

import base64
import io
import json

import numpy as np
import pytest
from PIL import Image

from xrcam_jax.report.glossary import read_glossary
from xrcam_jax.report.page import page
from xrcam_jax.report.read import Experiment

HOSTILE = "</script><script>alert(1)</script>\"'"


def picture():
    content = io.BytesIO()
    Image.fromarray(np.zeros((2, 3), np.uint8)).save(content, format="PNG")
    return base64.b64encode(content.getvalue()).decode()


def content():
    shown = {"name": HOSTILE, "patient": "p2", "label": 1, "picture": picture()}
    concept = {"concept": 7, "share": 0.25, "picture": picture(), "references": [shown]}
    overview = {"concept": 7, "patients": 1, "shares": [None, 0.5], "tops": [None, 1.0]}
    return {
        "layer": "layer3",
        "top": 5,
        "classes": ["a", HOSTILE],
        "frames": [{**shown, "patient": "p1", "predicted": 0, "concepts": [concept]}],
        "concepts": [{**overview, "relevant": [shown], "active": []}],
    }


def read(tmp_path, changed):
    path = tmp_path / "glossary.json"
    path.write_text(json.dumps(changed))
    return read_glossary(path)


def test_a_page_shows_all_of_it(tmp_path):
    glossary = read(tmp_path, content())
    (concept,) = glossary.concepts
    assert concept.classes == ((HOSTILE, 0.5, 1.0),)
    settings = {"data": {"synthetic": True}}
    html = page([Experiment("concepts", "Concepts", "", 1, (), (), settings, None, glossary)]).decode()
    assert "<script>alert" not in html
    assert "25.0 % of the relevance" in html
    assert "50.0 % of the relevance, in the top 5 of 100 % of the frames" in html
    assert html.count("<img") == html.count("alt=") == 4


def test_a_share_that_rounds_to_zero_has_no_sign(tmp_path):
    changed = content()
    changed["concepts"][0] |= {"shares": [-0.0004, -0.021], "tops": [0.0, 0.0]}
    settings = {"data": {"synthetic": True}}
    html = page([Experiment("concepts", "Concepts", "", 1, (), (), settings, None, read(tmp_path, changed))]).decode()
    assert "a: 0.0 % of the relevance" in html
    assert ": −2.1 % of the relevance" in html


@pytest.mark.parametrize(("target", "said"), [(None, "what the network says, be it right or wrong"), (0, "class a")])
def test_a_page_says_for_which_class_concepts_speak(tmp_path, target, said):
    glossary = read(tmp_path, {**content(), "target": target})
    settings = {"data": {"synthetic": True}}
    html = page([Experiment("concepts", "Concepts", "", 1, (), (), settings, None, glossary)]).decode()
    assert f"the concepts that speak most for {said}, and where each lies" in html
    assert "25.0 % of the relevance of a</span>" in html


def test_a_page_says_for_which_class_nothing_speaks(tmp_path):
    changed = content()
    changed["frames"][0]["concepts"] = []
    settings = {"data": {"synthetic": True}}
    html = page([Experiment("concepts", "Concepts", "", 1, (), (), settings, None, read(tmp_path, changed))]).decode()
    assert "No concept speaks for a." in html


@pytest.mark.parametrize(
    ("entry", "value", "said"),
    [
        (("classes",), ["a", "a"], "classes: expected a list of different names"),
        (("top",), -1, "top: expected a number"),
        (("target",), 2, "target: expected a number from 0 to 1"),
        (("frames",), {}, "frames: expected a list of objects"),
        (("frames", 0, "predicted"), 2, "frames: 0: predicted: expected a number from 0 to 1"),
        (("frames", 0, "picture"), "AAAA", "frames: 0: picture: expected a PNG or JPEG picture"),
        (("frames", 0, "concepts", 0, "share"), 1.5, "concepts: 0: share: expected a number from -1 to 1"),
        (("frames", 0, "concepts", 0, "references", 0, "name"), None, "references: 0: name: expected a name"),
        (("concepts", 0, "shares"), [1.0], "concepts: 0: shares: expected 2 numbers"),
        (("concepts", 0, "active"), [1], "concepts: 0: active: expected a list of objects"),
    ],
)
def test_what_is_wrong_is_named(tmp_path, entry, value, said):
    changed = content()
    *way, last = entry
    place = changed
    for key in way:
        place = place[key]
    place[last] = value
    with pytest.raises(ValueError, match=r"glossary\.json") as error:
        read(tmp_path, changed)
    assert said in str(error.value)
