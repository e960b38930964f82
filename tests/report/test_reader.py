"""In a real browser a reader compares pairs by keys or by finger, without learning whose maps they are."""

import json
import time

import jax.numpy as jnp
import numpy as np
import pytest

from tests.browser import chromium, press, violations
from tests.report import results as made
from tests.report.results import LAYERS, METHODS, SIZE, levels, write_results
from xrcam_jax.arguments.parser import run_inside
from xrcam_jax.cam import saliency
from xrcam_jax.commands import read
from xrcam_jax.figures.overlay import overlay
from xrcam_jax.figures.style import Style
from xrcam_jax.report.ratings import read_ratings
from xrcam_jax.titles import method_title

pytest.importorskip("selenium.webdriver", reason="selenium is not installed")
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.actions.action_builder import ActionBuilder
from selenium.webdriver.common.actions.interaction import POINTER_TOUCH
from selenium.webdriver.common.actions.pointer_input import PointerInput
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import WebDriverWait

PAIRS, SEED = 6, 5
NAMES = [*METHODS, *map(method_title, METHODS)]


@pytest.fixture(scope="module")
def driver(tmp_path_factory):
    with chromium(tmp_path_factory.mktemp("profile")) as driver:
        driver.set_script_timeout(120)
        yield driver


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    folder = write_results(tmp_path_factory.mktemp("results"))
    assert run_inside(read, [str(folder), "--pairs", str(PAIRS), "--seed", str(SEED)]) == 0
    return folder / "reader.html"


class Reader:
    """Opens the page afresh, with nothing kept of others, and does with it what a reader does."""

    def __init__(self, driver, path, downloads, width=1280, scheme="light"):
        self.driver, self.path, self.downloads = driver, path, downloads
        size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 700}
        driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
        media = {"features": [{"name": "prefers-color-scheme", "value": scheme}]}
        driver.execute_cdp_cmd("Emulation.setEmulatedMedia", media)
        where = {"behavior": "allow", "downloadPath": str(downloads)}
        driver.execute_cdp_cmd("Browser.setDownloadBehavior", where)
        self.open()
        self.forget()

    def __getitem__(self, name):
        return self.driver.find_element(By.ID, name)

    def open(self):
        self.driver.get(self.path.as_uri())
        # What is clicked would otherwise still be on its way into view.
        self.run("document.documentElement.style.scrollBehavior = 'auto'")

    def forget(self):
        """Opens the page as in a browser that has not seen it; the page keeps what is done when it is left."""
        self.driver.get("about:blank")
        self.open()
        self.run("localStorage.clear()")
        self.driver.refresh()
        self.run("document.documentElement.style.scrollBehavior = 'auto'")

    def run(self, script, *arguments):
        return self.driver.execute_script(script, *arguments)

    def waits(self, condition, why=""):
        WebDriverWait(self.driver, 20, 0.02).until(lambda _: condition(), why)

    def begin(self, name="Ada"):
        self["who"].clear()
        self["who"].send_keys(name, Keys.ENTER)
        self.waits(lambda: self["where"].text)

    def press(self, *keys):
        for key in keys:
            press(self.driver, key)
            self.is_blind()

    def is_blind(self):
        """No text, label or attribute of the page names a method."""
        seen = self.run("""const clone = document.documentElement.cloneNode(true);
            for (const one of clone.querySelectorAll("script, style")) one.remove();
            return clone.outerHTML + document.title""")
        assert not [name for name in NAMES if name in seen]

    def answer(self):
        found = "return [...document.querySelectorAll('input:checked[type=radio]')].map((one) => one.value)"
        return self.run(found)

    def marks(self, name="bare"):
        script = (
            "return [...arguments[0].parentNode.querySelectorAll('polygon')].map((one) => one.getAttribute('points'))"
        )
        found = [np.array(points.replace(",", " ").split(), float) for points in self.run(script, self[name])]
        return [points.reshape(-1, 2).tolist() for points in found]

    def export(self, name="Ada"):
        file = self.downloads / f"ratings_{name}.csv"
        file.unlink(missing_ok=True)
        self["export"].click()
        self.waits(file.exists, "no file")
        self.waits(lambda: file.read_text(encoding="utf-8").endswith("\n"))
        return file

    def pixels(self, name):
        self.waits(lambda: self["pair"].get_attribute("data-painted"))
        script = """const {width, height} = arguments[0];
            return Array.from(arguments[0].getContext("2d").getImageData(0, 0, width, height).data);"""
        return np.uint8(self.run(script, self[name])).reshape(*SIZE, 4)[..., :3]

    def problems(self):
        return [entry for entry in self.driver.get_log("browser") if "willReadFrequently" not in entry["message"]]


