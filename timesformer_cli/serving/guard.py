"""Whose requests are answered: the right Host, no other site's, and the token where there is one."""

import hmac
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from timesformer_cli.errors import ErrorKind
from timesformer_cli.json_text import dumps
from timesformer_cli.results import to_json
from timesformer_cli.serving.refused import Refused

OPEN = ("/", "/healthz", "/readyz", "/openapi.json")  # what is there for everybody
ALWAYS = {"X-Content-Type-Options": "nosniff", "Cache-Control": "no-store"}


class Guard:
    """An ASGI application before another, which sees only requests that may be answered."""

    def __init__(self, app: ASGIApp, *, hosts: frozenset[str] | None, token: bytes | None) -> None:
        self.app, self.hosts, self.token = app, hosts, token

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            try:
                self._check(Headers(scope=scope), scope["path"])
            except Refused as refused:
                await refusal(refused)(scope, receive, send)
                return
        await self.app(scope, receive, send)

    def _check(self, headers: Headers, path: str) -> None:
        host = headers.get("host", "")
        # A page of another site, whose name was made to lead here, still sends that site's name.
        if self.hosts is not None and host_name(host) not in self.hosts:
            message = f"this server has not the name {host_name(host)!a}; --allow-host gives it one"
            raise Refused(421, ErrorKind.WRONG_HOST, message)
        origin = headers.get("origin")
        if origin is not None and urlsplit(origin).netloc.lower() != host.lower():
            raise Refused(403, ErrorKind.FORBIDDEN, "pages of other sites may not call this server")
        if self.token is None or path in OPEN:
            return
        scheme, _, given = headers.get("authorization", "").partition(" ")
        # In a time that does not tell how much of it is right.
        same = hmac.compare_digest(given.strip().encode("utf-8", "replace"), self.token)
        if scheme.lower() != "bearer" or not same:
            message = "send the server's token: Authorization: Bearer TOKEN"
            raise Refused(401, ErrorKind.UNAUTHORIZED, message, {"WWW-Authenticate": "Bearer"})


def host_name(host: str) -> str:
    """The name in a Host header, without its port: `[::1]:80` -> `::1`."""
    try:
        return urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return ""


def refusal(refused: Refused) -> Response:
    """The answer that says no."""
    body = dumps(to_json(refused.result)) + "\n"
    headers = {**ALWAYS, **refused.headers}
    return Response(body, refused.status, headers, "application/json")
