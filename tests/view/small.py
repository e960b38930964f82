"""A small network of two marked layers, a folder of pictures for it, and a client that keeps cookies as browsers do."""

import asyncio

import httpx
import jax
import jax.numpy as jnp
import numpy as np
from PIL import Image

import xrcam_jax as xr
from xrcam_jax.pictures.by_number import PicturesByNumber
from xrcam_jax.pictures.preprocessing import Preprocessing
from xrcam_jax.view.server import application
from xrcam_jax.view.session import Session

HEIGHT, WIDTH = 24, 32
# The usual window of occlusion would hide these small pictures at once.
OCCLUSION = "occlusion+window=8+stride=4"
METHODS = ("grad_cam", "xrelevance_cam", "gradient_x_input", OCCLUSION)
LABELS = ("glioma", "meningioma", "none")
TOKEN, PORT = "a-token-of-the-tests", 4321


class Network:
    """Two convolutions, pooling and a linear layer; each has weights of both signs."""

    num_outputs = len(LABELS)
    preprocessing = Preprocessing(mean=(0.5,) * 3, std=(0.5,) * 3, input_size=(HEIGHT, WIDTH), crop_pct=1.0)

    def __init__(self):
        random = np.random.default_rng(5)
        self.kernels = [np.float32(random.normal(size=shape)) for shape in ((3, 3, 3, 6), (3, 3, 6, 9))]
        self.head = np.float32(random.normal(size=(9, len(LABELS))))

    def __call__(self, images):
        layer = jnp.asarray(images)
        for number, kernel in enumerate(self.kernels, 1):
            dimensions = ("NHWC", "HWIO", "NHWC")
            layer = jax.lax.conv_general_dilated(
                layer, jnp.asarray(kernel), (2, 2), "SAME", dimension_numbers=dimensions
            )
            layer = xr.mark(jax.nn.relu(layer), f"layer{number}")
        return layer.mean((1, 2)) @ jnp.asarray(self.head)


NETWORK = Network()


def pixels(number):
    """Of that picture, which has twice the size that the network is fed."""
    return np.random.default_rng(number).integers(0, 256, (2 * HEIGHT, 2 * WIDTH, 3), dtype=np.uint8)


def write_pictures(folder, count=3):
    """Pictures, and then one that cannot be read."""
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(count):
        Image.fromarray(pixels(number)).save(folder / f"frame_{number}.png")
    (folder / "zz_damaged.png").write_bytes(b"\x89PNG\r\n\x1a\n and then nothing")
    return folder


def session(folder, **options):
    return Session(NETWORK, PicturesByNumber(folder), METHODS, None, LABELS, **options)


class Client:
    """Asks the application as a browser would, whose cookies it keeps; paths are those in the folder of the page."""

    def __init__(self, session, token=TOKEN):
        self.app, self.cookies = application(session, TOKEN, PORT), httpx.Cookies()
        if token:
            self.ask("GET", f"/?token={token}", within=False)

    def ask(self, how, path, *, within=True, **request):
        path = self.app.place[:-1] + path if within else path

        async def answered():
            transport = httpx.ASGITransport(app=self.app)
            address = f"http://127.0.0.1:{PORT}"
            async with httpx.AsyncClient(transport=transport, base_url=address, cookies=self.cookies) as client:
                answer = await client.request(how, path, **request)
                self.cookies = client.cookies
                return answer

        return asyncio.run(answered())

    def get(self, path, **request):
        return self.ask("GET", path, **request)
