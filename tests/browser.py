"""A real browser without a window, for tests of what is shown."""

import importlib.util
import shutil
import time
from contextlib import contextmanager
from pathlib import Path

import pytest

BROWSERS, DRIVERS = ("chromium", "chromium-browser", "google-chrome", "chrome"), ("chromedriver",)
ARGUMENTS = (
    *("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-dev-shm-usage"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync", "--lang=en"),
)


@contextmanager
def chromium(profile):
    """Gives Selenium's driver of a browser whose profile is in that folder; skips the test where there is none."""
    webdriver = pytest.importorskip("selenium.webdriver", reason="selenium is not installed")
    browser, chromedriver = (next(filter(None, map(shutil.which, names)), None) for names in (BROWSERS, DRIVERS))
    if browser is None or chromedriver is None:
        pytest.skip("Chromium or its driver is not installed")
    options = webdriver.ChromeOptions()
    options.binary_location = browser
    for argument in (*ARGUMENTS, f"--user-data-dir={profile}"):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(chromedriver))
    try:
        yield driver
    finally:
        driver.quit()


#: Counts the keys that a page has had since it was first asked.
KEYS_HAD = """if (window.keysHad === undefined) {
    window.keysHad = 0;
    document.addEventListener("keydown", () => { window.keysHad += 1; }, true);
}
return window.keysHad;"""


def press(driver, key, seconds=5, times=3):
    """Presses a key where the focus is until the page has had it; a busy machine's driver is ahead, or loses it."""
    before = driver.execute_script(KEYS_HAD)
    for _ in range(times):
        driver.switch_to.active_element.send_keys(key)
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            if driver.execute_script(KEYS_HAD) > before:
                return
            time.sleep(0.01)
    raise AssertionError(f"the page has not had {key!r}")


def axe():
    """Returns the checker's script; it is not ours, and stands under the Mozilla Public License 2.0."""
    found = importlib.util.find_spec("axe_playwright_python")
    if found is None:
        pytest.skip("axe-playwright-python, which brings axe, is not installed")
    return (Path(found.submodule_search_locations[0]) / "axe.min.js").read_text(encoding="utf-8")


CHECK = "const done = arguments[arguments.length - 1]; axe.run(document).then(done);"
#: What any of our pages has, and a checker that looks for nothing does not find.
LOOKED_FOR = {"color-contrast", "label", "summary-name"}


def violations(driver, looked_for=LOOKED_FOR):
    """Lists what axe finds wrong with the page that a browser shows."""
    driver.execute_script(axe())
    found = driver.execute_async_script(CHECK)
    assert looked_for <= {rule["id"] for rule in found["passes"]}
    return [(rule["id"], rule["impact"], [node["html"] for node in rule["nodes"]]) for rule in found["violations"]]
