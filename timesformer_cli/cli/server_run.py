"""A server's process: what it logs, and how signals end it."""

import gc
import logging
import socket
from pathlib import Path
from typing import TYPE_CHECKING

import uvicorn

from timesformer_cli.cli.stderr import note, printable, stderr
from timesformer_cli.serving.app import Server

if TYPE_CHECKING:
    from timesformer_cli.serving.engine import Engine
    from timesformer_cli.serving.options import RequestReader, ServeOptions


class _ToStderr(logging.Handler):
    """One line on stderr for each record."""

    def emit(self, record: logging.LogRecord) -> None:
        """Write it; requests are dim, and --quiet leaves them out."""
        text = printable(self.format(record))
        stderr().print(
            text, soft_wrap=True, markup=False, style="dim" if record.levelno < 30 else ""
        )


class _Draining(uvicorn.Server):
    """Answers what was accepted before it ends; from the first signal on it is not ready."""

    def __init__(self, config: uvicorn.Config, server: Server, greeting: str) -> None:
        super().__init__(config)
        self._served, self._greeting = server, greeting

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Listen, and say so."""
        await super().startup(sockets)
        note(self._greeting)

    def handle_exit(self, sig: int, frame: object) -> None:
        """A signal asks for the end; a second Ctrl-C does not wait."""
        self._served.draining = True
        super().handle_exit(sig, frame)  # type: ignore[arg-type]


def run_server(
    options: "ServeOptions",
    engine: "Engine",
    reader: "RequestReader",
    folder: Path,
    listener: socket.socket,
) -> None:
    """Answer requests until a signal asks for the end, and then those that were accepted."""
    for name in ("uvicorn.access", "timesformer_cli.serving"):
        logger = logging.getLogger(name)
        logger.handlers, logger.propagate = [_ToStderr()], False
        logger.setLevel(logging.INFO)
    logging.getLogger("uvicorn.error").addHandler(_ToStderr(logging.ERROR))
    server = Server(options, engine, reader, folder)
    config = uvicorn.Config(
        server.app,
        http="h11",
        ws="none",
        lifespan="off",
        log_config=None,
        proxy_headers=False,
        server_header=False,
    )
    # torch makes a million objects. To look for garbage among them takes longer than a request may.
    gc.collect()
    gc.freeze()
    name, port = listener.getsockname()[:2]
    host = f"[{name}]" if ":" in name else name
    model = engine.model
    greeting = f"{model.name} in {model.dtype} on {model.device} answers at http://{host}:{port}"
    _Draining(config, server, greeting).run([listener])
