"""Servers for tests: in this process, with a small model, and in one of their own."""

import os
import subprocess
import sys
import time
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


def runs(pid):
    """Whether there is such a process, and it has not ended."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


class Served:
    """`tsf serve` in a process of its own; its temporary files are below a folder of ours."""

    def __init__(self, folder, model, *words):
        folder.mkdir(exist_ok=True)
        self.folder, self.log = folder, (folder.parent / "log").open("w+")
        command = [sys.executable, "-m", "timesformer_cli", "serve", "--model", str(model)]
        how = ["--port", "0", "--device", "cpu", *words]
        self.process = subprocess.Popen(
            [*command, *how], stderr=self.log, env=os.environ | {"TMPDIR": str(folder)}
        )
        while "answers at" not in self.said():
            assert self.process.poll() is None, self.said()
            time.sleep(0.05)
        self.address = self.said().split("answers at ")[1].split()[0]

    def said(self):
        """What it wrote to stderr."""
        self.log.seek(0)
        return self.log.read()

    def children(self):
        """The numbers of the processes that it started."""
        files = Path(f"/proc/{self.process.pid}/task").glob("*/children")
        return [int(pid) for file in files for pid in file.read_text().split()]

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()
        self.log.close()
