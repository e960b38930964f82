"""The server behind the page: its files, and what a session computes, as PNG pictures and JSON."""

import asyncio
import base64
import json
import secrets
import socket
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from importlib.resources import files
from typing import Any, TypeVar

import cv2
import numpy as np
import uvicorn
from jaxtyping import UInt8
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from xrcam_jax.explain.methods import METHODS
from xrcam_jax.explain.variants import base
from xrcam_jax.figures.looks import SIGNED_COLORMAP
from xrcam_jax.figures.style import table
from xrcam_jax.runtime.names import printable
from xrcam_jax.titles import method_title
from xrcam_jax.view.guard import LOOPBACK, Guard
from xrcam_jax.view.regions import Channel, rasterised
from xrcam_jax.view.session import Answer, Explained, Seen, Session, Superseded

# The page's files: its look is that of the report's page, and so are the steps from stored maps to shown ones.
_SCRIPTS = ("report/maps", "view/signed", "view/region", "view/answer", "view/view")
_FILES = {
    "/": ("text/html", ["view/page.html"]),
    "/page.css": ("text/css", ["report/page.css", "report/viewer.css", "view/view.css"]),
    "/page.js": ("text/javascript", [f"{name}.js" for name in _SCRIPTS]),
}
#: Colours by name, of OpenCV.
PALETTES = {"turbo": cv2.COLORMAP_TURBO, "viridis": cv2.COLORMAP_VIRIDIS, "inferno": cv2.COLORMAP_INFERNO}
#: Classes and channels that are listed.
LISTED = 6
#: Bytes of a request, and corners of a region.
MOST_BYTES, MOST_CORNERS = 2**17, 2000
#: Seconds that what is still being computed may take when the server is to stop.
_PATIENCE = 1

Result = TypeVar("Result")


def application(session: Session, token: str, port: int) -> Guard:
    """Returns the server's application.

    Args:
      session: computes what the page asks for.
      token: without which nothing is answered.
      port: on which the server will listen.
    """
    routes = [
        *(Route(path, _file) for path in _FILES),
        Route("/api/session", _session),
        Route("/api/progress", _progress),
        Route("/api/frames/{number:int}/picture", _picture),
        Route("/api/frames/{number:int}/maps", _maps),
        Route("/api/frames/{number:int}/region", _region, methods=["POST"]),
    ]
    app = Starlette(routes=routes, exception_handlers={HTTPException: _failed})
    app.state.session, app.state.latest = session, 0
    app.state.worker = ThreadPoolExecutor(1, "xrcam-view")
    return Guard(app, token, port)


def listening(port: int) -> socket.socket:
    """Returns a socket on this machine alone.

    Args:
      port: of the socket; any that is free if it is 0.

    Raises:
      OSError: the port is in use, or may not be used.
    """
    found = socket.socket()
    try:
        found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        found.bind((LOOPBACK, port))
    except OSError:
        found.close()
        raise
    return found


class Server(uvicorn.Server):
    """Serves the page until a signal ends it.

    Args:
      session: computes what the page asks for.
      at: a socket from :func:`listening`.
      ready: called with the page's address once it can be opened.
    """

    def __init__(self, session: Session, at: socket.socket, ready: Callable[[str], object]):
        token, port = secrets.token_urlsafe(), at.getsockname()[1]
        self._at, self._address, self._ready = at, f"http://{LOOPBACK}:{port}/?token={token}", ready
        super().__init__(
            uvicorn.Config(
                application(session, token, port),
                # No log of requests: their addresses have the token in them.
                access_log=False,
                log_level="error",
                server_header=False,
                ws="none",
                timeout_graceful_shutdown=_PATIENCE,
            )
        )

    def serve_page(self) -> None:
        """Serves until a signal comes, which is then raised, or ``should_exit`` is set."""
        self.run(sockets=[self._at])

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets=sockets)
        if self.started:
            self._ready(self._address)


async def _file(request: Request) -> Response:
    kind, names = _FILES[request.url.path]
    texts = [files("xrcam_jax").joinpath(name).read_text(encoding="utf-8") for name in names]
    return Response("\n".join(texts), media_type=kind)


async def _session(request: Request) -> Response:
    session: Session = request.app.state.session
    return JSONResponse(
        {
            "frames": [printable(entry.name) for entry in session.pictures.entries],
            "methods": [
                {
                    "name": name,
                    "title": method_title(name),
                    "quick": METHODS[base(name)].kind.single_pass,
                    "layers": layers,
                }
                for name, layers in session.methods.items()
            ],
            "described": printable(session.described),
            "layers": session.layers,
            "classes": list(map(printable, session.labels)),
            "palettes": {name: _text(_palette(number)) for name, number in PALETTES.items()},
            "diverging": _text(table(SIGNED_COLORMAP, 255)),
        }
    )


async def _progress(request: Request) -> Response:
    name, done, total = request.app.state.session.progress
    return JSONResponse({"name": name, "done": done, "total": total})


async def _picture(request: Request) -> Response:
    session, number = request.app.state.session, _number(request)
    seen = await _computed(request, lambda: session.seen(number))
    return Response(await _computed(request, lambda: _png(seen.pixels)), media_type="image/png")


async def _maps(request: Request) -> Response:
    """Explains a picture. A request that comes later takes the place of one that waits, or runs the network again."""
    session, number, state = request.app.state.session, _number(request), request.app.state
    asked, target = request.query_params, request.query_params.get("target", "")
    method = _known(asked.get("method"), session.methods, "method")
    if target and not (target.isascii() and target.isdigit() and int(target) < len(session.labels)):
        raise HTTPException(404, f"unknown class {printable(target)!r}")
    state.latest = turn = state.latest + 1

    def explain() -> tuple[Seen, int, Explained]:
        if turn != state.latest:
            raise Superseded
        seen = session.seen(number)
        chosen = int(target) if target else seen.predicted
        return seen, chosen, session.explained(number, method, chosen, lambda: turn == state.latest)

    return JSONResponse(_explained(*await _computed(request, explain)))


