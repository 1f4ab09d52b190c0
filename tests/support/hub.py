"""A small hub on loopback: the routes that fetching a model takes, with the faults servers have."""

import hashlib
import re
import subprocess
import sys
import threading
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import NamedTuple

COMMIT = "0123456789abcdef0123456789abcdef01234567"
# A status; the share of the body after which the connection breaks; or one of
#   hang (silence), drop (no answer), slow (in pieces), stuck (a quarter,
#   then silence), wrong (other bytes, as many), whole (ranges ignored),
#   shift (a range that was not asked for), unsized (no length is told), coded (compressed).
Fault = int | float | str
SILENT = ("hang", "drop")
PIECES, PIECE_SECONDS = 10, 0.25


class Asked(NamedTuple):
    command: str
    path: str
    range: str | None
    token: str | None


class Hub(ThreadingHTTPServer):
    """Serves `root/<org>/<name>/<file>` as that file of branch main; remembers what was asked.

    As on the real hub a small file comes from the hub itself, and large ones after a redirect to
    another host (here: another name of this one). `/plain/<file>` is a server of another kind.
    `faults` of a method and file are used up in turn.
    """

    daemon_threads = True

    def __init__(self, root: Path) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.root = root
        self.asked: list[Asked] = []
        self.gated: set[str] = set()
        self.commit = COMMIT
        self.etags: dict[str, str] = {}
        self.moved: dict[str, str] = {}
        self.faults: dict[tuple[str, str], list[Fault]] = defaultdict(list)
        self.closing = threading.Event()

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def gets(self, file: str) -> list[str | None]:
        """The ranges of the requests for a file's bytes, where they were answered from."""
        found = [asked for asked in self.asked if asked.command == "GET"]
        return [a.range for a in found if a.path.endswith(f"/{file}") and "/resolve/" not in a.path]

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that goes away is part of what is tested."""


class _Handler(BaseHTTPRequestHandler):
    server: Hub
    protocol_version = "HTTP/1.1"

    def do_HEAD(self) -> None:
        self._answer(body=False)

    def do_GET(self) -> None:
        self._answer(body=True)

    def log_message(self, *arguments: object) -> None:
        """The tests say what matters."""

    def _answer(self, *, body: bool) -> None:
        hub, token = self.server, self.headers["Authorization"]
        hub.asked.append(Asked(self.command, self.path, self.headers["Range"], token))
        first, *rest = self.path.strip("/").split("/")
        if self.path in hub.moved:
            self._send(302, {"Location": hub.moved[self.path]}, b"", body)
        elif first in ("plain", "cdn"):
            self._file(hub.root.joinpath(*rest), {}, body)
        else:
            self._resolve(body, first, *[*rest, "", "", ""][:3], file="/".join(rest[3:]))

    def _resolve(
        self, body: bool, org: str, name: str, kind: str, revision: str, file: str
    ) -> None:
        hub, repo = self.server, f"{org}/{name}"
        path = hub.root / repo / file
        commit = {"X-Repo-Commit": hub.commit}
        if repo in hub.gated:
            self._send(403, {"X-Error-Code": "GatedRepo"}, b"", body)
        elif kind != "resolve" or not path.parent.is_dir():
            self._send(404, {"X-Error-Code": "RepoNotFound"}, b"", body)
        elif revision not in ("main", hub.commit):
            self._send(404, {"X-Error-Code": "RevisionNotFound"}, b"", body)
        elif not path.is_file():
            self._send(404, {"X-Error-Code": "EntryNotFound", **commit}, b"", body)
        elif path.suffix == ".json":
            etag = hub.etags.get(file) or _git(path.read_bytes())
            self._file(path, {"ETag": f'"{etag}"', **commit}, body)
        else:
            place = f"http://localhost:{hub.server_port}/cdn/{repo}/{file}"
            etag = hub.etags.get(file) or hashlib.sha256(path.read_bytes()).hexdigest()
            linked = {"X-Linked-Etag": f'"{etag}"', "X-Linked-Size": str(path.stat().st_size)}
            if body or not self._fail(file):
                self._send(302, {"Location": place, **linked, **commit}, b"", body)

    def _fail(self, file: str) -> Fault | None:
        """Use up the next fault; what has no body is answered here and is None afterwards."""
        faults = self.server.faults[self.command, file]
        fault = faults.pop(0) if faults else None
        if fault in SILENT:
            self.server.closing.wait(60 if fault == "hang" else 0)
            self.close_connection = True
        elif isinstance(fault, int):
            self._send(fault, {}, b"", body=True)
        return fault

    def _file(self, path: Path, headers: dict[str, str], body: bool) -> None:
        if not path.is_file():
            return self._send(404, {}, b"", body)
        content, status, start = path.read_bytes(), 200, 0
        fault = self._fail(path.name)
        if fault in SILENT or isinstance(fault, int):
            return None
        if fault == "wrong":
            content = bytes(255 - byte for byte in content)
        asked = re.fullmatch(r"bytes=(\d+)-", self.headers["Range"] or "")
        if asked and fault != "whole":
            status, start = 206, int(asked[1])
            if start >= len(content):
                return self._send(416, {}, b"", body)
            told = 0 if fault == "shift" else start
            headers |= {"Content-Range": f"bytes {told}-{len(content) - 1}/{len(content)}"}
        if fault == "unsized":
            headers |= {"Connection": "close", "Content-Length": ""}
        if fault == "coded":
            headers |= {"Content-Encoding": "gzip"}
        self._send(status, headers, content[start:], body, fault)

    def _send(
        self,
        status: int,
        headers: dict[str, str],
        content: bytes,
        body: bool,
        fault: Fault | None = None,
    ) -> None:
        self.send_response(status)
        for name, value in {"Content-Length": str(len(content)), **headers}.items():
            if value:
                self.send_header(name, value)
        self.end_headers()
        if not body:
            return
        if isinstance(fault, float):
            self.wfile.write(content[: int(fault * len(content))])
            self.close_connection = True
        elif fault == "stuck":
            self.wfile.write(content[: len(content) // 4])
            self.server.closing.wait(60)
            self.close_connection = True
        elif fault == "slow":
            step = -(-len(content) // PIECES)
            for begin in range(0, len(content), step):
                self.wfile.write(content[begin : begin + step])
                time.sleep(PIECE_SECONDS)
        else:
            self.wfile.write(content)


def _git(content: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


@contextmanager
def serving(root: Path) -> Iterator[Hub]:
    with Hub(root) as hub:
        thread = threading.Thread(target=hub.serve_forever, args=(0.05,), daemon=True)
        thread.start()
        try:
            yield hub
        finally:
            hub.closing.set()
            hub.shutdown()
            thread.join()


def python(code: str, *arguments: object, **options: object) -> subprocess.Popen[str]:
    """A process of its own: for what is read at start-up, or ends by a signal."""
    command = [sys.executable, "-c", code, *map(str, arguments)]
    pipe = subprocess.PIPE
    return subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True, **options)  # type: ignore[call-overload]


def tree(folder: Path) -> dict[str, bytes]:
    """What lies in a folder, byte for byte."""
    files = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def until(holds, seconds: float = 30) -> None:
    """Wait for a condition that another process brings about."""
    limit = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < limit, "it did not come about"
        time.sleep(0.02)
