"""In a real browser the page computes what the library does, obeys keys and fields, and fits its window."""

import io
import json
from dataclasses import replace

import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from tests.browser import chromium, press
from tests.report import results as made
from tests.report.results import LAYERS, METHODS, SIZE, annotation, levels, picture, text, write_json, write_results
from xrcam_jax.arguments.parser import run_inside
from xrcam_jax.cam import saliency
from xrcam_jax.commands import report
from xrcam_jax.figures.overlay import outlined, overlay
from xrcam_jax.figures.style import VARIATION, Style
from xrcam_jax.metrics.overlap import salient

pytest.importorskip("selenium.webdriver", reason="selenium is not installed")
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import Select, WebDriverWait

#: How the viewer draws maps: the package's colours, of one opacity everywhere.
HALF = Style(look="heat", alpha=0.5)


@pytest.fixture(scope="module")
def driver(tmp_path_factory):
    with chromium(tmp_path_factory.mktemp("profile")) as driver:
        yield driver


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    folder = write_results(tmp_path_factory.mktemp("results"))
    late = folder / "a_late_one"
    contents = json.loads((late / "contents.json").read_text(encoding="utf-8"))
    write_json(late / "contents.json", {**contents, "viewer": "viewer.json"})
    frames = [{**made.frame(number), "patient": "P09", "iou": None} for number in (4, 5)]
    for number, frame in zip((4, 5), frames, strict=True):
        layers = {layer: stored(levels(number + 100, layer)) for layer in LAYERS}
        frame["variation"] = {"grad_cam_pp": {**layers, "aggregate": stored(levels(number + 200, "layer1"))}}
    write_json(late / "viewer.json", {**made.viewer(), "methods": ["lift_cam", *METHODS], "frames": frames})
    assert run_inside(report, [str(folder)]) == 0
    return folder / "report.html"


class Page:
    """Opens the page afresh, and does with it what a reader does."""

    def __init__(self, driver, path, width=1280, height=900, **media):
        self.driver = driver
        metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 700}
        driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
        features = [{"name": f"prefers-{name.replace('_', '-')}", "value": value} for name, value in media.items()]
        driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})
        driver.get(path.as_uri())
        self.waits_for("count", "1 of 12")
        self.run("document.documentElement.style.scrollBehavior = 'auto'; arguments[0].scrollIntoView()", self["stage"])

    def __getitem__(self, name):
        return self.driver.find_element(By.ID, name)

    def run(self, script, *arguments):
        return self.driver.execute_script(script, *arguments)

    def waits_for(self, name, words):
        WebDriverWait(self.driver, 20, 0.02).until(lambda _: self[name].text == words, f"{name}: {self[name].text!r}")

    def press(self, *keys):
        for key in keys:
            press(self.driver, key)

    def choose(self, name, value):
        Select(self[name]).select_by_value(value)

    def tick(self, group, value):
        self[group].find_element(By.CSS_SELECTOR, f"input[value={value}]").click()

    def slide(self, name, value):
        self.run("arguments[0].value = arguments[1]; arguments[0].dispatchEvent(new Event('input'))", self[name], value)

    @property
    def frame(self):
        return self["name"].text

    @property
    def captions(self):
        return [one.text.replace("\n", " ") for one in self.driver.find_elements(By.CSS_SELECTOR, "#maps figcaption")]

    def pixels(self, canvas):
        script = """const {width, height} = arguments[0];
            return Array.from(arguments[0].getContext("2d").getImageData(0, 0, width, height).data);"""
        return np.uint8(self.run(script, canvas)).reshape(*SIZE, 4)[..., :3]

    def map(self, label):
        """Returns the pixels of the map whose description begins like that."""
        return self.pixels(self.driver.find_element(By.CSS_SELECTOR, f"#maps canvas[aria-label^='{label}']"))

    def problems(self):
        """Returns what the browser complained of, but for our own reading of pixels."""
        return [entry for entry in self.driver.get_log("browser") if "willReadFrequently" not in entry["message"]]


@pytest.fixture
def page(driver, path):
    page = Page(driver, path)
    yield page
    assert page.problems() == []


