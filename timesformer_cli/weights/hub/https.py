"""Open a URL over https only, also after redirects; plain http is allowed on this machine."""

import ipaddress
from collections.abc import Mapping
from http.client import HTTPMessage, HTTPResponse
from typing import IO
from urllib.parse import urlsplit
from urllib.request import HTTPRedirectHandler, Request, build_opener

from timesformer_cli.errors import WeightsError

AGENT = {"User-Agent": "timesformer-cli"}


def require_secure(url: str, *, loopback: bool = True) -> None:
    """Raise WeightsError unless the URL is https, or with `loopback` http on this machine."""
    parts = urlsplit(url)
    if parts.scheme == "https" and parts.hostname:
        return
    if not (loopback and parts.scheme == "http" and is_loopback(url)):
        place = ascii(f"{parts.scheme}://{parts.netloc}")
        raise WeightsError(f"weights are fetched over https only, and this is {place}")


def is_loopback(url: str) -> bool:
    """Whether the URL names this machine."""
    host = urlsplit(url).hostname or ""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def open_url(url: str, headers: Mapping[str, str], seconds: float) -> HTTPResponse:
    """Return the server's answer, its body not yet read; no single wait exceeds `seconds`.

    Raises what urllib and http.client raise, and WeightsError for a URL that is not safe.
    """
    require_secure(url)
    # "identity": a compressed body has another length and hash than the file.
    request = Request(url, headers={**AGENT, "Accept-Encoding": "identity", **headers})
    response: HTTPResponse = build_opener(_Redirects(url)).open(request, timeout=seconds)
    return response


class _Redirects(HTTPRedirectHandler):
    def __init__(self, first: str) -> None:
        # A server elsewhere must not send us to a service that listens on this machine only.
        self.loopback = is_loopback(first)

    def redirect_request(
        self,
        req: Request,
        fp: IO[bytes],
        code: int,
        msg: str,
        headers: HTTPMessage,
        newurl: str,
    ) -> Request | None:
        require_secure(newurl, loopback=self.loopback)
        # Python 3.10 does not follow a 308; for a GET it means the same as a 307.
        again = super().redirect_request(
            req, fp, 307 if code == 308 else code, msg, headers, newurl
        )
        # The token is for the hub, not for the store that it redirects to.
        if again is not None and _origin(newurl) != _origin(req.full_url):
            again.remove_header("Authorization")
        return again

    http_error_308 = HTTPRedirectHandler.http_error_302


def _origin(url: str) -> tuple[str, str]:
    parts = urlsplit(url)
    return parts.scheme, parts.netloc
