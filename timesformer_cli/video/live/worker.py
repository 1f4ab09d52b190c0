"""The child process of one connection: it answers its parent while a thread reads the stream."""

import os
import threading
from dataclasses import asdict
from typing import Any

from timesformer_cli.children import receive, send, take_pipes
from timesformer_cli.config import Sampling
from timesformer_cli.errors import ErrorKind, VideoError
from timesformer_cli.video.live.backlog import WaitingWindow
from timesformer_cli.video.live.connection import Connection
from timesformer_cli.video.live.source import LiveSource
from timesformer_cli.video.messages import preprocessing_of_header
from timesformer_cli.video.windows import WindowPlan
from timesformer_cli.video.worker import confine_decoder

BEAT = 0.25  # seconds after which the parent hears that there is no window


def main(parent: int, stdin: str) -> None:
    """Answer requests until the parent closes the pipe; `stdin` is the number of the parent's, or none."""
    requests, replies = take_pipes()
    confine_decoder(parent)
    try:
        asked, _ = receive(requests)
        connection = Connection(LiveSource(**asked["source"]), int(stdin or -1))
        threading.Thread(target=connection.run, name="tsf-live", daemon=True).start()
        sent = _Sent()
        while True:
            send(replies, *_answer(connection, asked, sent))
            asked, _ = receive(requests)
    except (EOFError, OSError):  # the parent is gone
        pass
    finally:
        os._exit(0)  # whatever the thread waits for


class _Sent:
    """Which frames the parent has, so that none is sent twice."""

    def __init__(self) -> None:
        self.part, self.numbers = 0, set[int]()

    def fresh(self, windows: list[WaitingWindow]) -> dict[int, bytes]:
        """The frames of windows of one part that the parent lacks."""
        if windows[0].part != self.part:
            self.part, self.numbers = windows[0].part, set()
        lacking = {
            number: frame
            for window in windows
            for number, frame in window.frames.items()
            if number not in self.numbers
        }
        # What the parent forgets after it has scored them.
        oldest = windows[-1].window.oldest
        self.numbers = {n for n in self.numbers | set(lacking) if n >= oldest}
        return {number: frame.pixels().tobytes() for number, frame in lacking.items()}


def _answer(
    connection: Connection, asked: dict[str, Any], sent: _Sent
) -> tuple[dict[str, Any], bytes]:
    try:
        if asked["do"] == "open":
            return _opened(connection), b""
        if asked["do"] == "begin":
            plan = asked["plan"]
            plan["sampling"] = Sampling(**plan["sampling"])
            connection.begin(
                WindowPlan(**plan),
                preprocessing_of_header(asked["preprocessing"]),
                asked["most"],
                asked["began"],
            )
            return {"status": "begun"}, b""
        return _windows(connection, asked["most"], sent)
    except VideoError as error:
        return {"status": "error", "kind": error.kind, "message": str(error)}, b""
    except MemoryError:
        said = "needs more memory than a decoder is given"
        return {"status": "error", "kind": ErrorKind.OUT_OF_MEMORY, "message": said}, b""


def _opened(connection: Connection) -> dict[str, Any]:
    if not connection.opened.wait(BEAT):
        if connection.hangs:
            raise VideoError(ErrorKind.HANGS, "cannot be opened: the decoder makes no progress")
        return {"status": "opening"}
    if connection.fault is not None:
        raise connection.fault
    return {"status": "opened", **connection.facts}


def _windows(connection: Connection, most: int, sent: _Sent) -> tuple[dict[str, Any], bytes]:
    """The windows that wait, up to `most`, all of one part; and how the stream is."""
    assert connection.backlog is not None
    ended = connection.ended  # before the look, so that no window is left behind
    windows = connection.backlog.take(most, BEAT)
    if not windows and ended and connection.fault is not None:
        raise connection.fault
    if not windows and connection.hangs:
        raise VideoError(ErrorKind.HANGS, "the decoder makes no progress")
    fresh = sent.fresh(windows) if windows else {}
    header = {
        "status": "ended" if ended and not windows else "windows",
        "windows": [_described(window) for window in windows],
        "fresh": list(fresh),
        "frames": connection.frames,
        "damaged": connection.damaged,
        "dropped": connection.backlog.dropped,
        "began": connection.began,
    }
    return header, b"".join(fresh.values())


def _described(waiting: WaitingWindow) -> dict[str, Any]:
    return {
        "window": asdict(waiting.window),
        "part": waiting.part,
        "shot": waiting.shot,
        "arrived": waiting.arrived,
    }
