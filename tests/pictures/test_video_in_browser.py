"""A video that is written plays in a real browser, at its own pace and with its own pixels."""

import base64

import numpy as np
import pytest

from tests.browser import chromium
from xrcam_jax.pictures.write_video import VideoFile

COLOURS = ((200, 40, 40), (40, 200, 40), (40, 40, 200), (220, 220, 220))
TIMES = (0.0, 0.1, 0.5, 0.6)

# Plays a video and then looks at it: what is shown at each of some times, when it ended, and where it was in between.
PLAY = """
const [source, times, done] = arguments;
const video = document.createElement("video"), canvas = document.createElement("canvas"), pen = canvas.getContext("2d");
const event = (name) => new Promise((go, stop) => {
  video.addEventListener(name, go, {once: true});
  video.addEventListener("error", () => stop(video.error.message), {once: true});
});
(async () => {
  video.muted = true;
  document.body.append(video);
  const seen = [], ended = event("ended");
  video.addEventListener("timeupdate", () => seen.push(video.currentTime));
  video.src = source;
  await event("loadeddata");
  await video.play();
  await ended;
  const colours = [];
  canvas.width = video.videoWidth;
  canvas.height = video.videoHeight;
  for (const time of times) {
    const moved = event("seeked"), shown = new Promise((go) => video.requestVideoFrameCallback(go));
    video.currentTime = time;
    await moved;
    // A busy machine shows the frame a while after it has been found; one that is shown already is not shown again.
    await Promise.race([shown, new Promise((go) => setTimeout(go, 1000))]);
    pen.drawImage(video, 0, 0);
    colours.push([...pen.getImageData(canvas.width / 2, canvas.height / 2, 1, 1).data].slice(0, 3));
  }
  return {width: video.videoWidth, height: video.videoHeight, duration: video.duration, seen, colours};
})().then(done, (reason) => done({failed: String(reason)}));
"""


@pytest.fixture(scope="module")
def driver(tmp_path_factory):
    with chromium(tmp_path_factory.mktemp("profile")) as driver:
        driver.set_script_timeout(60)
        yield driver


def test_it_plays(driver, tmp_path):
    path = tmp_path / "a.mp4"
    video = VideoFile(path, 10, 240, 320)
    for colour, time in zip(COLOURS, TIMES, strict=True):
        video.write(np.full((240, 320, 3), colour, np.uint8), time)
    video.finish()
    # What comes out of a file may not be looked at by a page, unless it is in the page.
    source = f"data:video/mp4;base64,{base64.b64encode(path.read_bytes()).decode()}"
    driver.get("about:blank")
    found = driver.execute_async_script(PLAY, source, [time + 0.05 for time in TIMES])
    assert "failed" not in found, found
    assert (found["width"], found["height"]) == (320, 240)
    assert found["duration"] == pytest.approx(0.7, abs=0.02)
    assert max(found["seen"]) > 0.5
    np.testing.assert_allclose(found["colours"], COLOURS, atol=12)