@pytest.fixture
def page(driver, path, tmp_path):
    page = Reader(driver, path, tmp_path)
    yield page
    page.is_blind()
    assert page.problems() == []


def study(path):
    text = path.read_text(encoding="utf-8")
    return json.loads(text.partition('id="study">')[2].partition("</script>")[0])


def planned(path, reader):
    """The order and sides of a reader's pairs: FNV-1a, Mulberry32 and the shuffle of Fisher and Yates, written anew."""
    content, mask = study(path), 0xFFFFFFFF
    state = 0x811C9DC5
    for byte in f"{content['seed']}/{reader}".encode():
        state = ((state ^ byte) * 0x01000193) & mask

    def draw():
        nonlocal state
        state = (state + 0x6D2B79F5) & mask
        value = ((state ^ state >> 15) * (state | 1)) & mask
        value ^= (value + (value ^ value >> 7) * (value | 61)) & mask
        return (value ^ value >> 14) / 2**32

    order = []
    for number, (frame, first, second) in enumerate(content["pairs"], 1):
        sides = (first, second) if draw() < 0.5 else (second, first)
        order.append((number, content["frames"][frame]["name"], *(METHODS[side] for side in sides)))
    for last in range(len(order) - 1, 0, -1):
        other = int(draw() * (last + 1))
        order[last], order[other] = order[other], order[last]
    return order


def described(rating):
    return rating.pair, rating.frame, rating.left, rating.right


def test_a_reader_rates_all_pairs_by_keys_alone(page, path):
    page.begin()
    answers = [(Keys.ARROW_LEFT, "left"), (Keys.ARROW_UP, "equal"), (Keys.ARROW_RIGHT, "right")]
    for place in range(PAIRS):
        assert page["where"].text == f"Pair {place + 1} of {PAIRS}"
        page.press(answers[place % 3][0], str(place % 5 + 1), Keys.ENTER)
    assert page["where"].text == f"All {PAIRS} pairs are rated"
    found = read_ratings([page.export()])["Ada"]
    order = planned(path, "Ada")
    assert list(map(described, found.values())) == order
    assert [one.preference for one in found.values()] == [answers[place % 3][1] for place in range(PAIRS)]
    assert [one.rating for one in found.values()] == [place % 5 + 1 for place in range(PAIRS)]
    assert all(one.marks == [] and 0 <= one.seconds < 60 for one in found.values())
    patients = {frame["name"]: frame["patient"] for frame in made.viewer()["frames"]}
    assert all(one.patient == patients[one.frame] for one in found.values())


def test_each_reader_has_an_order_of_their_own(page, path):
    plans = [planned(path, name) for name in ("Ada", "Bo", "Ödön 2")]
    script = "return reading.plan(JSON.parse(document.getElementById('study').textContent), arguments[0])"
    frames = [frame["name"] for frame in study(path)["frames"]]
    for name, plan in zip(("Ada", "Bo", "Ödön 2"), plans, strict=True):
        drawn = page.run(script, name)
        shown = [(one["pair"], frames[one["frame"]], METHODS[one["left"]], METHODS[one["right"]]) for one in drawn]
        assert shown == plan
    assert len(set(map(tuple, plans))) == 3
    assert len({tuple(sorted({one[0]: one[2] for one in plan}.items())) for plan in plans}) > 1


def test_nothing_is_left_out(page):
    page.begin()
    page.press(Keys.ENTER)
    assert page["said"].text.startswith("Say first which map")
    page.press("4", Keys.ENTER)
    assert page["said"].text.startswith("Say first which map")
    page.press("u", Keys.ARROW_LEFT, Keys.ENTER)
    assert page["said"].text.startswith("Give a number")
    assert page["where"].text == f"Pair 1 of {PAIRS}"


def test_undo_takes_back_changes_and_then_pairs(page):
    page.begin()
    page.press(Keys.ARROW_LEFT, "2", Keys.ARROW_RIGHT)
    assert page.answer() == ["right", "2"]
    page.press("u")
    assert page.answer() == ["left", "2"]
    page.press("u", "u")
    assert page.answer() == []
    page.press("u")
    assert page["said"].text == "There is nothing to take back."
    page.press(Keys.ARROW_LEFT, "2", Keys.ENTER, "u")
    assert (page["where"].text, page.answer()) == (f"Pair 1 of {PAIRS}", ["left", "2"])
    page.press("5", Keys.ENTER)
    assert [one.rating for one in read_ratings([page.export()])["Ada"].values()] == [5]