def stored(array):
    return {"rows": array.shape[0], "columns": array.shape[1], "data": text(array.tobytes())}


SHAPES = [((7, 7), (224, 224)), ((12, 14), (48, 56)), ((1, 1), (9, 5)), ((3, 8), (10, 8)), ((2, 1), (31, 30))]


@pytest.mark.long(one_in=2)
@pytest.mark.parametrize(("shape", "size"), SHAPES)
def test_maps_and_regions_are_the_librarys(page, shape, size):
    drawn = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    script = "const map = xrcam.saliency(...arguments); return [Array.from(map), Array.from(xrcam.salient(map))]"
    values, region = (np.float32(each).reshape(size) for each in page.run(script, stored(drawn), list(size)))
    # The map was scaled where it was stored; one of a single pixel is constant, and is scaled to zeros.
    raw = jnp.asarray(drawn / np.float32(255))
    upsampled = saliency.upsample(raw, size)
    expected = np.asarray(saliency.min_max(upsampled))
    np.testing.assert_allclose(values, expected, atol=1e-5)
    clear = abs(expected - expected.mean() - expected.std()) > 1e-5
    assert clear.mean() > 0.99 or expected.max() == 0
    np.testing.assert_array_equal(region[clear], np.asarray(salient(jnp.asarray(expected)))[clear])


@pytest.mark.parametrize("how", saliency.AGGREGATIONS)
def test_the_whole_way_from_raw_maps_is_the_librarys_but_for_the_bytes(page, how):
    raws = [
        np.random.default_rng(seed).normal(size=side).astype(np.float32) for seed, side in enumerate([(7, 9), (5, 4)])
    ]
    maps = [stored(np.rint(255 * np.asarray(saliency.min_max(jnp.maximum(raw, 0)))).astype(np.uint8)) for raw in raws]
    values = page.run("return Array.from(xrcam.aggregate(...arguments))", maps, list(SIZE), how)
    weights = [saliency.stride(jnp.asarray(raw), SIZE) for raw in raws] if how == "weighted" else None
    expected = saliency.aggregate([jnp.asarray(raw) for raw in raws], SIZE, how=how, weights=weights)
    # The steepest slopes are that of tanh, 2, and that of the root of a product near 0.
    np.testing.assert_allclose(np.reshape(values, SIZE), expected, atol=0.05 if how == "product" else 2 / 255)


def test_an_empty_map_is_empty(page):
    script = "const map = xrcam.saliency(...arguments); return [Math.max(...map), Math.max(...xrcam.salient(map))]"
    assert page.run(script, stored(np.zeros((3, 2), np.uint8)), list(SIZE)) == [0, 0]


def maps_of(number, method):
    raws = [levels(number + 12 * METHODS.index(method), layer) / np.float32(255) for layer in LAYERS]
    maps = {layer: saliency.saliency(jnp.asarray(raw), SIZE) for layer, raw in zip(LAYERS, raws, strict=True)}
    return {**maps, "together": saliency.aggregate([jnp.asarray(raw) for raw in raws], SIZE)}


def rgb(number):
    return np.repeat(picture(number)[..., None], 3, axis=-1)


def test_the_frame_its_outline_and_its_maps_are_drawn_as_the_library_draws_them(page):
    page.press(Keys.ARROW_RIGHT)
    page.waits_for("count", "2 of 12")
    assert page.frame == "P00/frame3"
    np.testing.assert_array_equal(page.pixels(page["original"]), rgb(3))
    np.testing.assert_array_equal(page.pixels(page["outlined"]), outlined(rgb(3), annotation(3)))
    page["outline"].click()
    for name, layer in {"Layer 1": "layer1", "Layer 4": "layer4", "Layers together": "together"}.items():
        expected = overlay(rgb(3), np.asarray(maps_of(3, "grad_cam_pp")[layer]), HALF)
        # A level that lies between two colours may fall to either.
        np.testing.assert_allclose(page.map(f"Grad-CAM++, {name}").astype(int), expected, atol=8)


