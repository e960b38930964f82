"""The door of the server: only the page itself comes in, and it gets nothing from anywhere else.

Whoever can reach the server could read pictures of patients. So it listens on this machine alone; and since other
programs and pages of other servers run on this machine too, each request needs the token that the address has. What a
page of another origin sends is refused, token or not, and so is a request under another host's name, as a name that
was bound to 127.0.0.1 after the browser had looked (DNS rebinding) would send it.
"""

import hmac
import secrets

from starlette.requests import HTTPConnection
from starlette.responses import PlainTextResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

LOOPBACK = "127.0.0.1"
_COOKIE = "xrcam_view"
_HEADERS = {
    "content-security-policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "cache-control": "no-store",
}


class Guard:
    """Lets through what has the token, and is no other origin's.

    The token comes in the address once. It is then kept in a cookie that scripts cannot read, and the browser is sent
    to an address without it. Browsers send cookies to all servers of a host, whatever their ports. Hence that address
    is in a folder whose name nobody knows, and the cookie is for this folder: other servers here never see it.

    Args:
      app: what is guarded.
      token: without which nothing is answered.
      port: on which the server listens.

    Attributes:
      place: the folder, with a slash at either end.
    """

    def __init__(self, app: ASGIApp, token: str, port: int):
        self._app, self._token = app, token
        self.place = f"/{secrets.token_urlsafe(12)}/"
        ports = (f":{port}", "") if port == 80 else (f":{port}",)
        self._hosts = {host + end for host in (LOOPBACK, "localhost") for end in ports}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                added = [(name.encode(), value.encode()) for name, value in _HEADERS.items()]
                message = {**message, "headers": [*message.get("headers", ()), *added]}
            await send(message)

        answer = self._answer(HTTPConnection(scope)) if scope["type"] == "http" else _refused("no such protocol")
        if answer is None:
            within = {**scope, "path": scope["path"].removeprefix(self.place[:-1])}
            await self._app(within, receive, send_with_headers)
        else:
            await answer(scope, receive, send_with_headers)

    def _answer(self, request: HTTPConnection) -> Response | None:
        """Returns what is answered at the door; None lets the request through."""
        headers = request.headers
        if headers.get("host") not in self._hosts:
            return _refused("this is no address of this server")
        origin = headers.get("origin")
        if origin is not None and origin not in {f"http://{host}" for host in self._hosts}:
            return _refused("pages of other origins are not let in")
        # The browser's own word on who asks; an address that is typed or opened by a program is nobody's.
        if headers.get("sec-fetch-site", "none") not in ("same-origin", "none"):
            return _refused("pages of other origins are not let in")
        given = request.query_params.get("token")
        if given is not None and self._is_token(given):
            answer = RedirectResponse(self.place, 303)
            answer.set_cookie(_COOKIE, self._token, path=self.place, httponly=True, samesite="strict")
            return answer
        if request.url.path.startswith(self.place) and self._is_token(request.cookies.get(_COOKIE, "")):
            return None
        return _refused(
            "open the whole address that xrcam view has printed: it has a token, without which nothing is shown"
        )

    def _is_token(self, given: str) -> bool:
        return hmac.compare_digest(given.encode("utf-8", "replace"), self._token.encode())


def _refused(reason: str) -> Response:
    return PlainTextResponse(f"xrcam view: {reason}\n", 403)