def test_keys_can_be_switched_off(page):
    page.begin()
    page["keys"].click()
    page.press(Keys.ARROW_LEFT, "2", "u")
    assert page.answer() == []


def test_the_maps_are_the_librarys(page, path):
    page.begin()
    _, name, *sides = planned(path, "Ada")[0]
    number = next(number for number in range(12) if made.frame(number)["name"] == name)
    picture = np.repeat(made.picture(number)[..., None], 3, axis=2)
    assert (page.pixels("bare") == picture).all()
    for side, method in zip(("left", "right"), sides, strict=True):
        raws = [jnp.asarray(levels(number + 12 * METHODS.index(method), x) / np.float32(255)) for x in LAYERS]
        expected = overlay(picture, np.asarray(saliency.aggregate(raws, SIZE)), Style(look="heat", alpha=0.5))
        np.testing.assert_allclose(page.pixels(side).astype(int), expected, atol=8)


def test_marks_are_drawn_corner_by_corner_with_keys(page):
    page.begin()
    up, right = Keys.ARROW_UP, Keys.ARROW_RIGHT
    page.press("m", right, " ", right, right, " ", up, Keys.SHIFT + up + Keys.NULL, " ", Keys.ENTER)
    # From the middle (28, 24) by a fortieth of 56 pixels, or by one.
    triangle = [[29.4, 24], [32.2, 24], [32.2, 21.6]]
    assert [page.marks(name) for name in ("left", "right", "bare")] == [[triangle]] * 3
    page.press(" ", Keys.ENTER)
    assert page["said"].text == "A mark needs three corners."
    page.press(Keys.ESCAPE, Keys.ARROW_LEFT, "3", Keys.ENTER)
    assert page.marks() == []
    (found,) = read_ratings([page.export()])["Ada"].values()
    assert (found.marks, found.preference, found.rating) == ([triangle], "left", 3)
    page.press("u")
    assert page.marks() == [triangle]


def draw(page, name, points, kind):
    """Goes round with one finger or the mouse; points are shares of the picture's width and height."""
    page.run("arguments[0].scrollIntoView({block: 'center'})", page[name])
    box = page.run(
        "const {x, y, width, height} = arguments[0].getBoundingClientRect(); return [x, y, width, height]", page[name]
    )
    actions = ActionBuilder(page.driver, mouse=PointerInput(kind, kind), duration=5)
    places = [(round(box[0] + x * box[2]), round(box[1] + y * box[3])) for x, y in points]
    actions.pointer_action.move_to_location(*places[0]).pointer_down()
    for place in places[1:]:
        actions.pointer_action.move_to_location(*place)
    actions.pointer_action.pointer_up()
    actions.perform()
    return [[(x - box[0]) / box[2] * SIZE[1], (y - box[1]) / box[3] * SIZE[0]] for x, y in places]


def tap(page, element):
    page.run("arguments[0].scrollIntoView({block: 'center'})", element)
    ActionChains(page.driver).move_to_element(element).click().perform()


@pytest.mark.long(but=["touch"])
@pytest.mark.parametrize("kind", ["mouse", POINTER_TOUCH])
def test_a_reader_rates_with_a_finger_on_a_phone(driver, path, tmp_path, kind):
    page = Reader(driver, path, tmp_path, width=390)
    page["who"].send_keys("Bo")
    tap(page, page.driver.find_element(By.CSS_SELECTOR, "#start button"))
    page.waits(lambda: page["where"].text)
    around = [(0.2, 0.2), (0.8, 0.3), (0.5, 0.9)]
    draw(page, "bare", around, kind)
    assert page.marks() == []
    tap(page, page["mark"])
    drawn = [draw(page, name, around, kind) for name in ("bare", "left")]
    assert len(page.marks()) == 2
    for mark, expected in zip(page.marks(), drawn, strict=True):
        # All corners are on the way of the finger, the first and the last are where it came and went.
        np.testing.assert_allclose([mark[0], mark[-1]], [expected[0], expected[-1]], atol=0.5)
        assert min(np.abs(np.array(mark) - expected[1]).sum(1)) < 1.5
    tap(page, page["undo"])
    assert len(page.marks()) == 1
    for choice in ("[value=equal]", "[value='4']"):
        tap(page, page["answer"].find_element(By.CSS_SELECTOR, f"{choice} + span"))
    assert page.answer() == ["equal", "4"]
    assert page.run("return document.documentElement.scrollWidth") <= 390
    targets = page.driver.find_elements(By.CSS_SELECTOR, "#reading button, .choices label")
    assert min(min(one.size.values()) for one in targets if one.is_displayed()) >= 44
    tap(page, page.driver.find_element(By.CSS_SELECTOR, "#answer button.main"))
    assert page["where"].text == f"Pair 2 of {PAIRS}"
    (found,) = read_ratings([page.export("Bo")])["Bo"].values()
    assert (described(found), found.preference, found.rating) == (planned(path, "Bo")[0], "equal", 4)
    assert len(found.marks) == 1
    page.is_blind()
    assert page.problems() == []


