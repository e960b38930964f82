"""Takes the pictures of a report that stand in docs/: ``python -m tests.report.pictures results/report.html docs``.

They show its top as a window of 1400 and one of 390 pixels shows it, so that what has changed can be looked at.
"""

import argparse
import base64
import io
import tempfile
from collections.abc import Sequence
from pathlib import Path

from PIL import Image

from tests.browser import chromium

#: Width and height of each window, and the name of its picture.
WINDOWS = ((1400, 2400, "report.jpg"), (390, 1900, "report_390.jpg"))
READY = "return document.querySelector('#viewer') === null || document.querySelector('#maps canvas') !== null"


def main(argv: Sequence[str] | None = None) -> None:
    """Writes a picture for each window."""
    from selenium.webdriver.support.ui import WebDriverWait

    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("page", type=Path, help="made by xrcam report")
    arguments.add_argument("folder", type=Path, help="gets the pictures")
    arguments.add_argument("--dark", action="store_true", help="as it looks where a dark scheme is preferred")
    options = arguments.parse_args(argv)
    options.folder.mkdir(parents=True, exist_ok=True)
    scheme = {"name": "prefers-color-scheme", "value": "dark" if options.dark else "light"}
    with tempfile.TemporaryDirectory() as profile, chromium(profile) as driver:
        for width, height, name in WINDOWS:
            size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 700}
            driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
            driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [scheme]})
            driver.execute_cdp_cmd("Emulation.setScrollbarsHidden", {"hidden": True})
            driver.get(options.page.resolve().as_uri())
            WebDriverWait(driver, 60).until(lambda driver: driver.execute_script(READY))
            shot = driver.execute_cdp_cmd("Page.captureScreenshot", {"format": "png"})
            with Image.open(io.BytesIO(base64.b64decode(shot["data"]))) as picture:
                picture.convert("RGB").save(options.folder / name, quality=82)


if __name__ == "__main__":
    main()
