"""In a real browser a reader pages, changes method, layer and class, draws a region and reads what speaks for it."""

import threading

import numpy as np
import pytest

from tests.browser import chromium, violations
from tests.view.small import LABELS, NETWORK, pixels, session, write_pictures
from xrcam_jax.view.regions import rasterised
from xrcam_jax.view.server import Server, listening

pytest.importorskip("selenium.webdriver", reason="selenium is not installed")
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import Select, WebDriverWait


@pytest.fixture(scope="module")
def driver(tmp_path_factory):
    with chromium(tmp_path_factory.mktemp("profile")) as driver:
        yield driver


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    """A session, and the address at which it is served meanwhile."""
    computed = session(write_pictures(tmp_path_factory.mktemp("pictures")))
    addresses, started = [], threading.Event()
    with listening(0) as at:
        server = Server(computed, at, lambda address: (addresses.append(address), started.set()))
        thread = threading.Thread(target=server.serve_page)
        thread.start()
        assert started.wait(30)
        yield computed, addresses[0]
        server.should_exit = True
        thread.join(30)
        assert not thread.is_alive()


class Page:
    """Opens the page afresh, and does with it what a reader does."""

    def __init__(self, driver, address, width=1280, height=1000):
        self.driver = driver
        metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 700}
        driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
        driver.get("about:blank")
        driver.get(address)
        # What is still moving cannot be drawn on.
        driver.execute_script("document.documentElement.style.scrollBehavior = 'auto'")
        self.waits(lambda: self["main-caption"].text == "Grad-CAM for " + self.decision(0) + ", Layers together")

    def __getitem__(self, name):
        return self.driver.find_element(By.ID, name)

    def decision(self, number):
        images = (np.float32(pixels(number)[None]) / 255 - 0.5) / 0.5
        # Halved by the mean of four pixels, as nearly as a decision needs it.
        halved = images.reshape(1, 24, 2, 32, 2, 3).mean((2, 4))
        return LABELS[int(np.asarray(NETWORK(halved)).argmax())]

    def waits(self, condition):
        WebDriverWait(self.driver, 60, 0.05).until(lambda _: condition(), "the page has not come to that")

    def click(self, element):
        """Clicks on what the buttons at the window's edge might cover."""
        self.driver.execute_script("arguments[0].scrollIntoView({block: 'center'})", element)
        element.click()

    def choose(self, name, value):
        Select(self[name]).select_by_value(value)

    def table(self, name):
        rows = self.driver.find_elements(By.CSS_SELECTOR, f"#{name} tbody tr")
        return [[cell.text for cell in row.find_elements(By.CSS_SELECTOR, "th, td")] for row in rows]

    def drag(self, *corners):
        """Draws through corners, in shares of the picture."""
        board = self["board"]
        self.driver.execute_script("arguments[0].scrollIntoView({block: 'center'})", board)
        width, height = board.size["width"], board.size["height"]
        places = [(round((x - 0.5) * width), round((y - 0.5) * height)) for x, y in corners]
        chain = ActionChains(self.driver, duration=20).move_to_element_with_offset(board, *places[0]).click_and_hold()
        for place in places[1:]:
            chain.move_to_element_with_offset(board, *place)
        chain.release().perform()

    def shows_all_colours(self):
        """Has the map cover the picture, also where it is low."""
        self.driver.execute_script("""const opacity = document.getElementById("opacity");
            opacity.value = 100; opacity.dispatchEvent(new Event("input"));""")
        self["follow"].click()

    def colour(self, place):
        """Returns red, green and blue of what is shown at a place of a map, given its number among all of them."""
        script = """const {width, height} = arguments[0];
            return [width, height, Array.from(arguments[0].getContext("2d").getImageData(0, 0, width, height).data)];"""
        width, height, data = self.driver.execute_script(script, self["main"])
        shown = np.uint8(data).reshape(height, width, 4)[..., :3].astype(int)
        y, x = np.unravel_index(place, (24, 32))
        return shown[2 * y : 2 * y + 2, 2 * x : 2 * x + 2].mean((0, 1))

    def problems(self):
        """Returns what the browser complained of, but for our own reading of pixels and answers that are errors."""
        ours = ("willReadFrequently", "422 (Unprocessable")
        return [entry for entry in self.driver.get_log("browser") if not any(word in entry["message"] for word in ours)]


@pytest.fixture
def page(driver, served):
    page = Page(driver, served[1])
    yield page
    assert page.problems() == []


def percent(share):
    return f"{100 * share:z.1f} %".replace("-", "−")


def test_a_reader_pages_past_a_picture_that_cannot_be_read(page):
    assert "token" not in page.driver.current_url
    assert page["count"].text == "1 of 4"
    for number in (1, 2):
        page["next"].click()
        page.waits(lambda number=number: page["name"].text == f"frame_{number}")
        page.waits(lambda number=number: f"frame_{number}" in page["main"].get_attribute("aria-label"))
    page["next"].click()
    page.waits(lambda: "zz_damaged.png" in page["trouble"].text)
    assert not page["shown"].is_displayed()
    page["previous"].click()
    page.waits(lambda: page["shown"].is_displayed() and "frame_2" in page["main"].get_attribute("aria-label"))
    assert not page["trouble"].is_displayed()