def test_what_was_done_is_there_when_the_page_is_opened_again(page, path):
    page.begin()
    page.press(Keys.ARROW_LEFT, "2", Keys.ENTER, Keys.ARROW_UP)
    page.open()
    assert page["who"].get_attribute("value") == "Ada"
    page["who"].send_keys(Keys.ENTER)
    assert (page["where"].text, page.answer()) == (f"Pair 2 of {PAIRS}", ["equal"])
    page.open()
    page.begin("Bo")
    assert (page["where"].text, page.answer()) == (f"Pair 1 of {PAIRS}", [])


def test_an_exported_file_is_gone_on_from_in_another_browser(page):
    page.begin()
    page.press(Keys.ARROW_LEFT, "2", Keys.ENTER, Keys.ARROW_RIGHT, "5", Keys.ENTER)
    time.sleep(0.1)
    first = page.export()
    before = first.read_bytes()
    page.forget()
    page["import"].send_keys(str(first))
    page.waits(lambda: page["where"].text == f"Pair 3 of {PAIRS}", page["trouble"].text)
    assert page["said"].text == "2 ratings of Ada are read."
    assert page.export().read_bytes() == before


def broken(text, line, column, value):
    rows = text.splitlines()
    cells = rows[line - 1].split(",")
    cells[column] = value
    return "\r\n".join([*rows[: line - 1], ",".join(cells), *rows[line:], ""])


@pytest.mark.parametrize(
    ("line", "column", "value", "complaint"),
    [
        (1, 0, "who", "line 1: expected the columns reader, pair"),
        (2, 1, "99", f"line 2: expected a pair from 1 to {PAIRS}, found 99"),
        (3, 0, "Bo", "line 3: expected ratings of Ada alone"),
        (3, 4, "lrp", "is not the one of this page"),
        (3, 6, "both", "line 3: expected left, right or equal, found both"),
        (2, 7, "6", "line 2: expected a rating from 1 to 5, found 6"),
        (2, 8, "-1", "line 2: expected seconds, found -1"),
        (2, 9, "[[1]]", "line 2: expected marks"),
        (3, 9, '"', "line 3: a quotation mark is not closed"),
    ],
)
def test_a_file_that_is_wrong_is_refused_by_line(page, tmp_path, line, column, value, complaint):
    script = """const study = JSON.parse(document.getElementById("study").textContent);
        const record = (pair) => ({pair, preference: "left", rating: 3, seconds: 1, marks: []});
        window.study = study;
        const plain = study.pairs.map(([frame], index) => [study.frames[frame].name, index + 1]);
        const pairs = plain.filter(([name]) => !name.includes('"')).map(([, pair]) => pair);
        return reading.toCsv(study, "Ada", pairs.slice(0, 2).map(record))"""
    text = broken(page.run(script), line, column, value)
    message = page.run("try { reading.fromCsv(study, arguments[0]) } catch (error) { return error.message }", text)
    assert complaint in message
    file = tmp_path / "bad.csv"
    file.write_text(text, encoding="utf-8")
    page["import"].send_keys(str(file))
    page.waits(lambda: page["trouble"].text.startswith("bad.csv: line "))
    assert page["begin"].is_displayed()


@pytest.mark.parametrize("name", ["=1+1", "@a", "", "a,b", "<b>"])
def test_names_that_are_none_are_refused(page, name):
    page["who"].send_keys(name, Keys.ENTER)
    assert page["begin"].is_displayed()


@pytest.mark.parametrize(("width", "scheme"), [(1280, "light"), (1280, "dark"), (390, "light"), (390, "dark")])
def test_axe_finds_nothing(driver, path, tmp_path, width, scheme):
    page = Reader(driver, path, tmp_path, width=width, scheme=scheme)
    for step in (lambda: None, page.begin, lambda: page.press(Keys.ARROW_LEFT, "3", "m")):
        step()
        assert violations(driver, {"color-contrast", "label"}) == []
        assert page.run("return document.documentElement.scrollWidth") <= width
