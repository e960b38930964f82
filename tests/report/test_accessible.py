"""The page is for everyone: axe finds nothing serious, keys reach all of it, and paper shows what a screen folds."""

import base64
import json

import pytest

from tests.browser import LOOKED_FOR, chromium, violations
from tests.report.results import write_json, write_results
from xrcam_jax.report.page import page
from xrcam_jax.report.read import read_experiments

pytest.importorskip("selenium.webdriver", reason="selenium is not installed")
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import WebDriverWait

NETWORK = "skresnet18_narrow"
#: Tables from which there is something to find, and several of them, so that some are folded twice.
FIGURES = {
    "per_layer": ("layer1", "xrelevance_cam,{0},40,38,42", "(centred disc),{0},9,8,10"),
    "aggregated": ("layer4+2", "xrelevance_cam,{0},30,28,32", "my_cam,{0},9,8,10"),
    "dice": ("layer1", "xrelevance_cam,{0},40,38,42", "my_cam,{0},41,38,42"),
}


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    folder = write_results(tmp_path_factory.mktemp("results"))
    one = folder / "segmentation"
    contents, settings = (json.loads((one / f"{name}.json").read_text()) for name in ("contents", "settings"))
    for name, (column, *rows) in FIGURES.items():
        lines = [f"method,network,{column},{column} low,{column} high", *(row.format(NETWORK) for row in rows), ""]
        (one / f"{name}.csv").write_text("\n".join(lines))
    tables = [{"file": f"{name}.csv", "title": name, "unit": "%", "best": "max", "labels": 2} for name in FIGURES]
    write_json(one / "contents.json", {**contents, "tables": [*tables, *contents["tables"]]})
    write_json(one / "settings.json", {**settings, "experiment": "segmentation", "networks": {NETWORK: "0123"}})
    written = folder / "report.html"
    written.write_bytes(page(read_experiments(folder)))
    return written


@pytest.fixture(scope="module")
def driver(tmp_path_factory):
    with chromium(tmp_path_factory.mktemp("profile")) as driver:
        driver.set_script_timeout(120)
        yield driver


@pytest.fixture
def shown(driver, path):
    """Shows the page in a window of some width and scheme, and waits until the frames are there."""

    def show(width=1280, scheme="light", media=""):
        size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 700}
        driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
        features = [{"name": "prefers-color-scheme", "value": scheme}]
        driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": media, "features": features})
        driver.get(path.as_uri())
        WebDriverWait(driver, 20, 0.02).until(lambda _: driver.find_elements(By.CSS_SELECTOR, "#maps canvas"))
        return driver

    return show


@pytest.mark.parametrize(("width", "scheme"), [(1280, "light"), (1280, "dark"), (390, "light"), (390, "dark")])
def test_axe_finds_nothing_on_the_page_with_all_of_it_open(shown, width, scheme):
    driver = shown(width, scheme)
    driver.execute_script("for (const one of document.querySelectorAll('details')) one.open = true")
    assert violations(driver, LOOKED_FOR | {"image-alt"}) == []


def test_axe_finds_what_is_wrong(shown):
    driver = shown()
    driver.execute_script(
        "document.querySelector('img').removeAttribute('alt');"
        "document.querySelector('label[for=search]').remove();"
        "document.querySelector('h1').style.color = '#eee'"
    )
    assert {"image-alt", "label", "color-contrast"} <= {name for name, *_ in violations(driver)}


def test_first_comes_what_a_reader_came_for(shown):
    driver = shown()
    names = [one.text for one in driver.find_elements(By.TAG_NAME, "h2")]
    assert names == ["In short", "Some frames", "Look through the frames", "Experiments"]
    findings = driver.find_elements(By.CSS_SELECTOR, ".findings li")
    assert findings[0].text.startswith(
        "XRelevance-CAM has the highest overlap with the outlines: a pooled IoU of 30.0 %"
    )
    cards = driver.find_element(By.CSS_SELECTOR, ".cards").text
    assert f"Network\n{NETWORK}\ntells apart GBM, Meningioma" in cards
    assert "75.0 %" in cards
    assert "of 12 frames of 3 patients, part: test" in cards
    assert not any(table.is_displayed() for table in driver.find_elements(By.TAG_NAME, "table"))


def open_ones(driver):
    script = "return [...document.querySelectorAll('#experiments details')].map((one) => one.open)"
    return driver.execute_script(script)


def test_keys_reach_the_tables_and_open_them(shown):
    driver = shown()
    driver.execute_script("document.getElementById('unfold').focus()")
    active = driver.switch_to.active_element
    active.send_keys(Keys.TAB)
    summary = driver.switch_to.active_element
    assert summary.text.endswith("4 tables, 2 pictures, settings")
    summary.send_keys(Keys.ENTER)
    assert driver.find_element(By.CSS_SELECTOR, "table").is_displayed()
    summary.send_keys(Keys.TAB)
    box = driver.switch_to.active_element
    assert box.get_attribute("class") == "scroll"
    # Of the four tables two are open, and the others have titles of their own to open them by.
    box.send_keys(Keys.TAB, Keys.TAB)
    assert driver.execute_script("return document.activeElement.textContent") == "dice in %"


def test_one_button_opens_and_closes_everything_but_settings(shown):
    driver = shown()
    button = driver.find_element(By.ID, "unfold")
    assert not any(open_ones(driver))
    button.send_keys(Keys.ENTER)
    shut = driver.find_elements(By.CSS_SELECTOR, "#experiments details:not([open])")
    assert {one.get_attribute("class") for one in shut} == {"settings"}
    WebDriverWait(driver, 5).until(lambda _: button.text == "Close all")
    button.send_keys(Keys.ENTER)
    assert not any(open_ones(driver)[:1])
    WebDriverWait(driver, 5).until(lambda _: button.text == "Open all")


def seen(driver, selector):
    """Tells of each element whether it is seen; for Selenium what is folded is hidden, whatever its style."""
    return driver.execute_script(
        "return [...document.querySelectorAll(arguments[0])].map((one) => one.checkVisibility())", selector
    )


def test_paper_shows_all_tables_and_no_controls(shown):
    assert seen(shown(), "table") == [False] * 4
    driver = shown(media="print")
    assert seen(driver, "table") == [True] * 4
    for hidden in (".controls", "#next", "#previous", ".keys", "nav", "#unfold", ".settings"):
        assert not any(seen(driver, hidden)), hidden
    for there in ("#original", "#maps canvas", ".findings", ".pair img"):
        assert all(seen(driver, there)), there


def test_what_was_folded_is_folded_again_after_printing(shown):
    driver = shown()
    driver.execute_script("window.dispatchEvent(new Event('beforeprint'))")
    assert sum(open_ones(driver)) == 4
    driver.execute_script("window.dispatchEvent(new Event('afterprint'))")
    assert not any(open_ones(driver))
    printed = driver.execute_cdp_cmd("Page.printToPDF", {})
    assert base64.b64decode(printed["data"]).startswith(b"%PDF")
    assert not any(open_ones(driver))


def test_tables_are_readable_on_a_phone(shown):
    driver = shown(390)
    driver.execute_script("document.getElementById('unfold').click()")
    assert driver.execute_script("return document.documentElement.scrollWidth") <= 390
    for table in driver.find_elements(By.TAG_NAME, "table"):
        figure = table.find_element(By.CSS_SELECTOR, "td")
        box = figure.rect
        # The first figures are in sight beside the method's name, and names stay there when figures scroll past.
        assert box["x"] + box["width"] <= 390
        first = table.find_element(By.CSS_SELECTOR, "tbody th")
        assert first.value_of_css_property("position") == "sticky"