def test_method_layer_and_class_are_chosen_in_the_page(page, served):
    page.choose("method", "xrelevance_cam")
    page.waits(lambda: page["main-caption"].text.startswith("XRelevance-CAM for"))
    page.choose("target", "2")
    page.waits(lambda: page["main-caption"].text == "XRelevance-CAM for none, Layers together")
    page.driver.find_element(By.CSS_SELECTOR, "#maps [data-layer=layer2]").click()
    page.waits(lambda: page["main-caption"].text == "XRelevance-CAM for none, Layer 2")
    # The strongest place of the map has the last colour of the palette, where all of the map's colours are shown.
    page.shows_all_colours()
    red, green, blue = page.colour(served[0].explained(0, "xrelevance_cam", 2).maps["layer2"].argmax())
    assert red > 100 > green
    assert blue < 60


def test_what_speaks_against_the_class_has_another_colour(page, served):
    assert not page["of-sign"].is_displayed()
    page.choose("method", "gradient_x_input")
    page.waits(lambda: page["main-caption"].text.startswith("Gradient"))
    assert page["of-sign"].is_displayed()
    assert page["lowest"].text == "against"
    page.shows_all_colours()
    computed = served[0]
    signed = computed.explained(0, "gradient_x_input", computed.seen(0).predicted).signed["input"]
    red, blue = page.colour(signed.argmax()), page.colour(signed.argmin())
    assert red[0] > red[2] + 15
    assert blue[2] > blue[0] + 15
    page["signed"].click()
    assert page["lowest"].text == "least"
    # The highest colour of the unsigned scale is yellow.
    assert page.colour(signed.argmax())[1] > red[1] + 15


@pytest.mark.parametrize(("width", "scheme"), [(1280, "light"), (390, "dark")])
def test_axe_finds_nothing_on_the_page_with_all_of_it_open(driver, served, width, scheme):
    features = [{"name": "prefers-color-scheme", "value": scheme}]
    driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})
    page = Page(driver, served[1], width)
    driver.set_script_timeout(120)
    driver.execute_script("for (const one of document.querySelectorAll('details')) one.open = true")
    page.choose("method", "gradient_x_input")
    page.waits(lambda: page["of-sign"].is_displayed())
    page.click(page["mark"])
    page.waits(lambda: page["answered"].is_displayed())
    assert violations(driver) == []


def test_a_region_says_which_layers_and_channels_speak_for_it(page, served):
    page["tool-rectangle"].click()
    page.drag((0.25, 0.25), (0.5, 0.6), (0.75, 0.75))
    page.waits(lambda: page["answered"].is_displayed())
    points = page["line"].get_attribute("points").split()
    corners = [tuple(map(float, point.split(","))) for point in points]
    assert np.allclose(corners, [(0.25, 0.25), (0.75, 0.25), (0.75, 0.75), (0.25, 0.75)], atol=0.02)
    computed, region = served[0], rasterised(corners, (24, 32))
    answer = computed.region(0, "grad_cam", computed.seen(0).predicted, "layer2", region)
    names = {"layer1": "Layer 1", "layer2": "Layer 2"}
    expected = [[names[name], percent(mass), f"× {mass / answer.area:.1f}"] for name, mass in answer.mass.items()]
    assert page.table("layer-table") == expected
    speaking = [c for c in answer.channels if c.share > 0]
    listed = [[str(c.number), percent(c.share), percent(c.inside)] for c in speaking[:6]]
    assert page.table("for") == listed
    against = [[str(c.number), percent(c.share), percent(c.inside)] for c in answer.channels[::-1] if c.share < 0]
    assert page.table("against") == against[:6]
    page.choose("channels-of", "layer1")
    page.waits(lambda: "channels of Layer 1" in page["channels-sum"].text)
    page["tool-freehand"].click()
    page.drag((0.2, 0.2), (0.8, 0.2), (0.8, 0.8), (0.5, 0.4))
    page.waits(lambda: len(page["line"].get_attribute("points").split()) > 4)
    page.driver.find_element(By.TAG_NAME, "body").send_keys("\ue00c")
    page.waits(lambda: not page["answered"].is_displayed())


def test_a_rectangle_can_be_given_by_numbers(page):
    page["by-numbers"].find_element(By.TAG_NAME, "summary").click()
    page["mark"].click()
    page.waits(lambda: page["answered"].is_displayed())
    assert page["answer-area"].text.startswith("The region is 25.0 %")


def test_the_page_fits_a_phone(driver, served):
    page = Page(driver, served[1], 390, 844)
    for group in page.driver.find_elements(By.CSS_SELECTOR, ".controls .group > summary"):
        page.click(group)
    page.click(page["by-numbers"].find_element(By.TAG_NAME, "summary"))
    page.click(page["mark"])
    page.waits(lambda: page["answered"].is_displayed())
    assert driver.execute_script("return document.documentElement.scrollWidth") == 390
