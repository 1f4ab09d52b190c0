"""The server as an ASGI application: what each address answers."""

import asyncio
import logging
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from concurrent.futures import Future
from contextlib import AsyncExitStack, aclosing, suppress
from pathlib import Path
from typing import Any

import anyio
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Route
from starlette.types import Message, Receive, Scope, Send

from timesformer_cli.errors import DeviceError, ErrorKind, TsfError, UsageError
from timesformer_cli.inference.classified import Failed
from timesformer_cli.json_text import dumps
from timesformer_cli.results import to_json
from timesformer_cli.serving.body import given_video
from timesformer_cli.serving.engine import Engine
from timesformer_cli.serving.guard import ALWAYS, Guard, refusal
from timesformer_cli.serving.metrics import LEFT, Metrics
from timesformer_cli.serving.openapi import VERBS, contract
from timesformer_cli.serving.options import RequestReader, ServeOptions
from timesformer_cli.serving.page import start_page
from timesformer_cli.serving.places import Places
from timesformer_cli.serving.refused import Refused, RefusedRequest
from timesformer_cli.serving.work import Line, VideoWork
from timesformer_cli.timelines.options import TimelineOptions
from timesformer_cli.timelines.results import ScoredWindow

UNREADABLE = 422  # the status of a video that could not be read
STATUS = {
    ErrorKind.NOT_FOUND: 404,
    ErrorKind.PERMISSION_DENIED: 403,
}  # of kinds that have a better one
log = logging.getLogger("timesformer_cli.serving")


class Server:
    """What all requests share."""

    def __init__(
        self, options: ServeOptions, engine: Engine, reader: RequestReader, folder: Path
    ) -> None:
        self.options, self.engine, self.reader, self.folder = options, engine, reader, folder
        self.places, self.metrics = Places(options.queue), Metrics()
        self.following = asyncio.Semaphore(engine.workers)  # windows are followed so many at a time
        self.draining = False
        # Made now, and the commands' parsers with it: either takes longer than a request may wait.
        self._contract = dumps(contract(reader, options.version, token=options.token is not None))
        for verb in VERBS:
            reader.read(verb, {})
        # Now: the first template takes a tenth of a second, in which no request would be answered.
        self.start = start_page(token=options.token is not None, most=options.max_upload)

    @property
    def app(self) -> Starlette:
        """The application."""
        routes = [
            Route("/", self.page),
            Route("/healthz", self.health),
            Route("/readyz", self.ready),
            Route("/metrics", self.counters),
            Route("/openapi.json", self.openapi),
            Route("/v1/models", self.models),
            *(Route(f"/v1/{verb}", VideoEndpoint(self, verb), methods=["POST"]) for verb in VERBS),
        ]
        guard = Middleware(Guard, hosts=self.options.hosts, token=self.options.token)
        return Starlette(
            routes=routes, middleware=[guard], exception_handlers={HTTPException: _no_such}
        )

    async def page(self, request: Request) -> Response:
        """What a browser shows."""
        headers = ALWAYS | {"Content-Security-Policy": self.start.policy}
        return HTMLResponse(self.start.text, headers=headers)

    async def health(self, request: Request) -> Response:
        """That the process lives."""
        return _json({"status": "ok"})

    async def ready(self, request: Request) -> Response:
        """Whether requests are taken."""
        if self.draining:
            return refusal(Refused(503, ErrorKind.DRAINING, "the server ends; ask another"))
        return _json({"status": "ok"})

    async def counters(self, request: Request) -> Response:
        """The counters."""
        text = self.metrics.text(self.places.taken)
        return Response(text, headers=ALWAYS, media_type="text/plain; version=0.0.4; charset=utf-8")

    async def openapi(self, request: Request) -> Response:
        """The contract."""
        return Response(self._contract + "\n", headers=ALWAYS, media_type="application/json")

    async def models(self, request: Request) -> Response:
        """What the model is."""
        return _json({"models": [to_json(self.engine.model)]})


class VideoEndpoint:
    """An ASGI application that answers what one verb says of a video."""

    def __init__(self, server: Server, verb: str) -> None:
        self.server, self.verb = server, verb

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        answer, began = _Answer(send), time.monotonic()
        try:
            with self.server.places.one():
                await self._answer(Request(scope, receive), answer)
        except Refused as refused:
            await answer.refuse(refused)
        except ClientDisconnect:
            pass  # nobody is there to be told
        except Exception as error:
            await answer.refuse(_as_refused(error))
        finally:
            seconds = time.monotonic() - began
            self.server.metrics.request(self.verb, answer.status, seconds)

    async def _answer(self, request: Request, answer: "_Answer") -> None:
        server, options = self.server, self.server.options
        until = time.monotonic() + options.deadline
        async with AsyncExitStack() as stack:
            body = given_video(
                request, server.folder, options.root, options.max_upload, server.metrics.received
            )
            try:
                with anyio.fail_after(options.deadline):
                    given = await stack.enter_async_context(body)
            except TimeoutError:
                raise Refused(
                    408, ErrorKind.TIMEOUT, "the request did not come to its end in time"
                ) from None
            asked = server.reader.read(self.verb, given.fields)
            threads = server.engine.threads
            if isinstance(asked.options, TimelineOptions):
                threads = server.engine.long_threads
                await _in_time(request, until, server.following.acquire())
                stack.callback(server.following.release)
            work = VideoWork(server.engine, self.verb, given, asked, until)
            line: Line | None = None
            lines = _pulled(request, until, work, threads.submit)
            async with aclosing(lines):
                async for line in lines:
                    if asked.stream:
                        await answer.line(line)
            assert line is not None and not isinstance(line, ScoredWindow)  # the last is the whole
            if not asked.stream:
                await answer.whole(line)
            server.metrics.video(line.error.kind if isinstance(line, Failed) else line.status)