def test_regions_are_painted_instead_of_colours(page):
    page.press("m")
    assert page["mode-mask"].is_selected()
    assert page["legend-mask"].is_displayed()
    assert not page["legend-overlay"].is_displayed()
    found, one = page.map("XRelevance-CAM, Layer 1"), np.asarray(maps_of(0, "xrelevance_cam")["layer1"])
    # The browser rounds otherwise: at the threshold itself a pixel may fall to either side.
    clear = abs(one - one.mean() - one.std()) > 1e-5
    assert clear.mean() > 0.99
    np.testing.assert_array_equal((found != rgb(0)).any(axis=-1)[clear], np.asarray(salient(one))[clear])
    page.press("m")
    assert page["mode-overlay"].is_selected()


def test_the_variation_where_there_is_one(page):
    assert not page["choose-variation"].is_displayed()
    Select(page["experiment"]).select_by_visible_text("Robustness")
    page.waits_for("count", "1 of 2")
    page["outline"].click()
    page.press("m", "m")
    assert page["mode-variation"].is_selected()
    assert page["legend-variation"].is_displayed()
    assert not page["legend-mask"].is_displayed()
    for name, layer, drawn in (
        ("Layer 1", "layer1", (104, "layer1")),
        ("Layers together", "together", (204, "layer1")),
    ):
        variation = saliency.upsample(jnp.asarray(levels(*drawn) / np.float32(255)), SIZE)
        region = np.asarray(salient(maps_of(4, "grad_cam_pp")[layer]))
        expected = overlay(rgb(4), np.asarray(variation), replace(HALF, colormap=VARIATION))
        found = page.map(f"Grad-CAM++, {name}, variation").astype(int)
        # The border of the region is drawn in it; at the threshold a pixel may fall to either side.
        drawn_over = (found == (0, 214, 190)).all(axis=-1)
        np.testing.assert_allclose(found[~drawn_over], expected[~drawn_over], atol=8)
        border = (outlined(rgb(4), region, ink=(0, 214, 190)) == (0, 214, 190)).all(axis=-1)
        assert (drawn_over != border).mean() < 0.01
        assert drawn_over.sum() > 20
    page.tick("layers", "layer1")
    np.testing.assert_array_equal(page.map("Grad-CAM++, Layers together, no variation"), rgb(4))
    page.choose("experiment", page["experiment"].find_element(By.CSS_SELECTOR, "option").get_attribute("value"))
    page.waits_for("count", "1 of 12")
    assert page["mode-overlay"].is_selected()


def test_opacity_goes_from_the_frame_to_the_bare_colours(page):
    page.slide("opacity", 0)
    np.testing.assert_array_equal(page.map("XRelevance-CAM, Layer 2"), rgb(0))
    assert page["opacity-shown"].text == "0 %"
    page.slide("opacity", 100)
    bare = overlay(rgb(0), np.asarray(maps_of(0, "xrelevance_cam")["layer2"]), replace(HALF, alpha=1))
    np.testing.assert_allclose(page.map("XRelevance-CAM, Layer 2").astype(int), bare, atol=16)
    page.press("-", "-", "+")
    assert page["opacity-shown"].text == "90 %"


def test_keys_and_buttons_page_and_stop_at_the_ends(page):
    assert page.frame == "P00/frame0"
    assert page["previous"].get_attribute("aria-disabled") == "true"
    page.press(Keys.ARROW_LEFT)
    page.press(*[Keys.ARROW_RIGHT] * 3)
    page.waits_for("count", "4 of 12")
    page["previous"].click()
    page.waits_for("count", "3 of 12")
    assert page.frame == "P00/frame6"
    page.press(*[Keys.ARROW_RIGHT] * 12)
    page.waits_for("count", "12 of 12")
    assert page["next"].get_attribute("aria-disabled") == "true"
    live = page["where"]
    assert live.get_attribute("aria-live") == "polite"
    assert "patient P02, class GBM, network says GBM, right" in live.get_attribute("textContent")


