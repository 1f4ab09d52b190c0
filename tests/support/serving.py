"""A server in this process, with a small model, for tests."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from starlette.testclient import TestClient

from timesformer_cli.cli.asked import CommandReader
from timesformer_cli.inference.classify import ClassifyOptions
from timesformer_cli.serving.app import Server
from timesformer_cli.serving.engine import Engine
from timesformer_cli.serving.options import ServeOptions
from timesformer_cli.weights.hub.locate import locate


@contextmanager
def started_engine(model: Path, **changes: Any) -> Iterator[Engine]:
    """An engine on the CPU, in float32, so that its answers are the same each time."""
    located = locate(str(model))
    how = {"model": located, "device": "cpu", "dtype": "float32", "workers": 1, **changes}
    with Engine(ClassifyOptions(**how), 8, lambda text: None) as engine:
        yield engine


def server_of(engine: Engine, folder: Path, **changes: Any) -> Server:
    """What answers requests with that engine; uploads lie in the folder."""
    folder.mkdir(exist_ok=True)
    how = {"hosts": frozenset({"testserver"}), "queue": 8, **changes}
    options = ServeOptions(classify=engine.options, **how)
    return Server(options, engine, CommandReader(engine.options), folder)


def client_of(server: Server) -> TestClient:
    """What calls it; an error of the server is an answer, as it is elsewhere."""
    return TestClient(server.app, raise_server_exceptions=False)
