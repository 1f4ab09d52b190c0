"""An S3 server on loopback, whose requests fail now and then, or are denied."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

import pytest

DENIED = (
    b'<?xml version="1.0"?><Error><Code>AccessDenied</Code><Message>Access Denied</Message></Error>'
)
BUSY = b'<?xml version="1.0"?><Error><Code>SlowDown</Code><Message>Slow down</Message></Error>'


class FlakyStorage:
    """One bucket of moto's server, behind a door that may be shut."""

    def __init__(self, folder: Path) -> None:
        from moto.server import DomainDispatcherApplication, create_backend_app
        from werkzeug.serving import make_server

        self.folder, self.bucket = folder, "clips"
        self.failing, self.failed, self.denying = 0.0, 0, False
        self._chance, self._own = random.Random(0), False
        self._moto = DomainDispatcherApplication(create_backend_app)
        self.server = make_server("127.0.0.1", 0, self._answer, threaded=True)

    @property
    def url(self) -> str:
        """Where the server listens."""
        return f"http://127.0.0.1:{self.server.server_port}"

    def put(self, key: str, data: bytes) -> None:
        """Store an object, whatever the door is like."""
        from moto.s3.models import s3_backends

        s3_backends["123456789012"]["aws"].put_object(self.bucket, key, data)

    def _answer(self, environ, start_response):
        if self.denying:
            start_response("403 Forbidden", [("Content-Type", "application/xml")])
            return [DENIED]
        if self._chance.random() < self.failing:
            self.failed += 1
            start_response("503 Slow Down", [("Content-Type", "application/xml")])
            return [BUSY]
        return self._moto(environ, start_response)


@pytest.fixture
def storage(tmp_path, monkeypatch) -> Iterator[FlakyStorage]:
    """The server, with an empty bucket, named by the variables that clients of AWS read."""
    pytest.importorskip("moto")
    import logging
    import threading

    logging.getLogger("werkzeug").setLevel(logging.CRITICAL)
    from timesformer_cli.scale import storage as module

    made = FlakyStorage(tmp_path)
    thread = threading.Thread(target=made.server.serve_forever)
    thread.start()
    for name, value in {
        "AWS_ENDPOINT_URL": made.url,
        "AWS_ACCESS_KEY_ID": "key",
        "AWS_SECRET_ACCESS_KEY": "secret",
        "AWS_REGION": "us-east-1",
        "AWS_EC2_METADATA_DISABLED": "true",
    }.items():
        monkeypatch.setenv(name, value)
    module._opened.cache_clear()
    from pyarrow import fs

    fs.FileSystem.from_uri(f"s3://{made.bucket}?allow_bucket_creation=true")[0].create_dir(
        made.bucket
    )
    yield made
    module._opened.cache_clear()
    made.server.shutdown()
    thread.join()
