"""A small hub on loopback: the routes that fetching a model takes, over folders on disk."""

import hashlib
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from timesformer_cli.catalogue import WEIGHTS

COMMIT = WEIGHTS["base-k400"].revision or ""


class Hub(ThreadingHTTPServer):
    """Serves `root/<org>/<name>/<file>` as that file of branch main; remembers what was asked."""

    def __init__(self, root: Path) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.root = root
        self.asked: list[tuple[str, str]] = []
        self.gated: set[str] = set()

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


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
        self.server.asked.append((self.command, self.path))
        org, name, resolve, revision, *rest = [*self.path.strip("/").split("/"), "", "", "", ""]
        repo, file = f"{org}/{name}", "/".join(part for part in rest if part)
        path = self.server.root / repo / file
        if not org:
            self._send(200, {}, b"hub", body)
        elif repo in self.server.gated:
            self._send(403, {"X-Error-Code": "GatedRepo"}, b"", body)
        elif resolve != "resolve" or not path.parent.is_dir():
            self._send(404, {"X-Error-Code": "RepoNotFound"}, b"", body)
        elif revision not in ("main", COMMIT):
            self._send(404, {"X-Error-Code": "RevisionNotFound"}, b"", body)
        elif not path.is_file():
            self._send(404, {"X-Error-Code": "EntryNotFound", "X-Repo-Commit": COMMIT}, b"", body)
        else:
            content = path.read_bytes()
            headers = {"ETag": f'"{hashlib.sha256(content).hexdigest()}"', "X-Repo-Commit": COMMIT}
            self._send(200, headers, content, body)

    def _send(self, status: int, headers: dict[str, str], content: bytes, body: bool) -> None:
        self.send_response(status)
        for name, value in {"Content-Length": str(len(content)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        if body:
            self.wfile.write(content)


@contextmanager
def serving(root: Path) -> Iterator[Hub]:
    with Hub(root) as hub:
        thread = threading.Thread(target=hub.serve_forever, daemon=True)
        thread.start()
        try:
            yield hub
        finally:
            hub.shutdown()
            thread.join()
