"""The server lets in who has the token and comes from nowhere else; it gives the page what the session has."""

import asyncio
import base64
import io

import numpy as np
import pytest
from PIL import Image

from tests.view.small import LABELS, PORT, TOKEN, Client, pixels, session, write_pictures
from xrcam_jax.view.guard import Guard

RECTANGLE = [[0.1, 0.2], [0.6, 0.2], [0.6, 0.9], [0.1, 0.9]]
FILES = ("/", "/page.css", "/page.js", "/api/session", "/api/frames/0/picture")


@pytest.fixture(scope="module")
def shared(tmp_path_factory):
    return session(write_pictures(tmp_path_factory.mktemp("pictures")))


@pytest.fixture(scope="module")
def client(shared):
    return Client(shared)


@pytest.mark.parametrize(
    "path", [*FILES, "/nowhere", "/?token=", "/?token=another", f"/?token={TOKEN[:-1]}", "/?token=ä"]
)
def test_nothing_is_given_without_the_token(shared, path):
    answer = Client(shared, token=None).get(path)
    assert answer.status_code == 403
    assert "address" in answer.text
    assert "set-cookie" not in answer.headers


def test_the_token_is_kept_in_a_cookie_of_the_page_alone_and_leaves_the_address(shared):
    client = Client(shared, token=None)
    answer = client.get(f"/?token={TOKEN}", within=False)
    place = answer.headers["location"]
    assert answer.status_code == 303
    assert len(place) > 12
    assert Client(shared, token=None).app.place != place
    assert f"xrcam_view={TOKEN}; HttpOnly; Path={place}; SameSite=strict" == answer.headers["set-cookie"]
    assert [client.get(path).status_code for path in FILES] == [200] * len(FILES)


def test_a_wrong_cookie_is_no_token(shared):
    client = Client(shared, token=None)
    client.cookies.set("xrcam_view", "another")
    assert client.get("/").status_code == 403


def test_the_cookie_is_for_the_page_alone(client):
    for path in FILES:
        headers = {"cookie": f"xrcam_view={TOKEN}"}
        assert client.get(path, within=False, headers=headers).status_code == 403


HOSTS = (
    "evil.example",
    f"evil.example:{PORT}",
    "127.0.0.1",
    f"127.0.0.1:{PORT + 1}",
    f"127.0.0.1.evil.example:{PORT}",
    "",
)


@pytest.mark.parametrize("host", HOSTS)
@pytest.mark.parametrize("path", ["/", f"/?token={TOKEN}", "/api/session"])
def test_names_of_other_hosts_are_refused(client, host, path):
    assert client.get(path, within="token" not in path, headers={"host": host}).status_code == 403


@pytest.mark.parametrize("host", [f"127.0.0.1:{PORT}", f"localhost:{PORT}"])
def test_this_machine_has_two_names(client, host):
    assert client.get("/", headers={"host": host, "origin": f"http://{host}"}).status_code == 200


ORIGINS = (
    "https://evil.example",
    "null",
    f"http://127.0.0.1:{PORT + 1}",
    f"https://127.0.0.1:{PORT}",
    "http://localhost",
    "",
)


@pytest.mark.parametrize("origin", ORIGINS)
def test_pages_of_other_origins_are_refused(client, origin):
    assert client.get("/api/session", headers={"origin": origin}).status_code == 403


@pytest.mark.parametrize(
    ("site", "status"), [("cross-site", 403), ("same-site", 403), ("same-origin", 200), ("none", 200)]
)
def test_the_browser_says_who_asks(client, site, status):
    assert client.get("/api/session", headers={"sec-fetch-site": site}).status_code == status


@pytest.mark.parametrize("path", [*FILES, "/nowhere"])
@pytest.mark.parametrize("token", [TOKEN, None])
def test_every_answer_keeps_other_origins_out(shared, path, token):
    headers = Client(shared, token).get(path).headers
    policy = headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "frame-ancestors 'none'" in policy
    assert "unsafe" not in policy
    assert headers["cross-origin-resource-policy"] == "same-origin"
    assert headers["cache-control"] == "no-store"
    assert not [name for name in headers if name.startswith("access-control")]


def test_sockets_of_the_web_are_refused():
    sent = []

    async def receive():
        return {"type": "websocket.connect"}

    async def send(message):
        sent.append(message["type"])

    scope = {
        "type": "websocket",
        "headers": [(b"host", f"127.0.0.1:{PORT}".encode())],
        "path": "/",
        "query_string": b"",
    }
    scope["extensions"] = {"websocket.http.response": {}}
    asyncio.run(Guard(lambda *_: pytest.fail("let in"), TOKEN, PORT)(scope, receive, send))
    assert "websocket.accept" not in sent


def test_the_session_is_described(client):
    told = client.get("/api/session").json()
    assert told["frames"] == ["frame_0", "frame_1", "frame_2", "zz_damaged"]
    assert told["classes"] == list(LABELS)
    assert told["layers"] == ["layer1", "layer2", "input"]
    quick = {one["title"]: one["quick"] for one in told["methods"]}
    assert (quick["Grad-CAM"], quick["Occlusion, window=8, stride=4"]) == (True, False)
    assert {len(base64.b64decode(palette)) for palette in told["palettes"].values()} == {768}
    diverging = np.frombuffer(base64.b64decode(told["diverging"]), np.uint8).reshape(-1, 3).astype(int)
    # Blue is against, red is for, and zero, the middle one of 255, has hardly any colour.
    assert [np.ptp(diverging[127]) < 4, diverging[0].argmax(), diverging[254].argmax()] == [True, 2, 0]