class _Answer:
    """An answer on its way: whole, or a line at a time."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self.status = LEFT  # until it begins

    async def whole(self, line: Line) -> None:
        """The only line."""
        await self._start(_status(line), "application/json")
        await self._body(line, last=True)

    async def line(self, line: Line) -> None:
        """One of the lines; windows come before the last."""
        if self.status == LEFT:
            await self._start(_status(line), "application/jsonl")
        await self._body(line, last=not isinstance(line, ScoredWindow))

    async def refuse(self, refused: Refused) -> None:
        """Say no; where lines were sent already, as the last one."""
        if self.status != LEFT:
            await self._body(refused.result, last=True)
            return
        await self._start(refused.status, "application/json", dict(refused.headers))
        await self._body(refused.result, last=True)

    async def _start(self, status: int, kind: str, headers: dict[str, str] = ALWAYS) -> None:
        self.status = status
        every = {"Content-Type": kind} | ALWAYS | headers
        raw = [(name.lower().encode(), value.encode()) for name, value in every.items()]
        await self._send({"type": "http.response.start", "status": status, "headers": raw})

    async def _body(self, line: Line | RefusedRequest, *, last: bool) -> None:
        body = (dumps(to_json(line)) + "\n").encode()
        await self._send({"type": "http.response.body", "body": body, "more_body": not last})


async def _pulled(
    request: Request,
    until: float,
    work: VideoWork,
    submit: Callable[..., "Future[Line | None]"],
) -> AsyncGenerator[Line, None]:
    """The lines of work that threads do; it is stopped where nobody waits for it any longer."""
    pull: Future[Line | None] | None = None
    try:
        while True:
            pull = submit(next, work.lines, None)
            line = await _in_time(request, until, asyncio.wrap_future(pull))
            if line is None:
                return
            yield line
    finally:
        if pull is not None and not pull.cancel() and not pull.done():
            pull.add_done_callback(lambda _: _close(work))
            work.stop()
        else:
            _close(work)


def _close(work: VideoWork) -> None:
    with suppress(Exception):  # what it ended by was told to whoever asked for the line
        work.lines.close()  # type: ignore[attr-defined]


async def _in_time(request: Request, until: float, made: Awaitable[Any]) -> Any:
    """The result, or Refused when it is too late, or ClientDisconnect when the client left."""
    work = asyncio.ensure_future(made)
    gone = asyncio.ensure_future(_left(request.receive))
    try:
        left = max(0.0, until - time.monotonic())
        await asyncio.wait({work, gone}, timeout=left, return_when=asyncio.FIRST_COMPLETED)
        if work.done():
            return work.result()
        if gone.done():
            raise ClientDisconnect
        raise Refused(
            504, ErrorKind.DEADLINE, "no answer by the deadline of this server's requests"
        )
    finally:
        for each in (work, gone):
            each.cancel()


async def _left(receive: Callable[[], Awaitable[Message]]) -> None:
    """Return when the client has left; its whole body was received before."""
    while (await receive())["type"] != "http.disconnect":
        pass


def _status(line: Line) -> int:
    return STATUS.get(line.error.kind, UNREADABLE) if isinstance(line, Failed) else 200


def _as_refused(error: Exception) -> Refused:
    """What went wrong, as an answer; what nobody foresaw goes to the log."""
    if isinstance(error, UsageError):
        return Refused(400, error.kind, str(error))
    if isinstance(error, TsfError):
        log.error("%s", error)
        return Refused(503 if isinstance(error, DeviceError) else 500, error.kind, str(error))
    log.error("a request failed", exc_info=error)
    message = f"the server failed ({type(error).__name__}); its log says more"
    return Refused(500, ErrorKind.FAILED, message)


def _json(value: object) -> Response:
    return Response(dumps(value) + "\n", headers=ALWAYS, media_type="application/json")


async def _no_such(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    wrong_method = error.status_code == 405
    kind = ErrorKind.NOT_ALLOWED if wrong_method else ErrorKind.NO_SUCH_ADDRESS
    message = f"{request.method} {request.url.path[:200]}: {error.detail}; see /openapi.json"
    return refusal(Refused(error.status_code, kind, message, error.headers or {}))