def test_fields_keep_their_keys(page):
    page.press("/")
    assert page.driver.switch_to.active_element == page["search"]
    page["search"].send_keys("m/o+")
    assert page["search"].get_attribute("value") == "m/o+"
    assert page["mode-overlay"].is_selected()
    assert page["opacity-shown"].text == "50 %"
    page.waits_for("count", "0 of 12")
    page["reset"].click()
    page.waits_for("count", "1 of 12")
    page["opacity"].send_keys(Keys.ARROW_RIGHT)
    assert page["opacity-shown"].text == "55 %"
    assert page["count"].text == "1 of 12"


def test_keys_do_nothing_where_they_are_switched_off_or_the_frames_are_out_of_sight(page):
    page["keys"].click()
    page.press("m", Keys.ARROW_RIGHT)
    assert page["mode-overlay"].is_selected()
    page["keys"].click()
    page.run("scrollTo(0, 0); document.activeElement.blur()")
    page.press("m")
    assert page["mode-overlay"].is_selected()


def test_filters_narrow_down_and_combine(page):
    page.choose("outcome", "wrong")
    page.waits_for("count", "1 of 3 (12 in all)")
    page.choose("annotated", "yes")
    page.waits_for("count", "0 of 12")
    assert page["trouble"].is_displayed()
    assert not page["shown"].is_displayed()
    page.press("m")
    page["reset"].click()
    page.waits_for("count", "1 of 12")
    assert not page["trouble"].is_displayed()
    page.choose("patient", "=P01")
    page.waits_for("count", "1 of 4 (12 in all)")
    page.choose("class", "0")
    page.waits_for("count", "0 of 12")
    page.choose("class", "1")
    page.waits_for("count", "1 of 4 (12 in all)")
    page["search"].send_keys("FRAME10")
    page.waits_for("count", "1 of 1 (12 in all)")
    assert page.frame == "P01/frame10"


def test_the_frame_that_is_shown_stays_where_filters_let_it(page):
    page.press(Keys.ARROW_RIGHT)
    page.waits_for("name", "P00/frame3")
    page.choose("annotated", "yes")
    page.waits_for("count", "1 of 6 (12 in all)")
    assert page.frame == "P00/frame3"


def order(page, length):
    names = [page.frame]
    for place in range(2, length + 1):
        page["next"].click()
        page.waits_for("count", f"{place} of 12")
        names.append(page.frame)
    return names


def sort(page, **choices):
    """Sorts and goes to the first frame, since the one that was shown may lie anywhere now."""
    for name, value in choices.items():
        page.choose(name.replace("_", "-"), value)
    page.run("for (let turn = 0; turn < 12; turn += 1) arguments[0].click()", page["previous"])
    page.waits_for("count", "1 of 12")


def test_frames_are_sorted_by_name_score_and_overlap(page):
    frames = {frame["name"]: frame for frame in made.viewer()["frames"]}
    # 10 comes after 9, and 1 before it.
    by_name = [made.frame(patient + 3 * place)["name"] for patient in range(3) for place in range(4)]
    assert order(page, 12) == by_name
    sort(page, sort="score-low")
    scores = [frame["scores"][frame["label"]] for frame in map(frames.get, order(page, 12))]
    assert scores == sorted(scores)
    sort(page, sort="iou-high", sort_method="my_cam", sort_layer="layer2")
    overlaps = [(frame["iou"] or {}).get("my_cam", {}).get("layer2") for frame in map(frames.get, order(page, 12))]
    assert overlaps[:6] == sorted(overlaps[:6], reverse=True)
    assert overlaps[6:] == [None] * 6