def test_a_picture_is_given_as_the_network_sees_it(client):
    answer = client.get("/api/frames/1/picture")
    assert answer.headers["content-type"] == "image/png"
    np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(answer.content))), pixels(1))


def test_maps_are_those_of_the_session(client, shared):
    told = client.get("/api/frames/1/maps?method=grad_cam&target=2").json()
    seen, found = shared.seen(1), shared.explained(1, "grad_cam", 2)
    assert (told["name"], told["target"], told["predicted"], told["size"]) == ("frame_1", 2, seen.predicted, [24, 32])
    assert {one["class"]: one["score"] for one in told["scores"]} == dict(enumerate(seen.probabilities.tolist()))
    for layer, stored in told["maps"].items():
        given = np.frombuffer(base64.b64decode(stored["data"]), np.uint8).reshape(stored["rows"], stored["columns"])
        np.testing.assert_array_equal(given, found.levels[layer])
    assert told["channels"] == {"layer1": 6, "layer2": 9}
    assert told["signed"] == {}


def test_maps_with_evidence_against_the_class_come_along(client, shared):
    (layer, stored), *_ = client.get("/api/frames/1/maps?method=gradient_x_input&target=2").json()["signed"].items()
    given = np.frombuffer(base64.b64decode(stored["data"]), np.uint8).reshape(stored["rows"], stored["columns"])
    np.testing.assert_array_equal(given, shared.explained(1, "gradient_x_input", 2).signed_levels[layer])


def test_the_decision_is_explained_unless_a_class_is_named(client, shared):
    told = client.get("/api/frames/0/maps?method=grad_cam").json()
    assert told["target"] == told["predicted"] == shared.seen(0).predicted


def test_a_region_is_answered(client, shared):
    asked = {"method": "grad_cam", "target": 1, "layer": "layer2", "points": RECTANGLE}
    told = client.ask("POST", "/api/frames/0/region", json=asked).json()
    region = np.zeros((24, 32), bool)
    # Rows 5 to 21 and columns 3 to 18: those whose centres lie within.
    region[5:22, 3:19] = True
    answer = shared.region(0, "grad_cam", 1, "layer2", region)
    assert told["mass"] == answer.mass
    shares = [channel.share for channel in answer.channels]
    assert told["for"]["share"] == pytest.approx(sum(s for s in shares if s > 0))
    assert told["against"]["share"] == pytest.approx(sum(s for s in shares if s < 0))
    assert told["for"]["count"] + told["against"]["count"] <= told["channels"] == 9
    assert told["for"]["listed"][0]["number"] == answer.channels[0].number
    if told["against"]["listed"]:
        assert told["against"]["listed"][0]["number"] == answer.channels[-1].number


def test_a_picture_that_cannot_be_read_is_named(client):
    answer = client.get("/api/frames/3/maps?method=grad_cam")
    assert answer.status_code == 422
    assert "zz_damaged.png" in answer.json()["error"]
    assert client.get("/api/frames/0/maps?method=grad_cam").status_code == 200


WRONG = {
    "/api/frames/9/maps?method=grad_cam": 404,
    "/api/frames/-1/maps?method=grad_cam": 404,
    "/api/frames/0/maps?method=grad_can": 404,
    "/api/frames/0/maps": 404,
    "/api/frames/0/maps?method=grad_cam&target=3": 404,
    "/api/frames/0/maps?method=grad_cam&target=-1": 404,
    "/api/frames/0/region": 405,
}


@pytest.mark.parametrize(("path", "status"), WRONG.items())
def test_what_there_is_not_is_refused(client, path, status):
    assert client.get(path).status_code == status


GOOD = {"method": "grad_cam", "target": 1, "layer": "layer2", "points": RECTANGLE}
REGIONS = {
    "no object": ([], 400),
    "no points": ({**GOOD, "points": None}, 400),
    "two points": ({**GOOD, "points": RECTANGLE[:2]}, 400),
    "outside": ({**GOOD, "points": [[0, 0], [2, 0], [1, 1]]}, 400),
    "text": ({**GOOD, "points": [["a", 0], [1, 0], [1, 1]]}, 400),
    "many": ({**GOOD, "points": RECTANGLE * 501}, 400),
    "too many": ({**GOOD, "points": RECTANGLE * 5000}, 413),
    "tiny": ({**GOOD, "points": [[0.5, 0.5], [0.501, 0.5], [0.5, 0.501]]}, 422),
    "class": ({**GOOD, "target": 3}, 404),
    "no class": ({**GOOD, "target": True}, 404),
    "layer": ({**GOOD, "layer": "input"}, 404),
    "method": ({**GOOD, "method": ["grad_cam"]}, 404),
}


@pytest.mark.parametrize(("asked", "status"), REGIONS.values(), ids=REGIONS)
def test_regions_that_are_none_are_refused(client, asked, status):
    answer = client.ask("POST", "/api/frames/0/region", json=asked)
    assert answer.status_code == status
    assert answer.json()["error"]


def test_nan_is_no_json(client):
    content = b'{"method": "grad_cam", "target": 1, "layer": "layer2", "points": [[NaN, 0], [1, 0], [1, 1]]}'
    assert client.ask("POST", "/api/frames/0/region", content=content).status_code == 400