async def _region(request: Request) -> Response:
    session, number = request.app.state.session, _number(request)
    asked = await _json(request)
    method = _known(asked.get("method"), session.methods, "method")
    layer = _known(asked.get("layer"), session.methods[method], "layer")
    target = asked.get("target")
    if type(target) is not int or not 0 <= target < len(session.labels):
        raise HTTPException(404, "unknown class")
    region = rasterised(_corners(asked.get("points")), session.config.input_size)
    answer = await _computed(request, lambda: session.region(number, method, target, layer, region))
    return JSONResponse(_answered(answer))


async def _computed(request: Request, work: Callable[[], Result]) -> Result:
    """Runs work in the one thread that computes; what goes wrong there is told to the page, and ends nothing else."""
    try:
        return await asyncio.get_running_loop().run_in_executor(request.app.state.worker, work)
    except Superseded:
        raise HTTPException(409, "given up for what was asked for later") from None
    except (ValueError, NotImplementedError, OSError, MemoryError, RuntimeError) as error:
        line = (str(error).splitlines() or [type(error).__name__])[0]
        raise HTTPException(422, line) from error


async def _failed(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    return JSONResponse({"error": printable(error.detail)}, error.status_code)


def _number(request: Request) -> int:
    number, count = request.path_params["number"], len(request.app.state.session.pictures)
    if number >= count:
        raise HTTPException(404, f"there is no picture {number}, there are {count}")
    return number


def _known(name: Any, known: Any, what: str) -> str:
    if not isinstance(name, str) or name not in known:
        raise HTTPException(404, f"unknown {what} {printable(str(name))!r}")
    return name


async def _json(request: Request) -> dict[str, Any]:
    content = b""
    async for part in request.stream():
        content += part
        if len(content) > MOST_BYTES:
            raise HTTPException(413, "the request is too long")
    try:
        asked = json.loads(content)
    except ValueError:
        asked = None
    if not isinstance(asked, dict):
        raise HTTPException(400, "expected a JSON object")
    return asked


def _corners(points: Any) -> list[tuple[float, float]]:
    """Checks the corners of a region, each (x, y) in [0, 1]."""

    def is_corner(point: Any) -> bool:
        return (
            isinstance(point, list) and len(point) == 2 and all(type(v) in (int, float) and 0 <= v <= 1 for v in point)
        )

    if not isinstance(points, list) or not 3 <= len(points) <= MOST_CORNERS or not all(map(is_corner, points)):
        raise HTTPException(400, f"points: expected 3 to {MOST_CORNERS} pairs of numbers from 0 to 1")
    return [(float(x), float(y)) for x, y in points]


def _explained(seen: Seen, target: int, found: Explained) -> dict[str, Any]:
    shares = seen.probabilities
    likeliest = [int(index) for index in np.argsort(-shares, kind="stable")[:LISTED]]
    listed = likeliest if target in likeliest else [*likeliest[:-1], target]
    return {
        "name": printable(seen.name),
        "source": printable(seen.source),
        "whole": seen.size,
        "box": seen.box,
        "size": seen.fed.shape[1:3],
        "predicted": seen.predicted,
        "target": target,
        "scores": [{"class": index, "score": float(shares[index])} for index in listed],
        "maps": {layer: _stored(levels) for layer, levels in found.levels.items()},
        "signed": {layer: _stored(levels) for layer, levels in found.signed_levels.items()},
        "channels": {layer: a.shape[-1] for layer, a in found.contributions.items()},
    }


def _answered(answer: Answer) -> dict[str, Any]:
    shares = [channel.share for channel in answer.channels]
    speaking = [channel for channel in answer.channels if channel.share > 0]
    against = [channel for channel in reversed(answer.channels) if channel.share < 0]

    def listed(channels: list[Channel]) -> Iterator[dict[str, Any]]:
        for channel in channels[:LISTED]:
            yield {**asdict(channel), "activation": _stored(answer.levels(channel))}

    return {
        "area": answer.area,
        "mass": answer.mass,
        "channels": len(shares),
        "for": {"count": len(speaking), "share": sum(c.share for c in speaking), "listed": list(listed(speaking))},
        "against": {"count": len(against), "share": sum(c.share for c in against), "listed": list(listed(against))},
    }


def _stored(levels: UInt8[np.ndarray, "r c"]) -> dict[str, Any]:
    """Returns a map as ``report/maps.js`` takes it."""
    return {"rows": levels.shape[0], "columns": levels.shape[1], "data": _text(levels)}


def _text(array: UInt8[np.ndarray, "..."]) -> str:
    return base64.b64encode(np.ascontiguousarray(array).tobytes()).decode()


def _palette(number: int) -> UInt8[np.ndarray, "256 3"]:
    return cv2.applyColorMap(np.arange(256, dtype=np.uint8)[:, None], number)[:, 0, ::-1]


def _png(pixels: UInt8[np.ndarray, "h w 3"]) -> bytes:
    # The picture goes no further than this machine: packing it well would take longer than sending it.
    written, content = cv2.imencode(".png", pixels[..., ::-1], [cv2.IMWRITE_PNG_COMPRESSION, 1])
    if not written:
        raise ValueError("the picture cannot be written as PNG")
    return content.tobytes()


def _is_quick(method: str) -> bool:
    return METHODS[base(method)].kind.single_pass