def test_methods_and_layers_are_chosen(page):
    page.choose("annotated", "yes")
    page.waits_for("name", "P00/frame3")
    overlap = f"overlap {made.frame(3)['iou']['my_cam']['aggregate']:.2f}"
    every = [f"{name} {overlap}" for name in ("Layer 1", "Layer 2", "Layer 4", "Layers together")]
    assert page.captions == every * 3
    page.tick("methods", "xrelevance_cam")
    page.tick("methods", "my_cam")
    page.tick("layers", "layer2")
    # The mean of all layers was measured, so that of two has no figure.
    assert page.captions == [every[0], every[2], "Layers together"]
    assert page.driver.find_element(By.CSS_SELECTOR, "#maps h3").text == "Grad-CAM++"
    raws = [jnp.asarray(levels(3 + 12, layer) / np.float32(255)) for layer in ("layer1", "layer4")]
    page["outline"].click()
    expected = overlay(rgb(3), np.asarray(saliency.aggregate(raws, SIZE)), HALF)
    np.testing.assert_allclose(page.map("Grad-CAM++, Layers together").astype(int), expected, atol=8)
    page["together"].click()
    assert page.captions == [every[0], every[2]]
    page.tick("methods", "grad_cam_pp")
    assert "Tick a method" in page["maps"].text


def test_frames_of_another_experiment_are_chosen(page):
    page.choose("experiment", "frames-2")
    page.waits_for("count", "1 of 2")
    assert page["facts"].text.startswith("Data\nRecordings\n")
    names = page["methods"].find_elements(By.TAG_NAME, "label")
    boxes = page["methods"].find_elements(By.TAG_NAME, "input")
    ticked = {name.text: box.is_selected() for name, box in zip(names, boxes, strict=True)}
    # Of the methods that a reader looks for first only one is there; the others are the first of the rest.
    assert ticked == {"LIFT-CAM": True, "XRelevance-CAM": True, "Grad-CAM++": True, "my_cam": False}
    page.tick("methods", "my_cam")
    page.tick("methods", "grad_cam_pp")
    assert "No map at these layers." in page["maps"].text
    assert [option.text for option in Select(page["patient"]).options] == ["All patients", "P09"]
    assert not page["sort"].find_element(By.CSS_SELECTOR, "[value=iou-low]").is_enabled()


def test_hostile_texts_are_only_texts(page):
    page["search"].send_keys("frame2 ")
    page.waits_for("count", "1 of 1 (12 in all)")
    assert page["name"].get_attribute("textContent") == made.frame(2)["name"]
    assert page.run("return document.scripts.length") == 4
    assert (
        page.run("return performance.getEntriesByType('resource').filter(e => !e.name.startsWith('data:')).length") == 0
    )


def test_every_field_has_a_label_and_every_picture_a_text(page):
    script = """const bare = [...document.querySelectorAll("input, select")].filter((field) => !field.labels.length);
        const mute = [...document.querySelectorAll("canvas")].filter((one) => !one.getAttribute("aria-label"));
        const images = [...document.querySelectorAll("img")].filter((one) => !one.hasAttribute("alt"));
        return [bare, mute, images].map((found) => found.map((one) => one.outerHTML));"""
    assert page.run(script) == [[], [], []]


LOOKS = {
    "desktop": {"width": 1280},
    "dark": {"width": 1280, "color_scheme": "dark"},
    "phone": {"width": 360, "height": 740},
    "phone_dark": {"width": 360, "height": 740, "color_scheme": "dark"},
}


@pytest.mark.parametrize("look", LOOKS)
def test_the_page_is_no_wider_than_its_window(driver, path, tmp_path, look):
    page = Page(driver, path, **LOOKS[look])
    for details in driver.find_elements(By.TAG_NAME, "details"):
        page.run("arguments[0].open = true", details)
    assert page.run("return document.documentElement.scrollWidth") <= LOOKS[look]["width"]
    ground = page.run("return getComputedStyle(document.body).backgroundColor")
    assert (ground == "rgb(21, 24, 27)") == ("dark" in look)
    if "phone" in look:
        sides = [page[name].size for name in ("previous", "next")]
        assert min(min(side.values()) for side in sides) >= 44
    for place in ("top", "stage"):
        page.run("scrollTo(0, 0)" if place == "top" else "arguments[0].scrollIntoView()", page["stage"])
        driver.save_screenshot(str(tmp_path / f"{look}_{place}.png"))
        shot = Image.open(io.BytesIO((tmp_path / f"{look}_{place}.png").read_bytes()))
        assert shot.width == LOOKS[look]["width"]
    assert page.problems() == []
